//! `coverslip doctor`: what is here to run on, what the plugin would choose, and what to install.
//!
//! What is here is looked at directly; what would be chosen is asked of the plugin, which a host would ask too: it
//! opens a bundle with AUTO.

mod advice;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coverslip_plugin_abi as abi;
use coverslip_tensorrt::{Driver, Gpu, Library, LoadError, NoDriver};

use crate::engine_args::EngineChoice;
use crate::host::{self, HostError, Runtime, text};
use crate::page::Page;
use crate::scan::progress::Line;
use crate::{locate, scan};
use advice::Advice;

/// Options of `coverslip doctor`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// TensorRT's library: libtensorrt_rtx.so.1 or libnvinfer.so.11 [default: what the loader finds]
    #[arg(long, value_name = "FILE")]
    tensorrt: Option<PathBuf>,
    /// The bundle to ask about [default: bundles/demo of the workspace or of the installation]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The shared library [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

/// Prints the page.
///
/// # Errors
/// Where there is no page to print: what is missing or broken on this machine is no error, but what is asked for.
pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut page = Page::default();
    let mut advice = Advice::default();
    let driver = Driver::initialise();
    gpus(&mut page, &driver, &mut advice);
    page.gap();
    let tensorrt = args.tensorrt.as_deref().map(std::path::absolute).transpose()?;
    libraries(&mut page, tensorrt.as_deref(), &mut advice);
    page.gap();
    choice(&mut page, args, tensorrt.as_deref(), &mut advice);
    page.gap();
    advice.write(&mut page);
    Ok(write!(std::io::stdout().lock(), "{}", page.finish())?)
}

fn gpus(page: &mut Page, driver: &Result<&Driver, NoDriver>, advice: &mut Advice) {
    let driver = match driver {
        Ok(driver) => driver,
        Err(why) => {
            page.row("driver", &why.to_string());
            return advice.driver();
        }
    };
    let version = driver.cuda_version();
    page.row("driver", &format!("for CUDA {}.{}", version / 1000, version % 1000 / 10));
    for (i, gpu) in driver.gpus().iter().enumerate() {
        let Gpu { name, uuid, compute_capability, memory, multiprocessors } = gpu;
        let memory = *memory as f64 / (1u64 << 30) as f64;
        page.row(
            &format!("GPU {i}"),
            &format!("{name}, {compute_capability}, {memory:.1} GiB, {multiprocessors} multiprocessors"),
        );
        page.row("", uuid);
        advice.gpu(*compute_capability);
    }
}

/// The library that was named, or what the loader's search finds under TensorRT's names.
fn libraries(page: &mut Page, named: Option<&Path>, advice: &mut Advice) {
    let (mut driven, mut label) = (false, "TensorRT");
    let mut show = |asked: &str, found: Result<Library, coverslip_tensorrt::Error>| match found {
        Ok(library) => {
            let known = if library.is_known() { "" } else { " (its headers were not read for this program)" };
            let builds = if library.has_builder() { "builds and runs plans" } else { "runs plans, builds none" };
            page.row(&library.flavor().to_string(), &format!("{}{known}, {builds}", library.version()));
            page.row("", &library.path().display().to_string());
            driven = true;
        }
        Err(coverslip_tensorrt::Error::Load(why)) if named.is_none() && is_absent(&why) => {
            page.row(std::mem::take(&mut label), &format!("no {asked} on the loader's path"));
        }
        Err(why) => page.row(std::mem::take(&mut label), &why.to_string()),
    };
    match named {
        Some(path) => show("", Library::load(path)),
        None => Library::candidates().into_iter().for_each(|(name, found)| show(name, found)),
    }
    if !driven {
        advice.library();
    }
}

/// Whether there is nothing under a name, rather than something that does not do.
fn is_absent(why: &LoadError) -> bool {
    match why {
        LoadError::NotFound { .. } => true,
        // The loader's text is all there is to tell by: it repeats the name where that is what it misses.
        LoadError::NotLoadable { path, why } => {
            why.starts_with(&format!("{}: cannot open shared object file", path.display()))
        }
        _ => false,
    }
}

/// What AUTO chooses for the bundle, and why.
fn choice(page: &mut Page, args: &Args, tensorrt: Option<&Path>, advice: &mut Advice) {
    match ask(args, tensorrt) {
        Ok(asked) => asked.write(page, advice),
        Err(error) => page.row("AUTO", &format!("cannot be asked: {error}")),
    }
}

/// What the plugin answered.
struct Asked {
    library: PathBuf,
    contract: (u32, u32),
    bundle: PathBuf,
    opened: Result<abi::RuntimeInfo, HostError>,
}

fn ask(args: &Args, tensorrt: Option<&Path>) -> Result<Asked, Box<dyn Error>> {
    let library = host::Library::load(&locate::library(args.library.as_deref())?)?;
    let bundle = scan::bundle_path(args.bundle.as_deref())?;
    let mut line = Line::new();
    let tensorrt_library = tensorrt.map(Path::to_owned);
    let engine = EngineChoice { engine: abi::ENGINE_AUTO, tensorrt_library, ..EngineChoice::default() };
    let runtime = Runtime::open(&library, &bundle, None, engine, 0, |_, fraction| {
        line.show(&format!("asking the plugin {:3.0} %", 100.0 * fraction));
        true
    });
    line.clear();
    let opened = runtime.and_then(|runtime| {
        let info = runtime.info()?;
        runtime.close(Duration::from_secs(10))?;
        Ok(info)
    });
    Ok(Asked { library: library.path().into(), contract: library.abi_version(), bundle, opened })
}

impl Asked {
    fn write(&self, page: &mut Page, advice: &mut Advice) {
        let (major, minor) = self.contract;
        page.row("plugin", &format!("contract {major}.{minor}, {}", self.library.display()));
        page.row("bundle", &self.bundle.display().to_string());
        let info = match &self.opened {
            Ok(info) => info,
            Err(error) => return page.row("AUTO", &format!("does not open: {error}")),
        };
        let engine = if info.engine == abi::ENGINE_CPU { "the CPU" } else { "the GPU" };
        page.row("AUTO chooses", &format!("{engine}: {}", text(&info.engine_version)));
        if info.fallback_reason != abi::REASON_NONE {
            page.row("because", &text(&info.fallback_message));
            advice.reason(info.fallback_reason);
        }
        page.row("self-check", &format!("1 - cosine {:.1e} at most", info.self_check_error));
    }
}
