//! `IExecutionContext`: runs an engine.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::{Dims, Raw};
use super::bindings::Bindings;
use super::codes::TensorIoMode;
use super::cuda::{DeviceMemory, Stream};
use super::error::{BindError, Result};
use super::object::{NotSync, Object, method, method_for_dims};
use super::tensor::{IoTensor, Tensor, dims, name};

/// Runs an engine, one run at a time, and keeps it. May be sent, not shared: each thread has a context of its own.
///
/// Dropping it waits for the streams that it used.
pub struct Context {
    // The object ends first, then what it points at.
    object: Object,
    bindings: Bindings,
    /// Streams that may still run work.
    streams: Vec<Stream>,
    not_sync: NotSync,
}

impl Context {
    pub(super) fn new(object: Object, io: Arc<[IoTensor]>) -> Self {
        Self { object, bindings: Bindings::new(io), streams: Vec::new(), not_sync: PhantomData }
    }

    /// Sets an input's shape, within the profile's range. Allocates nothing of its own.
    pub fn set_input_shape(&mut self, input: &str, shape: &[i64]) -> Result<()> {
        let watch = self.object.library().watch();
        let (input, dims) = (self.bindings.tensor(input)?, dims(shape)?);
        // SAFETY: `bool setInputShape(char const*, Dims const&)`.
        let set = unsafe {
            method!(
                self.object,
                context.set_input_shape,
                (input.as_ptr() => *const c_char, &raw const dims => *const Dims) -> bool
            )
        };
        watch.done("IExecutionContext::setInputShape", set)
    }

    /// The inputs, at their current shapes.
    pub fn inputs(&self) -> Vec<Tensor> {
        self.tensors(TensorIoMode::INPUT)
    }

    /// The outputs, at their current shapes.
    pub fn outputs(&self) -> Vec<Tensor> {
        self.tensors(TensorIoMode::OUTPUT)
    }

    fn tensors(&self, mode: TensorIoMode) -> Vec<Tensor> {
        let io = self.bindings.io().iter().filter(|tensor| tensor.mode == mode);
        io.map(|tensor| Tensor::new(tensor, &self.shape(&tensor.name))).collect()
    }

    /// A tensor's shape as the inputs' shapes determine it; -1 for extents that they leave open.
    fn shape(&self, tensor: &CStr) -> Dims {
        // SAFETY: `Dims getTensorShape(char const*)`.
        unsafe { method_for_dims!(self.object, context.get_tensor_shape, (tensor.as_ptr() => *const c_char)) }
    }

    /// Binds memory to an input or output, until other memory is bound. The context keeps the memory.
    pub fn bind(&mut self, tensor: &str, memory: &DeviceMemory) -> Result<()> {
        let tensor = name(tensor)?;
        let index = self.bindings.accepts(&tensor, memory)?;
        let (raw_name, raw_memory) = (tensor.as_ptr(), memory.raw());
        // SAFETY: `bool setTensorAddress(char const*, void*)`. The memory is kept; every run checks its size.
        let set = unsafe {
            method!(
                self.object,
                context.set_tensor_address,
                (raw_name => *const c_char, raw_memory => Raw) -> bool
            )
        };
        // After a refusal it is unknown what TensorRT holds: nothing runs until this tensor is bound again.
        self.bindings.set(index, set.then(|| memory.clone()));
        if set { Ok(()) } else { Err(BindError::Refused { tensor: tensor.to_string_lossy().into_owned() }.into()) }
    }

    /// Begins a run on `stream`. Every tensor must have enough memory, which is checked.
    pub fn enqueue(&mut self, stream: &Stream) -> Result<()> {
        let watch = self.object.library().watch();
        self.bindings.check(|tensor| self.shape(tensor))?;
        if !self.streams.iter().any(|known| known.raw() == stream.raw()) {
            self.streams.push(stream.clone());
        }
        // SAFETY: `bool enqueueV3(cudaStream_t)`. Every tensor has memory of its size; memory and stream are kept.
        let begun = unsafe { method!(self.object, context.enqueue, (stream.raw() => Raw) -> bool) };
        watch.done("IExecutionContext::enqueueV3", begun)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Ok(driver) = self.object.library().driver() {
            self.streams.iter().for_each(|stream| driver.synchronize(stream));
        }
    }
}
