//! `coverslip doctor`: what is here to run on, what the plugin would choose, and what to install.
//!
//! Driver, GPUs and TensorRT are looked at directly. For the choice the plugin opens a bundle with AUTO, as for a host.

mod advice;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_bundle::MANIFEST_FILE;
use coverslip_plugin_abi as abi;
use coverslip_tensorrt::{ComputeCapability, Driver, Gpu, Library, LoadError, NoDriver};
use coverslip_vit::Choice;

use crate::host::{HostError, Setup, WORKER, text};
use crate::sign::origin;
use crate::term::{Line, Page};
use advice::Advice;

/// Prints the page.
///
/// # Errors
/// Where the page cannot be printed. What is missing or broken on this machine is no error: the page says it.
pub(crate) fn run(setup: &Setup) -> Result<(), Box<dyn Error>> {
    let mut page = Page::default();
    let mut advice = Advice::default();
    let driver = Driver::initialise();
    gpus(&mut page, &driver, &mut advice);
    page.gap();
    let gpus = driver.as_ref().map_or_else(|_| Vec::new(), |driver| driver.gpus());
    libraries(&mut page, setup.engine.tensorrt_library.as_deref(), &gpus, &mut advice);
    page.gap();
    choice(&mut page, setup, &mut advice);
    page.gap();
    readers(&mut page);
    page.gap();
    advice.write(&mut page);
    Ok(write!(crate::term::screen(), "{}", page.finish())?)
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

/// The library that was named, or those that the loader finds under TensorRT's names.
fn libraries(page: &mut Page, named: Option<&Path>, gpus: &[Gpu], advice: &mut Advice) {
    let (mut driven, mut label) = (false, "TensorRT");
    let mut show = |asked: &str, found: Result<Library, coverslip_tensorrt::Error>| match found {
        Ok(library) => {
            let known = if library.is_known() { "" } else { " (its headers were not read for this program)" };
            let builds = if library.has_builder() { "builds and runs plans" } else { "runs plans, builds none" };
            page.row(&library.flavor().to_string(), &format!("{}{known}, {builds}", library.version()));
            for gpu in gpus.iter().filter(|gpu| refuses(library, gpu.compute_capability)) {
                page.row("", &format!("does not run on GPUs of {}", gpu.compute_capability));
            }
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

fn refuses(library: Library, capability: ComputeCapability) -> bool {
    matches!(coverslip_tensorrt::plan::accepts(library, capability), Err(coverslip_tensorrt::Error::Targets { .. }))
}

/// Whether there is no library of a name at all, rather than one that cannot be used.
fn is_absent(why: &LoadError) -> bool {
    match why {
        LoadError::NotFound { .. } => true,
        // The loader's text is the only clue: it begins with the name where the file itself is missing.
        LoadError::NotLoadable { path, why } => {
            why.starts_with(&format!("{}: cannot open shared object file", path.display()))
        }
        _ => false,
    }
}

/// What slides can be read with.
fn readers(page: &mut Page) {
    let own = concat!("coverslip ", env!("CARGO_PKG_VERSION"));
    page.row("slides", &format!("{own}: TIFF, BigTIFF, SVS, OME-TIFF, Philips TIFF, PNG, JPEG, directories of tiles"));
    match coverslip_slides::find_openslide() {
        Ok(found) => {
            page.row("", &format!("OpenSlide {}: {}", found.version, formats(&found.version)));
            page.row("", &found.path.display().to_string());
        }
        Err(why) => page.row("", &format!("for NDPI, MRXS, BIF, SCN, VMS, DICOM and JPEG 2000: {why}")),
    }
}

/// What a release of OpenSlide reads besides.
fn formats(version: &str) -> &'static str {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(4..) => "NDPI, MRXS, BIF, SCN, VMS, DICOM, JPEG 2000",
        _ => "NDPI, MRXS, BIF, SCN, VMS, JPEG 2000; DICOM takes OpenSlide 4.0 (`pip install openslide-bin`)",
    }
}

/// What AUTO chooses for the bundle, and why.
fn choice(page: &mut Page, setup: &Setup, advice: &mut Advice) {
    match ask(setup) {
        Ok(asked) => asked.write(page, advice),
        Err(error) => page.row("AUTO", &format!("cannot be asked: {error}")),
    }
}

/// What the plugin answered.
struct Asked {
    library: PathBuf,
    contract: (u32, u32),
    bundle: PathBuf,
    /// Who made the bundle.
    origin: String,
    opened: Result<abi::RuntimeInfo, HostError>,
}

/// Longest manifest of a bundle, bytes.
const MOST_MANIFEST: u64 = 64 << 20;

/// Who made the bundle.
fn origin_of(setup: &Setup, bundle: &Path) -> Result<String, Box<dyn Error>> {
    let path = bundle.join(MANIFEST_FILE);
    let manifest =
        coverslip_files::read_at_most(&path, MOST_MANIFEST).map_err(|error| format!("{}: {error}", path.display()))?;
    let signed = setup.trust.check(bundle, MANIFEST_FILE, &manifest)?;
    Ok(origin(bundle, MANIFEST_FILE, signed.as_ref()))
}

fn ask(setup: &Setup) -> Result<Asked, Box<dyn Error>> {
    let loaded = setup.load()?;
    let (library, contract) = (loaded.library.path().to_owned(), loaded.library.abi_version());
    let bundle = loaded.bundle.clone();
    // The comment: the plugin gives the number of the key alone.
    let origin = origin_of(setup, &bundle).unwrap_or_else(|error| format!("cannot be checked: {error}"));
    let mut line = Line::new();
    let session = loaded.open(|_, fraction| {
        line.show(&format!("asking the plugin {:3.0} %", 100.0 * fraction));
        true
    });
    line.clear();
    let opened = session.and_then(|session| {
        let info = session.info;
        session.close()?;
        Ok(info)
    });
    Ok(Asked { library, contract, bundle, origin, opened })
}

impl Asked {
    /// The worker's program where the library looks for it.
    fn worker(&self) -> Option<PathBuf> {
        Some(self.library.with_file_name(WORKER)).filter(|path| path.is_file())
    }

    fn write(&self, page: &mut Page, advice: &mut Advice) {
        let (major, minor) = self.contract;
        page.row("plugin", &format!("contract {major}.{minor}, {}", self.library.display()));
        page.row("bundle", &self.bundle.display().to_string());
        page.row("signature", &self.origin);
        let info = match &self.opened {
            Ok(info) => info,
            Err(error) => return page.row("AUTO", &format!("does not open: {error}")),
        };
        let engine = if info.engine == abi::ENGINE_CPU { "the CPU" } else { "the GPU" };
        page.row("AUTO chooses", &format!("{engine}: {}", text(&info.engine_version)));
        let kernels = text(&info.cpu_kernels);
        if !kernels.is_empty() {
            page.row("kernels", &kernels);
        }
        for fault in Choice::faults() {
            page.row("not used", &fault);
        }
        if info.fallback_reason != abi::REASON_NONE {
            page.row("because", &text(&info.fallback_message));
            advice.reason(info.fallback_reason);
        }
        page.row(
            "worker",
            &match (info.worker_process_id, self.worker()) {
                (0, Some(path)) => format!("{}: for a GPU engine", path.display()),
                (0, None) => "no coverslip-worker beside the plugin: a fault of the GPU is the host's".into(),
                (process, _) => format!("runs the engine, as process {process}"),
            },
        );
        page.row("self-check", &format!("1 - cosine {:.1e} at most", info.self_check_error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dicom_is_promised_from_openslide_4_on() {
        for (version, reads) in [("3.4.1", false), ("4.0.0", true), ("10.1", true), ("", false), ("unknown", false)] {
            let said = formats(version);
            assert_eq!(said.contains("VMS, DICOM"), reads, "{version}: {said}");
            assert_ne!(said.contains("DICOM takes OpenSlide 4.0"), reads, "{version}: {said}");
        }
    }
}
