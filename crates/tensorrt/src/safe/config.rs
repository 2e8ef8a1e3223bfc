//! How to build.

use super::builder::InputRange;
use super::library::Library;
use crate::result::{Error, Result, Watch};
use crate::sys::{
    self, BuilderFlag, ComputeCapability, HardwareCompatibilityLevel, HostMemory, MemoryPoolType, OptimizationProfile,
    ProfilingVerbosity, ProgressMonitor, RecorderObject, Stopped, TimingCache,
};

/// How to build.
pub struct BuilderConfig {
    sys: sys::BuilderConfig,
    cache: Option<TimingCache>,
    library: Library,
}

impl BuilderConfig {
    pub(super) fn new(sys: sys::BuilderConfig, library: Library) -> Self {
        Self { sys, cache: None, library }
    }

    pub(super) fn sys(&mut self) -> &mut sys::BuilderConfig {
        &mut self.sys
    }

    /// Switches a flag. TF32 is on unless it is switched off.
    pub fn set_flag(&mut self, flag: BuilderFlag, on: bool) {
        self.sys.set_flag(flag, on);
    }

    /// Whether a flag is on.
    pub fn flag(&self, flag: BuilderFlag) -> bool {
        self.sys.flag(flag)
    }

    /// At most so many bytes of this kind of memory, for one layer's scratch if it is the workspace.
    pub fn set_memory_pool_limit(&mut self, pool: MemoryPoolType, bytes: usize) {
        self.sys.set_memory_pool_limit(pool, bytes);
    }

    /// See [`BuilderConfig::set_memory_pool_limit`].
    pub fn memory_pool_limit(&self, pool: MemoryPoolType) -> usize {
        self.sys.memory_pool_limit(pool)
    }

    /// Adds a profile that [`super::Builder::profile`] made, and gives its index.
    pub fn add_profile(&mut self, profile: &OptimizationProfile) -> Result<usize> {
        let watch = Watch::begin(self.library.sys());
        let index = usize::try_from(self.sys.add_optimization_profile(profile)).ok();
        watch.made("IBuilderConfig::addOptimizationProfile", index)
    }

    /// Follows the build, and can stop it. Called from TensorRT's threads.
    pub fn set_progress_monitor(&mut self, monitor: impl ProgressMonitor + 'static) {
        self.sys.set_progress_monitor(Box::new(monitor));
    }

    /// The GPUs that the plan is for, on RTX. Without a GPU in this machine they must be named. A plan may be for
    /// several.
    pub fn set_compute_capabilities(&mut self, capabilities: &[ComputeCapability]) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        let taken = self.sys.set_compute_capabilities(capabilities).ok_or_else(|| {
            let instead = "TensorRT builds for the GPU it runs on; see set_hardware_compatibility";
            self.library.unsupported("compute capabilities to build for", instead)
        })?;
        if taken {
            return Ok(());
        }
        let library = (self.library.flavor(), self.library.version());
        Err(Error::Targets { targets: capabilities.to_vec(), library, log: watch.log() })
    }

    /// Other GPUs that the plan shall run on, on TensorRT.
    pub fn set_hardware_compatibility(&mut self, level: HardwareCompatibilityLevel) {
        self.sys.set_hardware_compatibility_level(level);
    }

    /// How much the plan tells [`super::Inspector`].
    pub fn set_profiling_verbosity(&mut self, verbosity: ProfilingVerbosity) {
        self.sys.set_profiling_verbosity(verbosity);
    }

    /// From 0, quick to build, to 5, quick to run.
    pub fn set_optimization_level(&mut self, level: u8) {
        self.sys.set_builder_optimization_level(level.into());
    }

    /// Streams beside the main one that a run may use; 0 keeps all work on the caller's.
    pub fn set_max_aux_streams(&mut self, streams: u16) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        watch.done("IBuilderConfig::setMaxAuxStreams", self.sys.set_max_aux_streams(streams.into()))
    }

    /// Begins with a cache of earlier builds, or with an empty one, so that [`BuilderConfig::timing_cache`] has
    /// something to give after the build. RTX measures nothing and ignores it.
    pub fn set_timing_cache(&mut self, blob: &[u8]) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        let cache = watch.made("IBuilderConfig::createTimingCache", self.sys.create_timing_cache(blob))?;
        watch.done("IBuilderConfig::setTimingCache", self.sys.set_timing_cache(&cache, false))?;
        self.cache = Some(cache);
        Ok(())
    }

    /// The cache, to be kept for the next build on this machine; none without [`BuilderConfig::set_timing_cache`].
    pub fn timing_cache(&self) -> Result<Option<HostMemory>> {
        let watch = Watch::begin(self.library.sys());
        let serialized = self.cache.as_ref().map(|cache| watch.made("ITimingCache::serialize", cache.serialize()));
        serialized.transpose()
    }

    /// Why no plan came.
    pub(super) fn failure(&self, watch: &Watch) -> Error {
        match self.sys.stopped() {
            Some(Stopped::Cancelled) => Error::Cancelled,
            Some(Stopped::Panicked) => Error::MonitorPanicked,
            None => Error::Build { log: watch.log() },
        }
    }
}

/// Fills a profile.
pub(super) fn fill(profile: &mut OptimizationProfile, ranges: &[InputRange<'_>], watch: &Watch) -> Result<()> {
    use sys::OptProfileSelector;
    for range in ranges {
        let input = crate::result::name(range.input)?;
        for (select, shape) in [
            (OptProfileSelector::MIN, range.min),
            (OptProfileSelector::OPT, range.opt),
            (OptProfileSelector::MAX, range.max),
        ] {
            let taken = profile.set_dimensions(&input, select, crate::result::dims(shape)?);
            watch.done("IOptimizationProfile::setDimensions", taken)?;
        }
    }
    watch.done("IOptimizationProfile::isValid", profile.is_valid())
}

/// An error recorder that a builder, runtime or context can be given.
pub type ErrorRecorder = std::sync::Arc<RecorderObject>;
