//! `IExecutionContext`: one run at a time of an engine.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::{Raw, behind_destructor, call, call_for_dims};
use super::bindings::{BindError, Bindings, SCRATCH};
use super::cuda::{DeviceMemory, Event, Stream};
use super::engine::IoTensor;
use super::object::{NotSync, Object};
use super::recorder::RecorderObject;
use super::types::Dims;

/// One run at a time of an engine, which it keeps. May be sent, not shared: a thread has a context of its own.
///
/// Its end waits for the last stream that it used.
pub struct Context {
    // The object ends first, what it points at after it.
    object: Object,
    bindings: Bindings,
    /// The activations' memory, where it is ours to give.
    scratch: Option<DeviceMemory>,
    /// What the engine says that a context needs, and whether it must be given.
    needed: u64,
    user_managed: bool,
    consumed: Option<Event>,
    /// Streams that work may still run on.
    streams: Vec<Stream>,
    not_sync: NotSync,
}

impl Context {
    pub(super) fn new(object: Object, io: Arc<[IoTensor]>, needed: u64, user_managed: bool) -> Self {
        Self {
            object,
            bindings: Bindings::new(io),
            scratch: None,
            needed,
            user_managed,
            consumed: None,
            streams: Vec::new(),
            not_sync: PhantomData,
        }
    }

    /// What goes in and comes out.
    pub fn io(&self) -> &Arc<[IoTensor]> {
        self.bindings.io()
    }

    /// `setInputShape`
    pub fn set_input_shape(&mut self, input: &CStr, dims: Dims) -> bool {
        let slot = self.object.slots().context.set_input_shape;
        // SAFETY: `bool setInputShape(char const*, Dims const&)`.
        unsafe {
            call!(
                self.object.implementation(),
                behind_destructor(slot),
                (input.as_ptr() => *const c_char, &raw const dims => *const Dims) -> bool
            )
        }
    }

    /// `getTensorShape`: as the inputs' shapes make it; -1 for what they leave open.
    pub fn tensor_shape(&self, tensor: &CStr) -> Dims {
        let slot = self.object.slots().context.get_tensor_shape;
        // SAFETY: `Dims getTensorShape(char const*)`.
        unsafe {
            call_for_dims!(
                self.object.implementation(),
                behind_destructor(slot),
                (tensor.as_ptr() => *const c_char)
            )
        }
    }

    /// `inferShapes`: how many inputs lack a shape, or less than 0.
    pub fn infer_shapes(&mut self) -> i32 {
        let slot = self.object.slots().context.infer_shapes;
        // SAFETY: `int32_t inferShapes(int32_t, char const**)`; without room it names none.
        unsafe {
            call!(
                self.object.implementation(),
                behind_destructor(slot),
                (0 => i32, std::ptr::null_mut() => *mut *const c_char) -> i32
            )
        }
    }

    /// `setTensorAddress`. The memory is kept until other memory takes its place.
    pub fn set_tensor_address(&mut self, tensor: &CStr, memory: &DeviceMemory) -> Result<(), BindError> {
        let index = self.bindings.accepts(tensor, memory)?;
        let slot = self.object.slots().context.set_tensor_address;
        // SAFETY: `bool setTensorAddress(char const*, void*)`. The memory is kept; how much of it is used is checked at
        // every run.
        let taken = unsafe {
            call!(
                self.object.implementation(),
                behind_destructor(slot),
                (tensor.as_ptr() => *const c_char, memory.raw() => Raw) -> bool
            )
        };
        if !taken {
            // What TensorRT holds now is not known: nothing runs until this is bound again.
            self.bindings.set(index, None);
            return Err(BindError::Refused { tensor: tensor.to_string_lossy().into_owned() });
        }
        self.bindings.set(index, Some(memory.clone()));
        Ok(())
    }

    /// `setDeviceMemoryV2`: the activations' memory of a context that was made without.
    pub fn set_device_memory(&mut self, memory: &DeviceMemory) -> Result<(), BindError> {
        let size = i64::try_from(memory.bytes()).unwrap_or(i64::MAX);
        self.bindings.accepts_scratch(memory, self.needed)?;
        let slot = self.object.slots().context.set_device_memory;
        // SAFETY: `void setDeviceMemoryV2(void*, int64_t)`; TensorRT is told the size, and the memory is kept.
        unsafe {
            call!(self.object.implementation(), behind_destructor(slot), (memory.raw() => Raw, size => i64));
        }
        self.scratch = Some(memory.clone());
        Ok(())
    }

