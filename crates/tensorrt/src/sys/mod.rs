//! TensorRT's classes, called through their virtual tables.
//!
//! The only module with `unsafe`. Its types hold what safety requires, so that their methods are safe to call:
//! - an object keeps what it points at, and the tables of its library;
//! - a method that must not run beside others takes `&mut self`, or belongs to a type that cannot be shared;
//! - what no type can know, the caller promises once, for CUDA's raw handles ([`Stream::from_raw`],
//!   [`DeviceMemory::from_raw`]).
//!
//! | type | may be | keeps alive |
//! |---|---|---|
//! | [`Library`] | copied, shared | (never unloaded) |
//! | [`Builder`], [`Network`], [`BuilderConfig`] | sent | network and configuration keep the builder |
//! | [`HostMemory`], for example a plan | sent, shared | |
//! | [`Runtime`] | sent, shared: several threads may deserialise | |
//! | [`Engine`] | sent, shared: several threads may query it and make contexts | the runtime |
//! | [`Context`] | sent: one thread at a time | the engine, memory, streams, its configuration and cache |
//! | [`RuntimeConfig`], [`RuntimeCache`] | sent | the engine |
//!
//! NVIDIA's developer guide allows several threads to query a runtime or an engine, to deserialise and to make
//! contexts; everything else happens on one thread at a time. No object is bound to the thread that made it. But an
//! engine lives on the CUDA device that was current when it was deserialised, and its contexts run there.
//!
//! Read [`slots`] and [`abi`] first, then [`object`]; [`callback`] is the other direction.

mod abi;
mod bindings;
mod builder;
mod callback;
mod codes;
mod context;
mod cuda;
mod driver;
mod dynamic;
mod engine;
mod error;
mod library;
mod logger;
mod monitor;
mod network;
mod object;
mod runtime_config;
mod slots;
mod tensor;
mod version;

pub use builder::{Builder, BuilderConfig, InputRange, OptimizationProfile};
pub use codes::{
    ComputeCapability, CudaGraphStrategy, DataType, EngineInvalidity, EngineValidity, OptProfileSelector,
    ParserErrorCode, Severity,
};
pub use context::Context;
pub use cuda::{DeviceMemory, Stream};
pub use driver::{Driver, Gpu, NoDriver};
pub use engine::{Engine, Runtime};
pub use error::{BindError, Error, LoadError, ParserError, PlanRefusal, Result};
pub use library::Library;
pub use logger::LogLine;
pub use monitor::ProgressMonitor;
pub use network::{Model, Network};
pub use object::HostMemory;
pub use runtime_config::{RuntimeCache, RuntimeConfig};
pub use tensor::Tensor;
pub use version::{Flavor, Refusal, Version};

#[cfg(test)]
mod tests {
    use super::*;

    /// `shared` is the inherent method for `Sync` types, and the trait's for others.
    struct Ask<T>(std::marker::PhantomData<T>);

    trait Otherwise {
        fn shared(&self) -> bool {
            false
        }
    }

    impl<T> Otherwise for Ask<T> {}

    impl<T: Sync> Ask<T> {
        fn shared(&self) -> bool {
            true
        }
    }

    fn sent<T: Send>() {}

    macro_rules! check {
        ($($type:ty: $shared:literal),* $(,)?) => {
            $(
                sent::<$type>();
                assert_eq!(Ask::<$type>(std::marker::PhantomData).shared(), $shared, stringify!($type));
            )*
        };
    }

    #[test]
    fn what_may_be_sent_and_shared_is_what_the_table_says() {
        check! {
            Library: true,
            Builder: false,
            Network: false,
            BuilderConfig: false,
            HostMemory: true,
            Runtime: true,
            Engine: true,
            Context: false,
            RuntimeConfig: false,
            RuntimeCache: false,
            Stream: true,
            DeviceMemory: true,
        }
    }
}
