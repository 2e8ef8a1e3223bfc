//! The caller's engine: takes a graph, runs tiles.

use crate::compose::{self, ComposedGraph};
use crate::error::{BundleError, BundleErrorKind, fail};
use crate::manifest::Manifest;
use crate::onnx::Placement;
use crate::precision::Precision;
use crate::reference::ReferenceOutputs;
use crate::tensors::TensorFile;

/// What a caller's engine returns for tiles.
pub type RunResult = Result<ReferenceOutputs, Box<dyn std::error::Error + Send + Sync>>;

/// A graph in a caller's engine: outputs for `n` tiles u8 `[n, side, side, 3]` (`tiles` may stay empty).
pub type Loaded = Box<dyn FnMut(&[u8], usize) -> RunResult>;

/// What a caller's engine makes of a graph.
pub type LoadResult = Result<Loaded, Box<dyn std::error::Error + Send + Sync>>;

/// Tiles that a caller's engine gets at once, at most.
pub const BATCH: usize = 8;

/// Composes the graph, once the figures in the manifest changed again.
pub(super) struct Composer<'a> {
    pub(super) topology: Option<&'a [u8]>,
    pub(super) model: &'a TensorFile,
    pub(super) sae: &'a TensorFile,
}

impl Composer<'_> {
    pub(super) fn compose(&self, manifest: &Manifest) -> Result<ComposedGraph, BundleError> {
        compose::compose(manifest, self.topology, self.model, self.sae, Precision::Float32, Placement::Inside)
    }
}

/// The caller's engine, fed in batches.
pub(super) struct Engine<F> {
    pub(super) load: F,
}

impl<F: FnMut(ComposedGraph) -> LoadResult> Engine<F> {
    /// Runs all `tiles`; the result has them and their outputs, checked.
    pub(super) fn run(
        &mut self,
        manifest: &Manifest,
        graph: ComposedGraph,
        tiles: &[u8],
    ) -> Result<ReferenceOutputs, BundleError> {
        let tile_bytes = manifest.side * manifest.side * 3;
        if tiles.is_empty() || !tiles.len().is_multiple_of(tile_bytes) {
            fail!(
                Invalid,
                "{} bytes of tiles; expected one or more of {side} × {side} × 3",
                tiles.len(),
                side = manifest.side
            );
        }
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            BundleError::new(BundleErrorKind::Invalid, format!("the engine could not run the composed graph: {error}"))
        };
        let at_once = if graph.single_tile { 1 } else { BATCH };
        let mut run = (self.load)(graph).map_err(failed)?;
        let mut all =
            ReferenceOutputs { embeddings: vec![Vec::new(); manifest.taps.len()], ..ReferenceOutputs::default() };
        for batch in tiles.chunks(at_once * tile_bytes) {
            let n = batch.len() / tile_bytes;
            let outputs = run(batch, n).map_err(failed)?;
            let outputs = ReferenceOutputs { count: n, tiles: Vec::new(), ..outputs };
            outputs.check(manifest).map_err(|e| e.within("the engine's outputs"))?;
            all.append(outputs);
        }
        all.tiles = tiles.to_vec();
        Ok(all)
    }
}
