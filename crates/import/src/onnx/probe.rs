//! What a graph's values look like, found by running it: shapes, and the numbers in small ones. That beats
//! inferring shapes: whatever the exporter wrote, this is what the engine will see.

use std::collections::HashMap;
use std::error::Error;

use super::source::{HALVES_AND_DOUBLE, Source, to_f32};
use crate::Checkpoint;
use coverslip_bundle::OnnxModel;
use coverslip_bundle::compose::graph::Graph;
use coverslip_bundle::compose::splice;
use coverslip_bundle::onnx::{ConstantData, DataType, Dim, Node};
use coverslip_bundle::{BundleError, BundleErrorKind, fail};

/// A graph to be run as it is: input `pixels` u8 `[n, side, side, 3]`.
#[derive(Clone, Debug)]
pub struct ProbeGraph {
    /// The serialised ONNX model.
    pub onnx: Vec<u8>,
    /// Its external data, under [`coverslip_bundle::ComposedGraph::EXTERNAL_FILE`].
    pub external: Option<Vec<u8>>,
    /// Width and height of a tile, px.
    pub side: usize,
    /// The outputs to be computed, in this order.
    pub outputs: Vec<String>,
    /// Whether the engine rewrites the graph as it does for speed.
    pub rewrite: Rewrite,
}

/// Whether an engine may rewrite a graph. Not where values within it are asked for: they may be gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rewrite {
    /// As it runs in a bundle.
    Yes,
    /// As it stands.
    No,
}

/// What stands before a graph: its input, and the preprocessing.
#[derive(Clone, Debug)]
pub(super) struct Front {
    pub(super) model: OnnxModel,
    pub(super) side: usize,
    pub(super) mean: [f64; 3],
    pub(super) std: [f64; 3],
}

/// A value that was computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers (integers converted). Only taps' and shapes' are looked at.
    pub values: Vec<f32>,
}

/// What a caller's engine finds for tiles.
pub type ProbeResult = Result<Vec<Probed>, Box<dyn Error + Send + Sync>>;

/// A probe in a caller's engine: its outputs for `n` tiles u8 `[n, side, side, 3]`.
pub type LoadedProbe = Box<dyn FnMut(&[u8], usize) -> ProbeResult>;

/// The caller's engine, for probes.
pub type Prober<'a> = dyn FnMut(ProbeGraph) -> Result<LoadedProbe, Box<dyn Error + Send + Sync>> + 'a;

/// Composes a graph that puts out `wanted`.
fn compose(
    source: &Source,
    external: &Checkpoint,
    front: &Front,
    wanted: &[String],
    rewrite: Rewrite,
) -> Result<ProbeGraph, BundleError> {
    let bytes: usize =
        source.constants.values().map(|constant| constant.elements().saturating_mul(8)).fold(0, usize::saturating_add);
    let mut graph = Graph::new("probe", source.opset, bytes.saturating_add(1 << 20))?;
    let side = Dim::Fixed(front.side);
    graph.input(coverslip_bundle::ComposedGraph::PIXELS, DataType::Uint8, &[Dim::Batch, side, side, Dim::Fixed(3)]);
    splice::front(&mut graph, &front.model, front.mean, front.std);
    for constant in source.constants.values() {
        let name = splice::renamed(&constant.name);
        match &constant.data {
            ConstantData::External { .. } => {
                let values = external.read(&constant.name)?;
                graph.floats(&name, &constant.dims, &values.view(&constant.name).to_f32()?);
            }
            ConstantData::Here(data) if HALVES_AND_DOUBLE.contains(&constant.data_type) => {
                graph.floats(&name, &constant.dims, &to_f32(constant.data_type, data));
            }
            ConstantData::Here(data) => graph.constant(&name, &constant.dims, constant.data_type, data),
        }
    }
    for node in &source.nodes {
        graph.copied_node(&splice::renamed_node(node));
    }
    let outputs: Vec<String> = wanted.iter().map(|name| splice::renamed(name)).collect();
    outputs.iter().for_each(|name| graph.output(name, DataType::Float, &[]));
    let (onnx, external) = graph.finish()?;
    Ok(ProbeGraph { onnx, external: external.map(|weights| weights.bytes), side: front.side, outputs, rewrite })
}

