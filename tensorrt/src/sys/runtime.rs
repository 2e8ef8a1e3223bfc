//! `IRuntime`: from a plan to an engine.

use std::ffi::c_void;
use std::sync::Arc;

use super::abi::Raw;
use super::codes::{EngineInvalidity, EngineValidity};
use super::engine::Engine;
use super::error::{Error, PlanRefusal, Result};
use super::library::Library;
use super::object::{Object, method};

/// Turns plans into engines. May be shared: TensorRT allows several threads to deserialise at a time.
pub struct Runtime {
    object: Arc<Object>,
}

impl Runtime {
    /// A runtime. TensorRT needs a driver for it. RTX makes one without a driver, which can examine plans but not run
    /// them.
    pub fn new(library: Library) -> Result<Self> {
        let watch = library.watch();
        // SAFETY: `createInferRuntime_INTERNAL` gives an `IRuntime` that is ours, or no object.
        let object = unsafe { Object::adopt(library.create_runtime(), library, Vec::new()) };
        match watch.made("createInferRuntime", object) {
            Ok(object) => Ok(Self { object: Arc::new(object) }),
            Err(error) => Err(library.no_driver_or(error)),
        }
    }

    /// Loads a plan onto the device that is current on this thread. The plan may end afterwards.
    ///
    /// TensorRT trusts a plan like code: it detects truncation and other versions, not tampering. Load plans from a
    /// place that only you write to, and check a digest first.
    pub fn deserialize(&self, plan: &[u8]) -> Result<Engine> {
        let library = self.object.library();
        let watch = library.watch();
        let refused = |why| Error::PlanRefused { why, log: watch.log() };
        if let Some((EngineValidity::INVALID, why)) = self.validity(plan)?
            && why != EngineInvalidity(0)
        {
            return Err(refused(PlanRefusal::Invalid(why)));
        }
        let (bytes, size) = (plan.as_ptr().cast(), plan.len());
        // SAFETY: `ICudaEngine* deserializeCudaEngine(void const*, size_t)`, which is ours and keeps the runtime.
        let engine = unsafe {
            let raw = method!(
                self.object,
                runtime.deserialize_cuda_engine,
                (bytes => *const c_void, size => usize) -> Raw
            );
            Object::adopt(raw, library, vec![self.object.clone()])
        };
        engine.map(Engine::new).ok_or_else(|| library.no_driver_or(refused(PlanRefusal::Library)))
    }

    /// RTX's verdict on a plan from its header alone, without loading it; `None` on TensorRT. A plan with a valid
    /// header may still be damaged further on.
    pub fn validity(&self, plan: &[u8]) -> Result<Option<(EngineValidity, EngineInvalidity)>> {
        let watch = self.object.library().watch();
        let header = self.header_size().unwrap_or(1);
        if plan.len() < header {
            let why = PlanRefusal::Truncated { bytes: plan.len(), header };
            return Err(Error::PlanRefused { why, log: watch.log() });
        }
        let slot = self.object.slots().runtime.get_engine_validity;
        let (Some(slot), Ok(size)) = (slot, i64::try_from(plan.len())) else { return Ok(None) };
        let (bytes, mut diagnostics) = (plan.as_ptr().cast(), 0);
        // SAFETY: `EngineValidity getEngineValidity(void const*, int64_t, uint64_t*)`.
        let validity = unsafe {
            method!(
                self.object,
                [slot],
                (bytes => *const c_void, size => i64, &raw mut diagnostics => *mut u64) -> i32
            )
        };
        Ok(Some((EngineValidity(validity), EngineInvalidity(diagnostics))))
    }

    /// The size of a plan's header; `None` on TensorRT.
    fn header_size(&self) -> Option<usize> {
        let slot = self.object.slots().runtime.get_engine_header_size?;
        // SAFETY: `int64_t getEngineHeaderSize()`.
        usize::try_from(unsafe { method!(self.object, [slot], () -> i64) }).ok()
    }
}
