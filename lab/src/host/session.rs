//! The library and a runtime in it, opened for a command.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use coverslip_bundle::limits::MAX_MANIFEST_BYTES;
use coverslip_bundle::signature::Trust;
use coverslip_bundle::{MANIFEST_FILE, Manifest};
use coverslip_plugin_abi as abi;

use super::engine::EngineChoice;
use super::error::Outcome;
use super::library::Library;
use super::locate;
use super::runtime::Runtime;

/// The scanner's name where the user gives none: the contract wants one.
pub(crate) const SCANNER_ID: &str = "coverslip-lab";

/// What a command opens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// None: the library that was built or installed with this command.
    pub(crate) library: Option<PathBuf>,
    /// None: the demo bundle.
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) profile: Option<PathBuf>,
    /// Who may have made bundle and profile.
    pub(crate) trust: Trust,
    pub(crate) engine: EngineChoice,
    /// Threads of the engine; 0: one per CPU.
    pub(crate) threads: u32,
}

/// A library that is loaded and a bundle that was found for it.
pub(crate) struct Loaded<'s> {
    setup: &'s Setup,
    pub(crate) library: Library,
    pub(crate) bundle: PathBuf,
}

/// An open runtime, and what it says of itself.
pub(crate) struct Session {
    pub(crate) runtime: Runtime,
    pub(crate) info: abi::RuntimeInfo,
    pub(crate) bundle: PathBuf,
    /// As in [`Setup::threads`].
    pub(crate) threads: u32,
    /// How long opening took.
    pub(crate) opening: Duration,
}

impl Setup {
    /// Loads the library and finds the bundle; opens nothing yet.
    ///
    /// # Errors
    /// Where the library or the demo bundle is not there.
    pub(crate) fn load(&self) -> Result<Loaded<'_>, Box<dyn Error>> {
        let library = Library::find(self.library.as_deref())?;
        Ok(Loaded { setup: self, library, bundle: locate::bundle(self.bundle.as_deref())? })
    }

    /// Loads the library and opens the bundle in it. `progress` gets the stage and the part of it that is done; it
    /// returns false to cancel.
    ///
    /// # Errors
    /// As [`Setup::load`], and whatever the library answers.
    pub(crate) fn open(&self, progress: impl FnMut(i32, f64) -> bool) -> Result<Session, Box<dyn Error>> {
        Ok(self.load()?.open(progress)?)
    }
}

impl Loaded<'_> {
    /// Opens the bundle; `progress` as for [`Setup::open`].
    ///
    /// # Errors
    /// Whatever the library answers.
    pub(crate) fn open(self, progress: impl FnMut(i32, f64) -> bool) -> Outcome<Session> {
        let begun = Instant::now();
        let Setup { profile, trust, engine, threads, .. } = self.setup;
        let runtime = Runtime::open(self.library, &self.bundle, profile.as_deref(), trust, engine, *threads, progress)?;
        let opening = begun.elapsed();
        let info = runtime.info()?;
        Ok(Session { runtime, info, bundle: self.bundle, threads: *threads, opening })
    }
}

impl Session {
    /// What the bundle says of itself.
    ///
    /// # Errors
    /// Where its manifest cannot be read.
    pub(crate) fn manifest(&self) -> Result<Manifest, Box<dyn Error>> {
        let manifest = coverslip_files::read_at_most(&self.bundle.join(MANIFEST_FILE), MAX_MANIFEST_BYTES)?;
        Ok(coverslip_bundle::json::parse(&manifest)?)
    }

    /// Joins the library's threads.
    ///
    /// # Errors
    /// Where a thread of the library does not end.
    pub(crate) fn close(self) -> Outcome<()> {
        self.runtime.close(Duration::from_secs(10))
    }
}
