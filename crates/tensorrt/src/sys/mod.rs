//! TensorRT's interfaces as they are: loading, tables, objects, one method per method of C++.
//!
//! The only layer with `unsafe`. Its types hold what safety needs, so that their methods are safe to call: an object
//! keeps what it points at ([`Owner`]s) and its library's tables; a method that TensorRT does not let run beside others
//! takes `&mut self` or belongs to a type that cannot be shared; what no type can know, the caller promises once, when
//! raw handles of CUDA come in ([`Stream::from_raw`], [`DeviceMemory::from_raw`]). Answers are as TensorRT gives them:
//! `bool`, numbers below 0, nothing for a null pointer. [`crate::result`] makes errors of them.
//!
//! Read `slots` and `abi` first, then `object`; `callback` is the other direction.

mod abi;
mod bindings;
mod builder;
mod builder_config;
mod callback;
mod context;
mod cuda;
mod driver;
mod dynamic;
mod engine;
mod gpu;
mod host_memory;
mod library;
mod logger;
mod monitor;
mod network;
mod object;
mod parser;
mod recorder;
mod runtime;
mod runtime_config;
pub mod slots;
mod types;
mod version;

pub use bindings::BindError;
pub use builder::{Builder, OptimizationProfile};
pub use builder_config::{BuilderConfig, TimingCache};
pub use context::Context;
pub use cuda::{ALIGNMENT, DeviceMemory, Event, Stream};
pub use driver::{Driver, NoDriver};
pub use engine::{Engine, Inspector, IoTensor};
pub use gpu::Gpu;
pub use host_memory::HostMemory;
pub use library::{Library, LoadError};
pub use logger::{LogLine, LogSink, Logger, Mark};
pub use monitor::{MonitorObject, ProgressMonitor, Stopped};
pub use network::{Network, TensorInfo};
pub use object::Owner;
pub use parser::{Parser, ParserError};
pub use recorder::{RecordedError, RecorderObject};
pub use runtime::Runtime;
pub use runtime_config::{RuntimeCache, RuntimeConfig};
pub use types::*;
pub use version::{Flavor, Refusal, Version};
