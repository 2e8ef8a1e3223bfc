//! From a network to a plan.

use super::config::{BuilderConfig, ErrorRecorder, fill};
use super::library::Library;
use super::network::Network;
use crate::result::{Result, Watch};
use crate::sys::{self, HostMemory, OptimizationProfile};

/// The shapes of one input that a profile is for.
#[derive(Clone, Copy, Debug)]
pub struct InputRange<'r> {
    /// The input's name.
    pub input: &'r str,
    /// The smallest shape that will ever run.
    pub min: &'r [i64],
    /// The shape to be quick at.
    pub opt: &'r [i64],
    /// The largest shape that will ever run.
    pub max: &'r [i64],
}

/// Makes networks and configurations, and builds plans.
pub struct Builder {
    sys: sys::Builder,
    library: Library,
}

impl Builder {
    /// A builder. TensorRT needs a driver for it; RTX does not.
    pub fn new(library: Library) -> Result<Self> {
        if !library.has_builder() {
            return Err(
                library.unsupported("builder", "a lean or dispatch runtime only runs plans; build with libnvinfer")
            );
        }
        let watch = Watch::begin(library.sys());
        match watch.made("createInferBuilder", sys::Builder::new(library.sys())) {
            Ok(sys) => Ok(Self { sys, library }),
            Err(error) => Err(library.no_driver_or(error)),
        }
    }

    /// Whose builder it is.
    pub fn library(&self) -> Library {
        self.library
    }

    /// An empty network. Networks are strongly typed: the model's types decide.
    pub fn network(&mut self) -> Result<Network> {
        let watch = Watch::begin(self.library.sys());
        let network = watch.made("IBuilder::createNetworkV2", self.sys.create_network())?;
        Ok(Network::new(network, self.library))
    }

    /// A configuration with TensorRT's defaults.
    pub fn config(&mut self) -> Result<BuilderConfig> {
        let watch = Watch::begin(self.library.sys());
        let config = watch.made("IBuilder::createBuilderConfig", self.sys.create_builder_config())?;
        Ok(BuilderConfig::new(config, self.library))
    }

    /// A profile for these ranges: one for every input with an open extent.
    pub fn profile(&mut self, ranges: &[InputRange<'_>]) -> Result<OptimizationProfile> {
        let watch = Watch::begin(self.library.sys());
        let profile = self.sys.create_optimization_profile();
        let mut profile = watch.made("IBuilder::createOptimizationProfile", profile)?;
        fill(&mut profile, ranges, &watch)?;
        Ok(profile)
    }

    /// Builds the plan. This takes seconds to minutes; the configuration's progress monitor sees it and can stop it.
    pub fn build(&mut self, network: &mut Network, config: &mut BuilderConfig) -> Result<HostMemory> {
        let watch = Watch::begin(self.library.sys());
        let plan = self.sys.build_serialized_network(network.sys(), config.sys());
        plan.ok_or_else(|| config.failure(&watch))
    }

    /// Threads that a build may use.
    pub fn set_max_threads(&mut self, threads: u16) -> Result<()> {
        let watch = Watch::begin(self.library.sys());
        watch.done("IBuilder::setMaxThreads", self.sys.set_max_threads(threads.into()))
    }

    /// Errors go to this recorder from now on, instead of to the log (and so not into this crate's errors either).
    pub fn set_error_recorder(&mut self, recorder: ErrorRecorder) {
        self.sys.set_error_recorder(recorder);
    }
}
