//! The composed graph's contract with engines, and the constants that the composer computes. tools/oracle compares the
//! outputs with other engines'.

mod onnx_reader;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use coverslip_bundle::synthetic::{SyntheticSpec, recipe};
use coverslip_bundle::tensors::{TensorFile, TensorMap, to_safetensors};
use coverslip_bundle::{InputStep, Mlp, Pooling, Precision, SaeArchitecture, TapSource, Weights};
use coverslip_testkit::Fixture;
use onnx_reader::{Model, parse};

fn compose(spec: &SyntheticSpec) -> Model {
    parse(&Fixture::with(spec).open().unwrap().compose().unwrap().onnx)
}

fn weights(weights: &Weights, name: &str) -> Vec<f32> {
    values(&weights.read().unwrap(), name)
}

fn values(tensors: &TensorMap, name: &str) -> Vec<f32> {
    let file = TensorFile::parse(to_safetensors(tensors).unwrap()).unwrap();
    file.get(name).unwrap().to_f32().unwrap()
}

fn variants() -> Vec<SyntheticSpec> {
    let base = SyntheticSpec::default();
    let mut variants = vec![
        base.clone(),
        SyntheticSpec { registers: 3, layer_scale: true, ..base.clone() },
        SyntheticSpec { registers: 2, no_embed_class: true, qkv_bias: false, half: true, ..base.clone() },
        SyntheticSpec { rescale_acts_by_decoder_norm: true, apply_b_dec_to_input: false, ..base.clone() },
    ];
    let architectures = [
        SaeArchitecture::Relu,
        SaeArchitecture::SignedTopK,
        SaeArchitecture::JumpRelu,
        SaeArchitecture::Gated,
        SaeArchitecture::GroupMax,
    ];
    for sae_arch in architectures {
        for input in [vec![InputStep::ConstantNormRescale], vec![InputStep::Standardize, InputStep::L2]] {
            variants.push(SyntheticSpec { sae_arch, input, ..base.clone() });
        }
    }
    variants.push(SyntheticSpec { input: vec![InputStep::LayerNorm], mlp: Mlp::SwiGlu, ..base.clone() });
    for pooling in [Pooling::MeanPatchTokens, Pooling::ClassAndMean] {
        let mut taps = base.taps.clone();
        taps[1].pooling = pooling;
        variants.push(SyntheticSpec { taps, ..base.clone() });
    }
    let mut taps = base.taps.clone();
    taps[0].pooling = Pooling::PatchTokens;
    variants.push(SyntheticSpec { taps, ..base.clone() });
    variants
}

#[test]
fn external_weights_equal_the_internal_ones() {
    let bundle = Fixture::new().open().unwrap();
    for precision in [Precision::Float32, Precision::Float16] {
        let (inside, apart) = (bundle.compose_at(precision).unwrap(), bundle.compose_apart(precision).unwrap());
        assert!(inside.external.is_none() && apart.onnx.len() < inside.onnx.len() / 2);
        let (model, weights) = (parse(&inside.onnx), apart.external.unwrap());
        let mut placed = 0;
        for (name, place) in &apart.external_tensors {
            assert!(place.start.is_multiple_of(64), "{name} at {place:?}");
            assert_eq!(weights[place.clone()], model.constants[name].raw, "{name}");
            placed += place.len();
        }
        let large = |raw: &Vec<u8>| (raw.len() >= 64).then_some(raw.len());
        assert_eq!(placed, model.constants.values().filter_map(|constant| large(&constant.raw)).sum::<usize>());
    }
}

