//! The composer writes one ONNX graph, the same for every engine, from a manifest and its weights.
//!
//! `vit` writes a vision transformer, `splice` copies an ONNX model's graph, `taps` pools the embeddings, and `sae`
//! adds the sparse autoencoder. `crate::fold` has computed ahead what can be. Nothing in the graph mixes the tiles of a
//! batch.
//!
//! At a precision below float32 the model's weights and the inputs and outputs of its matrix products have that type;
//! norms, softmax, the residual stream, pooling and the SAE stay float32. The types in the graph state this completely:
//! engines change none.

mod composed;
pub mod graph;
mod sae;
mod sae_graph;
pub mod splice;
mod taps;
mod vit;

use crate::error::{BundleError, fail};
use crate::fold::VitWeights;
use crate::layout;
use crate::manifest::{Architecture, Manifest, Tap, TapSource, Vit};
use crate::onnx::{self, DataType, Dim, Model, OPSET, Placement};
use crate::precision::Precision;
use crate::tensors::TensorFile;
pub use composed::{ComposedGraph, TapOutput};
use graph::Graph;
pub use sae_graph::SaeGraph;
use taps::Tokens;

/// The composer's revision. It is raised whenever the same bundle gives a different graph, so that plans of the former
/// graph are not used.
pub const COMPOSER: u32 = 1;

/// Composes the graph of a checked manifest and its checked weights. `topology` is the graph of an ONNX model.
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
        (Architecture::Onnx(_), None) => fail!(Missing, "the ONNX model's graph is missing"),
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
    sae::outputs(&mut graph, &manifest.sae);
    let (onnx, external) = graph.finish()?;
    let single_tile = matches!(&manifest.architecture, Architecture::Onnx(onnx) if onnx.single_tile);
    let working_bytes = working_bytes(&onnx, manifest.side, single_tile)?;
    let (external, external_tensors) = external.map(|weights| (weights.bytes, weights.tensors)).unzip();
    Ok(ComposedGraph {
        onnx,
        external,
        external_tensors: external_tensors.unwrap_or_default(),
        input: ComposedGraph::PIXELS.to_owned(),
        taps,
        features: manifest.sae.outputs,
        side: manifest.side,
        single_tile,
        precision,
        working_bytes,
    })
}

/// Holds the graph against its budget for every batch that the lab and the CPU run, and for GPU batches by powers of
/// two: a graph may compute any size from its batch. Returns what one tile needs.
fn working_bytes(onnx: &[u8], side: usize, single_tile: bool) -> Result<u64, BundleError> {
    let model = Model::read(onnx)?;
    let demand = |tiles| onnx::demand(&model, (ComposedGraph::PIXELS, &[tiles, side, side, 3]), tiles);
    if !single_tile {
        for tiles in [2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256] {
            demand(tiles)?;
        }
    }
    Ok(demand(1)?.bytes)
}

/// Writes a vision transformer; returns the tokens that each tap reads, in order.
fn vit_tokens(
    graph: &mut Graph,
    manifest: &Manifest,
    vit: &Vit,
    file: &TensorFile,
) -> Result<Vec<Tokens>, BundleError> {
    let weights = VitWeights::new(manifest, vit, file);
    let after_block = vit::compose(graph, manifest, vit, &weights)?;
    let mut all = Vec::with_capacity(manifest.taps.len());
    for tap in &manifest.taps {
        let norm = if tap.final_norm() { Some(weights.final_norm()?) } else { None };
        let value = tap.after_block().and_then(|block| after_block.get(block)).cloned().unwrap_or_default();
        let (prefix, patches) = (vit.prefix_tokens(), vit.patches(manifest.side));
        all.push(Tokens { value, prefix, width: vit.embed_dim, patches, norm });
    }
    Ok(all)
}

fn copied_tokens(tap: &Tap) -> Option<Tokens> {
    match &tap.source {
        TapSource::Tensor { tensor, width, prefix_tokens, patches } => Some(Tokens {
            value: splice::renamed(tensor),
            prefix: *prefix_tokens,
            width: *width,
            patches: *patches,
            norm: None,
        }),
        TapSource::Block { .. } => None,
    }
}

/// Expected size of the file, bytes: the composed weights and room for nodes.
fn expected_bytes(manifest: &Manifest, topology: Option<&[u8]>, precision: Precision) -> usize {
    let sae = 4 * layout::sae_parameters(&manifest.sae);
    let bytes = match &manifest.architecture {
        Architecture::Vit(vit) => {
            let depth = manifest.blocks_read();
            let composed = Vit { depth, ..vit.clone() };
            let table = 4 * (vit.tokens(manifest.side) * vit.embed_dim) as u128;
            let weights = precision.bytes() as u128 * layout::vit_parameters(&composed, manifest.side);
            // Norms are float32 in every precision.
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
