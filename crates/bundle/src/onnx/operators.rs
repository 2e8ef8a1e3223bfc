//! The operators that an imported graph may have: those that the embedded engine computes as ONNX specifies. A refusal
//! names all unsupported operators of a graph, not just the first.

use std::collections::{BTreeMap, HashMap};

use super::attribute::AttributeValue;
use super::model::{Constant, ConstantData, Node};
use super::writer::DataType;
use crate::error::{BundleError, fail};

/// Supported versions of the standard operators.
pub const OPSETS: std::ops::RangeInclusive<u64> = 13..=23;

/// ONNX's `TensorProto.DataType.INT64`.
const INT64: u64 = 7;

/// Supported standard operators, sorted. Of some, such as `Resize`, only certain forms are supported.
pub const SUPPORTED_OPERATORS: [&str; 104] = [
    "Abs",
    "Acos",
    "Add",
    "And",
    "Asin",
    "Atan",
    "AveragePool",
    "BatchNormalization",
    "Cast",
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
    "Softsign",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// Refuses a graph with unsupported operators and names all of them. A graph of ours that multiplies in another type than
/// float32, `products`, may cast to it.
///
/// # Errors
/// `Unsupported`.
pub fn check<'a>(
    nodes: &'a [Node],
    products: DataType,
    constant: impl Fn(&str) -> Option<&'a Constant<'a>>,
) -> Result<(), BundleError> {
    let mut refused: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    let mut wide = Wide::default();
    for node in nodes {
        let what = match unsupported(node, products)? {
            None => unsupported_constants(node, &constant, &mut wide),
            found => found,
        };
        if let Some(what) = what {
            let place = node.outputs.first().filter(|_| node.name.is_empty()).unwrap_or(&node.name);
            refused.entry(what).or_insert((0, place)).0 += 1;
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
         graph (onnxsim, onnxruntime's basic optimisations), or export it with other options",
        listed.join(", ")
    );
}

/// The unsupported property of a node, if it has one.
fn unsupported(node: &Node, products: DataType) -> Result<Option<String>, BundleError> {
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
    Ok(match node.op.as_str() {
        "Resize" => resize(node)?,
        // Engines agree on integers and floating point only.
        "Cast" => match node.attribute("to")? {
            Some(AttributeValue::Int(1 | 6 | 7)) => None,
            Some(AttributeValue::Int(to)) if to == products as i64 => None,
            Some(AttributeValue::Int(to)) => Some(format!("Cast to ONNX type {to}")),
            _ => Some("Cast to no type".to_owned()),
        },
        "Conv" | "ConvTranspose" | "AveragePool" | "MaxPool" => {
            let lower = node.attribute("auto_pad")? == Some(AttributeValue::Text("SAME_LOWER"));
            lower.then(|| format!("{} with auto_pad SAME_LOWER", node.op))
        }
        op if op.starts_with("Reduce") => {
            // The engine takes every number but 0 for yes.
            let noop = matches!(node.attribute("noop_with_empty_axes")?, Some(AttributeValue::Int(flag)) if flag != 0);
            noop.then(|| format!("{op} with noop_with_empty_axes"))
        }
        _ => None,
    })
}

/// Unsupported constants: those for which the engine deviates from ONNX.
fn unsupported_constants<'a>(
    node: &'a Node,
    constant: &impl Fn(&str) -> Option<&'a Constant<'a>>,
    wide: &mut Wide<'a>,
) -> Option<String> {
    let input = |i: usize| node.inputs.get(i).and_then(|name| constant(name));
    if node.op == "MatMul" && (0..2).any(|i| input(i).is_some_and(|c| c.dims.len() == 1)) {
        return Some("MatMul of a vector".to_owned());
    }
    // The engine's integers have 32 bits. A slice may exceed that: it clamps a bound beyond the axis.
    if node.op != "Slice" && node.inputs.iter().any(|name| wide.has(name, constant)) {
        return Some(format!("{} with an integer beyond 32 bits", node.op));
    }
    None
}

/// Which constants hold an integer beyond 32 bits. Each is looked through once, however many nodes read it.
#[derive(Default)]
struct Wide<'a>(HashMap<&'a str, bool>);

impl<'a> Wide<'a> {
    fn has(&mut self, name: &'a str, constant: &impl Fn(&str) -> Option<&'a Constant<'a>>) -> bool {
        *self.0.entry(name).or_insert_with(|| constant(name).is_some_and(is_wide))
    }
}

/// Whether a small int64 constant has a number beyond 32 bits.
fn is_wide(constant: &Constant) -> bool {
    match &constant.data {
        ConstantData::Here(data) if constant.data_type == INT64 && data.len() <= 1 << 20 => {
            data.as_chunks::<8>().0.iter().any(|b| i32::try_from(i64::from_le_bytes(*b)).is_err())
        }
        _ => false,
    }
}

/// The unsupported interpolation of a `Resize`, if it has one. The importer replaces cubic ones by products.
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
        "nearest" => plain && text("nearest_mode", "round_prefer_floor")? != "round_prefer_ceil",
        "linear" => plain,
        _ => plain && coordinates == "half_pixel",
    };
    Ok((!known).then(|| format!("Resize {mode} {coordinates}{}", if antialias { " with antialias" } else { "" })))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_constant_is_looked_through_once() {
        let numbers = |last: i64| {
            let data: Vec<u8> = [1, last].iter().flat_map(|n| n.to_le_bytes()).collect();
            Constant { name: "c".into(), dims: vec![2], data_type: INT64, data: ConstantData::Here(data.into()) }
        };
        let node = Node { op: "Concat".into(), inputs: vec!["c".into(); 1000], ..Node::default() };
        let nodes = vec![node; 100];
        let (narrow, wide) = (numbers(1 << 30), numbers(1 << 31));
        let found = Cell::new(0);
        let known = |constant| {
            found.set(found.get() + 1);
            Some(constant)
        };
        assert!(check(&nodes, DataType::Float, |_| known(&narrow)).is_ok());
        assert_eq!(found.get(), 1);
        let error = check(&nodes, DataType::Float, |_| known(&wide)).unwrap_err();
        assert!(error.to_string().contains("Concat with an integer beyond 32 bits (100 ×"), "{error}");
    }
}
