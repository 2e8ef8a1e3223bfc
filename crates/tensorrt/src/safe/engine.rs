//! A plan on the device, and the contexts it makes.

use super::context::Context;
use super::library::Library;
use super::tensor::{Tensor, shape};
use crate::result::{Error, Result, Watch, name};
use crate::sys::{
    self, ContextAllocation, CudaGraphStrategy, HostMemory, KernelSpecialization, LayerInformationFormat,
    OptProfileSelector, TensorIoMode,
};

/// A plan on the device.
pub struct Engine {
    sys: sys::Engine,
    library: Library,
}

impl Engine {
    pub(super) fn new(sys: sys::Engine, library: Library) -> Self {
        Self { sys, library }
    }

    /// Its name, if the network had one.
    pub fn name(&self) -> String {
        self.sys.name()
    }

    /// What goes in.
    pub fn inputs(&self) -> Vec<Tensor> {
        self.io(TensorIoMode::INPUT)
    }

    /// What comes out.
    pub fn outputs(&self) -> Vec<Tensor> {
        self.io(TensorIoMode::OUTPUT)
    }

    fn io(&self, mode: TensorIoMode) -> Vec<Tensor> {
        self.sys.io().iter().filter(|tensor| tensor.mode == mode).map(Tensor::of_engine).collect()
    }

    /// Ranges of shapes that it was built for.
    pub fn profiles(&self) -> usize {
        usize::try_from(self.sys.nb_optimization_profiles()).unwrap_or_default()
    }

    /// A shape of one input in one profile.
    pub fn profile_shape(&self, input: &str, profile: usize, select: OptProfileSelector) -> Result<Vec<i64>> {
        let watch = Watch::begin(self.library.sys());
        let index = i32::try_from(profile).unwrap_or(i32::MAX);
        let dims = self.sys.profile_shape(&name(input)?, index, select);
        watch.made("ICudaEngine::getProfileShape", dims.shape().is_some().then(|| shape(&dims)))
    }

    /// Side streams that a run uses.
    pub fn aux_streams(&self) -> usize {
        usize::try_from(self.sys.nb_aux_streams()).unwrap_or_default()
    }

    /// Bytes of device memory that a context needs for activations, the most of all profiles.
    pub fn device_memory(&self) -> u64 {
        self.sys.device_memory_size(None).max(0).unsigned_abs()
    }

    /// The same for one profile.
    pub fn device_memory_of_profile(&self, profile: usize) -> u64 {
        let index = i32::try_from(profile).unwrap_or(i32::MAX);
        self.sys.device_memory_size(Some(index)).max(0).unsigned_abs()
    }

    /// A context with TensorRT's defaults.
    pub fn context(&self) -> Result<Context> {
        self.context_with(ContextAllocation::STATIC)
    }

    /// A context whose activations' memory comes from elsewhere.
    pub fn context_with(&self, allocation: ContextAllocation) -> Result<Context> {
        let watch = Watch::begin(self.library.sys());
        let context = self.sys.create_execution_context(Err(allocation));
        Ok(Context::new(watch.made("ICudaEngine::createExecutionContext", context)?, self.library))
    }

    /// A context by a configuration that [`Engine::runtime_config`] made.
    pub fn context_by(&self, config: &RuntimeConfig) -> Result<Context> {
        let watch = Watch::begin(self.library.sys());
        let context = self.sys.create_execution_context(Ok(&config.sys));
        Ok(Context::new(watch.made("ICudaEngine::createExecutionContext", context)?, self.library))
    }

    /// How contexts are to be made.
    pub fn runtime_config(&self) -> Result<RuntimeConfig> {
        let watch = Watch::begin(self.library.sys());
        let sys = watch.made("ICudaEngine::createRuntimeConfig", self.sys.create_runtime_config())?;
        Ok(RuntimeConfig { sys, library: self.library })
    }

    /// Tells what became of the graph, as much as the build's profiling verbosity left in the plan.
    pub fn inspector(&self) -> Result<Inspector> {
        let watch = Watch::begin(self.library.sys());
        let sys = watch.made("ICudaEngine::createEngineInspector", self.sys.create_engine_inspector())?;
        Ok(Inspector { sys, library: self.library })
    }
}

/// How a context is to be made.
pub struct RuntimeConfig {
    sys: sys::RuntimeConfig,
    library: Library,
}

impl RuntimeConfig {
    /// Who keeps the activations' memory.
    pub fn set_allocation(&mut self, allocation: ContextAllocation) {
        self.sys.set_allocation(allocation);
    }

    /// Whether RTX captures CUDA graphs of its own.
    pub fn set_cuda_graph_strategy(&mut self, strategy: CudaGraphStrategy) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        let taken = self.sys.set_cuda_graph_strategy(strategy).ok_or_else(|| self.rtx_only("CUDA-graph strategy"))?;
        watch.done("IRuntimeConfig::setCudaGraphStrategy", taken)
    }

    /// When RTX compiles kernels for a shape it has not seen.
    pub fn set_kernel_specialization(&mut self, strategy: KernelSpecialization) -> Result<()> {
        self.sys.set_kernel_specialization(strategy).ok_or_else(|| self.rtx_only("kernel specialisation"))
    }

    /// Begins with what RTX compiled before, or with nothing where `blob` is empty. True if the blob was taken; one
    /// from another version, GPU or driver is not, and the cache begins empty.
    pub fn set_runtime_cache(&mut self, blob: &[u8]) -> Result<(RuntimeCache, bool)> {
        let watch = Watch::begin(self.library.sys());
        let mut cache = self.sys.create_runtime_cache().ok_or_else(|| self.rtx_only("runtime cache"))?;
        let taken = !blob.is_empty() && cache.deserialize(blob);
        let set = self.sys.set_runtime_cache(&cache).unwrap_or_default();
        watch.done("IRuntimeConfig::setRuntimeCache", set)?;
        Ok((RuntimeCache { sys: cache, library: self.library }, taken))
    }

    fn rtx_only(&self, what: &'static str) -> Error {
        self.library.unsupported(what, "only TensorRT-RTX does; leave it out")
    }
}

/// What RTX compiled on this machine.
pub struct RuntimeCache {
    sys: sys::RuntimeCache,
    library: Library,
}

impl RuntimeCache {
    /// For the next start on this machine. Call it while no context runs.
    pub fn serialize(&self) -> Result<HostMemory> {
        let watch = Watch::begin(self.library.sys());
        watch.made("IRuntimeCache::serialize", self.sys.serialize())
    }
}

/// Tells what became of the graph.
pub struct Inspector {
    sys: sys::Inspector,
    library: Library,
}

impl Inspector {
    /// All layers.
    pub fn engine(&mut self, format: LayerInformationFormat) -> Result<String> {
        let watch = Watch::begin(self.library.sys());
        watch.made("IEngineInspector::getEngineInformation", self.sys.engine_information(format))
    }

    /// One layer.
    pub fn layer(&mut self, index: usize, format: LayerInformationFormat) -> Result<String> {
        let watch = Watch::begin(self.library.sys());
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        watch.made("IEngineInspector::getLayerInformation", self.sys.layer_information(index, format))
    }
}
