//! TensorRT and TensorRT-RTX in pure Rust, loaded at run time.
//!
//! One program drives `libnvinfer.so.11` and `libtensorrt_rtx.so.1` (1.5 and newer), whichever is there, or says by
//! name why not. Nothing but a Rust compiler is needed to build it: no headers, no C++ compiler, no library. NVIDIA's
//! C++ interface is called through its virtual tables; the places of its methods are in [`sys::slots`].
//!
//! ```no_run
//! use coverslip_tensorrt::{Builder, ComputeCapability, InputRange, Library, Model, Runtime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let library = Library::load("/opt/tensorrt/lib/libtensorrt_rtx.so.1")?;
//!
//! // Ahead of time, also on a machine without a GPU:
//! let model = std::fs::read("model.onnx")?;
//! let mut builder = Builder::new(library)?;
//! let mut network = builder.network()?;
//! network.parse(&Model::new(&model))?;
//! let mut config = builder.config()?;
//! let (one, many) = ([1, 224, 224, 3], [64, 224, 224, 3]);
//! config.add_profile(&builder.profile(&[InputRange { input: "pixels", min: &one, opt: &many, max: &many }])?)?;
//! config.set_compute_capabilities(&[ComputeCapability::SM86, ComputeCapability::SM89])?;
//! let plan = builder.build(&mut network, &mut config)?;
//!
//! // On the machine with the GPU:
//! let engine = Runtime::new(library)?.deserialize(&plan)?;
//! let mut context = engine.context()?;
//! context.set_input_shape("pixels", &many)?;
//! // bind device memory, enqueue on a stream: see `Context`
//! # Ok(())
//! # }
//! ```
//!
//! # Reading order
//!
//! 1. [`plan`]: from a model to a plan in one call.
//! 2. [`safe`]: what a program uses. Its table says what may be shared and what keeps what alive.
//! 3. [`result`]: how answers become errors.
//! 4. [`sys`]: `slots` (the tables), `abi` (how C++ calls a method, on Linux and on Windows), `object` (ownership),
//!    `library` and `driver` (loading), `callback` with `logger`, `monitor` and `recorder` (objects of ours that C++
//!    calls), then one file per class. The only place with `unsafe`.
//!
//! # What it takes care of
//!
//! - CUDA is initialised before TensorRT is touched; without a driver TensorRT 11's lean runtime answers 0x228 instead
//!   of a null pointer, so that whatever is below 64 KiB counts as null.
//! - Libraries, the driver and the log's object stay for the life of the process: TensorRT survives neither being
//!   unloaded nor a second logger.
//! - No panic crosses into C++, and nothing unwinds out of it.
//! - Before every run each tensor's memory is compared with its shape: TensorRT does not, and would write past it.
//!
//! # What is left out
//!
//! Networks layer by layer, plugins, refitting, DLA, debug tensors, allocators of one's own, output allocators (so no
//! outputs whose size depends on data). TensorRT 10 is one more table in [`sys::slots`].

#![deny(unsafe_code)]

pub mod plan;
pub mod result;
pub mod safe;
#[allow(unsafe_code)]
pub mod sys;

pub use result::{Error, PlanRefusal, Result};
pub use safe::*;
pub use sys::{
    BindError, BuilderFlag, ComputeCapability, ContextAllocation, CudaGraphStrategy, DataType, DeviceMemory, Driver,
    EngineInvalidity, EngineValidity, Event, Flavor, Gpu, HardwareCompatibilityLevel, HostMemory, KernelSpecialization,
    LayerInformationFormat, LoadError, LogLine, LogSink, MemoryPoolType, NoDriver, OptProfileSelector,
    OptimizationProfile, ParserError, ParserErrorCode, ProfilingVerbosity, ProgressMonitor, RecordedError,
    RecorderObject, Refusal, Severity, Stream, TensorLocation, Version,
};