#[test]
fn inputs_and_outputs_are_as_promised() {
    for spec in variants() {
        let fixture = Fixture::with(&spec);
        let graph = fixture.open().unwrap().compose().unwrap();
        let model = parse(&graph.onnx);
        assert_eq!((model.opset, &model.domains[..]), (20, &[String::new()][..]));
        let pixels: Vec<String> = ["batch", "32", "32", "3"].map(str::to_owned).into();
        assert_eq!(model.inputs, [(graph.input.clone(), 2, pixels)]);
        let names: Vec<&str> = model.outputs.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, graph.outputs());
        let elements: Vec<u64> = model.outputs.iter().map(|(_, element, _)| *element).collect();
        assert_eq!(elements, [1, 1, 6, 1, 6, 1]);
        let width = graph.taps[1].width.to_string();
        assert_eq!(model.outputs[1].2, ["batch", width.as_str()]);
        assert_eq!(model.outputs[2].2, ["batch", "8"]);
        assert_eq!(model.outputs[5].2, ["batch"]);
    }
}

#[test]
fn every_value_is_computed_once_and_before_it_is_read() {
    for spec in variants() {
        let model = compose(&spec);
        let mut known: HashSet<&str> = model.constants.keys().map(String::as_str).collect();
        known.extend(model.inputs.iter().map(|(name, ..)| name.as_str()));
        let mut read = HashSet::new();
        for node in &model.nodes {
            for input in &node.inputs {
                assert!(known.contains(input.as_str()), "{} reads {input} too early", node.op);
                read.insert(input.as_str());
            }
            for output in &node.outputs {
                assert!(known.insert(output), "{output} is computed twice");
            }
        }
        for (output, ..) in &model.outputs {
            assert!(known.contains(output.as_str()), "{output} is never computed");
        }
        let unread = model.constants.keys().find(|name| !read.contains(name.as_str()));
        assert_eq!(unread, None, "every constant is read");
    }
}

#[test]
fn the_graph_has_only_operators_that_every_engine_was_checked_for() {
    let known = BTreeSet::from([
        "Abs",
        "Add",
        "Cast",
        "Concat",
        "Div",
        "Gather",
        "GatherElements",
        "Gelu",
        "Greater",
        "Identity",
        "LayerNormalization",
        "MatMul",
        "Mul",
        "Pad",
        "ReduceL2",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Sigmoid",
        "Reshape",
        "Slice",
        "Softmax",
        "Sqrt",
        "Sub",
        "TopK",
        "Transpose",
        "Where",
    ]);
    for spec in variants() {
        for node in compose(&spec).nodes {
            assert!(known.contains(node.op.as_str()), "{}", node.op);
        }
    }
}

#[test]
fn the_number_of_products_is_as_expected() {
    let mut counts = BTreeMap::new();
    for node in compose(&SyntheticSpec::default()).nodes {
        *counts.entry(node.op).or_insert(0) += 1;
    }
    // 2 blocks: 8 products each (q, k, v, scores, mixed, proj, fc1, fc2), patches, SAE encode and decode.
    assert_eq!(counts["MatMul"], 2 * 8 + 1 + 2);
    assert_eq!(counts["LayerNormalization"], 2 * 2 + 1);
    assert_eq!((counts["Gelu"], counts["Softmax"], counts["TopK"], counts["Gather"]), (2, 2, 1, 1));
}

#[test]
fn blocks_that_no_tap_reads_are_not_composed() {
    let mut spec = SyntheticSpec { depth: 4, ..SyntheticSpec::default() };
    let model = compose(&spec);
    assert!(!model.constants.keys().any(|name| name.starts_with("block2.") || name.starts_with("block3.")));
    // Only the class token of the last composed block is read, until a mean reads the block too.
    let queries = |model: &Model| {
        let node = model.nodes.iter().find(|node| node.outputs[0] == "block1.attn.q.product").unwrap();
        node.inputs[0].clone()
    };
    assert_eq!(queries(&model), "block1.asking.class");
    spec.taps[0].source = TapSource::Block { after_block: 1, final_norm: false };
    assert_eq!(queries(&compose(&spec)), "block1.norm1");
}