/// A graph in the engine, and the names that its outputs have in the source.
pub(super) struct Probe {
    run: LoadedProbe,
    wanted: Vec<String>,
}

impl Probe {
    /// Loads a graph that puts out `wanted`.
    pub(super) fn load(
        source: &Source,
        external: &Checkpoint,
        front: &Front,
        wanted: &[String],
        rewrite: Rewrite,
        engine: &mut Prober,
    ) -> Result<Self, BundleError> {
        let graph = compose(source, external, front, wanted, rewrite)?;
        Ok(Self { run: engine(graph).map_err(does_not_run)?, wanted: wanted.to_vec() })
    }

    /// The values for `n` tiles, by their names in the source.
    pub(super) fn run(&mut self, tiles: &[u8], n: usize) -> Result<HashMap<String, Probed>, BundleError> {
        let probed = (self.run)(tiles, n).map_err(does_not_run)?;
        if probed.len() != self.wanted.len() {
            fail!(Invalid, "the engine gave {} values, expected {}", probed.len(), self.wanted.len());
        }
        Ok(self.wanted.iter().cloned().zip(probed).collect())
    }
}

fn does_not_run(error: Box<dyn Error + Send + Sync>) -> BundleError {
    BundleError::new(BundleErrorKind::Unsupported, format!("the engine does not run this graph: {error}"))
}

/// The values whose shapes tell what a graph costs.
pub(super) fn cost_values(nodes: &[Node]) -> Vec<String> {
    let heavy = nodes.iter().filter(|node| ["MatMul", "Gemm", "Conv", "ConvTranspose"].contains(&node.op.as_str()));
    heavy.flat_map(|node| node.outputs.first().into_iter().chain(node.inputs.iter().take(2)).cloned()).collect()
}

/// Refuses products with a computed vector: the engine gives their results another shape than ONNX.
pub(super) fn refuse_vectors(nodes: &[Node], found: &HashMap<String, Probed>) -> Result<(), BundleError> {
    let vector = |name: &String| found.get(name).is_some_and(|value| value.shape.len() == 1);
    match nodes.iter().find(|node| node.op == "MatMul" && node.inputs.iter().any(vector)) {
        Some(node) => fail!(
            Unsupported,
            "`{}` multiplies with a vector (MatMul of rank 1): not supported in this version; reshape it to a matrix",
            node.outputs.first().unwrap_or(&node.name)
        ),
        None => Ok(()),
    }
}

/// Floating-point operations of matrix products and convolutions, two per multiply-add.
pub(super) fn flops(source: &Source, found: &HashMap<String, Probed>) -> u64 {
    let shape = |name: &String| -> Option<Vec<usize>> {
        let probed = found.get(name).map(|probed| probed.shape.clone());
        probed.or_else(|| source.constants.get(name).map(|constant| constant.dims.clone()))
    };
    let size = |shape: &[usize]| shape.iter().map(|n| *n as u64).product::<u64>();
    let one = |node: &Node| -> Option<u64> {
        let input = shape(node.inputs.first()?)?;
        let output = shape(node.outputs.first()?)?;
        Some(match node.op.as_str() {
            "MatMul" | "Gemm" => 2 * size(&output) * *input.last()? as u64,
            "Conv" => 2 * size(&output) * size(shape(node.inputs.get(1)?)?.get(1..)?),
            "ConvTranspose" => 2 * size(&input) * size(shape(node.inputs.get(1)?)?.get(1..)?),
            _ => 0,
        })
    };
    source.nodes.iter().filter_map(one).sum()
}
