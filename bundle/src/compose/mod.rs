//! The composer: manifest and weights become ONE ONNX graph, the same for every engine.
//!
//! `vit` writes the model, `taps` the embeddings, `sae` the sparse autoencoder. What can be computed
//! once is computed here, in float64, and stored as a float32 constant: preprocessing and position
//! embedding go into the patch embedding, attention's 1/√d into the queries, LayerScale into the
//! projections. Nothing in the graph mixes the tiles of a batch.

mod graph;
mod onnx;
mod sae;
mod taps;
mod vit;

use crate::error::BundleError;
use crate::layout;
use crate::manifest::Manifest;
use crate::tensors::TensorFile;
use graph::Graph;
use onnx::{DataType, Dim};

/// One embedding output of the graph.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TapOutput {
    /// The output's name in the graph: `embedding_<tap>`.
    pub name: String,
    /// Values per tile.
    pub width: usize,
}

/// The graph that every engine runs.
///
/// Input: [`ComposedGraph::input`], u8 `[B, side, side, 3]` (R, G, B). Outputs, in this order: each tap's
/// embedding f32 `[B, width]`, then [`ComposedGraph::FEATURE_INDEX`] i32 `[B, features]`,
/// [`ComposedGraph::FEATURE_VALUE`] f32 `[B, features]`, [`ComposedGraph::ACTIVE_COUNT`] i32 `[B]` and
/// [`ComposedGraph::RECONSTRUCTION_ERROR`] f32 `[B]`. A tile's outputs do not depend on the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ComposedGraph {
    /// The serialised ONNX model, opset 20, standard domain only.
    pub onnx: Vec<u8>,
    /// The input's name.
    pub input: String,
    /// The embeddings, in the manifest's order.
    pub taps: Vec<TapOutput>,
    /// Features reported per tile.
    pub features: usize,
    /// Width and height of a tile, px.
    pub side: usize,
}

impl ComposedGraph {
    /// Name of the input.
    pub const PIXELS: &str = "pixels";
    /// Name of the output with the features' indices, the largest value first.
    pub const FEATURE_INDEX: &str = "feature_index";
    /// Name of the output with the features' values; 0 where fewer are active.
    pub const FEATURE_VALUE: &str = "feature_value";
    /// Name of the output with the number of active features, of all.
    pub const ACTIVE_COUNT: &str = "active_count";
    /// Name of the output with ‖x−x̂‖² over the bundle's mean ‖x−x̄‖².
    pub const RECONSTRUCTION_ERROR: &str = "reconstruction_error";

    /// All output names in the graph's order: embeddings, index, value, count, error.
    pub fn outputs(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.taps.iter().map(|tap| tap.name.as_str()).collect();
        names.extend([Self::FEATURE_INDEX, Self::FEATURE_VALUE, Self::ACTIVE_COUNT, Self::RECONSTRUCTION_ERROR]);
        names
    }
}

/// Composes the graph of a checked manifest and its checked weights.
pub(crate) fn compose(manifest: &Manifest, model: &TensorFile, sae: &TensorFile) -> Result<ComposedGraph, BundleError> {
    let mut graph = Graph::new(&manifest.name, expected_bytes(manifest))?;
    let side = Dim::Fixed(manifest.side);
    let pixels = [Dim::Batch, side, side, Dim::Fixed(3)];
    graph.input(ComposedGraph::PIXELS, DataType::Uint8, &pixels);
    let taps: Vec<TapOutput> = manifest
        .taps
        .iter()
        .map(|tap| TapOutput { name: format!("embedding_{}", tap.name), width: manifest.tap_width(tap) })
        .collect();
    let after_block = vit::compose(&mut graph, manifest, model)?;
    taps::compose(&mut graph, manifest, model, &after_block)?;
    sae::compose(&mut graph, manifest, sae)?;
    for tap in &taps {
        let shape = [Dim::Batch, Dim::Fixed(tap.width)];
        graph.output(&tap.name, DataType::Float, &shape);
    }
    let features = manifest.sae.outputs;
    let per_feature = [Dim::Batch, Dim::Fixed(features)];
    graph.output(ComposedGraph::FEATURE_INDEX, DataType::Int32, &per_feature);
    graph.output(ComposedGraph::FEATURE_VALUE, DataType::Float, &per_feature);
    graph.output(ComposedGraph::ACTIVE_COUNT, DataType::Int32, &[Dim::Batch]);
    graph.output(ComposedGraph::RECONSTRUCTION_ERROR, DataType::Float, &[Dim::Batch]);
    Ok(ComposedGraph {
        onnx: graph.finish()?,
        input: ComposedGraph::PIXELS.to_owned(),
        taps,
        features,
        side: manifest.side,
    })
}

/// The blocks that the graph needs: none after the last tap.
fn composed_depth(manifest: &Manifest) -> usize {
    let blocks = manifest.taps.iter().map(|tap| tap.after_block + 1);
    blocks.max().unwrap_or(0)
}

/// Size of the file, to reserve it once: the weights that are composed, and room for nodes.
fn expected_bytes(manifest: &Manifest) -> usize {
    let mut composed = manifest.clone();
    composed.architecture.depth = composed_depth(manifest);
    let table = (manifest.tokens() * manifest.architecture.embed_dim) as u128;
    let weights = 4 * (layout::parameters(&composed) + table);
    let nodes = 64 * 1024 + 16 * 1024 * composed.architecture.depth as u128;
    usize::try_from(weights + nodes).unwrap_or(usize::MAX)
}
