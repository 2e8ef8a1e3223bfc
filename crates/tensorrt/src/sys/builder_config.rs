//! `IBuilderConfig` and `ITimingCache`: how to build.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::{Raw, behind_destructor, call};
use super::builder::OptimizationProfile;
use super::host_memory::HostMemory;
use super::monitor::{MonitorObject, ProgressMonitor, Stopped};
use super::object::{NotSync, Object};
use super::types::{BuilderFlag, ComputeCapability, HardwareCompatibilityLevel, MemoryPoolType, ProfilingVerbosity};

/// How to build. May be sent, not shared.
pub struct BuilderConfig {
    object: Object,
    monitor: Option<Arc<MonitorObject>>,
    not_sync: NotSync,
}

impl BuilderConfig {
    pub(super) fn new(object: Object) -> Self {
        Self { object, monitor: None, not_sync: PhantomData }
    }

    pub(super) fn object(&self) -> &Object {
        &self.object
    }

    /// `setFlag`, `clearFlag`
    pub fn set_flag(&mut self, flag: BuilderFlag, on: bool) {
        let slots = &self.object.slots().builder_config;
        let slot = if on { slots.set_flag } else { slots.clear_flag };
        // SAFETY: `void setFlag(BuilderFlag)`, `void clearFlag(BuilderFlag)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (flag.0 => i32)) }
    }

    /// `getFlag`
    pub fn flag(&self, flag: BuilderFlag) -> bool {
        let slot = self.object.slots().builder_config.get_flag;
        // SAFETY: `bool getFlag(BuilderFlag)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (flag.0 => i32) -> bool) }
    }

    /// `setMemoryPoolLimit`
    pub fn set_memory_pool_limit(&mut self, pool: MemoryPoolType, bytes: usize) {
        let slot = self.object.slots().builder_config.set_memory_pool_limit;
        // SAFETY: `void setMemoryPoolLimit(MemoryPoolType, size_t)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (pool.0 => i32, bytes => usize)) }
    }

    /// `getMemoryPoolLimit`
    pub fn memory_pool_limit(&self, pool: MemoryPoolType) -> usize {
        let slot = self.object.slots().builder_config.get_memory_pool_limit;
        // SAFETY: `size_t getMemoryPoolLimit(MemoryPoolType)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (pool.0 => i32) -> usize) }
    }

    /// `addOptimizationProfile`: the profile's index, or less than 0.
    pub fn add_optimization_profile(&mut self, profile: &OptimizationProfile) -> i32 {
        let slot = self.object.slots().builder_config.add_optimization_profile;
        let profile = profile.object();
        if !std::ptr::eq(self.object.library(), profile.library()) {
            return -1;
        }
        self.object.keep(profile.clone());
        // SAFETY: `int32_t addOptimizationProfile(IOptimizationProfile const*)`; the profile and the builder that owns
        // it are kept as long as the configuration.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (profile.raw() => Raw) -> i32) }
    }

    /// `setProfilingVerbosity`
    pub fn set_profiling_verbosity(&mut self, verbosity: ProfilingVerbosity) {
        let slot = self.object.slots().builder_config.set_profiling_verbosity;
        // SAFETY: `void setProfilingVerbosity(ProfilingVerbosity)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (verbosity.0 => i32)) }
    }

    /// `setBuilderOptimizationLevel`
    pub fn set_builder_optimization_level(&mut self, level: i32) {
        let slot = self.object.slots().builder_config.set_builder_optimization_level;
        // SAFETY: `void setBuilderOptimizationLevel(int32_t)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (level => i32)) }
    }

    /// `setHardwareCompatibilityLevel`
    pub fn set_hardware_compatibility_level(&mut self, level: HardwareCompatibilityLevel) {
        let slot = self.object.slots().builder_config.set_hardware_compatibility_level;
        // SAFETY: `void setHardwareCompatibilityLevel(HardwareCompatibilityLevel)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (level.0 => i32)) }
    }

    /// `setMaxAuxStreams`
    pub fn set_max_aux_streams(&mut self, streams: i32) -> bool {
        let slot = self.object.slots().builder_config.set_max_aux_streams;
        // SAFETY: `bool setMaxAuxStreams(int32_t)`; TensorRT 10 answers nothing.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (streams => i32) -> bool) }
    }

