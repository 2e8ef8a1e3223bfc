//! The caller's engine, which takes a graph and runs tiles.

use crate::compose::{self, ComposedGraph};
use crate::error::{BundleError, BundleErrorKind, fail};
use crate::manifest::Manifest;
use crate::onnx::Placement;
use crate::precision::Precision;
use crate::reference::ReferenceOutputs;
use crate::tensors::TensorFile;

/// The outputs of a caller's engine.
pub type RunResult = Result<ReferenceOutputs, Box<dyn std::error::Error + Send + Sync>>;

/// A graph loaded by a caller's engine. It takes `n` tiles, u8 `[n, side, side, 3]`, and returns their outputs;
/// `ReferenceOutputs::tiles` may stay empty.
pub type Loaded = Box<dyn FnMut(&[u8], usize) -> RunResult>;

/// The result of loading a graph.
pub type LoadResult = Result<Loaded, Box<dyn std::error::Error + Send + Sync>>;

/// Most tiles that a caller's engine gets at once.
pub const BATCH: usize = 8;

/// Composes the graph again whenever the manifest's figures have changed.
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
    /// Runs all `tiles` and returns them with their checked outputs.
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
                "found {} bytes of tiles; expected one or more tiles of {side} × {side} × 3 bytes",
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
