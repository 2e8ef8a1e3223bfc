//! Importers: what is read, what is refused by name, what is folded.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::assert_refused;
use coverslip_bundle::BundleErrorKind::{Invalid, Missing, NotFinite, Unsupported};
use coverslip_bundle::import::{ModelSpec, Precision, SaeOptions, import_model, import_sae, read_safetensors};
use coverslip_bundle::synthetic::{SyntheticSpec, recipe};
use coverslip_bundle::tensors::{Element, Tensor, TensorFile, TensorMap, to_safetensors};
use coverslip_bundle::{Normalization, Pooling, SaeArchitecture};
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

/// A directory in SAELens' layout.
struct Sae {
    scratch: tempfile::TempDir,
}

impl Sae {
    fn new(config: Value, extra: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let sae = Self { scratch };
        fs::write(sae.path("cfg.json"), config.to_string()).unwrap();
        let mut tensors = TensorMap::from([
            ("W_enc".to_owned(), Tensor::f32(&[2, 4], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])),
            ("W_dec".to_owned(), Tensor::f32(&[4, 2], &[1.0; 8])),
            ("b_enc".to_owned(), Tensor::f32(&[4], &[0.5; 4])),
            ("b_dec".to_owned(), Tensor::f32(&[2], &[1.0, 3.0])),
        ]);
        for name in extra {
            tensors.insert((*name).to_owned(), Tensor::f32(&[4], &[0.1; 4]));
        }
        fs::write(sae.path("sae_weights.safetensors"), to_safetensors(&tensors).unwrap()).unwrap();
        sae
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

#[test]
fn saelens_configurations() {
    let sae = Sae::new(
        json!({ "architecture": "jumprelu", "d_in": 2, "d_sae": 4, "normalize_activations": "layer_norm",
                "apply_b_dec_to_input": false, "metadata": { "hook_name": "last" }, "dtype": "float32" }),
        &["threshold"],
    );
    let found = import_sae(sae.scratch.path(), &SaeOptions::default()).unwrap();
    assert_eq!(found.architecture, SaeArchitecture::JumpRelu);
    assert_eq!(found.normalize_activations, Normalization::LayerNorm);
    assert!(!found.apply_b_dec_to_input);
    assert_eq!(found.hook_name.as_deref(), Some("last"));
    assert_eq!((found.d_in, found.d_sae, found.k, found.tensors.len()), (2, 4, None, 5));
}

#[test]
fn the_activation_scale_is_folded() {
    let config = json!({ "architecture": "standard", "d_in": 2, "d_sae": 4,
                         "normalize_activations": "expected_average_only_in" });
    let sae = Sae::new(config, &[]);
    let missing = import_sae(sae.scratch.path(), &SaeOptions::default());
    assert_refused(missing, Missing, &["expected_average_only_in", "--activation-scale"]);
    let options = SaeOptions { activation_scale: Some(2.0), precision: Precision::Keep };
    let found = import_sae(sae.scratch.path(), &options).unwrap();
    assert_eq!(found.normalize_activations, Normalization::None);
    let values = |name: &str| file(&found.tensors).get(name).unwrap().to_f32().unwrap();
    assert_eq!(values("W_enc")[..3], [2.0, 4.0, 6.0]);
    assert_eq!(values("W_dec")[..2], [0.5, 0.5]);
    assert_eq!(values("b_dec"), [0.5, 1.5]);
    assert_eq!(values("b_enc"), [0.5; 4]);
}

#[test]
fn a_scale_without_its_normalisation_is_refused() {
    let sae = Sae::new(json!({ "architecture": "standard", "d_in": 2, "d_sae": 4 }), &[]);
    let options = SaeOptions { activation_scale: Some(2.0), precision: Precision::Keep };
    assert_refused(import_sae(sae.scratch.path(), &options), Invalid, &["expected_average_only_in"]);
}

#[test]
fn saelens_options_that_change_numbers_are_refused() {
    let cases = [
        ("architecture", json!("gated"), "gated"),
        ("architecture", json!("matching_pursuit"), "matching_pursuit"),
        ("reshape_activations", json!("hook_z"), "hook_z"),
        ("normalize_activations", json!("dataset"), "dataset"),
        ("finetuning_scaling_factor", json!(true), "finetuning_scaling_factor"),
        ("activation_fn", json!("tanh-relu"), "tanh-relu"),
    ];
    for (field, value, part) in cases {
        let mut config = json!({ "architecture": "standard", "d_in": 2, "d_sae": 4 });
        config[field] = value;
        let sae = Sae::new(config, &[]);
        let result = import_sae(sae.scratch.path(), &SaeOptions::default());
        assert_refused(result, Unsupported, &[part, "not supported in this version"]);
    }
    let sae = Sae::new(json!({ "architecture": "standard", "d_in": 2, "d_sae": 4 }), &["r_mag"]);
    let result = import_sae(sae.scratch.path(), &SaeOptions::default());
    assert_refused(result, Unsupported, &["r_mag", "not supported in this version"]);
}

#[test]
fn other_layouts_are_refused_by_name() {
    let layouts = [("sae.safetensors", "sparsify"), ("ae.pt", "dictionary_learning"), ("sae_weights.pt", "pickle")];
    for (name, part) in layouts {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("cfg.json"), "{}").unwrap();
        fs::write(scratch.path().join(name), "").unwrap();
        let result = import_sae(scratch.path(), &SaeOptions::default());
        assert_refused(result, Unsupported, &[name, part, "expected", "convert"]);
    }
    let scratch = tempfile::tempdir().unwrap();
    assert_refused(import_sae(scratch.path(), &SaeOptions::default()), Missing, &["cfg.json"]);
}
