//! What runs the bundle's graph. Engines know tiles as rows of bytes: nothing of slides.

pub(crate) mod cpu;
mod selfcheck;

use coverslip_plugin_abi::Feature;

use crate::error::Result;
pub(crate) use selfcheck::self_check;

/// An engine: the graph, loaded once, from which every lane makes its own runner.
pub(crate) trait Engine: Send + Sync {
    /// A runner for one lane; called on the lane's own thread.
    fn lane(&self) -> Result<Box<dyn Lane>>;
    /// What runs, for `runtime_info`.
    fn about(&self) -> &About;
}

/// What `runtime_info` tells of an engine.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// `COVERSLIP_ENGINE_*`.
    pub(crate) kind: i32,
    /// Library and version.
    pub(crate) version: String,
    /// Tiles per batch at most.
    pub(crate) max_batch: usize,
}

/// Runs batches, one at a time.
pub(crate) trait Lane: Send {
    /// Runs the graph over `tiles` (each side × side packed RGB, at most `max_batch` of them) and fills one output per
    /// tile.
    fn run(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<()>;
}

/// What the graph says of one tile.
#[derive(Clone, Debug, Default)]
pub(crate) struct TileOutput {
    /// The taps' embeddings, one after the other.
    pub(crate) embedding: Vec<f32>,
    /// The strongest active features, strongest first.
    pub(crate) features: Vec<Feature>,
    /// Active features in all.
    pub(crate) active_count: u32,
    /// ‖x − x̂‖² over the bundle's mean ‖x − x̄‖².
    pub(crate) reconstruction_error: f32,
}
