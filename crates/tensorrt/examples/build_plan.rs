//! Builds a plan from an ONNX file, with a line of progress; on RTX also without a GPU.
//!
//! ```text
//! cargo run --example build_plan -- /opt/lib/libtensorrt_rtx.so.1 model.onnx --target sm86,sm89 --batch 1,16,64 \
//!     --out model.plan
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use coverslip_tensorrt::plan::{self, Batch, Built, Progress, Recipe};
use coverslip_tensorrt::{ComputeCapability, Library, Model, Runtime, Severity, Tensor};

const USAGE: &str = "usage: build_plan LIBRARY MODEL.onnx [--target sm86,…] [--batch MIN,OPT,MAX] [--out PLAN]";

struct Arguments {
    library: PathBuf,
    model: PathBuf,
    targets: Vec<ComputeCapability>,
    batch: Batch,
    out: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut positional = Vec::new();
    let (mut targets, mut batch, mut out) = (Vec::new(), Batch { min: 1, opt: 8, max: 16 }, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--target" => targets = list(&arguments.next().ok_or(USAGE)?)?,
            "--batch" => {
                let [min, opt, max] = list(&arguments.next().ok_or(USAGE)?)?.try_into().map_err(|_| USAGE)?;
                batch = Batch { min, opt, max };
            }
            "--out" => out = Some(arguments.next().ok_or(USAGE)?.into()),
            _ => positional.push(PathBuf::from(argument)),
        }
    }
    let [library, model] = positional.try_into().map_err(|_| USAGE)?;
    Ok(Arguments { library, model, targets, batch, out })
}

fn list<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, T::Err> {
    text.split(',').map(str::parse).collect()
}

fn show(what: &str, tensors: &[Tensor]) {
    for tensor in tensors {
        println!("{what}: {tensor}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { library, model, targets, batch, out } = arguments()?;
    let library = Library::load(std::path::absolute(library)?)?;
    println!(
        "{library:?}; driver: {}",
        match library.driver() {
            Ok(driver) => format!("{driver:?}"),
            Err(error) => error.to_string(),
        }
    );
    library.on_log(Severity::WARNING, |severity, line| eprintln!("[{severity}] {line}"));

    let path = std::path::absolute(&model)?;
    let onnx = std::fs::read(&model)?;
    let mut recipe = Recipe::new(Model::new(&onnx).at(&path), batch);
    recipe.targets = targets;
    let begin = Instant::now();
    let Built { plan, layers, .. } = watched(|progress| plan::build(library, &recipe, progress))?;
    println!("{layers} layers became {} bytes in {:.2} s", plan.len(), begin.elapsed().as_secs_f64());
    if let Some(out) = &out {
        std::fs::write(out, &plan)?;
    }
    describe(library, &plan, out.as_deref());
    Ok(())
}

/// Runs a build on a thread of its own and keeps a line on the terminal.
fn watched(
    build: impl FnOnce(&Arc<Progress>) -> coverslip_tensorrt::Result<Built> + Send,
) -> Result<Built, Box<dyn Error>> {
    let progress = Progress::new();
    thread::scope(|scope| {
        let building = scope.spawn(|| build(&progress));
        while !building.is_finished() {
            eprint!("\r{:3.0} %  {}\x1b[K", 100.0 * progress.fraction(), progress.phase());
            thread::sleep(Duration::from_millis(50));
        }
        eprintln!();
        Ok(building.join().map_err(|_| "the build panicked")??)
    })
}

/// What the plan is on this machine: an engine, or a reason why not.
fn describe(library: Library, plan: &[u8], out: Option<&Path>) {
    match Runtime::new(library).and_then(|runtime| runtime.deserialize(plan)) {
        Ok(engine) => {
            show("engine input", &engine.inputs());
            show("engine output", &engine.outputs());
            println!("device memory per context: {} bytes", engine.device_memory());
        }
        Err(error) => println!("it cannot run here: {error}"),
    }
    if let Some(out) = out {
        println!("wrote {}", out.display());
    }
}
