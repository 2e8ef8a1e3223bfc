//! `IRuntimeConfig` and `IRuntimeCache`: how a context is made, and what RTX compiled on this machine.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::{Raw, behind_destructor, call};
use super::host_memory::HostMemory;
use super::object::{NotSync, Object};
use super::types::{ContextAllocation, CudaGraphStrategy, KernelSpecialization};

/// How a context is to be made. Keeps its engine. May be sent, not shared.
pub struct RuntimeConfig {
    object: Arc<Object>,
    engine: Arc<Object>,
    allocation: ContextAllocation,
    not_sync: NotSync,
}

impl RuntimeConfig {
    pub(super) fn new(object: Object, engine: Arc<Object>) -> Self {
        Self { object: Arc::new(object), engine, allocation: ContextAllocation::STATIC, not_sync: PhantomData }
    }

    pub(super) fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// `setExecutionContextAllocationStrategy`
    pub fn set_allocation(&mut self, strategy: ContextAllocation) {
        self.allocation = strategy;
        let slot = self.object.slots().runtime_config.set_execution_context_allocation_strategy;
        // SAFETY: `void setExecutionContextAllocationStrategy(ExecutionContextAllocationStrategy)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (strategy.0 => i32)) }
    }

    /// What [`RuntimeConfig::set_allocation`] was given.
    pub fn allocation(&self) -> ContextAllocation {
        self.allocation
    }

    /// `setCudaGraphStrategy`: whether it was taken; none if the library is not RTX.
    pub fn set_cuda_graph_strategy(&mut self, strategy: CudaGraphStrategy) -> Option<bool> {
        let slot = self.object.slots().runtime_config.set_cuda_graph_strategy?;
        // SAFETY: `bool setCudaGraphStrategy(CudaGraphStrategy)`.
        Some(unsafe { call!(self.object.implementation(), behind_destructor(slot), (strategy.0 => i32) -> bool) })
    }

    /// `setDynamicShapesKernelSpecializationStrategy`; none if the library is not RTX.
    pub fn set_kernel_specialization(&mut self, strategy: KernelSpecialization) -> Option<()> {
        let slot = self.object.slots().runtime_config.set_dynamic_shapes_kernel_specialization_strategy?;
        // SAFETY: `void setDynamicShapesKernelSpecializationStrategy(DynamicShapesKernelSpecializationStrategy)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (strategy.0 => i32)) }
        Some(())
    }

    /// `createRuntimeCache`: an empty one; none if the library is not RTX, or makes none.
    pub fn create_runtime_cache(&self) -> Option<RuntimeCache> {
        let slot = self.object.slots().runtime_config.create_runtime_cache?;
        // SAFETY: `IRuntimeCache* createRuntimeCache()`, which is ours. It keeps the engine, not the configuration,
        // which will keep it.
        unsafe {
            let raw = call!(self.object.implementation(), behind_destructor(slot), () -> Raw);
            let object = Object::adopt(raw, self.object.library(), vec![self.engine.clone()])?;
            Some(RuntimeCache { object: Arc::new(object), not_sync: PhantomData })
        }
    }

    /// `setRuntimeCache`: whether it was taken; none if the library is not RTX.
    pub fn set_runtime_cache(&mut self, cache: &RuntimeCache) -> Option<bool> {
        let slot = self.object.slots().runtime_config.set_runtime_cache?;
        if !std::ptr::eq(self.object.library(), cache.object.library()) {
            return Some(false);
        }
        self.object.keep(cache.object.clone());
        // SAFETY: `bool setRuntimeCache(IRuntimeCache const&)`; the cache is kept as long as the configuration, and
        // that as long as its contexts.
        unsafe {
            Some(call!(self.object.implementation(), behind_destructor(slot), (cache.object.raw() => Raw) -> bool))
        }
    }
}

/// What RTX compiled on this machine, so that the next start need not. May be sent, not shared.
pub struct RuntimeCache {
    object: Arc<Object>,
    not_sync: NotSync,
}

impl RuntimeCache {
    /// `deserialize`: from what [`RuntimeCache::serialize`] gave. False, and nothing happens, where it does not fit.
    pub fn deserialize(&mut self, blob: &[u8]) -> bool {
        let Some(slot) = self.object.slots().runtime_cache.deserialize else { return false };
        // SAFETY: `bool deserialize(void const*, size_t)`, which copies.
        unsafe {
            call!(
                self.object.implementation(),
                behind_destructor(slot),
                (blob.as_ptr().cast() => *const c_void, blob.len() => usize) -> bool
            )
        }
    }

    /// `serialize`
    pub fn serialize(&self) -> Option<HostMemory> {
        let slot = self.object.slots().runtime_cache.serialize?;
        // SAFETY: `IHostMemory* serialize()`, which is ours.
        unsafe {
            let raw = call!(self.object.implementation(), behind_destructor(slot), () -> Raw);
            HostMemory::adopt(raw, self.object.library())
        }
    }
}
