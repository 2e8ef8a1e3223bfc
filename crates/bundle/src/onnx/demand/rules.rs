//! The rule of each operator: what its output's size follows from.

use super::call::{Call, Rule};
use super::{elementwise, movement, products, sizes};

/// Operators whose first output has the shape of input 0.
const SAME: [&str; 43] = [
    "Abs",
    "Acos",
    "Asin",
    "Atan",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Cos",
    "CumSum",
    "Elu",
    "Erf",
    "Exp",
    "EyeLike",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "Neg",
    "Not",
    "RMSNormalization",
    "Reciprocal",
    "Relu",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softmax",
    "Softsign",
    "Sqrt",
    "Tanh",
    "Trilu",
];

/// Operators that broadcast their inputs.
const BROADCAST: [&str; 20] = [
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
];

/// The rule of a node's operator.
pub(super) fn apply(call: &Call) -> Rule {
    match call.node.op.as_str() {
        "AveragePool" | "MaxPool" => products::pool(call),
        "Concat" => movement::concat(call),
        "ConstantOfShape" => sizes::constant_of_shape(call),
        "Conv" => products::conv(call),
        "ConvTranspose" => products::conv_transpose(call),
        "DepthToSpace" => movement::depth_to_space(call),
        "Einsum" => products::einsum(call),
        "Expand" => sizes::expand(call),
        "Flatten" => movement::flatten(call),
        "Gather" => movement::gather(call),
        "GatherElements" => movement::gather_elements(call),
        "GatherND" => movement::gather_nd(call),
        "Gemm" => products::gemm(call),
        "GlobalAveragePool" | "GlobalMaxPool" => products::global_pool(call),
        "MatMul" => products::mat_mul(call),
        "NonZero" => sizes::non_zero(call),
        "OneHot" => sizes::one_hot(call),
        "Pad" => sizes::pad(call),
        "Range" => sizes::range(call),
        "Reshape" => movement::reshape(call),
        "Resize" => sizes::resize(call),
        "Shape" => sizes::shape(call),
        "Size" => sizes::size(call),
        "Slice" => movement::slice(call),
        "Split" => movement::split(call),
        "Squeeze" => movement::squeeze(call),
        "Tile" => sizes::tile(call),
        "TopK" => sizes::top_k(call),
        "Transpose" => movement::transpose(call),
        "Unsqueeze" => movement::unsqueeze(call),
        op if op.starts_with("Reduce") => products::reduce(call),
        op if SAME.binary_search(&op).is_ok() => elementwise::same(call),
        op if BROADCAST.binary_search(&op).is_ok() => elementwise::broadcast(call),
        _ => Err(call.unbounded(format_args!("what the operator makes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::demand::effort::Effort;
    use crate::onnx::model::Node;
    use crate::onnx::operators::SUPPORTED_OPERATORS;

    #[test]
    fn every_operator_that_a_graph_may_have_has_a_rule() {
        assert!(SAME.is_sorted() && BROADCAST.is_sorted(), "searched by halves");
        for op in SUPPORTED_OPERATORS {
            let node = Node { op: op.into(), ..Node::default() };
            let refusal = apply(&Call::new(&node, Vec::new(), true, &Effort::new())).unwrap_err().to_string();
            assert!(!refusal.contains("what the operator makes"), "{refusal}");
        }
    }
}
