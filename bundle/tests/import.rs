//! Importers: what is read, what is refused by name, what is folded.

mod common;

use std::path::Path;

use common::assert_refused;
use coverslip_bundle::BundleErrorKind::{Invalid, Missing, NotFinite, Unsupported};
use coverslip_bundle::import::{ModelSpec, Precision, import_model, read_safetensors};
use coverslip_bundle::synthetic::{SyntheticSpec, recipe};
use coverslip_bundle::tensors::{Element, Tensor, TensorFile, TensorMap, to_safetensors};
use coverslip_bundle::Pooling;
use serde_json::{Value, json};

fn file(tensors: &TensorMap) -> TensorFile {
    TensorFile::parse(to_safetensors(tensors).unwrap()).unwrap()
}

fn spec(json: Value) -> ModelSpec {
    serde_json::from_value(json).unwrap()
}

#[test]
fn the_weights_tell_the_shape() {
    let variants = [
        SyntheticSpec::default(),
        SyntheticSpec { registers: 4, no_embed_class: true, layer_scale: true, ..SyntheticSpec::default() },
        SyntheticSpec { registers: 3, qkv_bias: false, ..SyntheticSpec::default() },
        SyntheticSpec { class_token: false, no_embed_class: true, ..SyntheticSpec::default() },
    ];
    for synthetic in variants {
        let recipe = recipe(&synthetic);
        let stated = spec(json!({ "num_heads": 4, "taps": [
            { "name": "last", "block": 1, "after_norm": true, "pooling": "mean_patch_tokens" }
        ] }));
        let model = import_model(&file(&recipe.model), &stated, Precision::Keep).unwrap();
        let mut expected = recipe.manifest.architecture.clone();
        // Without tokens before the patches the two readings are one.
        expected.no_embed_class &= synthetic.class_token || synthetic.registers > 0;
        assert_eq!(model.architecture, expected);
        assert_eq!((model.side, model.tensors), (32, recipe.model));
        assert_eq!((model.taps[0].after_block, model.taps[0].final_norm), (1, true));
        assert_eq!(model.taps[0].pooling, Pooling::MeanPatchTokens);
    }
}

#[test]
fn a_classifier_is_left_out() {
    let mut tensors = recipe(&SyntheticSpec::default()).model;
    tensors.insert("head.weight".to_owned(), Tensor::f32(&[1, 32], &[0.0; 32]));
    let model = import_model(&file(&tensors), &spec(json!({ "heads": 4 })), Precision::Keep).unwrap();
    assert_eq!(model.left_out, ["head.weight"]);
    assert!(!model.tensors.contains_key("head.weight"));
}

#[test]
fn what_is_stated_is_compared() {
    let model = file(&recipe(&SyntheticSpec::default()).model);
    let wrong = [
        (json!({ "num_heads": 4, "depth": 3 }), Invalid, "depth 3, the weights have 2"),
        (json!({ "num_heads": 4, "patch_size": 16 }), Invalid, "patch_size 16"),
        (json!({ "num_heads": 4, "mlp_ratio": 2.0 }), Invalid, "mlp_ratio"),
        (json!({ "num_heads": 4, "img_size": 48 }), Unsupported, "pos_embed"),
        (json!({}), Missing, "num_heads"),
        (json!({ "num_heads": 4, "activation": "silu" }), Unsupported, "silu"),
        (json!({ "num_heads": 4, "architecture": "ConvNeXt" }), Unsupported, "ConvNeXt"),
    ];
    for (stated, kind, part) in wrong {
        assert_refused(import_model(&model, &spec(stated), Precision::Keep), kind, &[part]);
    }
}

#[test]
fn other_conventions_are_refused_by_name() {
    let foreign = [
        "blocks.0.mlp.fc1_g.weight",
        "blocks.0.mlp.w12.weight",
        "blocks.0.attn.q_norm.weight",
        "blocks.0.attn.q_proj.weight",
        "norm_pre.weight",
        "fc_norm.weight",
        "embeddings.cls_token",
        "encoder.layers.0.ln_1.weight",
        "visual.proj",
        "mask_token",
        "rope.periods",
    ];
    for name in foreign {
        let mut tensors = recipe(&SyntheticSpec::default()).model;
        tensors.insert(name.to_owned(), Tensor::f32(&[1], &[0.0]));
        let result = import_model(&file(&tensors), &spec(json!({ "num_heads": 4 })), Precision::Keep);
        assert_refused(result, Unsupported, &[name, "not supported in this version", "expected", "convert"]);
    }
    let other = TensorMap::from([("conv1.weight".to_owned(), Tensor::f32(&[1], &[0.0]))]);
    let result = import_model(&file(&other), &spec(json!({ "num_heads": 4 })), Precision::Keep);
    assert_refused(result, Unsupported, &["pos_embed", "conv1.weight"]);
}

#[test]
fn pickles_are_not_opened() {
    let result = read_safetensors(Path::new("/nowhere/model.pt"));
    assert_refused(result, Unsupported, &["model.pt", "pickle", "convert"]);
    assert_refused(read_safetensors(Path::new("/nowhere/model.safetensors")), Missing, &["/nowhere"]);
}

#[test]
fn precision_is_what_was_asked_for() {
    let tensors = recipe(&SyntheticSpec::default()).model;
    let stated = spec(json!({ "num_heads": 4 }));
    let element = |precision| {
        let model = import_model(&file(&tensors), &stated, precision).unwrap();
        model.tensors["pos_embed"].element
    };
    assert_eq!(element(Precision::Keep), Element::F32);
    assert_eq!(element(Precision::Half), Element::F16);
    let mut large = tensors.clone();
    large.insert("norm.bias".to_owned(), Tensor::f32(&[32], &[7e4; 32]));
    let result = import_model(&file(&large), &stated, Precision::Half);
    assert_refused(result, NotFinite, &["norm.bias", "70000", "float16"]);
}
