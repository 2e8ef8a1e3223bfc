//! The SAE importer: which files are recognised, what is folded, what is refused by name. That the numbers are those
//! of the libraries themselves is checked where there is an engine (`crates/runner/tests/sae.rs`).

use std::fs;
use std::path::{Path, PathBuf};

use coverslip_bundle::BundleErrorKind::{Invalid, Missing, NotFinite, TooLarge, Unsupported, UnsupportedVersion};
use coverslip_bundle::tensors::{Element, Tensor, TensorMap, to_safetensors};
use coverslip_bundle::{BundleError, BundleErrorKind, InputStep, SaeArchitecture};
use coverslip_import::{ImportedSae, SaeOptions, StoreAs, import_sae};
use coverslip_testkit::assert_refused;
use serde_json::{Value, json};

const D: usize = 2;
const M: usize = 4;

/// A directory with an SAE of 4 features on embeddings of 2 values.
struct Files {
    scratch: coverslip_testkit::Scratch,
}

impl Files {
    fn new(config: (&str, Value), weights: &str, tensors: &TensorMap) -> Self {
        let files = Self { scratch: coverslip_testkit::Scratch::new("import") };
        files.add(config.0, config.1.to_string().as_bytes());
        files.add(weights, &to_safetensors(tensors).unwrap());
        files
    }

    fn saelens(config: Value, tensors: &TensorMap) -> Self {
        let mut all = json!({ "architecture": "standard", "d_in": D, "d_sae": M, "apply_b_dec_to_input": true });
        merge(&mut all, config);
        Self::new(("cfg.json", all), "sae_weights.safetensors", tensors)
    }

    fn sparsify(config: Value, tensors: &TensorMap) -> Self {
        let mut all = json!({ "activation": "topk", "expansion_factor": 2, "num_latents": 0, "k": 2, "d_in": D,
                              "normalize_decoder": true, "multi_topk": false });
        merge(&mut all, config);
        Self::new(("cfg.json", all), "sae.safetensors", tensors)
    }

    fn own(config: Value, tensors: &TensorMap) -> Self {
        let mut all = json!({ "format": "coverslip.sae/1", "architecture": "relu", "d_in": D, "d_sae": M });
        merge(&mut all, config);
        Self::new(("cfg.json", all), "sae.safetensors", tensors)
    }

    fn trained(class: &str, tensors: &TensorMap) -> Self {
        let config = json!({ "trainer": { "dict_class": class, "activation_dim": D, "dict_size": M, "k": 2,
                                          "submodule_name": "resid_post" }, "buffer": {} });
        Self::new(("config.json", config), "ae.safetensors", tensors)
    }

    /// One file without a configuration.
    fn bare(tensors: &TensorMap) -> Self {
        let files = Self { scratch: coverslip_testkit::Scratch::new("import") };
        files.add("model.safetensors", &to_safetensors(tensors).unwrap());
        files
    }

