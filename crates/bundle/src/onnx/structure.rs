//! Structural checks of an ONNX file before an engine loads it: that part of ONNX's own checker.

use std::collections::{HashMap, HashSet};

use super::model::Model;
use super::operators::{self, OPSETS};
use super::writer::DataType;
use crate::error::{BundleError, fail};

/// The size of a checked graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GraphSize {
    /// Nodes.
    pub nodes: usize,
    /// Constants.
    pub constants: usize,
}

/// Checks the structure of a graph that multiplies in the type `products`, as an ONNX file: names are unique, every value is
/// computed before a node reads it, every output is computed, and operators are known ones of the standard domain.
///
/// # Errors
/// `Truncated`, `Invalid` or `Unsupported`, naming the node or value.
pub fn check_onnx(bytes: &[u8], products: DataType) -> Result<GraphSize, BundleError> {
    let model = Model::read(bytes)?;
    check_model(&model, products)?;
    Ok(GraphSize { nodes: model.nodes.len(), constants: model.constants.len() })
}

/// As [`check_onnx`], for a parsed model.
pub(crate) fn check_model(model: &Model, products: DataType) -> Result<(), BundleError> {
    if !OPSETS.contains(&model.opset) || model.functions > 0 {
        fail!(
            Unsupported,
            "found opset {} and {} functions; expected opset {} to {} and no functions",
            model.opset,
            model.functions,
            OPSETS.start(),
            OPSETS.end()
        );
    }
    check_names(model)?;
    for constant in &model.constants {
        constant.check()?;
    }
    let mut known: HashSet<&str> = model.inputs.iter().map(|input| input.name.as_str()).collect();
    known.extend(model.constants.iter().map(|constant| constant.name.as_str()));
    for node in &model.nodes {
        if let Some(input) = node.inputs.iter().find(|input| !input.is_empty() && !known.contains(input.as_str())) {
            fail!(Invalid, "node `{}` reads `{input}` before it is computed: the ONNX file is damaged", node.name);
        }
        known.extend(node.outputs.iter().map(String::as_str));
    }
    if let Some(output) = model.outputs.iter().find(|output| !known.contains(output.name.as_str())) {
        fail!(Invalid, "output `{}` is never computed: the ONNX file is damaged", output.name);
    }
    let constants: HashMap<&str, _> = model.constants.iter().map(|c| (c.name.as_str(), c)).collect();
    operators::check(&model.nodes, products, |name| constants.get(name).copied())
}

/// Checks that value names and, except empty ones, node names are unique.
pub fn check_names(model: &Model) -> Result<(), BundleError> {
    let mut values: HashSet<&str> = HashSet::new();
    let constants = model.constants.iter().map(|constant| &constant.name);
    let outputs = model.nodes.iter().flat_map(|node| &node.outputs).filter(|name| !name.is_empty());
    for name in constants.chain(outputs) {
        if name.is_empty() || !values.insert(name) {
            fail!(Invalid, "the value `{name}` is made twice, or has no name: the ONNX file is damaged");
        }
    }
    let mut nodes: HashSet<&str> = HashSet::new();
    if let Some(node) = model.nodes.iter().find(|node| !node.name.is_empty() && !nodes.insert(&node.name)) {
        fail!(Invalid, "two nodes are called `{}`: the ONNX file is damaged", node.name);
    }
    Ok(())
}
