//! Runs.

use super::config::ErrorRecorder;
use super::library::Library;
use super::tensor::{Tensor, shape};
use crate::result::{Result, Watch, dims, name};
use crate::sys::{self, DeviceMemory, Event, Stream, TensorIoMode};

/// One run at a time of an engine. A thread has one of its own; where the engine has shapes left open and several
/// contexts run at a time, each needs a profile of its own.
///
/// Dropping it waits for the streams it used.
pub struct Context {
    sys: sys::Context,
    library: Library,
}

impl Context {
    pub(super) fn new(sys: sys::Context, library: Library) -> Self {
        Self { sys, library }
    }

    /// Sets an input's shape, within the profile's range.
    pub fn set_input_shape(&mut self, input: &str, shape: &[i64]) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        watch.done("IExecutionContext::setInputShape", self.sys.set_input_shape(&name(input)?, dims(shape)?))
    }

    /// A tensor's shape as the inputs' shapes make it; -1 for what they leave open.
    pub fn shape(&self, tensor: &str) -> Result<Vec<i64>> {
        let watch = Watch::begin(self.library.sys());
        let dims = self.sys.tensor_shape(&name(tensor)?);
        watch.made("IExecutionContext::getTensorShape", dims.shape().is_some().then(|| shape(&dims)))
    }

    /// What goes in, as shaped now.
    pub fn inputs(&self) -> Vec<Tensor> {
        self.io(TensorIoMode::INPUT)
    }

    /// What comes out, as shaped now.
    pub fn outputs(&self) -> Vec<Tensor> {
        self.io(TensorIoMode::OUTPUT)
    }

    fn io(&self, mode: TensorIoMode) -> Vec<Tensor> {
        let io = self.sys.io().iter().filter(|tensor| tensor.mode == mode);
        io.map(|tensor| Tensor { shape: shape(&self.sys.tensor_shape(&tensor.name)), ..Tensor::of_engine(tensor) })
            .collect()
    }

    /// Works out the outputs' shapes. An error where an input has no shape yet.
    pub fn infer_shapes(&mut self) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        watch.done("IExecutionContext::inferShapes", self.sys.infer_shapes() == 0)
    }

    /// Binds memory to an input or output, until other memory is.
    pub fn bind(&mut self, tensor: &str, memory: &DeviceMemory) -> Result<()> {
        Ok(self.sys.set_tensor_address(&name(tensor)?, memory)?)
    }

    /// Gives a context its activations' memory, where it was made to be given it.
    pub fn set_device_memory(&mut self, memory: &DeviceMemory) -> Result<()> {
        Ok(self.sys.set_device_memory(memory)?)
    }

    /// Begins a run on `stream`. Every tensor must have memory of its size, which is checked.
    pub fn enqueue(&mut self, stream: &Stream) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        let begun = self.sys.enqueue(stream)?;
        watch.done("IExecutionContext::enqueueV3", begun)
    }

    /// Whether a run on `stream` may be captured into a CUDA graph, as far as RTX says; nothing on TensorRT.
    pub fn is_stream_capturable(&self, stream: &Stream) -> Option<bool> {
        self.sys.is_stream_capturable(stream)
    }

    /// Switches to another profile. Shapes must be set again. Runs before and after must be on the same stream, or be
    /// waited for.
    pub fn set_profile(&mut self, profile: usize, stream: &Stream) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        let index = i32::try_from(profile).unwrap_or(i32::MAX);
        let set = self.sys.set_optimization_profile(index, stream);
        watch.done("IExecutionContext::setOptimizationProfileAsync", set)
    }

    /// The profile, if one is set.
    pub fn profile(&self) -> Option<usize> {
        usize::try_from(self.sys.optimization_profile()).ok()
    }

    /// Records `event` in every run when the inputs' memory may be written again.
    pub fn set_input_consumed_event(&mut self, event: &Event) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        watch.done("IExecutionContext::setInputConsumedEvent", self.sys.set_input_consumed_event(event))
    }

    /// Gives the engine's side work these streams instead of streams of TensorRT's own. All different, none of them the
    /// main one or the default one.
    pub fn set_aux_streams(&mut self, streams: &[Stream]) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        watch.done("IExecutionContext::setAuxStreams", self.sys.set_aux_streams(streams))
    }

    /// Errors go to this recorder from now on, instead of to the log (and so not into this crate's errors either).
    pub fn set_error_recorder(&mut self, recorder: ErrorRecorder) {
        self.sys.set_error_recorder(recorder);
    }
}