    fn add(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn dir(&self) -> &Path {
        self.scratch.path()
    }

    fn import(&self) -> Result<ImportedSae, BundleError> {
        import_sae(self.dir(), &SaeOptions::default())
    }

    #[track_caller]
    fn refuses(&self, kind: BundleErrorKind, parts: &[&str]) {
        assert_refused(self.import(), kind, parts);
    }
}

fn merge(all: &mut Value, some: Value) {
    let Value::Object(some) = some else { panic!("no object") };
    for (name, value) in some {
        all[name] = value;
    }
}

/// Tensors of these shapes with the values 1, 2, 3, …
fn tensors(shapes: &[(&str, &[usize])]) -> TensorMap {
    let tensor = |shape: &[usize]| {
        let values: Vec<f32> = (1..=shape.iter().product::<usize>()).map(|v| v as f32).collect();
        Tensor::f32(shape, &values)
    };
    shapes.iter().map(|(name, shape)| ((*name).to_owned(), tensor(shape))).collect()
}

fn with(mut tensors: TensorMap, name: &str, tensor: Tensor) -> TensorMap {
    tensors.insert(name.to_owned(), tensor);
    tensors
}

fn without(mut tensors: TensorMap, name: &str) -> TensorMap {
    tensors.remove(name);
    tensors
}

fn f32s(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::f32(shape, values)
}

/// W_enc, b_enc, W_dec, b_dec.
fn matrices() -> TensorMap {
    tensors(&[("W_enc", &[D, M]), ("b_enc", &[M]), ("W_dec", &[M, D]), ("b_dec", &[D])])
}

/// encoder.weight, encoder.bias, decoder.weight, b_dec with the shapes of torch's layers.
fn layers() -> TensorMap {
    tensors(&[("encoder.weight", &[M, D]), ("encoder.bias", &[M]), ("decoder.weight", &[D, M]), ("b_dec", &[D])])
}

fn sparse() -> TensorMap {
    tensors(&[("encoder.weight", &[M, D]), ("encoder.bias", &[M]), ("W_dec", &[M, D]), ("b_dec", &[D])])
}

fn values(sae: &ImportedSae, name: &str) -> Vec<f32> {
    sae.tensors[name].view(name).to_f32().unwrap()
}

fn noted(sae: &ImportedSae, part: &str) -> bool {
    sae.notes.iter().any(|note| note.contains(part))
}

#[test]
fn saelens_needs_no_conversion() {
    let config = json!({ "architecture": "jumprelu", "normalize_activations": "layer_norm",
                         "apply_b_dec_to_input": false, "metadata": { "hook_name": "last" }, "dtype": "float32" });
    let found = Files::saelens(config, &with(matrices(), "threshold", f32s(&[M], &[0.5; M]))).import().unwrap();
    assert_eq!((found.format, found.architecture), ("SAELens", SaeArchitecture::JumpRelu));
    assert_eq!((found.d_in, found.d_sae, found.k), (D, M, None));
    assert_eq!(found.input, [InputStep::LayerNorm]);
    assert!(!found.apply_b_dec_to_input && !found.pruned && !found.rescale_acts_by_decoder_norm);
    assert_eq!(found.hook_name.as_deref(), Some("last"));
    assert_eq!(found.tensors, with(matrices(), "threshold", f32s(&[M], &[0.5; M])));
    assert!(found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn saelens_old_and_new() {
    let gated = tensors(&[
        ("W_enc", &[D, M]),
        ("b_gate", &[M]),
        ("r_mag", &[M]),
        ("b_mag", &[M]),
        ("W_dec", &[M, D]),
        ("b_dec", &[D]),
    ]);
    let known = [
        (json!({ "architecture": null, "apply_b_dec_to_input": null }), matrices(), SaeArchitecture::Relu, None),
        (json!({ "architecture": "topk", "k": 3 }), matrices(), SaeArchitecture::TopK, Some(3)),
        (
            json!({ "activation_fn_str": "topk", "activation_fn_kwargs": { "k": 2, "signed": false } }),
            matrices(),
            SaeArchitecture::TopK,
            Some(2),
        ),
        (json!({ "architecture": "gated", "normalize_activations": false }), gated, SaeArchitecture::Gated, None),
    ];
    for (config, tensors, architecture, k) in known {
        let found = Files::saelens(config.clone(), &tensors).import().unwrap();
        assert_eq!((found.architecture, found.k, found.apply_b_dec_to_input), (architecture, k, true), "{config}");
        assert_eq!(
            noted(&found, "default before 6.0"),
            config["architecture"].is_null() && config.get("activation_fn_str").is_none()
        );
    }
}

#[test]
fn the_activation_scale_is_folded() {
    let files = Files::saelens(json!({ "normalize_activations": "expected_average_only_in" }), &matrices());
    files.refuses(Missing, &["expected_average_only_in", "--activation-scale"]);
    let options = SaeOptions { activation_scale: Some(2.0), ..SaeOptions::default() };
    let found = import_sae(files.dir(), &options).unwrap();
    assert!(found.input.is_empty() && noted(&found, "scale 2"));
    assert_eq!(values(&found, "W_enc"), [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]);
    assert_eq!(values(&found, "W_dec")[..3], [0.5, 1.0, 1.5]);
    assert_eq!(values(&found, "b_dec"), [0.5, 1.0]);
    assert_eq!(values(&found, "b_enc"), [1.0, 2.0, 3.0, 4.0]);
    let other = Files::saelens(json!({}), &matrices());
    assert_refused(import_sae(other.dir(), &options), Invalid, &["expected_average_only_in"]);
    let other = Files::sparsify(json!({}), &sparse());
    assert_refused(import_sae(other.dir(), &options), Invalid, &["expected_average_only_in", "sparsify"]);
}

#[test]
fn saelens_refusals() {
    let cases = [
        (json!({ "architecture": "matching_pursuit" }), "matching_pursuit"),
        (json!({ "architecture": "temporal" }), "temporal"),
        (json!({ "architecture": "abstopk", "k": 2 }), "abstopk"),
        (json!({ "architecture": "jumprelu_transcoder" }), "jumprelu_transcoder"),
        (json!({ "architecture": "crosscoder" }), "crosscoder"),
        (json!({ "architecture": "batchtopk", "k": 2 }), "save_inference_model"),
        (json!({ "d_out": 5 }), "transcoder"),
        (json!({ "reshape_activations": "hook_z" }), "hook_z"),
        (json!({ "normalize_activations": "covariance_whitening" }), "covariance_whitening"),
        (json!({ "finetuning_scaling_factor": true }), "finetuning_scaling_factor"),
        (json!({ "activation_fn": "tanh-relu" }), "tanh-relu"),
        (json!({ "activation_fn_str": "topk", "activation_fn_kwargs": { "k": 2, "signed": true } }), "signed"),
    ];
    for (config, part) in cases {
        Files::saelens(config, &matrices()).refuses(Unsupported, &[part, "not supported in this version", "expected"]);
    }
    Files::saelens(json!({ "architecture": "topk" }), &matrices()).refuses(Missing, &["`k`"]);
    Files::saelens(json!({ "architecture": "topk", "k": 5 }), &matrices()).refuses(Invalid, &["`k` is 5", "1 to 4"]);
    Files::saelens(json!({ "d_in": "two" }), &matrices()).refuses(Invalid, &["cfg.json", "SAELens"]);
    Files::saelens(json!({ "d_sae": 5 }), &matrices()).refuses(Invalid, &["`W_enc` is [2, 4], expected [2, 5]"]);
    let factor = |value| with(matrices(), "scaling_factor", f32s(&[M], &[value; M]));
    Files::saelens(json!({}), &factor(2.0)).refuses(Unsupported, &["scaling_factor"]);
    let found = Files::saelens(json!({}), &factor(1.0)).import().unwrap();
    assert!(noted(&found, "scaling_factor") && found.tensors == matrices());
}

#[test]
fn one_error_names_all_wrong_tensors() {
    let mut wrong = with(matrices(), "r_mag", f32s(&[M], &[0.0; M]));
    wrong = without(without(with(wrong, "b_dec", f32s(&[3], &[0.0; 3])), "W_dec"), "b_enc");
    let parts = ["missing: `W_dec` [4, 2], `b_enc` [4]", "`b_dec` is [3], expected [2]", "`r_mag`", "export it again"];
    Files::saelens(json!({}), &wrong).refuses(Missing, &parts);
    let extra = with(matrices(), "r_mag", f32s(&[M], &[0.0; M]));
    Files::saelens(json!({}), &extra).refuses(Unsupported, &["not supported in this version: `r_mag`"]);
    let broken = with(matrices(), "b_enc", f32s(&[M], &[0.0, f32::NAN, 0.0, 0.0]));
    Files::saelens(json!({}), &broken).refuses(NotFinite, &["b_enc", "element 1"]);
}

#[test]
fn weights_are_stored_in_the_requested_type() {
    let halves: TensorMap = matrices().into_iter().map(|(n, t)| (n.clone(), t.to(&n, Element::F16).unwrap())).collect();
    let files = Files::saelens(
        json!({ "architecture": "jumprelu", "normalize_activations": "expected_average_only_in" }),
        &with(halves, "threshold", f32s(&[M], &[0.1; M])),
    );
    let elements = |precision| {
        let options = SaeOptions { activation_scale: Some(3.0), precision, ..SaeOptions::default() };
        let found = import_sae(files.dir(), &options).unwrap();
        ["W_enc", "b_enc", "threshold"].map(|name| found.tensors[name].element)
    };
    // Folded values are stored as float32, and a threshold is never rounded to float16.
    assert_eq!(elements(StoreAs::Keep), [Element::F32, Element::F16, Element::F32]);
    assert_eq!(elements(StoreAs::Half), [Element::F16, Element::F16, Element::F32]);
    assert_eq!(elements(StoreAs::Single), [Element::F32; 3]);
    let large = Files::saelens(json!({}), &with(matrices(), "b_enc", f32s(&[M], &[7e4; M])));
    let half = SaeOptions { precision: StoreAs::Half, ..SaeOptions::default() };
    assert_refused(import_sae(large.dir(), &half), NotFinite, &["b_enc", "70000", "float16"]);
}

#[test]
fn sparsify_is_transposed() {
    let found = Files::sparsify(json!({}), &sparse()).import().unwrap();
    assert_eq!((found.format, found.architecture, found.k), ("sparsify", SaeArchitecture::TopK, Some(2)));
    assert!(found.apply_b_dec_to_input && found.notes.is_empty());
    assert_eq!(found.tensors["W_enc"], f32s(&[D, M], &[1.0, 3.0, 5.0, 7.0, 2.0, 4.0, 6.0, 8.0]));
    assert_eq!(found.tensors["W_dec"], sparse()["W_dec"]);
    let found = Files::sparsify(json!({ "activation": "groupmax", "num_latents": M }), &sparse()).import().unwrap();
    assert_eq!(found.architecture, SaeArchitecture::GroupMax);
    // k 32 and expansion 32 are the library's defaults.
    let wide = tensors(&[("encoder.weight", &[64, D]), ("encoder.bias", &[64]), ("W_dec", &[64, D]), ("b_dec", &[D])]);
    let found = Files::new(("cfg.json", json!({ "d_in": D })), "sae.safetensors", &wide).import().unwrap();
    assert_eq!((found.architecture, found.d_sae, found.k), (SaeArchitecture::TopK, 64, Some(32)));
    assert!(noted(&found, "k is not stated: 32") && noted(&found, "activation is not stated: topk"));
}

#[test]
fn sparsify_refusals() {
    for field in ["transcode", "skip_connection", "signed"] {
        let files = Files::sparsify(json!({ field: true }), &sparse());
        files.refuses(Unsupported, &[field, "not supported in this version", "expected"]);
    }
    Files::sparsify(json!({ "activation": "jumprelu" }), &sparse()).refuses(Unsupported, &["jumprelu", "groupmax"]);
    Files::sparsify(json!({ "activation": "groupmax", "k": 3 }), &sparse()).refuses(Invalid, &["k = 3", "4 features"]);
    let empty = tensors(&[("encoder.weight", &[0, D]), ("encoder.bias", &[0]), ("W_dec", &[0, D]), ("b_dec", &[D])]);
    Files::sparsify(json!({ "expansion_factor": 0 }), &empty).refuses(Invalid, &["0 features", "at least one"]);
    Files::sparsify(json!({ "d_in": null }), &sparse()).refuses(Missing, &["`d_in`"]);
    Files::sparsify(json!({ "k": 5 }), &sparse()).refuses(Invalid, &["`k` is 5"]);
    Files::sparsify(json!({ "num_latents": 5 }), &sparse()).refuses(Invalid, &["[4, 2], expected [5, 2]"]);
    Files::sparsify(json!({}), &without(sparse(), "W_dec")).refuses(Missing, &["`W_dec`"]);
    let skip = with(sparse(), "W_skip", f32s(&[D, D], &[0.0; D * D]));
    Files::sparsify(json!({}), &skip).refuses(Unsupported, &["`W_skip`"]);
}

#[test]
fn dictionary_learnings_decoder_is_normalised() {
    let mut plain = without(layers(), "b_dec");
    plain = with(plain, "bias", f32s(&[D], &[1.0, 2.0]));
    // Columns (3, 4), (0, 2), (1, 0), (6, 8): lengths 5, 2, 1, 10.
    plain = with(plain, "decoder.weight", f32s(&[D, M], &[3.0, 0.0, 1.0, 6.0, 4.0, 2.0, 0.0, 8.0]));
    for files in [Files::trained("AutoEncoder", &plain), Files::bare(&plain)] {
        let found = files.import().unwrap();
        assert_eq!((found.format, found.architecture), ("dictionary_learning", SaeArchitecture::Relu));
        assert!(found.apply_b_dec_to_input && noted(&found, "features were rescaled"));
        assert_eq!(values(&found, "W_dec"), [0.6, 0.8, 0.0, 1.0, 1.0, 0.0, 0.6, 0.8]);
        assert_eq!(values(&found, "W_enc"), [5.0, 6.0, 5.0, 70.0, 10.0, 8.0, 6.0, 80.0]);
        assert_eq!(values(&found, "b_enc"), [5.0, 4.0, 3.0, 40.0]);
    }
    let unit = with(plain.clone(), "decoder.weight", f32s(&[D, M], &[1.0, 0.0, 0.6, 0.8, 0.0, 1.0, 0.8, 0.6]));
    assert!(Files::bare(&unit).import().unwrap().notes.is_empty());
    let zero = with(plain, "decoder.weight", f32s(&[D, M], &[0.0; M * D]));
    Files::bare(&zero).refuses(Invalid, &["feature 0", "length 0"]);
}

#[test]
fn a_batchtopk_selects_by_its_threshold() {
    let trained = |threshold: f32| {
        let tensors = with(layers(), "k", Tensor::i32(&[], &[2]));
        with(tensors, "threshold", f32s(&[], &[threshold]))
    };
    let found = Files::trained("BatchTopKSAE", &trained(0.25)).import().unwrap();
    assert_eq!((found.architecture, found.k), (SaeArchitecture::JumpRelu, None));
    assert_eq!(found.tensors["threshold"], f32s(&[M], &[0.25; M]));
    assert_eq!(found.hook_name.as_deref(), Some("resid_post"));
    assert!(found.apply_b_dec_to_input && noted(&found, "threshold 0.25"));
    Files::trained("BatchTopKSAE", &trained(-1.0)).refuses(Unsupported, &["`threshold` is -1", "not set"]);
    let found = Files::trained("AutoEncoderTopK", &trained(-1.0)).import().unwrap();
    assert_eq!((found.architecture, found.k), (SaeArchitecture::TopK, Some(2)));
    // Without the configuration the two cannot be told apart.
    Files::bare(&trained(0.25)).refuses(Unsupported, &["AutoEncoderTopK", "BatchTopKSAE"]);
    let other = with(trained(0.25), "k", Tensor::i32(&[], &[3]));
    Files::trained("BatchTopKSAE", &other).refuses(Invalid, &["trainer.k", "2", "3"]);
}

#[test]
fn dictionary_learnings_other_classes() {
    let new = with(without(layers(), "b_dec"), "decoder.bias", f32s(&[D], &[1.0, 2.0]));
    let found = Files::trained("AutoEncoderNew", &new).import().unwrap();
    assert!(found.architecture == SaeArchitecture::Relu && !found.apply_b_dec_to_input);
    assert_eq!(values(&found, "b_dec"), [1.0, 2.0]);
    Files::bare(&new).refuses(Unsupported, &["AutoEncoderNew", "unknown library"]);

    let gated = tensors(&[
        ("encoder.weight", &[M, D]),
        ("decoder.weight", &[D, M]),
        ("decoder_bias", &[D]),
        ("r_mag", &[M]),
        ("gate_bias", &[M]),
        ("mag_bias", &[M]),
    ]);
    let found = Files::bare(&gated).import().unwrap();
    assert!(found.architecture == SaeArchitecture::Gated && found.apply_b_dec_to_input);
    assert_eq!(found.tensors["b_gate"], gated["gate_bias"]);

    let jump = with(matrices(), "threshold", f32s(&[M], &[0.5; M]));
    let found = Files::trained("JumpReluAutoEncoder", &jump).import().unwrap();
    assert!(found.architecture == SaeArchitecture::JumpRelu && !found.apply_b_dec_to_input);
    Files::bare(&jump).refuses(Unsupported, &["JumpReluAutoEncoder", "SAELens' jumprelu"]);

    let groups = |sizes: &[i32]| {
        let tensors = with(matrices(), "group_sizes", Tensor::i32(&[sizes.len()], sizes));
        with(with(tensors, "k", Tensor::i32(&[], &[2])), "threshold", f32s(&[], &[0.5]))
    };
    let found = Files::bare(&groups(&[1, 3])).import().unwrap();
    assert_eq!(found.tensors, with(matrices(), "threshold", f32s(&[M], &[0.5; M])));
    assert!(found.apply_b_dec_to_input);
    Files::bare(&groups(&[1, 2])).refuses(Invalid, &["group_sizes", "4 features"]);
    // Their sum is 4 where it wraps.
    let bytes = [i64::MAX, i64::MAX, 6].iter().flat_map(|size| size.to_le_bytes()).collect();
    let wide = Tensor { element: Element::I64, shape: vec![3], bytes };
    let wide = with(groups(&[4]), "group_sizes", wide);
    Files::bare(&wide).refuses(Invalid, &["`group_sizes` has 3 sizes", "4 features"]);
    let many = with(groups(&[4]), "k", Tensor::i32(&[1000], &[2; 1000]));
    Files::bare(&many).refuses(Invalid, &["tensor `k` has 1000 numbers"]);
}

#[test]
fn dictionary_learning_refusals() {
    Files::trained("CrossCoder", &layers()).refuses(Unsupported, &["CrossCoder", "BatchTopKSAE"]);
    Files::trained("AutoEncoder", &layers()).refuses(Missing, &["`bias`", "`b_dec`"]);
    let config = json!({ "trainer": { "dict_class": "AutoEncoderTopK", "activation_dim": 3, "k": 2 } });
    Files::new(("config.json", config), "ae.safetensors", &layers()).refuses(Invalid, &["activation_dim", "3", "2"]);
    let config = json!({ "trainer": { "lr": 0.1 } });
    Files::new(("config.json", config), "ae.safetensors", &layers()).refuses(Missing, &["trainer.dict_class"]);
    let nested = layers().into_iter().map(|(name, tensor)| (format!("ae.{name}"), tensor)).collect();
    for files in [Files::bare(&nested), Files::trained("AutoEncoderTopK", &nested)] {
        files.refuses(Unsupported, &["under `ae`", "norm_factor", "state_dict()"]);
    }
}

#[test]
fn openai_needs_its_activation() {
    let shapes: [(&str, &[usize]); 4] =
        [("pre_bias", &[D]), ("encoder.weight", &[M, D]), ("latent_bias", &[M]), ("decoder.weight", &[D, M])];
    Files::bare(&tensors(&shapes)).refuses(Missing, &["OpenAI", "activation", ".pt"]);
}

/// A `JumpSAE` with unit rows, as a state_dict.
fn jump_sae() -> TensorMap {
    let tensors = tensors(&[("encoder.final_block.0.weight", &[M, D]), ("encoder.final_block.0.bias", &[M])]);
    let tensors = with(tensors, "dictionary.multiplier", f32s(&[], &[2f32.ln()]));
    let rows = f32s(&[M, D], &[1.0, 0.0, 0.0, 1.0, 0.6, 0.8, -1.0, 0.0]);
    with(with(tensors, "dictionary._weights", rows), "thresholds", f32s(&[M], &[0.0, 0.5, -1.0, 3.0]))
}

#[test]
fn overcomplete_is_folded() {
    let found = Files::bare(&jump_sae()).import().unwrap();
    assert_eq!((found.format, found.architecture), ("overcomplete", SaeArchitecture::JumpRelu));
    assert!(!found.apply_b_dec_to_input && values(&found, "b_dec") == [0.0; D]);
    assert_eq!(values(&found, "W_dec"), [2.0, 0.0, 0.0, 2.0, 1.2, 1.6, -2.0, 0.0]);
    // p ≥ 1 is the same as p > the float before 1.
    assert_eq!(values(&found, "threshold")[0], 1.0f32.next_down());

    let mut normalised = jump_sae();
    for (name, values) in [("weight", [2.0; M]), ("bias", [1.0; M]), ("running_mean", [3.0; M])] {
        normalised.insert(format!("encoder.final_block.1.{name}"), f32s(&[M], &values));
    }
    let variance = f32s(&[M], &[0.25 - 1e-5; M]);
    normalised = with(normalised, "encoder.final_block.1.running_var", variance);
    normalised = with(normalised, "encoder.final_block.1.num_batches_tracked", Tensor::i32(&[], &[7]));
    let found = Files::bare(&normalised).import().unwrap();
    // (p − 3)·2/0.5 + 1 with p = W·x + b.
    let near = |found: Vec<f32>, expected: &[f32]| {
        found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{found:?} {expected:?}"));
    };
    near(values(&found, "b_enc"), &[-7.0, -3.0, 1.0, 5.0]);
    near(values(&found, "W_enc"), &[4.0, 12.0, 20.0, 28.0, 8.0, 16.0, 24.0, 32.0]);
}

#[test]
fn overcomplete_dictionaries() {
    // Rows moved by one training step are normalised; rows of an unknown kind are refused.
    let moved = f32s(&[M, D], &[1.02, 0.0, 0.0, 1.0, 0.6, 0.8, -0.98, 0.0]);
    let found = Files::bare(&with(jump_sae(), "dictionary._weights", moved)).import().unwrap();
    assert!(noted(&found, "length 1") && (values(&found, "W_dec")[0] - 2.0).abs() < 1e-6);
    let unknown = f32s(&[M, D], &[3.0, 0.0, 0.0, 1.0, 0.6, 0.8, -1.0, 0.0]);
    let files = Files::bare(&with(jump_sae(), "dictionary._weights", unknown));
    files.refuses(Unsupported, &["dictionary._weights", "eval()"]);
    // Two archetypes of three points; W·C + Relax, times 2.
    let mut archetypal = without(jump_sae(), "dictionary._weights");
    let w = f32s(&[M, 3], &[1.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.25, 0.25, 0.5, 0.0, 0.0, 0.0]);
    archetypal = with(archetypal, "dictionary.W", w);
    archetypal = with(archetypal, "dictionary.C", f32s(&[3, D], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    archetypal = with(archetypal, "dictionary.Relax", f32s(&[M, D], &[0.5; M * D]));
    let found = Files::bare(&archetypal).import().unwrap();
    let expected = [3.0, 5.0, 9.0, 11.0, 8.0, 10.0, 1.0, 1.0];
    values(&found, "W_dec").iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-5));
    let unfinished = f32s(&[M, 3], &[0.4; 3 * M]);
    let files = Files::bare(&with(archetypal, "dictionary.W", unfinished));
    files.refuses(Unsupported, &["dictionary.W", "eval()"]);
}

#[test]
fn overcomplete_refusals() {
    let top = without(jump_sae(), "thresholds");
    let files = Files::bare(&top);
    files.refuses(Missing, &["TopKSAE", "torch.save(sae", "--sae-k"]);
    let options = SaeOptions { k: Some(3), ..SaeOptions::default() };
    let found = import_sae(files.dir(), &options).unwrap();
    assert_eq!((found.architecture, found.k), (SaeArchitecture::TopK, Some(3)));
    assert!(noted(&found, "ReLU"));
    let stated = Files::sparsify(json!({}), &sparse());
    assert_refused(import_sae(stated.dir(), &options), Invalid, &["k is given as 3, but the files say 2"]);
    let cases = [
        ("encoder.final_block.1.weight", "LayerNorm"),
        ("encoder.mlp_blocks.0.0.weight", "several layers"),
        ("encoder.attention_blocks.0.norm1.weight", "AttentionEncoder"),
        ("encoder.resnet_blocks.0.conv1.weight", "ResNetEncoder"),
        ("Q", "QSAE"),
    ];
    for (name, part) in cases {
        let tensors = with(jump_sae(), name, f32s(&[M], &[1.0; M]));
        Files::bare(&tensors).refuses(Unsupported, &[part, "not supported in this version"]);
    }
    let mut tied = without(without(top.clone(), "encoder.final_block.0.weight"), "encoder.final_block.0.bias");
    for part in ["_weights", "multiplier"] {
        tied = with(tied.clone(), &format!("encoder.tied_to.{part}"), tied[&format!("dictionary.{part}")].clone());
    }
    let found = import_sae(Files::bare(&tied).dir(), &options).unwrap();
    assert_eq!(values(&found, "W_enc"), [2.0, 0.0, 1.2, -2.0, 0.0, 2.0, 1.6, 0.0]);
    let other = with(tied, "encoder.tied_to.multiplier", f32s(&[], &[0.0]));
    assert_refused(import_sae(Files::bare(&other).dir(), &options), Invalid, &["encoder.tied_to.multiplier", "tied"]);
    let none: TensorMap = top.into_iter().filter(|(name, _)| name.starts_with("dictionary.")).collect();
    Files::bare(&none).refuses(Unsupported, &["matching pursuit"]);
}

#[test]
fn our_own_layout_carries_pathology_saes() {
    // Histoscope: inputs standardised and normalised to length 1, tied weights, features without ReLU.
    let mut tensors = TensorMap::from([("W_enc".to_owned(), f32s(&[D, M], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]))]);
    tensors = with(tensors, "input_mean", f32s(&[D], &[1.0, 2.0]));
    tensors = with(tensors, "input_std", f32s(&[D], &[0.5, 0.0]));
    let config = json!({ "architecture": "signed_topk", "k": 3, "input": ["standardize", "l2"], "input_eps": 0.25,
                         "tied": true });
    let found = Files::own(config, &tensors).import().unwrap();
    assert_eq!((found.format, found.architecture), ("coverslip.sae/1", SaeArchitecture::SignedTopK));
    assert_eq!(found.input, [InputStep::Standardize, InputStep::L2]);
    assert_eq!(values(&found, "W_dec"), [1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0]);
    assert_eq!(values(&found, "input_std"), [0.75, 0.25]);
    assert_eq!((values(&found, "b_enc"), values(&found, "b_dec")), (vec![0.0; M], vec![0.0; D]));

    // Zhao and Sorger: scaled inputs, removed features.
    let pruned = with(without(matrices(), "b_dec"), "index_map", Tensor::i32(&[M], &[7, 0, 3, 9]));
    let found = Files::own(json!({ "input": ["scale"], "scale": 4.0 }), &pruned).import().unwrap();
    assert!(found.pruned && found.input.is_empty());
    assert_eq!(found.tensors["index_map"], Tensor::i32(&[M], &[7, 0, 3, 9]));
    assert_eq!((values(&found, "W_enc")[0], values(&found, "W_dec")[1]), (4.0, 0.5));
}

#[test]
fn our_own_scale_is_folded_where_it_commutes() {
    let tensors = with(matrices(), "input_mean", f32s(&[D], &[1.0, 2.0]));
    let tensors = with(tensors, "input_std", f32s(&[D], &[0.5, 4.0]));
    let import = |steps: Value| {
        let has_mean = steps.as_array().unwrap().contains(&json!("standardize"));
        let config = json!({ "input": steps, "scale": 2.0, "apply_b_dec_to_input": true });
        let tensors = if has_mean { tensors.clone() } else { matrices() };
        Files::own(config, &tensors).import()
    };
    let found = import(json!(["scale", "standardize", "l2"])).unwrap();
    assert_eq!(found.input, [InputStep::Standardize, InputStep::L2]);
    assert_eq!((values(&found, "input_mean"), values(&found, "input_std")), (vec![0.5, 1.0], vec![0.25, 2.0]));
    assert_eq!(found.tensors["W_enc"], matrices()["W_enc"]);
    let found = import(json!(["standardize", "scale"])).unwrap();
    assert_eq!((values(&found, "W_enc")[0], values(&found, "b_dec")[1]), (2.0, 1.0));
    assert_eq!(values(&found, "input_mean"), [1.0, 2.0]);
    let found = import(json!(["scale", "constant_norm_rescale"])).unwrap();
    assert_eq!(
        (found.input, found.tensors["W_enc"].clone()),
        (vec![InputStep::ConstantNormRescale], matrices()["W_enc"].clone())
    );
    for steps in [json!(["l2", "scale", "standardize"]), json!(["scale", "layer_norm"])] {
        assert_refused(import(steps), Unsupported, &["scale", "folded exactly"]);
    }
}

#[test]
fn our_own_refusals() {
    let jump = with(matrices(), "threshold", f32s(&[M], &[0.5; M]));
    let strict = |strict: bool| {
        let config = json!({ "architecture": "jumprelu", "threshold_strict": strict, "apply_b_dec_to_input": false });
        values(&Files::own(config, &jump).import().unwrap(), "threshold")[0]
    };
    assert_eq!((strict(true), strict(false)), (0.5, 0.5f32.next_down()));
    let flagged = |config: Value| {
        let mut all = json!({ "apply_b_dec_to_input": true });
        merge(&mut all, config);
        Files::own(all, &matrices())
    };
    flagged(json!({ "format": "coverslip.sae/2" }))
        .refuses(UnsupportedVersion, &["coverslip.sae/2", "coverslip.sae/1"]);
    flagged(json!({ "temperature": 1 })).refuses(Invalid, &["temperature"]);
    flagged(json!({ "architecture": "matching_pursuit" })).refuses(Invalid, &["matching_pursuit", "groupmax"]);
    flagged(json!({ "architecture": "topk" })).refuses(Missing, &["`k`"]);
    flagged(json!({ "k": 2 })).refuses(Invalid, &["`k`", "topk"]);
    flagged(json!({ "scale": 2 })).refuses(Invalid, &["`scale`"]);
    flagged(json!({ "input": ["scale"] })).refuses(Missing, &["`scale`"]);
    flagged(json!({ "input": ["scale"], "scale": -1 })).refuses(Invalid, &["positive"]);
    flagged(json!({ "input": ["l2", "l2"] })).refuses(Invalid, &["at most once"]);
    flagged(json!({ "input": ["standardize"] })).refuses(Missing, &["`input_mean` [2]", "`input_std` [2]"]);
    flagged(json!({ "architecture": "jumprelu", "threshold_strict": true })).refuses(Missing, &["`threshold` [4]"]);
    flagged(json!({ "tied": true })).refuses(Invalid, &["tied", "transposed"]);
    flagged(json!({ "d_sae": 5 })).refuses(Invalid, &["`W_enc` is [2, 4]", "`b_enc` is [4], expected [5]"]);
    // Matrices of no bytes, beside which vectors of any length would be filled.
    let empty = [("W_enc", [0, 1 << 40]), ("W_dec", [1 << 40, 0])];
    let empty = empty.map(|(name, shape)| (name.to_owned(), f32s(&shape, &[])));
    Files::own(json!({ "d_in": 0, "d_sae": 1u64 << 40 }), &TensorMap::from(empty)).refuses(TooLarge, &["`d_in` is 0"]);
    flagged(json!({ "d_sae": 1 << 20 })).refuses(TooLarge, &["`d_sae` is 1048576, expected 1 to 262144"]);
    Files::own(json!({}), &matrices()).refuses(Missing, &["apply_b_dec_to_input"]);
    Files::own(json!({ "apply_b_dec_to_input": true }), &jump).refuses(Unsupported, &["`threshold`"]);
    for (map, part) in [([0, 1, 1, 2], "twice"), ([0, 1, 2, -1], "-1")] {
        let tensors = with(without(matrices(), "b_dec"), "index_map", Tensor::i32(&[M], &map));
        Files::own(json!({}), &tensors).refuses(Invalid, &["index_map", part]);
    }
}

#[test]
fn nothing_is_guessed() {
    let files = Files::saelens(json!({}), &matrices());
    files.add("sparsity.safetensors", b"");
    files.import().unwrap();
    let ae = files.add("ae.pt", b"");
    files.refuses(Unsupported, &["`ae.pt` (dictionary_learning)", "`sae_weights.safetensors` (SAELens)", "path"]);
    import_sae(&files.dir().join("sae_weights.safetensors"), &SaeOptions::default()).unwrap();
    fs::remove_file(ae).unwrap();
    fs::remove_file(files.dir().join("cfg.json")).unwrap();
    files.refuses(Missing, &["cfg.json"]);

    let empty = coverslip_testkit::Scratch::new("import");
    assert_refused(import_sae(empty.path(), &SaeOptions::default()), Missing, &["no file of weights", "SAELens"]);
    assert_refused(import_sae(Path::new("/nowhere"), &SaeOptions::default()), Missing, &["/nowhere"]);
    Files::bare(&matrices()).refuses(Unsupported, &["SAELens' standard or topk", "configuration"]);
    Files::bare(&sparse()).refuses(Unsupported, &["sparsify", "configuration"]);
    Files::bare(&tensors(&[("conv1.weight", &[2, 2])])).refuses(Unsupported, &["`conv1.weight`", "OpenAI"]);
    let mixed = with(with(layers(), "pre_bias", f32s(&[D], &[0.0; D])), "latent_bias", f32s(&[M], &[0.0; M]));
    Files::bare(&with(mixed, "dictionary.C", f32s(&[1], &[0.0]))).refuses(Unsupported, &["OpenAI", "overcomplete"]);
}

#[test]
fn too_many_features_are_refused() {
    let m = 262_145;
    let wide = tensors(&[("encoder.weight", &[m, 1]), ("encoder.bias", &[m]), ("W_dec", &[m, 1]), ("b_dec", &[1])]);
    Files::sparsify(json!({ "d_in": 1, "num_latents": m }), &wide).refuses(TooLarge, &["262145", "262144"]);
}

/// A damaged file gives an error or another SAE, never a panic.
#[test]
fn flipped_bits_never_panic() {
    let mut cases: Vec<PathBuf> = fs::read_dir("tests/golden/sae").unwrap().map(|case| case.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 84, "{}", cases.len());
    let mut state = 1u64;
    for case in cases {
        let scratch = coverslip_testkit::Scratch::new("import");
        let files = fs::read_dir(&case).unwrap().map(|file| file.unwrap().path());
        let theirs = files.filter(|file| file.file_stem().is_some_and(|stem| stem != "golden"));
        let copied: Vec<(PathBuf, Vec<u8>)> = theirs
            .map(|file| (scratch.path().join(file.file_name().unwrap()), fs::read(&file).unwrap()))
            .inspect(|(path, bytes)| fs::write(path, bytes).unwrap())
            .collect();
        let options = SaeOptions { activation_scale: None, k: Some(4), precision: StoreAs::Keep };
        for (path, bytes) in &copied {
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Headers and configurations are at the start, a zip's directory at the end.
                let (place, bit) = ((state >> 33) as usize, state >> 61);
                let near = place % bytes.len().min(1500);
                let at = if bit & 1 == 0 { near } else { bytes.len() - 1 - near };
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                fs::write(path, flipped).unwrap();
                let _ = import_sae(scratch.path(), &options);
                let _ = import_sae(path, &options);
            }
            fs::write(path, bytes).unwrap();
        }
    }
}
