//! An ONNX model's graph, copied between the composer's preprocessing and its taps. A prefix keeps the copied values'
//! names apart from the composer's; large weights come from the bundle's tensors.
//!
//! Below float32 the graph's matrix products and convolutions (`PRODUCTS`) read and write narrow values. All other
//! nodes stay float32, because it is not known where a foreign graph can lose digits.

use std::collections::HashSet;

use super::composed::ComposedGraph;
use super::graph::Graph;
use crate::error::{BundleError, fail};
use crate::manifest::{Manifest, OnnxModel, PixelLayout};
use crate::onnx::{ConstantData, DataType, Model, Node};
use crate::precision::Precision;
use crate::tensors::TensorFile;

/// Prefix of the copied values' names.
const PREFIX: &str = "model:";

/// The name in the composed graph of a value of the copied one.
pub fn renamed(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Writes the preprocessing and the model.
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
            fail!(Invalid, "constant `{}` is in another file; expected it in the bundle's graph", constant.name);
        };
        graph.constant(&renamed(&constant.name), &constant.dims, constant.data_type, data);
    }
    let mut products = Products::of(model, graph.precision());
    // All inputs but the image are weights.
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
    model.nodes.iter().for_each(|node| products.write(graph, node));
    Ok(())
}

/// Operators that are computed in narrow values.
const PRODUCTS: [&str; 5] = ["Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"];

/// The nodes to compute in narrow values; none in float32.
struct Products<'a> {
    on: bool,
    /// Constants that are not float32. Their products are of integers and stay as they are. (Weights are inputs, not
    /// constants.)
    others: HashSet<&'a str>,
    /// Values that a node other than a product reads.
    read_wide: HashSet<&'a str>,
    /// Values, by their names in the composed graph, that have a narrow copy.
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

    /// Whether only products read the value.
    fn alone_read(&self, name: &str) -> bool {
        self.on && !self.read_wide.contains(name)
    }

    /// Records that a value has a narrow copy; returns the copy's name.
    fn narrow_name(&mut self, name: &str) -> String {
        self.narrowed.insert(name.to_owned());
        format!("narrow:{name}")
    }

    /// Writes a node. A product gets the casts before and after it that do not exist yet.
    fn write(&mut self, graph: &mut Graph, node: &Node) {
        let is_product = self.takes(node);
        let mut node = renamed_node(node);
        if !is_product {
            return graph.copied_node(&node);
        }
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

/// A copy of a node with the names of the composed graph.
pub fn renamed_node(node: &Node) -> Node {
    let mut node = node.clone();
    for name in node.inputs.iter_mut().chain(&mut node.outputs).filter(|name| !name.is_empty()) {
        *name = renamed(name);
    }
    // An empty name is no name; several nodes may have it.
    if !node.name.is_empty() {
        node.name = renamed(&node.name);
    }
    node
}

/// Preprocesses pixels to the model's input: (p/255 − mean)/std as p·a + b, in the model's order of axes.
pub fn front(graph: &mut Graph, onnx: &OnnxModel, mean: [f64; 3], std: [f64; 3]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Constant, ValueInfo};

    fn node(op: &str, inputs: &[&str], output: &str) -> Node {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (name, domain) = (String::new(), String::new());
        Node { name, op: op.into(), domain, inputs: owned(inputs), outputs: owned(&[output]), attributes: Vec::new() }
    }

    /// softmax(q·kᵀ)·v, then a product whose weight an addition reads too, and a product of integers.
    fn model() -> Model<'static> {
        let shape = Constant {
            name: "sizes".into(),
            dims: vec![1],
            data_type: DataType::Int64 as u64,
            data: ConstantData::Here(vec![0; 8].into()),
        };
        let weight =
            |name: &str| ValueInfo { name: name.into(), data_type: DataType::Float as u64, dims: vec![Some(2)] };
        Model {
            opset: 17,
            nodes: vec![
                node("MatMul", &["x", "w"], "q"),
                node("MatMul", &["q", "k"], "scores"),
                node("Softmax", &["scores"], "shares"),
                node("MatMul", &["shares", "v"], "mixed"),
                node("Gemm", &["mixed", "both", ""], "out"),
                node("Add", &["out", "both"], "sum"),
                node("MatMul", &["counts", "sizes"], "whole"),
            ],
            constants: vec![shape],
            inputs: vec![weight("w"), weight("both")],
            ..Model::default()
        }
    }

    /// The composed nodes as `op(inputs) -> output`.
    fn composed(precision: Precision) -> Vec<String> {
        let model = model();
        let mut graph = Graph::new("test", 17, 1024).unwrap().at(precision);
        let mut products = Products::of(&model, precision);
        for weight in model.inputs.iter().filter(|input| products.alone_read(&input.name)).collect::<Vec<_>>() {
            products.narrow_name(&renamed(&weight.name));
        }
        for node in &model.nodes {
            products.write(&mut graph, node);
        }
        let (bytes, _) = graph.finish().unwrap();
        let line = |node: &Node| format!("{}({}) -> {}", node.op, node.inputs.join(", "), node.outputs.join(", "));
        Model::read(&bytes).unwrap().nodes.iter().map(line).collect()
    }

    #[test]
    fn only_products_are_narrow() {
        let expected = [
            "Cast(model:x) -> narrow:model:x",
            "MatMul(narrow:model:x, narrow:model:w) -> narrow:model:q",
            "Cast(narrow:model:q) -> model:q",
            "Cast(model:k) -> narrow:model:k",
            "MatMul(narrow:model:q, narrow:model:k) -> narrow:model:scores",
            "Cast(narrow:model:scores) -> model:scores",
            "Softmax(model:scores) -> model:shares",
            "Cast(model:shares) -> narrow:model:shares",
            "Cast(model:v) -> narrow:model:v",
            "MatMul(narrow:model:shares, narrow:model:v) -> narrow:model:mixed",
            "Cast(narrow:model:mixed) -> model:mixed",
            "Cast(model:both) -> narrow:model:both",
            "Gemm(narrow:model:mixed, narrow:model:both, ) -> narrow:model:out",
            "Cast(narrow:model:out) -> model:out",
            "Add(model:out, model:both) -> model:sum",
            "MatMul(model:counts, model:sizes) -> model:whole",
        ];
        assert_eq!(composed(Precision::Float16), expected);
    }

    #[test]
    fn in_float32_the_graph_is_copied() {
        let nodes = composed(Precision::Float32);
        assert_eq!(nodes.len(), model().nodes.len());
        assert!(nodes.iter().all(|node| !node.contains("narrow")), "{nodes:?}");
    }
}
