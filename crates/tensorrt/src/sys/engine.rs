//! `ICudaEngine` and `IEngineInspector`: a plan on the device, and what became of the graph.

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::{Raw, behind_destructor, call, call_for_dims};
use super::callback::text;
use super::context::Context;
use super::library::Library;
use super::object::{NotSync, Object, Owner};
use super::runtime_config::RuntimeConfig;
use super::types::{
    ContextAllocation, DataType, Dims, LayerInformationFormat, OptProfileSelector, TensorFormat, TensorIoMode,
    TensorLocation,
};

/// A plan on the device. Keeps its runtime. May be shared: TensorRT allows several threads to ask and to make contexts.
pub struct Engine {
    object: Arc<Object>,
    io: Arc<[IoTensor]>,
}

/// What goes in or comes out of an engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IoTensor {
    /// Its name in the ONNX model.
    pub name: CString,
    /// In or out.
    pub mode: TensorIoMode,
    /// Its extents; -1 for those that the profiles leave open.
    pub dims: Dims,
    /// The type of its elements.
    pub data_type: DataType,
    /// Where its memory must be.
    pub location: TensorLocation,
    /// How its elements lie.
    pub format: TensorFormat,
}

impl Engine {
    pub(super) fn new(object: Object) -> Self {
        let object = Arc::new(object);
        Self { io: io(&object), object }
    }

    /// Whose engine it is.
    pub fn library(&self) -> &'static Library {
        self.object.library()
    }

    /// What goes in and comes out, in the engine's order.
    pub fn io(&self) -> &Arc<[IoTensor]> {
        &self.io
    }

    /// `getName`
    pub fn name(&self) -> String {
        let slot = self.object.slots().engine.get_name;
        // SAFETY: `char const* getName()`.
        unsafe {
            text(call!(self.object.implementation(), behind_destructor(slot), () -> *const c_char)).unwrap_or_default()
        }
    }

    /// `getNbOptimizationProfiles`
    pub fn nb_optimization_profiles(&self) -> i32 {
        let slot = self.object.slots().engine.get_nb_optimization_profiles;
        // SAFETY: `int32_t getNbOptimizationProfiles()`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), () -> i32) }
    }

    /// `getProfileShape`; a rank of -1 where there is no such profile or input.
    pub fn profile_shape(&self, input: &CStr, profile: i32, select: OptProfileSelector) -> Dims {
        let slot = self.object.slots().engine.get_profile_shape;
        // SAFETY: `Dims getProfileShape(char const*, int32_t, OptProfileSelector)`.
        unsafe {
            call_for_dims!(
                self.object.implementation(),
                behind_destructor(slot),
                (input.as_ptr() => *const c_char, profile => i32, select.0 => i32)
            )
        }
    }

    /// `getNbAuxStreams`
    pub fn nb_aux_streams(&self) -> i32 {
        let slot = self.object.slots().engine.get_nb_aux_streams;
        // SAFETY: `int32_t getNbAuxStreams()`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), () -> i32) }
    }

    /// `getDeviceMemorySizeV2`, or of one profile `getDeviceMemorySizeForProfileV2`: what a context needs.
    pub fn device_memory_size(&self, profile: Option<i32>) -> i64 {
        let slots = &self.object.slots().engine;
        let engine = self.object.implementation();
        // SAFETY: `int64_t getDeviceMemorySizeV2()`, `int64_t getDeviceMemorySizeForProfileV2(int32_t)`.
        unsafe {
            match profile {
                None => call!(engine, behind_destructor(slots.get_device_memory_size), () -> i64),
                Some(profile) => {
                    let slot = slots.get_device_memory_size_for_profile;
                    call!(engine, behind_destructor(slot), (profile => i32) -> i64)
                }
            }
        }
    }

    /// `createRuntimeConfig`
    pub fn create_runtime_config(&self) -> Option<RuntimeConfig> {
        let slot = self.object.slots().engine.create_runtime_config;
        // SAFETY: `IRuntimeConfig* createRuntimeConfig()`, which is ours and keeps the engine.
        unsafe {
            let raw = call!(self.object.implementation(), behind_destructor(slot), () -> Raw);
            let object = Object::adopt(raw, self.library(), vec![self.object.clone()])?;
            Some(RuntimeConfig::new(object, self.object.clone()))
        }
    }

    /// `createExecutionContext` with a configuration, or with a strategy alone.
    pub fn create_execution_context(&self, config: Result<&RuntimeConfig, ContextAllocation>) -> Option<Context> {
        let slots = &self.object.slots().engine;
        let engine = self.object.implementation();
        let mut owners: Vec<Owner> = vec![self.object.clone()];
        let needed = self.device_memory_size(None).max(0).unsigned_abs();
        let allocation = config.map_or_else(|strategy| strategy, RuntimeConfig::allocation);
        // SAFETY: `IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy)` and
        // `…WithRuntimeConfig(IRuntimeConfig*)`; the context is ours and keeps engine and configuration.
        unsafe {
            let raw = match config {
                Err(strategy) => {
                    call!(engine, behind_destructor(slots.create_execution_context), (strategy.0 => i32) -> Raw)
                }
                Ok(config) => {
                    owners.push(config.object().clone());
                    let slot = slots.create_execution_context_with_config;
                    call!(engine, behind_destructor(slot), (config.object().raw() => Raw) -> Raw)
                }
            };
            let object = Object::adopt(raw, self.library(), owners)?;
            Some(Context::new(object, self.io.clone(), needed, allocation == ContextAllocation::USER_MANAGED))
        }
    }

    /// `createEngineInspector`
    pub fn create_engine_inspector(&self) -> Option<Inspector> {
        let slot = self.object.slots().engine.create_engine_inspector;
        // SAFETY: `IEngineInspector* createEngineInspector()`, which is ours and keeps the engine.
        unsafe {
            let raw = call!(self.object.implementation(), behind_destructor(slot), () -> Raw);
            let object = Object::adopt(raw, self.library(), vec![self.object.clone()])?;
            Some(Inspector { object, not_sync: PhantomData })
        }
    }
}

