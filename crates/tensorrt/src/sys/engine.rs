//! `IRuntime`, which loads plans, and `ICudaEngine`, a plan on the device.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use super::abi::Raw;
use super::codes::{
    DataType, EngineInvalidity, EngineValidity, OptProfileSelector, TensorFormat, TensorIoMode, TensorLocation,
};
use super::context::Context;
use super::error::{Error, PlanRefusal, Result};
use super::library::Library;
use super::object::{Object, method, method_for_dims};
use super::runtime_config::RuntimeConfig;
use super::tensor::{IoTensor, Tensor, name, shape};

/// `ExecutionContextAllocationStrategy::kSTATIC`: a context allocates the memory of its activations once.
const STATIC: i32 = 0;

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

/// A plan on the device. Keeps its runtime. May be shared: TensorRT allows several threads to query it and to make
/// contexts.
pub struct Engine {
    object: Arc<Object>,
    io: Arc<[IoTensor]>,
}

impl Engine {
    fn new(object: Object) -> Self {
        Self { io: io(&object), object: Arc::new(object) }
    }

    /// The inputs.
    pub fn inputs(&self) -> Vec<Tensor> {
        self.tensors(TensorIoMode::INPUT)
    }

    /// The outputs.
    pub fn outputs(&self) -> Vec<Tensor> {
        self.tensors(TensorIoMode::OUTPUT)
    }

    fn tensors(&self, mode: TensorIoMode) -> Vec<Tensor> {
        self.io.iter().filter(|tensor| tensor.mode == mode).map(|tensor| Tensor::new(tensor, &tensor.dims)).collect()
    }

    /// A shape of one input in one profile.
    pub fn profile_shape(&self, input: &str, profile: usize, select: OptProfileSelector) -> Result<Vec<i64>> {
        let watch = self.object.library().watch();
        let (input, index) = (name(input)?, i32::try_from(profile).unwrap_or(i32::MAX));
        // SAFETY: `Dims getProfileShape(char const*, int32_t, OptProfileSelector)`; a rank of -1 if there is no such
        // profile or input.
        let dims = unsafe {
            method_for_dims!(
                self.object,
                engine.get_profile_shape,
                (input.as_ptr() => *const c_char, index => i32, select.0 => i32)
            )
        };
        watch.made("ICudaEngine::getProfileShape", dims.shape().is_some().then(|| shape(&dims)))
    }

    /// Bytes of device memory that a context needs for activations, at most.
    pub fn device_memory(&self) -> u64 {
        // SAFETY: `int64_t getDeviceMemorySizeV2()`.
        unsafe { method!(self.object, engine.get_device_memory_size, () -> i64) }.max(0).unsigned_abs()
    }

    /// A context with TensorRT's defaults.
    pub fn context(&self) -> Result<Context> {
        let watch = self.object.library().watch();
        // SAFETY: `IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy)`, which is ours and
        // keeps the engine.
        let context = unsafe {
            let raw = method!(self.object, engine.create_execution_context, (STATIC => i32) -> Raw);
            Object::adopt(raw, self.object.library(), vec![self.object.clone()])
        };
        Ok(Context::new(watch.made("ICudaEngine::createExecutionContext", context)?, self.io.clone()))
    }

    /// A context with a configuration of [`Engine::runtime_config`].
    pub fn context_by(&self, config: &RuntimeConfig) -> Result<Context> {
        let watch = self.object.library().watch();
        let config = config.object();
        let slot = self.newer(self.object.slots().engine.create_execution_context_with_config)?;
        // SAFETY: `IExecutionContext* createExecutionContextWithRuntimeConfig(IRuntimeConfig*)`, which is ours and
        // keeps engine and configuration.
        let context = unsafe {
            let raw = method!(self.object, [slot], (config.raw() => Raw) -> Raw);
            Object::adopt(raw, self.object.library(), vec![self.object.clone(), config.clone()])
        };
        Ok(Context::new(watch.made("ICudaEngine::createExecutionContext", context)?, self.io.clone()))
    }

    /// A configuration for contexts.
    pub fn runtime_config(&self) -> Result<RuntimeConfig> {
        let watch = self.object.library().watch();
        let slot = self.newer(self.object.slots().engine.create_runtime_config)?;
        // SAFETY: `IRuntimeConfig* createRuntimeConfig()`, which is ours and keeps the engine.
        let config = unsafe {
            let raw = method!(self.object, [slot], () -> Raw);
            Object::adopt(raw, self.object.library(), vec![self.object.clone()])
        };
        Ok(RuntimeConfig::new(watch.made("ICudaEngine::createRuntimeConfig", config)?, self.object.clone()))
    }
}

impl Engine {
    /// The slot of a method that TensorRT 10 is not asked for.
    fn newer(&self, slot: Option<usize>) -> Result<usize> {
        slot.ok_or_else(|| self.object.library().unsupported("configuration for contexts", "take `Engine::context`"))
    }
}

/// The inputs and outputs, in the engine's order.
fn io(engine: &Object) -> Arc<[IoTensor]> {
    let slots = &engine.slots().engine;
    // SAFETY: `int32_t getNbIOTensors()`, `char const* getIOTensorName(int32_t)`, and by the tensor's name
    // `Dims getTensorShape`, `DataType getTensorDataType`, `TensorLocation getTensorLocation`,
    // `TensorIOMode getTensorIOMode`, `TensorFormat getTensorFormat`.
    unsafe {
        (0..method!(engine, engine.get_nb_io_tensors, () -> i32))
            .map(|index| method!(engine, engine.get_io_tensor_name, (index => i32) -> *const c_char))
            .filter(|name| !name.is_null())
            .map(|name| {
                let ask = |slot| method!(engine, [slot], (name => *const c_char) -> i32);
                IoTensor {
                    name: CStr::from_ptr(name).to_owned(),
                    mode: TensorIoMode(ask(slots.get_tensor_io_mode)),
                    dims: method_for_dims!(engine, engine.get_tensor_shape, (name => *const c_char)),
                    data_type: DataType(ask(slots.get_tensor_data_type)),
                    location: TensorLocation(ask(slots.get_tensor_location)),
                    format: TensorFormat(ask(slots.get_tensor_format)),
                }
            })
            .collect()
    }
}
