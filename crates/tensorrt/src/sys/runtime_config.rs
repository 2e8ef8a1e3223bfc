//! `IRuntimeConfig`, how to make a context, and `IRuntimeCache`, what RTX compiled on this machine.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::Raw;
use super::codes::CudaGraphStrategy;
use super::error::{Error, Result};
use super::object::{HostMemory, NotSync, Object, method};

/// How to make a context. Keeps its engine. May be sent, not shared.
pub struct RuntimeConfig {
    object: Arc<Object>,
    engine: Arc<Object>,
    not_sync: NotSync,
}

impl RuntimeConfig {
    pub(super) fn new(object: Object, engine: Arc<Object>) -> Self {
        Self { object: Arc::new(object), engine, not_sync: PhantomData }
    }

    pub(super) fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// Decides whether RTX captures CUDA graphs of its own.
    pub fn set_cuda_graph_strategy(&mut self, strategy: CudaGraphStrategy) -> Result<()> {
        let watch = self.object.library().watch();
        let slot = self.object.slots().runtime_config.set_cuda_graph_strategy;
        let slot = slot.ok_or_else(|| self.rtx_only("CUDA-graph strategy"))?;
        // SAFETY: `bool setCudaGraphStrategy(CudaGraphStrategy)`.
        let set = unsafe { method!(self.object, [slot], (strategy.0 => i32) -> bool) };
        watch.done("IRuntimeConfig::setCudaGraphStrategy", set)
    }

    /// Begins with what RTX compiled earlier, or with nothing if `blob` is empty. Returns the cache, and whether the
    /// blob was accepted: RTX refuses one from another version, GPU or driver, and the cache begins empty.
    pub fn set_runtime_cache(&mut self, blob: &[u8]) -> Result<(RuntimeCache, bool)> {
        let library = self.object.library();
        let watch = library.watch();
        let slots = &self.object.slots().runtime_config;
        let (Some(create), Some(set)) = (slots.create_runtime_cache, slots.set_runtime_cache) else {
            return Err(self.rtx_only("runtime cache"));
        };
        // SAFETY: `IRuntimeCache* createRuntimeCache()`, which is ours. It keeps the engine, not the configuration:
        // the configuration keeps the cache.
        let cache = unsafe {
            let raw = method!(self.object, [create], () -> Raw);
            Object::adopt(raw, library, vec![self.engine.clone()])
        };
        let object = Arc::new(watch.made("IRuntimeConfig::createRuntimeCache", cache)?);
        let mut cache = RuntimeCache { object: object.clone(), not_sync: PhantomData };
        let accepted = !blob.is_empty() && cache.deserialize(blob);
        let raw = object.raw();
        self.object.keep(object);
        // SAFETY: `bool setRuntimeCache(IRuntimeCache const&)`; the contexts keep the configuration, and that the
        // cache.
        let set = unsafe { method!(self.object, [set], (raw => Raw) -> bool) };
        watch.done("IRuntimeConfig::setRuntimeCache", set)?;
        Ok((cache, accepted))
    }

    fn rtx_only(&self, what: &'static str) -> Error {
        self.object.library().unsupported(what, "only TensorRT-RTX does; leave it out")
    }
}

/// What RTX compiled on this machine. May be sent, not shared.
pub struct RuntimeCache {
    object: Arc<Object>,
    not_sync: NotSync,
}

impl RuntimeCache {
    /// The bytes for the next start on this machine. No context may run meanwhile.
    pub fn serialize(&self) -> Result<HostMemory> {
        let library = self.object.library();
        let watch = library.watch();
        let bytes = self.object.slots().runtime_cache.serialize.and_then(|slot| {
            // SAFETY: `IHostMemory* serialize()`, which is ours.
            unsafe { HostMemory::adopt(method!(self.object, [slot], () -> Raw), library) }
        });
        watch.made("IRuntimeCache::serialize", bytes)
    }

    /// Whether the bytes were accepted.
    fn deserialize(&mut self, blob: &[u8]) -> bool {
        let Some(slot) = self.object.slots().runtime_cache.deserialize else { return false };
        let (bytes, size) = (blob.as_ptr().cast(), blob.len());
        // SAFETY: `bool deserialize(void const*, size_t)`, which copies.
        unsafe { method!(self.object, [slot], (bytes => *const c_void, size => usize) -> bool) }
    }
}
