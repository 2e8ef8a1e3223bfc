//! Graphs below float32: which values are narrow and which are not. tools/precision measures the effect on the outputs
//! against other engines.

mod onnx_reader;

use std::collections::{BTreeSet, HashMap};

use coverslip_bundle::synthetic::SyntheticSpec;
use coverslip_bundle::{
    BundleErrorKind, COMPOSER, Digest, MODEL_FILE, Mlp, Pooling, Precision, SaeArchitecture, check_onnx,
};
use coverslip_testkit::Fixture;
use onnx_reader::{Model, Node, parse};

// ONNX's `TensorProto.DataType`.
const FLOAT: u64 = 1;
const INT32: u64 = 6;
const INT64: u64 = 7;
const BOOL: u64 = 9;
const NARROW: [(Precision, u64); 2] = [(Precision::Float16, 10), (Precision::BFloat16, 16)];

fn variants() -> Vec<SyntheticSpec> {
    let base = SyntheticSpec::default();
    let mut pooled = base.taps.clone();
    pooled[1].pooling = Pooling::ClassAndMean;
    vec![
        base.clone(),
        SyntheticSpec { registers: 3, layer_scale: true, mlp: Mlp::SwiGlu, taps: pooled, ..base.clone() },
        SyntheticSpec { qkv_bias: false, half: true, ..base },
    ]
}

fn compose(spec: &SyntheticSpec, precision: Precision) -> Model {
    let graph = Fixture::with(spec).open().unwrap().compose_at(precision).unwrap();
    assert_eq!(graph.precision, precision);
    parse(&graph.onnx)
}

/// The type of every value, as ONNX infers it for the operators that the composer writes. Panics if the types of a
/// node's inputs do not match: TensorRT's networks are strongly typed and would refuse the node.
fn types(model: &Model) -> HashMap<String, u64> {
    let mut types: HashMap<String, u64> = model.constants.iter().map(|(k, v)| (k.clone(), v.element)).collect();
    types.extend(model.inputs.iter().map(|(name, element, _)| (name.clone(), *element)));
    for node in &model.nodes {
        let of = |i: usize| types[&node.inputs[i]];
        let alike: &[usize] = match node.op.as_str() {
            "Where" => &[1, 2],
            "LayerNormalization" => &[0, 1, 2],
            "Add" | "Sub" | "Mul" | "Div" | "MatMul" | "Greater" => &[0, 1],
            _ => &[0],
        };
        for i in alike {
            assert_eq!(of(*i), of(alike[0]), "{} of {:?}", node.op, node.inputs);
        }
        let made = match node.op.as_str() {
            "Cast" => node.to.unwrap(),
            "Greater" => BOOL,
            _ => of(alike[0]),
        };
        let outputs: Vec<String> = node.outputs.clone();
        types.insert(outputs[0].clone(), made);
        if node.op == "TopK" {
            types.insert(outputs[1].clone(), INT64);
        }
    }
    types
}

#[test]
fn a_graph_has_known_operators_at_its_own_precision() {
    let all = [Precision::Float32, Precision::Float16, Precision::Float16Sae, Precision::BFloat16];
    for spec in variants() {
        let fixture = Fixture::with(&spec).open().unwrap();
        for precision in all {
            let graph = fixture.compose_at(precision).unwrap();
            let size = check_onnx(&graph.onnx, precision.data_type()).unwrap();
            assert!(size.nodes > 50 && size.constants > 20, "{size:?}");
        }
        // What the engine of imported graphs does not compute, and what another precision does not have.
        for ((precision, narrow), (other, _)) in NARROW.into_iter().zip(NARROW.into_iter().rev()) {
            let graph = fixture.compose_at(precision).unwrap();
            for stated in [Precision::Float32, other] {
                let refused = check_onnx(&graph.onnx, stated.data_type()).unwrap_err();
                assert_eq!(refused.kind(), BundleErrorKind::Unsupported);
                assert!(refused.to_string().contains(&format!("Cast to ONNX type {narrow}")), "{refused}");
            }
        }
    }
}

