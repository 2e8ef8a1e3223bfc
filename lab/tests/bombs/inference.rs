//! Graphs whose sizes take long, or much memory, to infer: each asks a rule of the inference for more than its bytes. Nothing
//! in them would be large if it were run.

use coverslip_bundle::onnx::Attribute;

use super::onnx::{Bomb, Net};

/// A size that is computed from all numbers of `value`: they are followed up to here.
fn size_of(net: &mut Net, value: &str) -> String {
    net.op("ConstantOfShape", &[value])
}

/// `times` names of one value.
fn again(value: &str, times: usize) -> Vec<&str> {
    vec![value; times]
}

pub(crate) const INFERENCE: [Bomb; 11] = [
    ("one vector put together thousands of times", |net| {
        let vector = net.ints(&[1; 4096]);
        let all = net.op_with("Concat", &again(&vector, 30_000), &[("axis", Attribute::Int(0))]);
        size_of(net, &all)
    }),
    ("one vector put together, again and again", |net| {
        let vector = net.ints(&[1; 4096]);
        let all: Vec<String> =
            (0..40).map(|_| net.op_with("Concat", &again(&vector, 3000), &[("axis", Attribute::Int(0))])).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let all = net.op_with("Concat", &all, &[("axis", Attribute::Int(0))]);
        size_of(net, &all)
    }),
    ("a vector's numbers in thousands of values", |net| {
        let vector = net.ints(&[1; 4096]);
        let all: Vec<String> = (0..50_000).map(|_| net.op("Abs", &[&vector])).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let all = net.op_with("Concat", &all, &[("axis", Attribute::Int(0))]);
        size_of(net, &all)
    }),
    ("new axes by the hundred thousand", |net| {
        let axes = Attribute::Ints((0..1 << 19).collect());
        net.op_with("Unsqueeze", &["x"], &[("axes", axes)])
    }),
    ("an axis that is sliced thousands of times", |net| {
        let (row, zeros, most) = (net.ints(&[-1]), net.ints(&[0; 4096]), net.ints(&[i64::MAX; 4096]));
        let mut value = net.op("Reshape", &["x", &row]);
        for _ in 0..2000 {
            value = net.op("Slice", &[&value, &zeros, &most, &zeros]);
        }
        value
    }),
    ("a vector that is split into thousands of parts", |net| {
        let vector = net.ints(&[1; 4096]);
        let sizes = (0..100_000).map(|at| if at == 0 { 4096 } else { 0 }).collect();
        let part = net.parts("Split", &[&vector], 100_000, &[("split", Attribute::Ints(sizes))]);
        size_of(net, &part)
    }),
    ("a value of many axes, again and again", |net| {
        let (dims, row) = ([&[1; 31][..], &[4096]].concat(), net.ints(&[-1]));
        let (vector, dims) = (net.ints(&[1; 4096]), net.ints(&dims));
        let wide = net.op("Reshape", &[&vector, &dims]);
        let mut value = wide.clone();
        for _ in 0..4000 {
            value = net.op("Mul", &[&value, &wide]);
        }
        let all = net.op("Reshape", &[&value, &row]);
        size_of(net, &all)
    }),
    ("a long text beside an attribute", |net| {
        let text = Attribute::Text(Box::leak("a".repeat(48 << 20).into_boxed_str()));
        net.op_with("Flatten", &["x"], &[("doc", text), ("axis", Attribute::Int(1))])
    }),
    ("a long equation", |net| {
        let text = format!("a{}->a", ",a".repeat(8 << 20));
        net.op_with("Einsum", &["x"], &[("equation", Attribute::Text(Box::leak(text.into_boxed_str())))])
    }),
    ("a large constant that is read again and again", |net| {
        let vector = net.ints(&[1; 1 << 17]);
        let all = net.op_with("Concat", &again(&vector, 200_000), &[("axis", Attribute::Int(0))]);
        size_of(net, &all)
    }),
    ("inputs by the hundred thousand", |net| {
        let all: Vec<String> = (0..100_000).map(|_| net.weight()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        net.op_with("Concat", &all, &[("axis", Attribute::Int(0))])
    }),
];
