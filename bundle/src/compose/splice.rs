//! Somebody else's graph, copied between our front and our taps. Its values get a prefix, so that no name
//! can meet one of ours; its large weights come from the bundle's tensors.
//!
//! Below float32 the graph's matrix products and convolutions ([`PRODUCTS`]) read and give narrow values, and whatever
//! stands between them stays float32: of a graph that others wrote nobody knows where it can spare digits.

use std::collections::HashSet;

use super::ComposedGraph;
use super::graph::Graph;
use crate::error::{BundleError, fail};
use crate::manifest::{Manifest, OnnxModel, PixelLayout};
use crate::onnx::{ConstantData, DataType, Model, Node};
use crate::precision::Precision;
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
    let mut products = Products::of(model, graph.precision());
    // Weights are the graph's other inputs.
    for input in model.inputs.iter().filter(|input| input.name != onnx.input) {
        let shape: Vec<usize> = input.dims.iter().flatten().copied().collect();
        let values = weights.expect(&input.name, &shape)?.to_f32()?;
        if products.alone_read(&input.name) {
            let name = products.narrow_name(&renamed(&input.name));
            graph.narrow_floats(&name, &shape, &values)?;
        } else {
            graph.floats(&renamed(&input.name), &shape, &values);
        }
    }
    for node in &model.nodes {
        let is_product = products.takes(node);
        let node = renamed_node(node);
        if is_product { products.compose(graph, node) } else { graph.copied_node(&node) }
    }
    Ok(())
}

/// Operators that are computed in narrow values.
const PRODUCTS: [&str; 5] = ["Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"];

/// The graph's products in narrow values; none where narrow is float32.
struct Products<'a> {
    on: bool,
    /// Constants that are no float32 (as weights are not among them): their products are of integers.
    others: HashSet<&'a str>,
    /// Values that some node reads which is no product.
    read_wide: HashSet<&'a str>,
    /// Values, as they are called here, that are there in narrow.
    narrowed: HashSet<String>,
}

impl<'a> Products<'a> {
    fn of(model: &'a Model, precision: Precision) -> Self {
        let mut products = Self {
            on: precision != Precision::Float32,
            others: HashSet::new(),
            read_wide: HashSet::new(),
            narrowed: HashSet::new(),
        };
        let others = model.constants.iter().filter(|constant| constant.data_type != DataType::Float as u64);
        products.others = others.map(|constant| constant.name.as_str()).collect();
        let wide = model.nodes.iter().filter(|node| !products.takes(node)).flat_map(|node| &node.inputs);
        products.read_wide = wide.map(String::as_str).collect();
        products
    }

    fn takes(&self, node: &Node) -> bool {
        let of_integers = node.inputs.iter().any(|input| self.others.contains(input.as_str()));
        self.on && PRODUCTS.contains(&node.op.as_str()) && node.domain.is_empty() && !of_integers
    }

    /// Whether nobody but products reads it.
    fn alone_read(&self, name: &str) -> bool {
        self.on && !self.read_wide.contains(name)
    }

    /// The name of a value in narrow, which is there from now on.
    fn narrow_name(&mut self, name: &str) -> String {
        self.narrowed.insert(name.to_owned());
        format!("narrow:{name}")
    }

    /// Writes a product (named as here), with casts before and behind it where there are none yet.
    fn compose(&mut self, graph: &mut Graph, mut node: Node) {
        for input in node.inputs.iter_mut().filter(|input| !input.is_empty()) {
            let there = self.narrowed.contains(input.as_str());
            let narrow = self.narrow_name(input);
            if !there {
                graph.narrow(&narrow, input);
            }
            *input = narrow;
        }
        let outputs = node.outputs.clone();
        for output in &mut node.outputs {
            *output = self.narrow_name(output);
        }
        graph.copied_node(&node);
        for (wide, narrow) in outputs.iter().zip(&node.outputs) {
            graph.cast(wide, narrow, DataType::Float);
        }
    }
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