    /// `setNbComputeCapabilities`, `setComputeCapability`: whether all of them were taken; none if the library is not
    /// RTX.
    pub fn set_compute_capabilities(&mut self, capabilities: &[ComputeCapability]) -> Option<bool> {
        let slots = &self.object.slots().builder_config;
        let (count, one) = (slots.set_nb_compute_capabilities?, slots.set_compute_capability?);
        let implementation = self.object.implementation();
        let Ok(number) = i32::try_from(capabilities.len()) else { return Some(false) };
        // SAFETY: `bool setNbComputeCapabilities(int32_t)`, `bool setComputeCapability(ComputeCapability, int32_t)`.
        unsafe {
            Some(
                call!(implementation, behind_destructor(count), (number => i32) -> bool)
                    && capabilities.iter().zip(0..).all(|(capability, index)| {
                        call!(implementation, behind_destructor(one), (capability.0 => i32, index => i32) -> bool)
                    }),
            )
        }
    }

    /// `setProgressMonitor`. A monitor that is replaced lives as long as the configuration, too.
    pub fn set_progress_monitor(&mut self, monitor: Box<dyn ProgressMonitor>) {
        let slot = self.object.slots().builder_config.set_progress_monitor;
        let monitor = Arc::new(MonitorObject::new(monitor));
        let raw = monitor.raw();
        self.object.keep(monitor.clone());
        self.monitor = Some(monitor);
        // SAFETY: `void setProgressMonitor(IProgressMonitor*)`; the monitor is kept and does not move.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (raw => Raw)) }
    }

    /// Whether the monitor stopped the last build.
    pub fn stopped(&self) -> Option<Stopped> {
        self.monitor.as_ref()?.stopped()
    }

    pub(super) fn reset_monitor(&mut self) {
        if let Some(monitor) = &self.monitor {
            monitor.reset();
        }
    }

    /// `createTimingCache`: from what [`TimingCache::serialize`] gave, or a new one from nothing.
    pub fn create_timing_cache(&self, blob: &[u8]) -> Option<TimingCache> {
        let slot = self.object.slots().builder_config.create_timing_cache;
        let bytes = if blob.is_empty() { std::ptr::null() } else { blob.as_ptr() };
        // SAFETY: `ITimingCache* createTimingCache(void const*, size_t)`; it copies the bytes, and the cache is ours.
        unsafe {
            let raw = call!(
                self.object.implementation(),
                behind_destructor(slot),
                (bytes.cast() => *const c_void, blob.len() => usize) -> Raw
            );
            let object = Object::adopt(raw, self.object.library(), Vec::new())?;
            Some(TimingCache { object: Arc::new(object), not_sync: PhantomData })
        }
    }

    /// `setTimingCache`; with `ignore_mismatch` also one from another device.
    pub fn set_timing_cache(&mut self, cache: &TimingCache, ignore_mismatch: bool) -> bool {
        let slot = self.object.slots().builder_config.set_timing_cache;
        if !std::ptr::eq(self.object.library(), cache.object.library()) {
            return false;
        }
        self.object.keep(cache.object.clone());
        // SAFETY: `bool setTimingCache(ITimingCache const&, bool)`; the cache is kept as long as the configuration.
        unsafe {
            call!(
                self.object.implementation(),
                behind_destructor(slot),
                (cache.object.raw() => Raw, ignore_mismatch => bool) -> bool
            )
        }
    }
}

/// What was measured when kernels were chosen. RTX measures nothing: there its calls do nothing.
pub struct TimingCache {
    object: Arc<Object>,
    not_sync: NotSync,
}

impl TimingCache {
    /// `serialize`
    pub fn serialize(&self) -> Option<HostMemory> {
        let slot = self.object.slots().timing_cache.serialize;
        // SAFETY: `IHostMemory* serialize()`, which is ours.
        unsafe {
            let raw = call!(self.object.implementation(), behind_destructor(slot), () -> Raw);
            HostMemory::adopt(raw, self.object.library())
        }
    }

    /// `combine`
    pub fn combine(&mut self, other: &TimingCache, ignore_mismatch: bool) -> bool {
        let slot = self.object.slots().timing_cache.combine;
        if !std::ptr::eq(self.object.library(), other.object.library()) {
            return false;
        }
        // SAFETY: `bool combine(ITimingCache const&, bool)`.
        unsafe {
            call!(
                self.object.implementation(),
                behind_destructor(slot),
                (other.object.raw() => Raw, ignore_mismatch => bool) -> bool
            )
        }
    }
}