#[test]
fn preprocessing_positions_and_tokens_are_folded() {
    let spec = SyntheticSpec { registers: 2, no_embed_class: true, ..SyntheticSpec::default() };
    let (model, recipe) = (compose(&spec), recipe(&spec));
    let weight = weights(&recipe.model, "patch_embed.proj.weight");
    let folded = &model.constants["patch_embed.weight"];
    assert_eq!(folded.dims, [8 * 8 * 3, 32]);
    // Output 5, channel 1, row 2, column 7 of the kernel.
    let (output, channel, row, column) = (5, 1, 2, 7);
    let stored = f64::from(weight[((output * 3 + channel) * 8 + row) * 8 + column]);
    let at = ((row * 8 + column) * 3 + channel) * 32 + output;
    assert_eq!(folded.floats()[at], (stored / 0.224 / 255.0) as f32);

    let table = model.constants["tokens.table"].floats();
    assert_eq!(model.constants["tokens.table"].dims, [1, 19, 32]);
    assert_eq!(table[..32], weights(&recipe.model, "cls_token"), "no position for the class token");
    assert_eq!(table[32..96], weights(&recipe.model, "reg_token"));
    let positions = weights(&recipe.model, "pos_embed");
    let bias = weights(&recipe.model, "patch_embed.proj.bias");
    let mut expected = f64::from(bias[output]) + f64::from(positions[4 * 32 + output]);
    for (i, value) in weight[output * 192..(output + 1) * 192].iter().enumerate() {
        expected -= f64::from(*value) * recipe.manifest.mean[i / 64] / recipe.manifest.std[i / 64];
    }
    assert!((f64::from(table[(3 + 4) * 32 + output]) - expected).abs() < 1e-6);
}

#[test]
fn positions_cover_the_class_token_unless_no_embed_class() {
    let spec = SyntheticSpec::default();
    let (model, recipe) = (compose(&spec), recipe(&spec));
    let class = weights(&recipe.model, "cls_token");
    let positions = weights(&recipe.model, "pos_embed");
    let table = model.constants["tokens.table"].floats();
    assert_eq!(table[7], (f64::from(class[7]) + f64::from(positions[7])) as f32);
}

#[test]
fn scales_are_folded_into_weights() {
    let spec = SyntheticSpec { layer_scale: true, ..SyntheticSpec::default() };
    let (model, recipe) = (compose(&spec), recipe(&spec));
    let qkv = weights(&recipe.model, "blocks.1.attn.qkv.weight");
    let transposed = |name: &str, row: usize, column: usize| model.constants[name].floats()[column * 32 + row];
    let head_scale = 1.0 / 8f64.sqrt();
    assert_eq!(transposed("block1.attn.q.weight", 3, 9), (f64::from(qkv[3 * 32 + 9]) * head_scale) as f32);
    assert_eq!(transposed("block1.attn.k.weight", 3, 9), qkv[(32 + 3) * 32 + 9]);
    assert_eq!(transposed("block1.attn.v.weight", 3, 9), qkv[(64 + 3) * 32 + 9]);
    let gamma = weights(&recipe.model, "blocks.1.ls1.gamma");
    let proj = weights(&recipe.model, "blocks.1.attn.proj.weight");
    let scaled = |weight: f32| (f64::from(weight) * f64::from(gamma[3])) as f32;
    assert_eq!(transposed("block1.attn.proj.weight", 3, 9), scaled(proj[3 * 32 + 9]));
    let bias = weights(&recipe.model, "blocks.1.attn.proj.bias");
    assert_eq!(model.constants["block1.attn.proj.bias"].floats()[3], scaled(bias[3]));
}

#[test]
fn decoder_norms_are_folded_when_rescaled() {
    let spec = SyntheticSpec { rescale_acts_by_decoder_norm: true, ..SyntheticSpec::default() };
    let (model, recipe) = (compose(&spec), recipe(&spec));
    let decoder = model.constants["sae.W_dec"].floats();
    let norm = decoder[5 * 32..6 * 32].iter().map(|v| v * v).sum::<f32>();
    assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    let stored = values(&recipe.sae, "W_dec")[5 * 32..6 * 32].iter().map(|v| v * v).sum::<f32>().sqrt();
    let bias = values(&recipe.sae, "b_enc")[5];
    assert!((model.constants["sae.b_enc"].floats()[5] - bias * stored).abs() < 1e-6);
}
