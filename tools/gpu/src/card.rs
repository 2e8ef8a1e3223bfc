//! The first GPU and its driver, as the driver describes them.

use std::fs;
use std::path::Path;

use coverslip_tensorrt::{ComputeCapability, Driver, Error, Library, plan};
use cudarc::driver::sys::CUdevice_attribute::*;

use crate::cuda::Card;
use crate::outcome::{Outcome, Stop, failed};
use crate::page::{Rows, bytes};

pub(crate) fn run() -> Outcome {
    let card = Card::open()?;
    let driver = Driver::initialise().map_err(|why| Stop::LeftOut(why.to_string()))?;
    let version = driver.cuda_version();
    let mut rows = Rows::begin("the machine", "found");
    rows.say("GPU", format_args!("{}, {}, the first of {}", card.name, card.uuid, driver.gpus().len()));
    let both = |a, b| card.attribute(a).and_then(|a| card.attribute(b).map(|b| (a, b)));
    let capability = both(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    rows.row("compute capability", capability.map(|(major, minor)| format!("{major}.{minor}")));
    let processors = both(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
    rows.row("multiprocessors", processors.map(|(n, kilohertz)| format!("{n}, at most {} MHz", kilohertz / 1000)));
    rows.row("memory", card.memory().map(|(free, all)| format!("{}, {} free", bytes(all), bytes(free))));
    rows.row("copy engines", card.attribute(CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT));
    rows.row("drives a display that limits a kernel's time", {
        card.attribute(CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT).map(|limit| if limit == 0 { "no" } else { "yes" })
    });
    rows.say("driver", format_args!("for CUDA {}.{}", version / 1000, version % 1000 / 10));
    let kernel = fs::read_to_string("/proc/driver/nvidia/version");
    rows.say(
        "kernel module",
        kernel.ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or("-".into()),
    );
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("-");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    rows.say("processor", format_args!("{}, {cores} threads", model.trim_start_matches([' ', '\t', ':'])));
    rows.end()
}

/// Prints what a plan for this card is to be built for.
pub(crate) fn target() -> Outcome {
    println!("{}", capability()?);
    Ok(())
}

/// TensorRT-RTX leaves out the GPUs of data centres.
pub(crate) fn takes(library: &Path) -> Outcome {
    let (library, capability) = (Library::load(library)?, capability()?);
    let name = format!("{} {}", library.flavor(), library.version());
    match plan::accepts(library, capability) {
        Ok(()) => println!("{name} takes {capability}."),
        Err(Error::Targets { .. }) => return failed(format_args!("{name} does not take {capability}")),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn capability() -> Outcome<ComputeCapability> {
    let driver = Driver::initialise().map_err(|why| Stop::LeftOut(why.to_string()))?;
    let first = driver.gpus().first().map(|gpu| gpu.compute_capability);
    first.ok_or_else(|| Stop::Failed("the driver does not describe its GPU".into()))
}
