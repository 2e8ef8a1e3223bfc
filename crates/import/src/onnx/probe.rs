//! Shapes and values in a graph, found by running it. Unlike inferred shapes, these are the ones that the engine sees,
//! whatever the exporter wrote.

use std::collections::HashMap;
use std::error::Error;

use super::source::{HALVES_AND_DOUBLE, Source, to_f32};
use crate::Checkpoint;
use coverslip_bundle::OnnxModel;
use coverslip_bundle::compose::graph::Graph;
use coverslip_bundle::compose::splice;
use coverslip_bundle::onnx::{ConstantData, DataType, Demand, Dim, Model, Node};
use coverslip_bundle::{BundleError, BundleErrorKind, fail};

/// A graph to run for its values. Its input is `pixels` u8 `[n, side, side, 3]`.
#[derive(Clone, Debug)]
pub struct ProbeGraph {
    /// The serialised ONNX model.
    pub onnx: Vec<u8>,
    /// The model's external data file [`coverslip_bundle::ComposedGraph::EXTERNAL_FILE`].
    pub external: Option<Vec<u8>>,
    /// Width and height of a tile, px.
    pub side: usize,
    /// The outputs to compute, in order.
    pub outputs: Vec<String>,
    /// Whether the engine may optimise the graph.
    pub rewrite: Rewrite,
    /// Bytes that the engine may need at once for one tile, beside the weights.
    pub working_bytes: u64,
}

/// Whether an engine may rewrite a graph for speed. It must not if inner values are outputs, which a rewrite can
/// remove.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rewrite {
    /// Run the graph as a bundle's is run.
    Yes,
    /// Run the graph unchanged.
    No,
}

/// The input and preprocessing in front of a graph.
#[derive(Clone, Debug)]
pub(super) struct Front {
    pub(super) model: OnnxModel,
    pub(super) side: usize,
    pub(super) mean: [f64; 3],
    pub(super) std: [f64; 3],
}

/// A computed value.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// The shape.
    pub shape: Vec<usize>,
    /// The elements, with integers converted. Only those of taps and shapes are read.
    pub values: Vec<f32>,
}

/// The values that a caller's engine computes.
pub type ProbeResult = Result<Vec<Probed>, Box<dyn Error + Send + Sync>>;

/// A probe loaded by a caller's engine. It takes `n` tiles u8 `[n, side, side, 3]` and returns the outputs.
pub type LoadedProbe = Box<dyn FnMut(&[u8], usize) -> ProbeResult>;

/// A caller's engine for probes.
pub type Prober<'a> = dyn FnMut(ProbeGraph) -> Result<LoadedProbe, Box<dyn Error + Send + Sync>> + 'a;

/// Composes a graph whose outputs are `wanted`.
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
    let external = external.map(|weights| weights.bytes);
    Ok(ProbeGraph { onnx, external, side: front.side, outputs, rewrite, working_bytes: 0 })
}

/// What the graph demands for `tiles` tiles, and the shapes of its outputs.
fn inferred(onnx: &[u8], side: usize, tiles: usize) -> Result<(Demand, HashMap<String, Vec<usize>>), BundleError> {
    let pixels = coverslip_bundle::ComposedGraph::PIXELS;
    coverslip_bundle::onnx::inferred(&Model::read(onnx)?, (pixels, &[tiles, side, side, 3]), tiles)
}

/// A graph in the engine, and the names of its outputs in the source.
pub(super) struct Probe {
    run: LoadedProbe,
    /// The shapes that the outputs must have for one tile, by their names in the graph.
    shapes: HashMap<String, Vec<usize>>,
    /// Why the graph must not run on two tiles, where that is so.
    not_two: Option<BundleError>,
    wanted: Vec<String>,
}

impl Probe {
    /// Loads a graph whose outputs are `wanted`.
    pub(super) fn load(
        source: &Source,
        external: &Checkpoint,
        front: &Front,
        wanted: &[String],
        rewrite: Rewrite,
        engine: &mut Prober,
    ) -> Result<Self, BundleError> {
        let mut graph = compose(source, external, front, wanted, rewrite)?;
        // Before the engine sees it: loading computes what does not depend on the image.
        let (demand, shapes) = inferred(&graph.onnx, front.side, 1)?;
        graph.working_bytes = demand.bytes;
        let not_two = inferred(&graph.onnx, front.side, 2).err();
        Ok(Self { run: engine(graph).map_err(does_not_run)?, shapes, not_two, wanted: wanted.to_vec() })
    }

    /// The values for `n` tiles, one or two, by their names in the source.
    pub(super) fn run(&mut self, tiles: &[u8], n: usize) -> Result<HashMap<String, Probed>, BundleError> {
        if let (2.., Some(refusal)) = (n, &self.not_two) {
            return Err(refusal.clone());
        }
        let probed = (self.run)(tiles, n).map_err(does_not_run)?;
        if probed.len() != self.wanted.len() {
            fail!(Invalid, "the engine returned {} values, expected {}", probed.len(), self.wanted.len());
        }
        let found: HashMap<String, Probed> = self.wanted.iter().cloned().zip(probed).collect();
        // What was inferred bounds what the engine takes, so it must be what the engine makes.
        for (name, probed) in found.iter().filter(|_| n == 1) {
            let expected = self.shapes.get(&splice::renamed(name));
            if let Some(expected) = expected.filter(|expected| **expected != probed.shape) {
                fail!(
                    Unsupported,
                    "the engine gives `{}` the shape {:?}, ONNX gives it {expected:?}: not supported in this version; \
                     simplify the graph, and report it",
                    name.escape_default(),
                    probed.shape
                );
            }
        }
        Ok(found)
    }
}

fn does_not_run(error: Box<dyn Error + Send + Sync>) -> BundleError {
    BundleError::new(BundleErrorKind::Unsupported, format!("the engine cannot run this graph: {error}"))
}

/// The values whose shapes determine the cost of a graph.
pub(super) fn cost_values(nodes: &[Node]) -> Vec<String> {
    let heavy = nodes.iter().filter(|node| ["MatMul", "Gemm", "Conv", "ConvTranspose"].contains(&node.op.as_str()));
    heavy.flat_map(|node| node.outputs.first().into_iter().chain(node.inputs.iter().take(2)).cloned()).collect()
}

/// Refuses products with a computed vector, to whose results the engine gives a shape other than ONNX's.
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

/// Floating-point operations of matrix products and convolutions, with two per multiply-add.
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
