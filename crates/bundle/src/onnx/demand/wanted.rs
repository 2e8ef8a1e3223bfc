//! Whose numbers matter: those from which a size is computed. The numbers of all other values, such as the small weights of
//! a norm, are not followed, so that they take no memory.

use std::collections::HashSet;

use crate::onnx::model::Model;

/// The values from whose numbers a size can be computed.
pub(super) fn wanted<'a>(model: &'a Model) -> HashSet<&'a str> {
    let mut wanted: HashSet<&'a str> = HashSet::new();
    for node in model.nodes.iter().rev() {
        let follows = node.outputs.iter().any(|output| wanted.contains(output.as_str()));
        let first = if follows { Some(0) } else { first_size(&node.op) };
        let Some(first) = first else { continue };
        wanted.extend(node.inputs.iter().skip(first).map(String::as_str).filter(|name| !name.is_empty()));
    }
    wanted
}

/// The first of the inputs that state a size or an axis, whoever reads the output.
fn first_size(op: &str) -> Option<usize> {
    match op {
        "ConstantOfShape" | "Range" => Some(0),
        "Expand" | "OneHot" | "Pad" | "Reshape" | "Resize" | "Slice" | "Split" | "Squeeze" | "Tile" | "TopK"
        | "Unsqueeze" => Some(1),
        op if op.starts_with("Reduce") => Some(1),
        _ => None,
    }
}
