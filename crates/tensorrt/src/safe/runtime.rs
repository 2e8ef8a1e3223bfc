//! From a plan to an engine.

use super::config::ErrorRecorder;
use super::engine::Engine;
use super::library::Library;
use crate::result::{Error, PlanRefusal, Result, Watch};
use crate::sys::{self, EngineInvalidity, EngineValidity};

/// Turns plans into engines.
pub struct Runtime {
    sys: sys::Runtime,
    library: Library,
}

impl Runtime {
    /// A runtime. TensorRT needs a driver for it; RTX makes one without, which can look at plans but not run them.
    pub fn new(library: Library) -> Result<Self> {
        let watch = Watch::begin(library.sys());
        match watch.made("createInferRuntime", sys::Runtime::new(library.sys())) {
            Ok(sys) => Ok(Self { sys, library }),
            Err(error) => Err(library.no_driver_or(error)),
        }
    }

    /// Whose runtime it is.
    pub fn library(&self) -> Library {
        self.library
    }

    /// Brings a plan onto the device that is current on this thread.
    ///
    /// TensorRT trusts a plan as one trusts code: it finds truncation and versions, not malice. Take plans from where
    /// you put them, and check a digest first.
    pub fn deserialize(&self, plan: &[u8]) -> Result<Engine> {
        let watch = Watch::begin(self.library.sys());
        let refused = |why| Error::PlanRefused { why, log: watch.log() };
        if let Some((EngineValidity::INVALID, why)) = self.validity(plan)?
            && why != EngineInvalidity(0)
        {
            return Err(refused(PlanRefusal::Invalid(why)));
        }
        match self.sys.deserialize_cuda_engine(plan) {
            Some(engine) => Ok(Engine::new(engine, self.library)),
            None => Err(self.library.no_driver_or(refused(PlanRefusal::Library))),
        }
    }

    /// What RTX thinks of a plan from its header alone, without bringing it anywhere; nothing on TensorRT. A plan that
    /// is valid so may still be damaged further on.
    pub fn validity(&self, plan: &[u8]) -> Result<Option<(EngineValidity, EngineInvalidity)>> {
        let watch = Watch::begin(self.library.sys());
        let header = self.sys.engine_header_size().and_then(|size| usize::try_from(size).ok()).unwrap_or(1);
        if plan.len() < header {
            let why = PlanRefusal::Truncated { bytes: plan.len(), header };
            return Err(Error::PlanRefused { why, log: watch.log() });
        }
        Ok(self.sys.engine_validity(plan))
    }

    /// Threads that deserialising may use.
    pub fn set_max_threads(&mut self, threads: u16) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        watch.done("IRuntime::setMaxThreads", self.sys.set_max_threads(threads.into()))
    }

    /// Whether plans may bring host code of their own, such as a version-compatible plan with its lean runtime inside.
    pub fn set_engine_host_code_allowed(&mut self, allowed: bool) {
        self.sys.set_engine_host_code_allowed(allowed);
    }

    /// Errors go to this recorder from now on, instead of to the log (and so not into this crate's errors either).
    pub fn set_error_recorder(&mut self, recorder: ErrorRecorder) {
        self.sys.set_error_recorder(recorder);
    }
}
