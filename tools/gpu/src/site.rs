//! What a step is told: the library, the bundle, where plans are, how long a figure may take.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coverslip_bundle::{Bundle, PlanFile, Precision};
use coverslip_plugin_abi::*;
use coverslip_tensorrt::Library;

use crate::computed;
use crate::host::{Answer, TestRuntime, open_with};
use crate::outcome::{Outcome, Stop, failed};

/// The largest batch that is measured.
pub(crate) const MOST: u32 = 64;

/// How long one figure is measured
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Pace {
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { seconds: 1.0 }
    }
}

impl Pace {
    pub(crate) fn of_a_figure(self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct On {
    /// TensorRT's library, an absolute path, or its stand-in
    #[arg(long, value_name = "FILE")]
    pub(crate) library: PathBuf,
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: PathBuf,
    /// Where plans are kept, or one plan
    #[arg(long, value_name = "PATH")]
    pub(crate) plans: PathBuf,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

impl On {
    /// Loads the library. A stand-in is told the bundle; the page says that its figures mean nothing.
    ///
    /// # Errors
    /// Left out without a driver, failed without a library.
    pub(crate) fn tensorrt(&self) -> Outcome<Library> {
        let library = Library::load(&self.library)?;
        library.driver().map_err(|why| Stop::LeftOut(why.to_string()))?;
        if computed::stand_in_at(&self.library, &self.bundle)? {
            println!("*This library is a stand-in that computes on the CPU: its figures say nothing of the card.*\n");
        }
        Ok(library)
    }

    pub(crate) fn bundle(&self) -> Outcome<Bundle> {
        Ok(Bundle::open(&self.bundle)?)
    }

    /// Opens the plugin on TensorRT with these plans; `change` sees the desc before.
    pub(crate) fn open(&self, change: impl FnOnce(&mut RuntimeDesc)) -> Answer<TestRuntime> {
        self.open_by(&self.plans, change)
    }

    fn open_by(&self, plans: &Path, change: impl FnOnce(&mut RuntimeDesc)) -> Answer<TestRuntime> {
        let (library, plans) = (c_path(&self.library), c_path(plans));
        open_with(&self.bundle, |desc| {
            desc.engine = ENGINE_TENSORRT;
            desc.tensorrt_library = library.as_ptr();
            desc.plan_cache_path = plans.as_ptr();
            desc.max_threads = 0;
            // What is measured here is this process; the step `worker` measures the other.
            desc.isolation = ISOLATION_NEVER;
            change(desc);
        })
    }

    /// One float16 plan for batches up to [`MOST`]: the one that was named, or one that is built here and kept.
    pub(crate) fn plan(&self) -> Outcome<PathBuf> {
        if self.plans.is_file() {
            return Ok(self.plans.clone());
        }
        self.open(|desc| desc.max_batch = MOST)?.close(60_000)?;
        let bundle = self.bundle()?.digest();
        for entry in std::fs::read_dir(&self.plans)? {
            let path = entry?.path();
            let Ok(key) = PlanFile::read_key(&path) else { continue };
            let float16 = matches!(key.precision, Precision::Float16 | Precision::Float16Sae);
            if float16 && key.max_batch == MOST && key.bundle == bundle {
                return Ok(path);
            }
        }
        failed(format_args!("{}: expected the plan that was just built, found none", self.plans.display()))
    }

    /// These steps' site with one plan.
    pub(crate) fn with(&self, plan: PathBuf) -> On {
        On { plans: plan, ..self.clone() }
    }
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("a path without NUL")
}

/// Text of a fixed array of the contract.
pub(crate) fn text(array: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = array.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
