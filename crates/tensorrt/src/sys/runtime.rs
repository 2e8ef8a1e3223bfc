//! `IRuntime`: turns plans into engines.

use std::ffi::c_void;
use std::sync::Arc;

use super::abi::{Raw, behind_destructor, call};
use super::engine::Engine;
use super::library::Library;
use super::object::Object;
use super::recorder::RecorderObject;
use super::types::{EngineInvalidity, EngineValidity};

/// Turns plans into engines. May be shared: TensorRT allows several threads to deserialise at a time.
pub struct Runtime {
    object: Arc<Object>,
}

impl Runtime {
    /// A runtime, or none where the library gives none: TensorRT needs a driver for it, RTX does not.
    pub fn new(library: &'static Library) -> Option<Self> {
        let raw = library.create_runtime();
        // SAFETY: `createInferRuntime_INTERNAL` gives an `IRuntime` that is ours, or what is no object.
        let object = unsafe { Object::adopt(raw, library, Vec::new()) }?;
        Some(Self { object: Arc::new(object) })
    }

    /// Whose runtime it is.
    pub fn library(&self) -> &'static Library {
        self.object.library()
    }

    /// `deserializeCudaEngine`: on the device that is current on this thread. The plan may end afterwards.
    ///
    /// A plan is code: a library reads one that was tampered with as it is. Check a digest before.
    pub fn deserialize_cuda_engine(&self, plan: &[u8]) -> Option<Engine> {
        let slot = self.object.slots().runtime.deserialize_cuda_engine;
        // SAFETY: `ICudaEngine* deserializeCudaEngine(void const*, size_t)`; the engine is ours and keeps the runtime.
        unsafe {
            let raw = call!(
                self.object.implementation(),
                behind_destructor(slot),
                (plan.as_ptr().cast() => *const c_void, plan.len() => usize) -> Raw
            );
            Object::adopt(raw, self.library(), vec![self.object.clone()]).map(Engine::new)
        }
    }

    /// `getEngineHeaderSize`: what [`Runtime::engine_validity`] must see of a plan; none if the library is not RTX.
    pub fn engine_header_size(&self) -> Option<i64> {
        let slot = self.object.slots().runtime.get_engine_header_size?;
        // SAFETY: `int64_t getEngineHeaderSize()`.
        Some(unsafe { call!(self.object.implementation(), behind_destructor(slot), () -> i64) })
    }

    /// `getEngineValidity`: what RTX thinks of a plan's header, and why; none if the library is not
    /// RTX.
    pub fn engine_validity(&self, plan: &[u8]) -> Option<(EngineValidity, EngineInvalidity)> {
        let slot = self.object.slots().runtime.get_engine_validity?;
        let size = i64::try_from(plan.len()).ok()?;
        let mut diagnostics = 0;
        // SAFETY: `EngineValidity getEngineValidity(void const*, int64_t, uint64_t*)`.
        let validity = unsafe {
            call!(
                self.object.implementation(),
                behind_destructor(slot),
                (plan.as_ptr().cast() => *const c_void, size => i64, &raw mut diagnostics => *mut u64) -> i32
            )
        };
        Some((EngineValidity(validity), EngineInvalidity(diagnostics)))
    }

    /// `setMaxThreads`
    pub fn set_max_threads(&mut self, threads: i32) -> bool {
        let slot = self.object.slots().runtime.set_max_threads;
        // SAFETY: `bool setMaxThreads(int32_t)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (threads => i32) -> bool) }
    }

    /// `setEngineHostCodeAllowed`: whether plans may bring host code of their own (a lean runtime, plugins).
    pub fn set_engine_host_code_allowed(&mut self, allowed: bool) {
        let slot = self.object.slots().runtime.set_engine_host_code_allowed;
        // SAFETY: `void setEngineHostCodeAllowed(bool)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (allowed => bool)) }
    }

    /// `setErrorRecorder`, for the runtime and what it makes from now on.
    pub fn set_error_recorder(&mut self, recorder: Arc<RecorderObject>) {
        let slot = self.object.slots().runtime.set_error_recorder;
        let raw = recorder.raw();
        self.object.keep(recorder);
        // SAFETY: `void setErrorRecorder(IErrorRecorder*)`; the recorder is kept as long as the runtime, and that as
        // long as what it makes.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (raw => Raw)) }
    }
}
