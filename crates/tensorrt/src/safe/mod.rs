//! What a program uses: owned objects, Rust's texts and shapes, typed errors. No `unsafe` here.
//!
//! | type | may be | keeps alive |
//! |---|---|---|
//! | [`Library`] | copied, shared | (never unloaded) |
//! | [`Builder`], [`Network`], [`BuilderConfig`] | sent | network and configuration keep the builder |
//! | [`HostMemory`](crate::sys::HostMemory), a plan | sent, shared | |
//! | [`Runtime`] | sent, shared: several threads may deserialise | |
//! | [`Engine`] | sent, shared: several threads may ask and make contexts | the runtime |
//! | [`Context`] | sent: one thread at a time | the engine, memory, streams, its configuration and cache |
//! | [`Inspector`], [`RuntimeConfig`], [`RuntimeCache`] | sent | the engine |
//!
//! This is what NVIDIA's developer guide allows: reading a runtime or an engine, deserialising and making contexts from
//! several threads; everything else from one at a time. None of these objects is bound to the thread that made it, but
//! an engine lives on the CUDA device that was current when it was deserialised, and its contexts run there.

mod builder;
mod config;
mod context;
mod engine;
mod library;
mod network;
mod runtime;
mod tensor;

pub use builder::{Builder, InputRange};
pub use config::{BuilderConfig, ErrorRecorder};
pub use context::Context;
pub use engine::{Engine, Inspector, RuntimeCache, RuntimeConfig};
pub use library::Library;
pub use network::{Model, Network};
pub use runtime::Runtime;
pub use tensor::Tensor;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{DeviceMemory, HostMemory, Stream};

    /// True by a method that only types which may be shared have; else the trait's.
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
            Inspector: false,
            RuntimeConfig: false,
            RuntimeCache: false,
            Stream: true,
            DeviceMemory: true,
        }
    }
}
