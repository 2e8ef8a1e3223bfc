//! What must hold of an ONNX file before an engine sees it: the structural part of ONNX's own checker.

use std::collections::HashSet;

use super::read::Model;
use crate::error::{BundleError, fail};
use crate::import::SUPPORTED_OPERATORS;

/// What was counted while checking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checked {
    /// Nodes.
    pub nodes: usize,
    /// Constants.
    pub constants: usize,
}

/// Checks an ONNX file's structure: names are unique, every value is made before it is read, every output is
/// made, operators are of the standard domain and known.
///
/// # Errors
/// `Truncated`, `Invalid` or `Unsupported`, naming the node or value.
pub fn check_onnx(bytes: &[u8]) -> Result<Checked, BundleError> {
    let model = Model::read(bytes)?;
    let mut known: HashSet<&str> = HashSet::new();
    let names = model.inputs.iter().map(|input| &input.name).chain(model.constants.iter().map(|c| &c.name));
    for name in names {
        if name.is_empty() || !known.insert(name) {
            fail!(Invalid, "`{name}` is declared twice, or has no name");
        }
    }
    for node in &model.nodes {
        if !node.domain.is_empty() || SUPPORTED_OPERATORS.binary_search(&node.op.as_str()).is_err() {
            fail!(Unsupported, "node `{}` is {}{}, which engines do not know", node.name, node.domain, node.op);
        }
        if let Some(input) = node.inputs.iter().find(|input| !input.is_empty() && !known.contains(input.as_str())) {
            fail!(Invalid, "node `{}` reads `{input}` before it is made", node.name);
        }
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            if !known.insert(output) {
                fail!(Invalid, "`{output}` is made twice, the second time by node `{}`", node.name);
            }
        }
    }
    if let Some(output) = model.outputs.iter().find(|output| !known.contains(output.name.as_str())) {
        fail!(Invalid, "output `{}` is never made", output.name);
    }
    Ok(Checked { nodes: model.nodes.len(), constants: model.constants.len() })
}
