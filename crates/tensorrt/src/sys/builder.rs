//! `IBuilder` and the profile it keeps: makes networks and configurations, builds plans.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::{Raw, behind_destructor, call};
use super::builder_config::BuilderConfig;
use super::host_memory::HostMemory;
use super::library::Library;
use super::network::Network;
use super::object::{NotSync, Object};
use super::recorder::RecorderObject;
use super::types::{Dims, OptProfileSelector};

/// Makes networks and configurations, and builds plans. May be sent, not shared; several builders may work at a time.
pub struct Builder {
    object: Arc<Object>,
    not_sync: NotSync,
}

impl Builder {
    /// A builder, or none where the library gives none: it has no builder, or needs a driver for it.
    pub fn new(library: &'static Library) -> Option<Self> {
        let raw = library.create_builder()?;
        // SAFETY: `createInferBuilder_INTERNAL` gives an `IBuilder` that is ours.
        let object = unsafe { Object::adopt(raw, library, Vec::new()) }?;
        Some(Self { object: Arc::new(object), not_sync: PhantomData })
    }

    /// Whose builder it is.
    pub fn library(&self) -> &'static Library {
        self.object.library()
    }

    /// `createNetworkV2` without flags: these generations know strongly typed networks only.
    pub fn create_network(&mut self) -> Option<Network> {
        let slot = self.object.slots().builder.create_network;
        // SAFETY: `INetworkDefinition* createNetworkV2(uint32_t)`; the network is ours and keeps the builder.
        unsafe {
            let raw = call!(self.object.implementation(), behind_destructor(slot), (0 => u32) -> Raw);
            Object::adopt(raw, self.library(), vec![self.object.clone()]).map(Network::new)
        }
    }

    /// `createBuilderConfig`
    pub fn create_builder_config(&mut self) -> Option<BuilderConfig> {
        let slot = self.object.slots().builder.create_builder_config;
        // SAFETY: `IBuilderConfig* createBuilderConfig()`; the configuration is ours and keeps the builder.
        unsafe {
            let raw = call!(self.object.implementation(), behind_destructor(slot), () -> Raw);
            Object::adopt(raw, self.library(), vec![self.object.clone()]).map(BuilderConfig::new)
        }
    }

    /// `createOptimizationProfile`
    pub fn create_optimization_profile(&mut self) -> Option<OptimizationProfile> {
        let slot = self.object.slots().builder.create_optimization_profile;
        // SAFETY: `IOptimizationProfile* createOptimizationProfile()`; the builder destroys it.
        unsafe {
            let raw = call!(self.object.implementation(), behind_destructor(slot), () -> Raw);
            let object = Object::with_destructor(raw, self.library(), vec![self.object.clone()], None)?;
            Some(OptimizationProfile { object: Arc::new(object), not_sync: PhantomData })
        }
    }

    /// `buildSerializedNetwork`: a plan, or none. A network and a configuration of another builder are taken too; of
    /// another library not.
    pub fn build_serialized_network(
        &mut self,
        network: &mut Network,
        config: &mut BuilderConfig,
    ) -> Option<HostMemory> {
        let ours: *const Library = self.library();
        if !std::ptr::eq(ours, network.object().library()) || !std::ptr::eq(ours, config.object().library()) {
            return None;
        }
        config.reset_monitor();
        let slot = self.object.slots().builder.build_serialized_network;
        // SAFETY: `IHostMemory* buildSerializedNetwork(INetworkDefinition&, IBuilderConfig&)`; what the configuration
        // and the network point at is kept by them.
        unsafe {
            let raw = call!(
                self.object.implementation(),
                behind_destructor(slot),
                (network.object().raw() => Raw, config.object().raw() => Raw) -> Raw
            );
            HostMemory::adopt(raw, self.library())
        }
    }

    /// `setMaxThreads`
    pub fn set_max_threads(&mut self, threads: i32) -> bool {
        let slot = self.object.slots().builder.set_max_threads;
        // SAFETY: `bool setMaxThreads(int32_t)`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (threads => i32) -> bool) }
    }

    /// `setErrorRecorder`, for the builder and what it makes from now on.
    pub fn set_error_recorder(&mut self, recorder: Arc<RecorderObject>) {
        let slot = self.object.slots().builder.set_error_recorder;
        let raw = recorder.raw();
        self.object.keep(recorder);
        // SAFETY: `void setErrorRecorder(IErrorRecorder*)`; the recorder is kept as long as the builder, and that as
        // long as what it makes.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), (raw => Raw)) }
    }
}

/// The range of shapes that a plan is for. The builder owns it.
pub struct OptimizationProfile {
    object: Arc<Object>,
    not_sync: NotSync,
}

impl OptimizationProfile {
    pub(super) fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// `setDimensions`
    pub fn set_dimensions(&mut self, input: &CStr, select: OptProfileSelector, dims: Dims) -> bool {
        let slot = self.object.slots().profile.set_dimensions;
        // SAFETY: `bool setDimensions(char const*, OptProfileSelector, Dims const&)`.
        unsafe {
            call!(
                self.object.implementation(),
                behind_destructor(slot),
                (input.as_ptr() => *const c_char, select.0 => i32, &raw const dims => *const Dims) -> bool
            )
        }
    }

    /// `isValid`
    pub fn is_valid(&self) -> bool {
        let slot = self.object.slots().profile.is_valid;
        // SAFETY: `bool isValid()`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), () -> bool) }
    }
}
