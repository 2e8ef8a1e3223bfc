//! `IBuilder`: from a network to a plan.

use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::Raw;
use super::builder_config::{BuilderConfig, InputRange, OptimizationProfile};
use super::error::{Error, Result};
use super::library::Library;
use super::network::Network;
use super::object::{HostMemory, NotSync, Object, method};

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
        let no_flags = 0;
        // SAFETY: `INetworkDefinition* createNetworkV2(uint32_t)`, which is ours and keeps the builder.
        let network = unsafe {
            let raw = method!(self.object, builder.create_network, (no_flags => u32) -> Raw);
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
        if [network.object().library(), config.object().library()] != [library; 2] {
            return Err(Error::Argument { why: "the network or the configuration is of another library".into() });
        }
        config.reset_monitor();
        let watch = library.watch();
        let (raw_network, raw_config) = (network.object().raw(), config.object().raw());
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
