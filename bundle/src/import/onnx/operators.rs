//! The operators that an imported graph may have: those whose kernels in the embedded engine compute what
//! ONNX says. A graph is refused with all that it has beyond them, not with the first.

use std::collections::BTreeMap;

use crate::error::{BundleError, fail};
use crate::onnx::{AttributeValue, Node};

/// Standard operators, sorted. `Resize` is looked at more closely.
pub const SUPPORTED_OPERATORS: [&str; 109] = [
    "Abs",
    "Acos",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Atan",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Ceil",
    "Clip",
    "Concat",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "Cos",
    "CumSum",
    "DepthToSpace",
    "Div",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "RMSNormalization",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tanh",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// Refuses a graph with operators that are not supported, all at once.
///
/// # Errors
/// `Unsupported`.
pub(super) fn check(nodes: &[Node]) -> Result<(), BundleError> {
    let mut refused: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for node in nodes {
        if let Some(what) = unsupported(node)? {
            refused.entry(what).or_insert((0, &node.name)).0 += 1;
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = refused
        .iter()
        .map(|(what, (count, first))| format!("{what} ({count} ×, first `{}`)", first.escape_default()))
        .collect();
    fail!(
        Unsupported,
        "not supported in this version: {}; expected standard operators without control flow: simplify the \
         graph (onnxsim, onnxruntime's basic optimisations), or export it otherwise",
        listed.join(", ")
    );
}

/// What is not supported of a node, if anything.
fn unsupported(node: &Node) -> Result<Option<String>, BundleError> {
    if !node.domain.is_empty() {
        return Ok(Some(format!("{}.{}", node.domain, node.op)));
    }
    if node.has_subgraph()? {
        return Ok(Some(format!("{} (control flow)", node.op)));
    }
    let known = SUPPORTED_OPERATORS.binary_search(&node.op.as_str()).is_ok();
    if !known {
        return Ok(Some(node.op.clone()));
    }
    if node.op == "Resize" { resize(node) } else { Ok(None) }
}

/// Interpolations that are computed as ONNX says. Cubic ones are replaced by products ([`super::resize`]).
fn resize(node: &Node) -> Result<Option<String>, BundleError> {
    let text = |name: &str, default: &'static str| {
        Ok::<String, BundleError>(match node.attribute(name)? {
            Some(AttributeValue::Text(text)) => text.to_owned(),
            _ => default.to_owned(),
        })
    };
    let (mode, coordinates) = (text("mode", "nearest")?, text("coordinate_transformation_mode", "half_pixel")?);
    let flag = |name: &str| Ok::<bool, BundleError>(matches!(node.attribute(name)?, Some(AttributeValue::Int(1))));
    let antialias = flag("antialias")?;
    let plain = !antialias && !flag("exclude_outside")? && node.attribute("axes")?.is_none();
    let known = match mode.as_str() {
        "nearest" => true,
        "linear" => plain,
        _ => plain && ["half_pixel", "pytorch_half_pixel"].contains(&coordinates.as_str()),
    };
    Ok((!known).then(|| format!("Resize {mode} {coordinates}{}", if antialias { " with antialias" } else { "" })))
}
