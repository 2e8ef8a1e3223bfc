//! Somebody else's graph, copied between our front and our taps. Its values get a prefix, so that no name
//! can meet one of ours; its large weights come from the bundle's tensors, as float32.

use super::ComposedGraph;
use super::graph::Graph;
use crate::error::{BundleError, fail};
use crate::manifest::{Manifest, OnnxModel, PixelLayout};
use crate::onnx::{ConstantData, DataType, Model, Node};
use crate::tensors::TensorFile;

/// What the copied values' names start with.
const PREFIX: &str = "model:";

/// A value of the copied graph, as it is called here.
pub(crate) fn renamed(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Writes the front and the model.
pub(super) fn compose(
    graph: &mut Graph,
    manifest: &Manifest,
    onnx: &OnnxModel,
    model: &Model,
    weights: &TensorFile,
) -> Result<(), BundleError> {
    front(graph, onnx, manifest.mean, manifest.std);
    for constant in &model.constants {
        let ConstantData::Here(data) = &constant.data else {
            fail!(Invalid, "constant `{}` lies in another file; expected it in the bundle's graph", constant.name);
        };
        graph.constant(&renamed(&constant.name), &constant.dims, constant.data_type, data);
    }
    // Weights are the graph's other inputs.
    for input in model.inputs.iter().filter(|input| input.name != onnx.input) {
        let shape: Vec<usize> = input.dims.iter().flatten().copied().collect();
        let values = weights.expect(&input.name, &shape)?.to_f32()?;
        graph.floats(&renamed(&input.name), &shape, &values);
    }
    model.nodes.iter().for_each(|node| graph.copied_node(&renamed_node(node)));
    Ok(())
}

/// A copied node, its values as they are called here.
pub(crate) fn renamed_node(node: &Node) -> Node {
    let mut node = node.clone();
    for name in node.inputs.iter_mut().chain(&mut node.outputs).filter(|name| !name.is_empty()) {
        *name = renamed(name);
    }
    // An empty name is no name: two nodes may have it.
    if !node.name.is_empty() {
        node.name = renamed(&node.name);
    }
    node
}

/// Pixels to the model's own input: (p/255 − mean)/std as p·a + b, in its order of axes.
pub(crate) fn front(graph: &mut Graph, onnx: &OnnxModel, mean: [f64; 3], std: [f64; 3]) {
    let pixels = graph.cast("pixels.float", ComposedGraph::PIXELS, DataType::Float);
    let factor = std.map(|std| (1.0 / (255.0 * std)) as f32);
    let shift = [0, 1, 2].map(|channel| (-mean[channel] / std[channel]) as f32);
    let factor = graph.floats("pixels.factor", &[3], &factor);
    let shift = graph.floats("pixels.shift", &[3], &shift);
    let scaled = graph.op("pixels.scaled", "Mul", &[&pixels, &factor]);
    let input = renamed(&onnx.input);
    match onnx.layout {
        PixelLayout::Nhwc => graph.op(&input, "Add", &[&scaled, &shift]),
        PixelLayout::Nchw => {
            let normal = graph.op("pixels.normal", "Add", &[&scaled, &shift]);
            graph.transpose(&input, &normal, &[0, 3, 1, 2])
        }
    };
}
