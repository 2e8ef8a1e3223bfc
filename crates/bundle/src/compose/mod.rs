//! The composer: manifest and weights become ONE ONNX graph, the same for every engine.
//!
//! `vit` writes a vision transformer, `splice` copies a graph that came as ONNX, `taps` pools the embeddings,
//! `sae` adds the sparse autoencoder. What can be computed once is computed here, in float64, and stored as
//! a float32 constant: preprocessing and position embedding go into the patch embedding, attention's 1/√d
//! into the queries, LayerScale into the projections. Nothing in the graph mixes the tiles of a batch.
//!
//! At a precision below float32 the model's weights and what its matrix products read and give are of that type;
//! norms, softmax, the residual stream, pooling and the SAE stay float32. The graph's types alone say so: engines take
//! them as they are.

pub mod graph;
mod sae;
pub mod splice;
mod taps;
mod vit;

use std::ops::Range;

use crate::error::{BundleError, fail};
use crate::layout;
use crate::manifest::{Architecture, Manifest, Sae, Tap, TapSource, Vit};
use crate::onnx::{DataType, Dim, EXTERNAL_FILE, Model, OPSET, Placement};
use crate::precision::Precision;
use crate::tensors::TensorFile;
use graph::Graph;
use taps::Tokens;

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
    /// The serialised ONNX model, standard domain only.
    pub onnx: Vec<u8>,
    /// The weights, where they were wanted apart or do not fit into ONNX's 2 GiB: the content of the model's external
    /// data file [`ComposedGraph::EXTERNAL_FILE`].
    pub external: Option<Vec<u8>>,
    /// Which bytes of [`ComposedGraph::external`] are which constant's, for engines that take weights one by one.
    pub external_tensors: Vec<(String, Range<usize>)>,
    /// The input's name.
    pub input: String,
    /// The embeddings, in the manifest's order.
    pub taps: Vec<TapOutput>,
    /// Features reported per tile.
    pub features: usize,
    /// Width and height of a tile, px.
    pub side: usize,
    /// Whether the graph takes one tile at a time only.
    pub single_tile: bool,
    /// The type in which the model's products are computed.
    pub precision: Precision,
}

impl ComposedGraph {
    /// Where [`ComposedGraph::onnx`] looks for [`ComposedGraph::external`], beside itself.
    pub const EXTERNAL_FILE: &str = EXTERNAL_FILE;
    /// Name of the input.
    pub const PIXELS: &str = "pixels";
    /// What the name of a tap's output begins with.
    pub const EMBEDDING: &str = "embedding_";
    /// Name of the output with the features' indices, the largest value first.
    pub const FEATURE_INDEX: &str = "feature_index";
    /// Name of the output with the features' values; 0 where fewer are active.
    pub const FEATURE_VALUE: &str = "feature_value";
    /// Name of the output with the number of active features, of all.
    pub const ACTIVE_COUNT: &str = "active_count";
    /// Name of the output with ‖x−x̂‖² over the bundle's mean ‖x−x̄‖².
    pub const RECONSTRUCTION_ERROR: &str = "reconstruction_error";

    /// Name of the output with the embedding of `tap`.
    pub fn embedding(tap: &str) -> String {
        format!("{}{tap}", Self::EMBEDDING)
    }

    /// All output names in the graph's order: embeddings, index, value, count, error.
    pub fn outputs(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.taps.iter().map(|tap| tap.name.as_str()).collect();
        names.extend([Self::FEATURE_INDEX, Self::FEATURE_VALUE, Self::ACTIVE_COUNT, Self::RECONSTRUCTION_ERROR]);
        names
    }
}

/// The revision of the composer: raised whenever the same bundle gives another graph, so that plans built from the
/// former one are told apart.
pub const COMPOSER: u32 = 1;

/// Composes the graph of a checked manifest and its checked weights. `topology` is an ONNX model's graph.
pub fn compose(
    manifest: &Manifest,
    topology: Option<&[u8]>,
    model: &TensorFile,
    sae: &TensorFile,
    precision: Precision,
    placement: Placement,
) -> Result<ComposedGraph, BundleError> {
    let copied = topology.map(Model::read).transpose()?;
    let opset = copied.as_ref().map_or(OPSET, |copied| copied.opset);
    let expected = expected_bytes(manifest, topology, precision);
    let mut graph = Graph::placed(&manifest.name, opset, expected, placement)?.at(precision);
    let side = Dim::Fixed(manifest.side);
    graph.input(ComposedGraph::PIXELS, DataType::Uint8, &[Dim::Batch, side, side, Dim::Fixed(3)]);
    let tokens: Vec<Tokens> = match (&manifest.architecture, &copied) {
        (Architecture::Vit(vit), _) => vit_tokens(&mut graph, manifest, vit, model)?,
        (Architecture::Onnx(onnx), Some(copied)) => {
            splice::compose(&mut graph, manifest, onnx, copied, model)?;
            manifest.taps.iter().filter_map(copied_tokens).collect()
        }
        (Architecture::Onnx(_), None) => fail!(Missing, "the model's graph is missing"),
    };
    let taps: Vec<TapOutput> = manifest
        .taps
        .iter()
        .map(|tap| TapOutput { name: ComposedGraph::embedding(&tap.name), width: manifest.tap_width(tap) })
        .collect();
    for (tap, (output, tokens)) in manifest.taps.iter().zip(taps.iter().zip(&tokens)) {
        tokens.pool(&mut graph, tap.pooling, &output.name);
    }
    sae::compose(&mut graph, &manifest.sae, sae, &ComposedGraph::embedding(&manifest.sae.tap), None)?;
    for tap in &taps {
        graph.output(&tap.name, DataType::Float, &[Dim::Batch, Dim::Fixed(tap.width)]);
    }
    sae_outputs(&mut graph, &manifest.sae);
    let (onnx, external) = graph.finish()?;
    let (external, external_tensors) = external.map(|weights| (weights.bytes, weights.tensors)).unzip();
    Ok(ComposedGraph {
        onnx,
        external,
        external_tensors: external_tensors.unwrap_or_default(),
        input: ComposedGraph::PIXELS.to_owned(),
        taps,
        features: manifest.sae.outputs,
        side: manifest.side,
        single_tile: matches!(&manifest.architecture, Architecture::Onnx(onnx) if onnx.single_tile),
        precision,
    })
}

