//! What runs the bundle's graph, for the plugin and for its worker process. An engine sees tiles as rows of bytes and
//! knows nothing of slides. [`load`] loads one and checks it.

#![deny(missing_docs)]
#![deny(unsafe_code)]
// Errors carry their text in place, so that submit can refuse a frame without allocating.
#![allow(clippy::result_large_err)]

pub mod config;
mod cpu;
pub mod load;
mod outputs;
mod selfcheck;
mod tensorrt;
mod vit;

use std::sync::Arc;
use std::time::Duration;

use coverslip_plugin_abi::Feature;

use coverslip_base::error::{Error, Result};

/// The graph, loaded once. Every lane makes its own runner from it.
pub trait Engine: Send + Sync {
    /// Makes a runner for one lane. Called on the lane's own thread, where the runner also runs and is dropped.
    fn lane(&self) -> Result<Box<dyn Lane>, Failure>;
    /// What runs, for `runtime_info`.
    fn about(&self) -> &About;
    /// The process that runs it; 0: this one, or none now.
    fn process(&self) -> u64 {
        0
    }
    /// The engine will be dropped, and somebody waits so long for its end.
    fn hurry(&self, _time: Duration) {}
    /// Makes the lanes return, where that can be done: for a runtime that ends while they hang. Whether it is; does not
    /// wait.
    fn abort(&self) -> bool {
        false
    }
}

/// Hears how far the loading is: `COVERSLIP_STAGE_*`, and the share of it that is done. An error from it ends the loading.
pub type Tell<'t> = dyn Fn(i32, f64) -> Result<()> + Sync + 't;

/// What `runtime_info` tells of an engine.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// `COVERSLIP_ENGINE_*`.
    pub kind: i32,
    /// Library and version.
    pub version: String,
    /// Tiles per batch at most.
    pub max_batch: usize,
    /// Threads that run it.
    pub lanes: usize,
    /// The lanes share one device: a budget limits the device's time, not each lane's.
    pub shared_device: bool,
    /// What one run takes of the host's memory at most, where the engine allocates in runs; else 0.
    pub run_bytes: usize,
    /// What the engine holds of its process's memory, with the most that the runs of all lanes add; 0: not known.
    pub memory_bytes: u64,
    /// `COVERSLIP_PRECISION_*`.
    pub precision: i32,
    /// The kernel families of the CPU engine; empty where a library chooses its own.
    pub cpu_kernels: String,
    /// The GPU's driver; empty on the CPU.
    pub driver: String,
    /// Which GPU; empty on the CPU.
    pub gpu_uuid: String,
    /// sha256 of the plan's file; zero where there is none.
    pub plan_digest: [u8; 32],
}

impl About {
    /// What to ask for before a run: what the runs of all lanes take together. glibc keeps a freed piece of up to 32 MiB for
    /// the thread that freed it, where the engine's thread does not find it: only for a larger one it asks the system.
    pub fn all_runs(&self) -> usize {
        const OF_THE_SYSTEM: usize = 33 << 20;
        match self.run_bytes.saturating_mul(self.lanes) {
            0 => 0,
            bytes => bytes.max(OF_THE_SYSTEM),
        }
    }
}

/// Memory from which batches come, for as long as it is held.
pub type TileMemory = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Runs batches, one at a time.
pub trait Lane: Send {
    /// Runs the graph over `tiles` (each side × side packed RGB, at most `max_batch` of them) and fills one output per
    /// tile.
    fn run(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<(), Failure>;
    /// Batches may lie in this memory from now on, one tile after the other from its beginning; nobody writes it while one
    /// runs. Whether the lane's device reads it there by itself.
    fn read_from(&mut self, _memory: &TileMemory) -> bool {
        false
    }
}

/// Why a batch has no outputs.
#[derive(Debug)]
pub enum Failure {
    /// This batch failed; the next may work.
    Batch(Error),
    /// The engine is lost for as long as this runtime is open: its device is gone, or its memory is used up.
    Lost(Loss),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Batch(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Batch(error) | Failure::Lost(Loss { error, .. }) => error,
        }
    }
}

/// Why an engine does not run, or runs no longer.
#[derive(Clone, Debug)]
pub struct Loss {
    /// `COVERSLIP_REASON_*`.
    pub reason: i32,
    /// What a function returns when there is no other engine.
    pub error: Error,
}

/// What the graph says of one tile.
#[derive(Clone, Debug, Default)]
pub struct TileOutput {
    /// The taps' embeddings, one after the other.
    pub embedding: Vec<f32>,
    /// The strongest active features, strongest first.
    pub features: Vec<Feature>,
    /// Active features in all.
    pub active_count: u32,
    /// ‖x − x̂‖² over the bundle's mean ‖x − x̄‖².
    pub reconstruction_error: f32,
    /// The batch ran, but not on this tile, which has no outputs: it ended the engine's process.
    pub failed: bool,
    /// It was run more than once, because the process that ran it ended.
    pub retried: bool,
}

impl TileOutput {
    /// Nothing in it is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.reconstruction_error.is_finite()
            && self.embedding.iter().all(|value| value.is_finite())
            && self.features.iter().all(|feature| feature.value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_none_is_seen_wherever_it_is() {
        let sound = TileOutput {
            embedding: vec![0.5; 3],
            features: vec![Feature { index: 1, value: 2.0 }; 2],
            active_count: 2,
            reconstruction_error: 0.1,
            ..TileOutput::default()
        };
        assert!(sound.is_finite());
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (mut embedding, mut feature) = (sound.clone(), sound.clone());
            embedding.embedding[2] = broken;
            feature.features[1].value = broken;
            let error = TileOutput { reconstruction_error: broken, ..sound.clone() };
            assert!(!embedding.is_finite() && !feature.is_finite() && !error.is_finite());
        }
    }
}
