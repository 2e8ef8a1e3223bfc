//! How to build: `IBuilderConfig`, and the `IOptimizationProfile` and `ITimingCache` that it takes.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::{Dims, Raw};
use super::codes::{ComputeCapability, OptProfileSelector};
use super::error::{Error, Result};
use super::library::Watch;
use super::monitor::{MonitorObject, ProgressMonitor, Stopped};
use super::object::{HostMemory, NotSync, Object, method};
use super::tensor::{dims, name};

/// `BuilderFlag::kTF32`. TensorRT 10 has another number.
const TF32: i32 = 6;
/// `MemoryPoolType::kWORKSPACE`
const WORKSPACE: i32 = 0;

/// How to build. May be sent, not shared.
pub struct BuilderConfig {
    object: Object,
    monitor: Option<Arc<MonitorObject>>,
    /// `ITimingCache`: what the builder measured to choose kernels.
    cache: Option<Arc<Object>>,
    not_sync: NotSync,
}

impl BuilderConfig {
    pub(super) fn new(object: Object) -> Self {
        Self { object, monitor: None, cache: None, not_sync: PhantomData }
    }

    pub(super) fn object(&self) -> &Object {
        &self.object
    }

    /// Computes float32 products in float32. By default TensorRT may round their factors to TF32.
    pub fn disable_tf32(&mut self) {
        // SAFETY: `void clearFlag(BuilderFlag)`.
        unsafe { method!(self.object, builder_config.clear_flag, (TF32 => i32)) }
    }

    /// Limits the scratch memory of one layer.
    pub fn set_workspace(&mut self, bytes: usize) {
        // SAFETY: `void setMemoryPoolLimit(MemoryPoolType, size_t)`.
        unsafe { method!(self.object, builder_config.set_memory_pool_limit, (WORKSPACE => i32, bytes => usize)) }
    }

    /// Adds a profile of [`super::Builder::profile`].
    pub fn add_profile(&mut self, profile: &OptimizationProfile) -> Result<()> {
        let watch = self.object.library().watch();
        let profile = &profile.object;
        let ours = self.object.library() == profile.library();
        self.object.keep(profile.clone());
        // SAFETY: `int32_t addOptimizationProfile(IOptimizationProfile const*)`, an index or less than 0. The
        // configuration keeps the profile and the builder that owns it; all are of one library.
        let added = ours
            && unsafe {
                method!(self.object, builder_config.add_optimization_profile, (profile.raw() => Raw) -> i32) >= 0
            };
        watch.done("IBuilderConfig::addOptimizationProfile", added)
    }

    /// Follows the build with a monitor, which can stop it. TensorRT's threads call it. An earlier monitor lives as
    /// long as the configuration, too.
    pub fn set_progress_monitor(&mut self, monitor: impl ProgressMonitor + 'static) {
        let monitor = Arc::new(MonitorObject::new(Box::new(monitor)));
        let raw = monitor.raw();
        self.object.keep(monitor.clone());
        self.monitor = Some(monitor);
        // SAFETY: `void setProgressMonitor(IProgressMonitor*)`; the monitor is kept and does not move.
        unsafe { method!(self.object, builder_config.set_progress_monitor, (raw => Raw)) }
    }

    /// Names the GPUs that the plan is for, on RTX, which takes several. A machine without a GPU must name them.
    pub fn set_compute_capabilities(&mut self, capabilities: &[ComputeCapability]) -> Result<()> {
        let library = self.object.library();
        let watch = library.watch();
        let slots = &self.object.slots().builder_config;
        let (Some(count), Some(one)) = (slots.set_nb_compute_capabilities, slots.set_compute_capability) else {
            return Err(
                library.unsupported("compute capabilities to build for", "TensorRT builds for the GPU it runs on")
            );
        };
        // SAFETY: `bool setNbComputeCapabilities(int32_t)`, `bool setComputeCapability(ComputeCapability, int32_t)`.
        let taken = i32::try_from(capabilities.len()).is_ok_and(|number| unsafe {
            method!(self.object, [count], (number => i32) -> bool)
                && capabilities
                    .iter()
                    .zip(0..)
                    .all(|(it, index)| method!(self.object, [one], (it.0 => i32, index => i32) -> bool))
        });
        if taken {
            return Ok(());
        }
        let library = (library.flavor(), library.version());
        Err(Error::Targets { targets: capabilities.to_vec(), library, log: watch.log() })
    }

