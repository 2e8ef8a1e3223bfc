//! `IBuilder`, and the `IBuilderConfig` and `IOptimizationProfile` that it takes: from a network to a plan.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::{Dims, Raw};
use super::codes::{ComputeCapability, OptProfileSelector};
use super::error::{Error, Result};
use super::library::{Library, Watch};
use super::monitor::{MonitorObject, ProgressMonitor, Stopped};
use super::network::Network;
use super::object::{HostMemory, NotSync, Object, method};
use super::tensor::{dims, name};

/// `BuilderFlag::kTF32`
const TF32: i32 = 6;
/// `MemoryPoolType::kWORKSPACE`
const WORKSPACE: i32 = 0;

/// Makes networks and configurations, and builds plans. May be sent, not shared; several builders may work at a time.
pub struct Builder {
    object: Arc<Object>,
    not_sync: NotSync,
}

impl Builder {
    /// A builder. TensorRT needs a driver for it; RTX does not.
    pub fn new(library: Library) -> Result<Self> {
        let watch = library.watch();
        let raw = library.create_builder().ok_or_else(|| {
            library.unsupported("builder", "a lean or dispatch runtime only runs plans; build with libnvinfer")
        })?;
        // SAFETY: `createInferBuilder_INTERNAL` gives an `IBuilder` that is ours, or no object.
        let object = unsafe { Object::adopt(raw, library, Vec::new()) };
        match watch.made("createInferBuilder", object) {
            Ok(object) => Ok(Self { object: Arc::new(object), not_sync: PhantomData }),
            Err(error) => Err(library.no_driver_or(error)),
        }
    }

    /// An empty network. Networks are strongly typed: the model's types decide.
    pub fn network(&mut self) -> Result<Network> {
        let watch = self.object.library().watch();
        let flags = self.object.library().version().strongly_typed();
        // SAFETY: `INetworkDefinition* createNetworkV2(uint32_t)`, which is ours and keeps the builder.
        let network = unsafe {
            let raw = method!(self.object, builder.create_network, (flags => u32) -> Raw);
            self.made_here(raw)
        };
        Ok(Network::new(watch.made("IBuilder::createNetworkV2", network)?))
    }

    /// A configuration with TensorRT's defaults.
    pub fn config(&mut self) -> Result<BuilderConfig> {
        let watch = self.object.library().watch();
        // SAFETY: `IBuilderConfig* createBuilderConfig()`, which is ours and keeps the builder.
        let config = unsafe {
            let raw = method!(self.object, builder.create_builder_config, () -> Raw);
            self.made_here(raw)
        };
        Ok(BuilderConfig::new(watch.made("IBuilder::createBuilderConfig", config)?))
    }

    /// A profile for these ranges, one for every input with an open extent.
    pub fn profile(&mut self, ranges: &[InputRange<'_>]) -> Result<OptimizationProfile> {
        let library = self.object.library();
        let watch = library.watch();
        // SAFETY: `IOptimizationProfile* createOptimizationProfile()`; the builder destroys it.
        let profile = unsafe {
            let raw = method!(self.object, builder.create_optimization_profile, () -> Raw);
            Object::with_destructor(raw, library, vec![self.object.clone()], None)
        };
        OptimizationProfile::new(watch.made("IBuilder::createOptimizationProfile", profile)?, ranges)
    }

    /// Builds the plan, in seconds to minutes. The configuration's progress monitor follows the build and can stop it.
    /// Network and configuration may come from another builder of the same library.
    pub fn build(&mut self, network: &mut Network, config: &mut BuilderConfig) -> Result<HostMemory> {
        let library = self.object.library();
        if [network.object().library(), config.object.library()] != [library; 2] {
            return Err(Error::Argument { why: "the network or the configuration is of another library".into() });
        }
        config.reset_monitor();
        let watch = library.watch();
        let (raw_network, raw_config) = (network.object().raw(), config.object.raw());
        // SAFETY: `IHostMemory* buildSerializedNetwork(INetworkDefinition&, IBuilderConfig&)`; both keep what they
        // point at, and are of this library.
        let plan = unsafe {
            let raw = method!(
                self.object,
                builder.build_serialized_network,
                (raw_network => Raw, raw_config => Raw) -> Raw
            );
            HostMemory::adopt(raw, library)
        };
        plan.ok_or_else(|| config.failure(&watch))
    }

    /// Limits the threads of a build.
    pub fn set_max_threads(&mut self, threads: u16) -> Result<()> {
        let watch = self.object.library().watch();
        // SAFETY: `bool setMaxThreads(int32_t)`.
        let set = unsafe { method!(self.object, builder.set_max_threads, (threads.into() => i32) -> bool) };
        watch.done("IBuilder::setMaxThreads", set)
    }

    /// # Safety
    /// As for [`Object::adopt`], for an object that may live as long as this builder.
    unsafe fn made_here(&self, raw: Raw) -> Option<Object> {
        // SAFETY: by the caller's promise; the object keeps the builder.
        unsafe { Object::adopt(raw, self.object.library(), vec![self.object.clone()]) }
    }
}

/// How to build. May be sent, not shared.
pub struct BuilderConfig {
    // The object ends first, then what it points at.
    object: Object,
    monitor: Option<Arc<MonitorObject>>,
    /// `ITimingCache`: what the builder measured to choose kernels.
    cache: Option<Object>,
    not_sync: NotSync,
}

impl BuilderConfig {
    fn new(object: Object) -> Self {
        Self { object, monitor: None, cache: None, not_sync: PhantomData }
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

    /// Adds a profile of [`Builder::profile`].
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
        let cache = watch.made("IBuilderConfig::createTimingCache", cache)?;
        let ignore_mismatch = false;
        // SAFETY: `bool setTimingCache(ITimingCache const&, bool)`; the configuration keeps a cache that was taken
        // until another replaces it.
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
    fn reset_monitor(&mut self) {
        if let Some(monitor) = &self.monitor {
            monitor.reset();
        }
    }

    /// Why the build failed.
    fn failure(&self, watch: &Watch) -> Error {
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
    fn new(object: Object, ranges: &[InputRange<'_>]) -> Result<Self> {
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
