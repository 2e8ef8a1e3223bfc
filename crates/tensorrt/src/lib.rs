//! TensorRT and TensorRT-RTX in pure Rust, loaded at run time.
//!
//! One program drives `libnvinfer.so.10`, `libnvinfer.so.11` or `libtensorrt_rtx.so.1` (1.5 and newer), or reports
//! why it cannot. Building it takes a Rust compiler only: no headers, no C++ compiler, no library. It calls NVIDIA's
//! C++ interface through the virtual tables of its classes.
//!
//! ```no_run
//! use coverslip_tensorrt::plan::{self, Batch, Progress, Recipe};
//! use coverslip_tensorrt::{ComputeCapability, Library, Model, Runtime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let library = Library::load("/opt/tensorrt/lib/libtensorrt_rtx.so.1")?;
//!
//! // Ahead of time, also on a machine without a GPU:
//! let onnx = std::fs::read("model.onnx")?;
//! let mut recipe = Recipe::new(Model::new(&onnx), Batch { min: 1, opt: 16, max: 64 });
//! recipe.targets = vec![ComputeCapability::SM86, ComputeCapability::SM89];
//! let plan = plan::build(library, &recipe, &Progress::new())?.plan;
//!
//! // On the machine with the GPU:
//! let engine = Runtime::new(library)?.deserialize(&plan)?;
//! let mut context = engine.context()?;
//! context.set_input_shape("pixels", &[64, 224, 224, 3])?;
//! // Then bind device memory and enqueue on a stream: see `Context`.
//! # Ok(())
//! # }
//! ```
//!
//! # Reading order
//!
//! 1. [`plan`]: from a model to a plan in one call. [`Builder`], [`Network`] and [`BuilderConfig`] are its steps.
//! 2. `sys`: TensorRT's classes, one file each, on top of their virtual tables (`slots`), C++'s calling convention
//!    (`abi`), ownership (`object`) and loading (`library`, `driver`). The other direction is `callback`, with `logger`
//!    and `monitor`: objects of ours that TensorRT calls.
//!
//! # Guarantees
//!
//! - CUDA is initialised before TensorRT is called. Without a driver, TensorRT 11's lean runtime returns 0x228 instead
//!   of a null pointer, so every address below 64 KiB counts as null.
//! - Libraries, the driver and the logger stay for the life of the process: TensorRT survives neither unloading nor a
//!   second logger.
//! - No panic unwinds into C++, and no C++ exception into Rust.
//! - Before every run, each tensor's memory is compared with its shape: TensorRT does not check this and would write
//!   past the end.
//!
//! # Not covered
//!
//! Networks layer by layer, plugins, refitting, DLA, debug tensors, custom allocators, output allocators (so no outputs
//! whose size depends on data), several profiles, the engine inspector, error recorders.

#![deny(unsafe_code)]

pub mod plan;
#[allow(unsafe_code)]
mod sys;

pub use sys::*;