/// A node's role: its output without the block's number.
fn role(node: &Node) -> String {
    let name = &node.outputs[0];
    let block = name.strip_prefix("block").and_then(|rest| rest.split_once('.'));
    block.map_or(name.clone(), |(_, part)| format!("block.{part}"))
}

#[test]
fn only_the_documented_values_are_float32() {
    // docs/reference/bundle-format.md lists them: the residual stream and its sums, norms, softmax, and the stream's
    // readers, pooling and the SAE.
    let stream = [
        "patch_embed.wide",
        "tokens.padded",
        "tokens",
        "block.attn.proj.wide",
        "block.residual.class",
        "block.attn.sum",
        "block.mlp.fc2.wide",
        "block.out",
    ];
    let kept = ["block.norm1", "block.norm2", "block.attn.scores.wide", "block.attn.softmax"];
    for spec in variants() {
        for (precision, narrow) in NARROW {
            let model = compose(&spec, precision);
            let types = types(&model);
            let mut wide = BTreeSet::new();
            for node in &model.nodes {
                let (role, made) = (role(node), types[&node.outputs[0]]);
                let behind = ["embedding_", "sae.", "feature_value", "reconstruction_error"];
                match made {
                    FLOAT if behind.iter().any(|start| role.starts_with(start)) => {}
                    FLOAT => drop(wide.insert(role)),
                    INT32 | INT64 | BOOL => {}
                    other => assert_eq!(other, narrow, "{role}"),
                }
            }
            let mut expected: BTreeSet<String> = stream.iter().chain(&kept).map(|&role| role.to_owned()).collect();
            if spec.taps[1].pooling != Pooling::ClassToken {
                expected.remove("block.residual.class");
            }
            assert_eq!(wide, expected);
        }
    }
}

#[test]
fn every_product_of_the_model_is_narrow() {
    for (precision, narrow) in NARROW {
        let spec = SyntheticSpec { mlp: Mlp::SwiGlu, ..SyntheticSpec::default() };
        let model = compose(&spec, precision);
        let types = types(&model);
        let (mut of_model, mut of_sae) = (0, 0);
        for node in model.nodes.iter().filter(|node| node.op == "MatMul") {
            let expected =
                if node.outputs[0].starts_with("sae.") { (FLOAT, &mut of_sae) } else { (narrow, &mut of_model) };
            *expected.1 += 1;
            assert!(
                node.inputs.iter().chain(&node.outputs).all(|name| types[name] == expected.0),
                "{:?}",
                node.outputs
            );
        }
        assert_eq!((of_model, of_sae), (2 * 9 + 1, 2));
        // Every weight in a product has half the bytes.
        let weights = model.constants.iter().filter(|(name, _)| name.ends_with(".weight") && !name.contains("norm"));
        assert!(weights.clone().count() > 0);
        for (name, constant) in weights.filter(|(name, _)| !name.starts_with("embedding_")) {
            assert_eq!(constant.element, narrow, "{name}");
        }
    }
}

#[test]
fn with_float16_sae_no_product_is_float32() {
    use SaeArchitecture::{Gated, GroupMax, JumpRelu, Relu, SignedTopK, TopK};
    for sae_arch in [TopK, Relu, JumpRelu, Gated, SignedTopK, GroupMax] {
        let spec = SyntheticSpec { sae_arch, ..SyntheticSpec::default() };
        let model = compose(&spec, Precision::Float16.without_float32_products());
        let types = types(&model);
        for node in model.nodes.iter().filter(|node| node.op == "MatMul") {
            assert!(node.inputs.iter().chain(&node.outputs).all(|name| types[name] == 10), "{:?}", node.outputs);
        }
        // The rest of the SAE stays float32.
        for name in ["sae.decoded", "sae.difference", "feature_value", "reconstruction_error"] {
            assert_eq!(types[name], FLOAT, "{sae_arch:?}: {name}");
        }
    }
    assert_eq!(Precision::BFloat16.without_float32_products(), Precision::BFloat16);
}