/// An SAE alone, as it stands in the composed graph: input [`SaeGraph::EMBEDDING`] f32 `[B, d_in]`; outputs
/// [`ComposedGraph::FEATURE_INDEX`] and its like, and [`SaeGraph::RECONSTRUCTION`] f32 `[B, d_in]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SaeGraph {
    /// The serialised ONNX model.
    pub onnx: Vec<u8>,
}

impl SaeGraph {
    /// Name of the input.
    pub const EMBEDDING: &str = "embedding";
    /// Name of the output x̂.
    pub const RECONSTRUCTION: &str = "reconstruction";

    /// Composes it. `tensors` are the SAE's, under the names that `docs/bundle-format.md` gives them.
    ///
    /// # Errors
    /// `Missing` and `Invalid` where `tensors` are not those of `sae`; `TooLarge` beyond ONNX's 2 GiB.
    pub fn compose(sae: &Sae, tensors: &TensorFile) -> Result<Self, BundleError> {
        layout::check_sae(sae, tensors)?;
        let mut graph =
            Graph::new("sae", OPSET, usize::try_from(4 * layout::sae_parameters(sae)).unwrap_or(usize::MAX))?;
        graph.input(Self::EMBEDDING, DataType::Float, &[Dim::Batch, Dim::Fixed(sae.d_in)]);
        sae::compose(&mut graph, sae, tensors, Self::EMBEDDING, Some(Self::RECONSTRUCTION))?;
        sae_outputs(&mut graph, sae);
        graph.output(Self::RECONSTRUCTION, DataType::Float, &[Dim::Batch, Dim::Fixed(sae.d_in)]);
        match graph.finish()? {
            (onnx, None) => Ok(Self { onnx }),
            (_, Some(external)) => {
                fail!(TooLarge, "the SAE alone has {} bytes; ONNX's limit is 2 GiB", external.bytes.len())
            }
        }
    }
}

fn sae_outputs(graph: &mut Graph, sae: &Sae) {
    let per_feature = [Dim::Batch, Dim::Fixed(sae.outputs)];
    graph.output(ComposedGraph::FEATURE_INDEX, DataType::Int32, &per_feature);
    graph.output(ComposedGraph::FEATURE_VALUE, DataType::Float, &per_feature);
    graph.output(ComposedGraph::ACTIVE_COUNT, DataType::Int32, &[Dim::Batch]);
    graph.output(ComposedGraph::RECONSTRUCTION_ERROR, DataType::Float, &[Dim::Batch]);
}

/// Writes a vision transformer; what its taps read, in their order.
fn vit_tokens(
    graph: &mut Graph,
    manifest: &Manifest,
    vit: &Vit,
    file: &TensorFile,
) -> Result<Vec<Tokens>, BundleError> {
    let after_block = vit::compose(graph, manifest, vit, file)?;
    let weights = vit::Weights::new(vit, file);
    let mut all = Vec::with_capacity(manifest.taps.len());
    for tap in &manifest.taps {
        let norm = if tap.final_norm() { Some(weights.norm("norm")?) } else { None };
        let value = tap.after_block().and_then(|block| after_block.get(block)).cloned().unwrap_or_default();
        all.push(Tokens { value, prefix: vit.prefix_tokens(), width: vit.embed_dim, norm });
    }
    Ok(all)
}

fn copied_tokens(tap: &Tap) -> Option<Tokens> {
    match &tap.source {
        TapSource::Tensor { tensor, width, prefix_tokens } => {
            Some(Tokens { value: splice::renamed(tensor), prefix: *prefix_tokens, width: *width, norm: None })
        }
        TapSource::Block { .. } => None,
    }
}

/// The blocks that the graph needs: none after the last tap.
fn composed_depth(taps: &[Tap]) -> usize {
    taps.iter().filter_map(Tap::after_block).map(|block| block + 1).max().unwrap_or(0)
}

/// Size of the file, to reserve it once: the weights that are composed, and room for nodes.
fn expected_bytes(manifest: &Manifest, topology: Option<&[u8]>, precision: Precision) -> usize {
    let sae = 4 * layout::sae_parameters(&manifest.sae);
    let bytes = match &manifest.architecture {
        Architecture::Vit(vit) => {
            let depth = composed_depth(&manifest.taps);
            let composed = Vit { depth, ..vit.clone() };
            let table = 4 * (vit.tokens(manifest.side) * vit.embed_dim) as u128;
            let weights = precision.bytes() as u128 * layout::vit_parameters(&composed, manifest.side);
            // Norms are float32 whatever the precision.
            let norms = 16 * vit.embed_dim as u128;
            sae + weights + table + 64 * 1024 + (16 * 1024 + norms) * depth as u128
        }
        Architecture::Onnx(onnx) => {
            let nodes = topology.map_or(0, |topology| 2 * topology.len() as u128);
            sae + 4 * u128::from(onnx.parameters) + nodes + 64 * 1024
        }
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