/// `getNbIOTensors`, `getIOTensorName` and what is known of each.
fn io(object: &Object) -> Arc<[IoTensor]> {
    let engine = object.implementation();
    let slots = &object.slots().engine;
    // SAFETY: `int32_t getNbIOTensors()`, `char const* getIOTensorName(int32_t)`, then methods of the tensor's name:
    // `Dims getTensorShape`, `DataType getTensorDataType`, `TensorLocation getTensorLocation`,
    // `TensorIOMode getTensorIOMode`, `TensorFormat getTensorFormat`.
    unsafe {
        (0..call!(engine, behind_destructor(slots.get_nb_io_tensors), () -> i32))
            .map(|index| call!(engine, behind_destructor(slots.get_io_tensor_name), (index => i32) -> *const c_char))
            .filter(|name| !name.is_null())
            .map(|name| {
                let ask = |slot| call!(engine, behind_destructor(slot), (name => *const c_char) -> i32);
                IoTensor {
                    name: CStr::from_ptr(name).to_owned(),
                    mode: TensorIoMode(ask(slots.get_tensor_io_mode)),
                    dims: call_for_dims!(engine, behind_destructor(slots.get_tensor_shape), (name => *const c_char)),
                    data_type: DataType(ask(slots.get_tensor_data_type)),
                    location: TensorLocation(ask(slots.get_tensor_location)),
                    format: TensorFormat(ask(slots.get_tensor_format)),
                }
            })
            .collect()
    }
}

/// Tells what became of the graph. Keeps its engine. May be sent, not shared: its answers lie in one place.
pub struct Inspector {
    object: Object,
    not_sync: NotSync,
}

impl Inspector {
    /// `getEngineInformation`: all layers.
    pub fn engine_information(&mut self, format: LayerInformationFormat) -> Option<String> {
        let slot = self.object.slots().inspector.get_engine_information;
        // SAFETY: `char const* getEngineInformation(LayerInformationFormat)`, copied before the next call.
        unsafe {
            text(call!(self.object.implementation(), behind_destructor(slot), (format.0 => i32) -> *const c_char))
        }
    }

    /// `getLayerInformation`: one layer.
    pub fn layer_information(&mut self, layer: i32, format: LayerInformationFormat) -> Option<String> {
        let slot = self.object.slots().inspector.get_layer_information;
        // SAFETY: `char const* getLayerInformation(int32_t, LayerInformationFormat)`, copied before the next call.
        unsafe {
            text(call!(
                self.object.implementation(),
                behind_destructor(slot),
                (layer => i32, format.0 => i32) -> *const c_char
            ))
        }
    }
}