#[test]
fn inputs_and_outputs_are_the_same_at_every_precision() {
    for spec in variants() {
        let float = compose(&spec, Precision::Float32);
        assert!(
            !float
                .nodes
                .iter()
                .any(|node| node.op == "Cast" && node.to == Some(FLOAT) && node.outputs[0].contains("wide"))
        );
        for (precision, _) in NARROW {
            let narrow = compose(&spec, precision);
            assert_eq!((&narrow.inputs, &narrow.outputs), (&float.inputs, &float.outputs));
            let types = types(&narrow);
            for (name, element, _) in &narrow.outputs {
                assert_eq!(types[name], *element, "{name}");
            }
        }
    }
}

#[test]
fn the_patch_bias_is_computed_from_the_rounded_weights() {
    let spec = SyntheticSpec::default();
    for (precision, _) in NARROW {
        let model = compose(&spec, precision);
        let weight = &model.constants["patch_embed.weight"];
        let values: Vec<f64> =
            weight.raw.as_chunks::<2>().0.iter().map(|v| widen(precision, u16::from_le_bytes(*v))).collect();
        let table = model.constants["tokens.table"].floats();
        // A tile of the mean colour gives the same tokens as in float32, however the weights are rounded.
        let float = compose(&spec, Precision::Float32);
        let exact = float.constants["patch_embed.weight"].floats();
        let exact_table = float.constants["tokens.table"].floats();
        let mean = |i: usize| 255.0 * [0.485, 0.456, 0.406][i % 3];
        for output in 0..32 {
            let sum: f64 = (0..192).map(|i| values[i * 32 + output] * mean(i)).sum();
            let expected: f64 = (0..192).map(|i| f64::from(exact[i * 32 + output]) * mean(i)).sum();
            let (sum, expected) = (sum + f64::from(table[32 + output]), expected + f64::from(exact_table[32 + output]));
            assert!((sum - expected).abs() < 1e-6, "{precision}: {sum} for {expected}");
        }
    }
}

fn widen(precision: Precision, bits: u16) -> f64 {
    if precision == Precision::BFloat16 {
        return f64::from(f32::from_bits(u32::from(bits) << 16));
    }
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = if exponent == 0 { fraction * 2f64.powi(-24) } else { (1024.0 + fraction) * 2f64.powi(exponent - 25) };
    if bits >> 15 == 1 { -size } else { size }
}

#[test]
fn a_weight_beyond_float16_is_refused_by_name() {
    let fixture = Fixture::new();
    fixture.edit_tensors(MODEL_FILE, |tensors| {
        let tensor = tensors.get_mut("blocks.1.mlp.fc1.weight").unwrap();
        tensor.bytes[..4].copy_from_slice(&70_000f32.to_le_bytes());
    });
    let bundle = fixture.open().unwrap();
    let refused = bundle.compose_at(Precision::Float16);
    coverslip_testkit::assert_refused(
        refused,
        BundleErrorKind::NotFinite,
        &["block1.mlp.fc1.weight", "70000", "bfloat16"],
    );
    assert!(bundle.compose().is_ok() && bundle.compose_at(Precision::BFloat16).is_ok());
}

#[test]
fn a_changed_graph_needs_a_new_composer_revision() {
    let spec = SyntheticSpec { mlp: Mlp::SwiGlu, registers: 2, layer_scale: true, ..SyntheticSpec::default() };
    let bundle = Fixture::with(&spec).open().unwrap();
    let digests: Vec<String> = [Precision::Float32, Precision::Float16, Precision::Float16Sae, Precision::BFloat16]
        .map(|precision| Digest::of(&bundle.compose_at(precision).unwrap().onnx).to_string()[..16].to_owned())
        .into();
    let known = (1, ["b47fa3c655b4b205", "94d11b6e352570cd", "36185d0591d05f61", "149056d332470890"]);
    assert_eq!(
        (COMPOSER, &digests[..]),
        (known.0, &known.1.map(str::to_owned)[..]),
        "the composed graph changed: raise COMPOSER and update this digest"
    );
}