    /// Begins with the measurements of an earlier build, or with none if `blob` is empty, so that
    /// [`BuilderConfig::timing_cache`] gives those of this build. RTX measures nothing and ignores them.
    pub fn set_timing_cache(&mut self, blob: &[u8]) -> Result<()> {
        let library = self.object.library();
        let watch = library.watch();
        let bytes = if blob.is_empty() { std::ptr::null() } else { blob.as_ptr().cast() };
        // SAFETY: `ITimingCache* createTimingCache(void const*, size_t)`, which copies the bytes; the cache is ours.
        let cache = unsafe {
            let raw = method!(
                self.object,
                builder_config.create_timing_cache,
                (bytes => *const c_void, blob.len() => usize) -> Raw
            );
            Object::adopt(raw, library, Vec::new())
        };
        let cache = Arc::new(watch.made("IBuilderConfig::createTimingCache", cache)?);
        self.object.keep(cache.clone());
        let ignore_mismatch = false;
        // SAFETY: `bool setTimingCache(ITimingCache const&, bool)`; the configuration keeps the cache.
        let set = unsafe {
            let raw = cache.raw();
            method!(self.object, builder_config.set_timing_cache, (raw => Raw, ignore_mismatch => bool) -> bool)
        };
        watch.done("IBuilderConfig::setTimingCache", set)?;
        self.cache = Some(cache);
        Ok(())
    }

    /// The measurements, to be kept for the next build on this machine; `None` without
    /// [`BuilderConfig::set_timing_cache`].
    pub fn timing_cache(&self) -> Result<Option<HostMemory>> {
        let Some(cache) = &self.cache else { return Ok(None) };
        let watch = cache.library().watch();
        // SAFETY: `IHostMemory* serialize()`, which is ours.
        let serialized =
            unsafe { HostMemory::adopt(method!(cache, timing_cache.serialize, () -> Raw), cache.library()) };
        watch.made("ITimingCache::serialize", serialized).map(Some)
    }

    /// Forgets how the monitor stopped an earlier build.
    pub(super) fn reset_monitor(&mut self) {
        if let Some(monitor) = &self.monitor {
            monitor.reset();
        }
    }

    /// Why the build failed.
    pub(super) fn failure(&self, watch: &Watch) -> Error {
        match self.monitor.as_ref().and_then(|monitor| monitor.stopped()) {
            Some(Stopped::Cancelled) => Error::Cancelled,
            Some(Stopped::Panicked) => Error::MonitorPanicked,
            None => Error::Build { log: watch.log() },
        }
    }
}

/// The range of shapes of one input.
#[derive(Clone, Copy, Debug)]
pub struct InputRange<'r> {
    /// The input's name.
    pub input: &'r str,
    /// The smallest shape that will run.
    pub min: &'r [i64],
    /// The shape to optimise for.
    pub opt: &'r [i64],
    /// The largest shape that will run.
    pub max: &'r [i64],
}

/// The range of shapes that a plan is for. Its builder owns it.
pub struct OptimizationProfile {
    object: Arc<Object>,
    not_sync: NotSync,
}

impl OptimizationProfile {
    /// A profile for these ranges, from an empty one.
    pub(super) fn new(object: Object, ranges: &[InputRange<'_>]) -> Result<Self> {
        let profile = Self { object: Arc::new(object), not_sync: PhantomData };
        let watch = profile.object.library().watch();
        for range in ranges {
            let input = name(range.input)?;
            for (select, shape) in [
                (OptProfileSelector::MIN, range.min),
                (OptProfileSelector::OPT, range.opt),
                (OptProfileSelector::MAX, range.max),
            ] {
                let (input, dims) = (input.as_ptr(), dims(shape)?);
                // SAFETY: `bool setDimensions(char const*, OptProfileSelector, Dims const&)`.
                let set = unsafe {
                    method!(
                        profile.object,
                        profile.set_dimensions,
                        (input => *const c_char, select.0 => i32, &raw const dims => *const Dims) -> bool
                    )
                };
                watch.done("IOptimizationProfile::setDimensions", set)?;
            }
        }
        // SAFETY: `bool isValid()`.
        let valid = unsafe { method!(profile.object, profile.is_valid, () -> bool) };
        watch.done("IOptimizationProfile::isValid", valid)?;
        Ok(profile)
    }
}