    /// `enqueueV3`: begins a run on a stream; false where TensorRT refuses. An error where memory is missing or short.
    pub fn enqueue(&mut self, stream: &Stream) -> Result<bool, BindError> {
        self.bindings.check(|tensor| self.tensor_shape(tensor))?;
        if self.user_managed && self.scratch.is_none() && self.needed > 0 {
            return Err(BindError::Unbound { tensor: SCRATCH.to_owned() });
        }
        self.uses(stream);
        let slot = self.object.slots().context.enqueue;
        // SAFETY: `bool enqueueV3(cudaStream_t)`. Every tensor has memory of its size, and it and the stream are kept.
        unsafe { Ok(call!(self.object.implementation(), behind_destructor(slot), (stream.raw() => Raw) -> bool)) }
    }

    /// `isStreamCapturable`: whether a run may be captured into a CUDA graph; none if the library is not RTX.
    pub fn is_stream_capturable(&self, stream: &Stream) -> Option<bool> {
        let slot = self.object.slots().context.is_stream_capturable?;
        // SAFETY: `bool isStreamCapturable(cudaStream_t)`.
        unsafe { Some(call!(self.object.implementation(), behind_destructor(slot), (stream.raw() => Raw) -> bool)) }
    }

    /// `setOptimizationProfileAsync`. Shapes must be set again afterwards. Work that runs must be on the same stream.
    pub fn set_optimization_profile(&mut self, profile: i32, stream: &Stream) -> bool {
        self.uses(stream);
        let slot = self.object.slots().context.set_optimization_profile_async;
        // SAFETY: `bool setOptimizationProfileAsync(int32_t, cudaStream_t)`.
        unsafe {
            call!(
                self.object.implementation(),
                behind_destructor(slot),
                (profile => i32, stream.raw() => Raw) -> bool
            )
        }
    }

    /// `getOptimizationProfile`
    pub fn optimization_profile(&self) -> i32 {
        let slot = self.object.slots().context.get_optimization_profile;
        // SAFETY: `int32_t getOptimizationProfile()`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), () -> i32) }
    }

    /// `setInputConsumedEvent`: recorded when the inputs' memory may be written again.
    pub fn set_input_consumed_event(&mut self, event: &Event) -> bool {
        let slot = self.object.slots().context.set_input_consumed_event;
        // SAFETY: `bool setInputConsumedEvent(cudaEvent_t)`; the event is kept, and one that it takes the place of
        // until after the call.
        let taken =
            unsafe { call!(self.object.implementation(), behind_destructor(slot), (event.raw() => Raw) -> bool) };
        self.consumed = Some(event.clone());
        taken
    }

    /// `setAuxStreams`: where the engine's side work goes, instead of streams of TensorRT's own. They must be different
    /// from each other, from the main stream and from the default stream.
    pub fn set_aux_streams(&mut self, streams: &[Stream]) -> bool {
        let mut raw: Vec<Raw> = streams.iter().map(Stream::raw).collect();
        let Ok(number) = i32::try_from(raw.len()) else { return false };
        for stream in streams {
            self.uses(stream);
        }
        let slot = self.object.slots().context.set_aux_streams;
        // SAFETY: `void setAuxStreams(cudaStream_t*, int32_t)`, which copies the list; the streams are kept.
        unsafe {
            call!(self.object.implementation(), behind_destructor(slot), (raw.as_mut_ptr() => *mut Raw, number => i32));
        }
        true
    }

    /// `setErrorRecorder`
    pub fn set_error_recorder(&mut self, recorder: Arc<RecorderObject>) {
        let slot = self.object.slots().context.set_error_recorder;
        let raw = recorder.raw();
        self.object.keep(recorder);
        // SAFETY: `void setErrorRecorder(IErrorRecorder*)`; the recorder is kept.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (raw => Raw)) }
    }

    /// Keeps a stream that work is put on.
    fn uses(&mut self, stream: &Stream) {
        if !self.streams.iter().any(|known| known.raw() == stream.raw()) {
            self.streams.push(stream.clone());
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Ok(driver) = self.object.library().driver() {
            for stream in &self.streams {
                // SAFETY: the stream is kept. What the wait says is of no use here.
                unsafe { driver.synchronize(stream.raw()) };
            }
        }
    }
}
