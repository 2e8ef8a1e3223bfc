//! The importer of vision transformers: what it recognises, how it converts tensors, what it refuses.

use std::fs;
use std::path::{Path, PathBuf};

use coverslip_bundle::BundleErrorKind::{Invalid, Missing, NotFinite, TooLarge, Unsupported};
use coverslip_bundle::synthetic::{SyntheticSpec, recipe};
use coverslip_bundle::tensors::{Element, Tensor, TensorMap, to_safetensors};
use coverslip_bundle::{Architecture, BundleError, BundleErrorKind, Mlp, Pooling, TapSource, Vit};
use coverslip_import::{ImportedModel, ModelSource, ModelSpec, StoreAs, import_model};
use coverslip_testkit::Scratch;
use coverslip_testkit::{assert_refused, read_tensors};
use serde_json::{Value, json};

// ------------------------------------------------------------------------------------------------ golden files

fn golden_dir(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(case)
}

fn golden_json(case: &str) -> Value {
    serde_json::from_slice(&fs::read(golden_dir(case).join("golden.json")).unwrap()).unwrap()
}

/// Imports a golden case with the options of its golden.json.
fn golden(case: &str) -> Result<ImportedModel, BundleError> {
    let said = golden_json(case);
    let source = ModelSource::open(&golden_dir(case).join(said["weights"].as_str().unwrap()), None)?;
    import_model(&source, &spec(said["model"].clone()), StoreAs::Keep)
}

fn golden_cases() -> Vec<String> {
    let entries = fs::read_dir(golden_dir("")).unwrap();
    let mut cases: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    cases.sort();
    cases
}

/// The shape that the golden models have in common.
fn tiny() -> Vit {
    Vit {
        embed_dim: 32,
        depth: 2,
        heads: 4,
        patch: 8,
        mlp_dim: 64,
        mlp: Mlp::Gelu,
        class_token: true,
        register_tokens: 0,
        no_embed_class: false,
        qkv_bias: true,
        layer_scale: true,
        layer_norm_eps: 1e-6,
    }
}

/// Names and shapes of a ViT's tensors in timm's convention.
fn shapes(vit: &Vit, side: usize) -> Vec<(String, Vec<usize>)> {
    let (d, hidden) = (vit.embed_dim, vit.mlp_dim);
    let rows = if vit.mlp == Mlp::SwiGlu { 2 * hidden } else { hidden };
    let patches = (side / vit.patch).pow(2);
    let prefix = if vit.no_embed_class { 0 } else { usize::from(vit.class_token) + vit.register_tokens };
    let mut shapes = vec![
        ("cls_token".to_owned(), vec![1, 1, d]),
        ("pos_embed".to_owned(), vec![1, prefix + patches, d]),
        ("patch_embed.proj.weight".to_owned(), vec![d, 3, vit.patch, vit.patch]),
        ("patch_embed.proj.bias".to_owned(), vec![d]),
        ("norm.weight".to_owned(), vec![d]),
        ("norm.bias".to_owned(), vec![d]),
    ];
    if vit.register_tokens > 0 {
        shapes.push(("reg_token".to_owned(), vec![1, vit.register_tokens, d]));
    }
    for block in 0..vit.depth {
        let mut add = |name: &str, shape: &[usize]| shapes.push((format!("blocks.{block}.{name}"), shape.to_vec()));
        for (layer, outputs, inputs) in [("attn.proj", d, d), ("mlp.fc1", rows, d), ("mlp.fc2", d, hidden)] {
            add(&format!("{layer}.weight"), &[outputs, inputs]);
            add(&format!("{layer}.bias"), &[outputs]);
        }
        add("attn.qkv.weight", &[3 * d, d]);
        if vit.qkv_bias {
            add("attn.qkv.bias", &[3 * d]);
        }
        for name in ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"] {
            add(name, &[d]);
        }
        if vit.layer_scale {
            add("ls1.gamma", &[d]);
            add("ls2.gamma", &[d]);
        }
    }
    shapes.sort();
    shapes
}

#[test]
fn golden_models_have_their_original_shapes() {
    let plain = || Vit { layer_scale: false, ..tiny() };
    let swiglu = |patch: usize, mlp_dim: usize| Vit { patch, mlp_dim, mlp: Mlp::SwiGlu, ..tiny() };
    let registers = |vit: Vit, n: usize, no_embed_class: bool| Vit { register_tokens: n, no_embed_class, ..vit };
    let made = [
        ("dinov2_native", 24, tiny()),
        ("dinov2_native_chunks", 24, tiny()),
        ("dinov2_native_registers_swiglu", 28, registers(swiglu(14, 88), 4, false)),
        ("dinov2_native_teacher_prefix", 24, registers(tiny(), 4, false)),
        ("dinov2_native_teacher_pth", 24, tiny()),
        ("interpolation_dinov2_down", 24, tiny()),
        ("interpolation_dinov2_registers_down", 24, registers(tiny(), 4, false)),
        ("interpolation_dinov2_up", 40, tiny()),
        ("interpolation_timm_down", 24, tiny()),
        ("interpolation_timm_up", 40, registers(tiny(), 4, true)),
        ("interpolation_transformers_dinov2_down", 24, tiny()),
        ("interpolation_transformers_dinov2_up", 40, tiny()),
        ("interpolation_transformers_registers_down", 24, registers(tiny(), 4, false)),
        ("interpolation_transformers_vit_down", 24, Vit { layer_norm_eps: 1e-12, ..plain() }),
        ("timm_arguments_in_code", 28, registers(swiglu(14, 85), 8, true)),
        ("timm_bfloat16", 48, Vit { patch: 16, ..plain() }),
        ("timm_layer_scale", 28, Vit { patch: 14, mlp_dim: 128, ..tiny() }),
        ("timm_no_qkv_bias", 32, Vit { qkv_bias: false, ..plain() }),
        ("timm_plain", 24, plain()),
        ("timm_pytorch_bin", 32, Vit { patch: 16, ..plain() }),
        ("timm_registers_in_pos_embed", 28, registers(swiglu(14, 85), 4, false)),
        ("timm_registers_no_embed_class", 28, registers(Vit { patch: 14, ..tiny() }, 4, true)),
        ("timm_sharded", 24, tiny()),
        ("timm_swiglu_packed", 28, registers(swiglu(14, 85), 4, true)),
        ("timm_swiglu_separate", 24, Vit { layer_scale: false, ..swiglu(8, 80) }),
        ("transformers_dinov2", 32, tiny()),
        ("transformers_dinov2_registers", 24, registers(tiny(), 4, false)),
        ("transformers_dinov2_registers_swiglu", 24, registers(swiglu(8, 48), 2, false)),
        ("transformers_dinov2_swiglu", 28, swiglu(14, 88)),
        ("transformers_vit", 24, Vit { layer_norm_eps: 1e-12, ..plain() }),
        ("transformers_vit_no_qkv_bias", 32, Vit { patch: 16, qkv_bias: false, ..plain() }),
    ];
    let refused = golden_cases().into_iter().filter(|case| case.starts_with("refused_")).count();
    assert_eq!(golden_cases().len(), made.len() + refused, "a golden case is not in this test");
    for (case, side, vit) in made {
        let model = golden(case).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!((model.side, &model.architecture), (side, &vit), "{case}");
        let read = model.weights.read().unwrap_or_else(|error| panic!("{case}: {error}"));
        let found: Vec<_> = read.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
        assert_eq!(found, shapes(&vit, side), "{case}");
        assert!(model.mean.is_some() && model.std.is_some(), "{case}");
        assert_eq!(model.taps.len(), 2, "{case}");
        assert!(!model.notes.is_empty(), "{case}");
    }
}

#[test]
fn golden_refusals_name_the_reason() {
    let refused: Vec<String> = golden_cases().into_iter().filter(|case| case.starts_with("refused_")).collect();
    assert!(refused.len() >= 10);
    for case in refused {
        let error = golden(&case).expect_err(&case).to_string();
        let said = golden_json(&case);
        let words: Vec<&str> = said["refused"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        // The pickle has an object that is not a tensor. It is not created, and it is not part of a model.
        assert!(case == "refused_pickle" || words.iter().any(|word| error.contains(word)), "{case}: {error}");
    }
}

#[test]
fn notes_say_how_golden_files_were_recognised() {
    let said = [
        ("dinov2_native", "DINOv2's own names"),
        ("dinov2_native_chunks", "chunks"),
        ("dinov2_native_teacher_pth", "under the prefix `teacher.backbone`"),
        ("timm_layer_scale", "timm's names, config.json says vit_small_patch14_dinov2"),
        ("timm_arguments_in_code", "vit_giant_patch14_224, 1408 wide and 40 deep; the weights are 32 wide and 2 deep"),
        ("timm_swiglu_packed", "the gate is the first half (config.json's architecture vit_giant_patch14_reg4_dinov2"),
        ("transformers_vit", "transformers' names, config.json says vit"),
        ("interpolation_timm_down", "from 7×7 to 3×3 as timm does, bicubic with antialias (model.json says so)"),
        ("interpolation_dinov2_up", "from 3×3 to 5×5 as DINOv2's own code does, bicubic without antialias"),
        ("interpolation_transformers_registers_down", "as transformers does, bicubic with antialias"),
        ("transformers_dinov2_registers", "the 4 registers have no positions"),
    ];
    for (case, part) in said {
        let notes = golden(case).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains(part)), "{case}: `{part}` is not in {notes:?}");
    }
    let left_out = golden("dinov2_native_teacher_prefix").unwrap().left_out;
    assert_eq!(left_out.len(), 3, "{left_out:?}");
    assert!(left_out.contains(&"teacher.dino_head.mlp.0.weight".to_owned()));
    assert_eq!(golden("transformers_vit").unwrap().left_out, ["pooler.dense.bias", "pooler.dense.weight"]);
    let lunit = golden("timm_plain").unwrap();
    assert_eq!(lunit.mean, Some([0.70322989, 0.53606487, 0.66096631]));
    assert_eq!(lunit.std, Some([0.21716536, 0.26081574, 0.20723464]));
}

#[test]
fn split_layers_are_joined() {
    let joined = |case: &str, name: &str, pieces: &[&str]| {
        let tensors = read_tensors(&golden_dir(case).join("model.safetensors"));
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| tensors[*piece].bytes.clone()).collect();
        let read = golden(case).unwrap().weights.read().unwrap();
        assert_eq!(read[name].element, tensors[pieces[0]].element, "{case}");
        assert_eq!(read[name].bytes, bytes, "{case}: {name}");
    };
    let at = "encoder.layer.1.attention.attention.";
    for suffix in ["weight", "bias"] {
        let layers = ["query", "key", "value"].map(|layer| format!("{at}{layer}.{suffix}"));
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        joined("transformers_vit", &format!("blocks.1.attn.qkv.{suffix}"), &layers);
        let layers = ["fc1_g", "fc1_x"].map(|layer| format!("blocks.0.mlp.{layer}.{suffix}"));
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        joined("timm_swiglu_separate", &format!("blocks.0.mlp.fc1.{suffix}"), &layers);
    }
    joined("dinov2_native_registers_swiglu", "blocks.0.mlp.fc1.weight", &["blocks.0.mlp.w12.weight"]);
    joined("dinov2_native_registers_swiglu", "blocks.0.mlp.fc2.weight", &["blocks.0.mlp.w3.weight"]);
    joined("transformers_dinov2_swiglu", "blocks.1.mlp.fc1.bias", &["encoder.layer.1.mlp.weights_in.bias"]);
    joined("transformers_dinov2", "blocks.0.ls2.gamma", &["encoder.layer.0.layer_scale2.lambda1"]);
    joined("dinov2_native_chunks", "blocks.1.norm1.weight", &["backbone.blocks.1.1.norm1.weight"]);
}

#[test]
fn registers_without_positions_get_rows_of_zeros() {
    let case = "transformers_dinov2_registers_swiglu";
    let stored = read_tensors(&golden_dir(case).join("model.safetensors"));
    let stored = values(&stored["embeddings.position_embeddings"]);
    let read = values(&golden(case).unwrap().weights.read().unwrap()["pos_embed"]);
    assert_eq!(read[..32], stored[..32]);
    assert!(read[32..96].iter().all(|value| *value == 0.0));
    assert_eq!(read[96..], stored[32..]);
}

// ----------------------------------------------------------------------------------------------- made for tests

fn spec(json: Value) -> ModelSpec {
    serde_json::from_value(json).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.view("").to_f32().unwrap()
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::f32(shape, &vec![0.0; shape.iter().product()])
}

/// A directory downloaded from a hub.
struct Hub {
    scratch: Scratch,
}

impl Hub {
    fn new(tensors: &TensorMap) -> Self {
        let hub = Self { scratch: coverslip_testkit::Scratch::new("import") };
        hub.write("model.safetensors", &to_safetensors(tensors).unwrap())
    }

    fn write(self, name: &str, bytes: &[u8]) -> Self {
        fs::write(self.scratch.path().join(name), bytes).unwrap();
        self
    }

    fn config(self, config: Value) -> Self {
        self.write("config.json", config.to_string().as_bytes())
    }

    fn preprocessor(self, config: Value) -> Self {
        self.write("preprocessor_config.json", config.to_string().as_bytes())
    }

    fn import(&self, model: Value) -> Result<ImportedModel, BundleError> {
        self.import_as(model, StoreAs::Keep)
    }

    fn import_as(&self, model: Value, precision: StoreAs) -> Result<ImportedModel, BundleError> {
        import_model(&ModelSource::open(self.scratch.path(), None)?, &spec(model), precision)
    }

    #[track_caller]
    fn refuses(&self, model: Value, kind: BundleErrorKind, parts: &[&str]) {
        assert_refused(self.import(model), kind, parts);
    }
}

fn synthetic(spec: &SyntheticSpec) -> TensorMap {
    recipe(spec).model.read().unwrap()
}

/// 32 wide, 2 blocks, 4 heads, 4 × 4 patches of 8 px.
fn plain() -> TensorMap {
    synthetic(&SyntheticSpec::default())
}

fn gated() -> TensorMap {
    synthetic(&SyntheticSpec { mlp: Mlp::SwiGlu, ..SyntheticSpec::default() })
}

/// `tensors` under other names.
fn renamed(tensors: &TensorMap, rename: impl Fn(&str) -> String) -> TensorMap {
    tensors.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect()
}

/// The minimal `model.json`.
fn stated() -> Value {
    json!({ "num_heads": 4, "pooling": "class_token" })
}

fn stated_and(more: Value) -> Value {
    let mut all = stated();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

// ---------------------------------------------------------------------------------------------- what is read

#[test]
fn the_shape_is_read_from_the_weights() {
    let variants = [
        SyntheticSpec::default(),
        SyntheticSpec { registers: 4, no_embed_class: true, layer_scale: true, ..SyntheticSpec::default() },
        SyntheticSpec { registers: 3, qkv_bias: false, ..SyntheticSpec::default() },
        SyntheticSpec { class_token: false, no_embed_class: true, ..SyntheticSpec::default() },
    ];
    for synthetic in variants {
        let recipe = recipe(&synthetic);
        let taps = json!([{ "name": "last", "block": 1, "after_norm": true, "pooling": "mean_patch_tokens" }]);
        let tensors = recipe.model.read().unwrap();
        let model = Hub::new(&tensors).import(json!({ "num_heads": 4, "taps": taps })).unwrap();
        let Architecture::Vit(mut expected) = recipe.manifest.architecture.clone() else { panic!("a ViT") };
        // Without prefix tokens both values of `no_embed_class` mean the same.
        expected.no_embed_class &= synthetic.class_token || synthetic.registers > 0;
        assert_eq!(model.architecture, expected);
        assert_eq!((model.side, model.weights.read().unwrap()), (32, tensors));
        assert_eq!(model.taps[0].source, TapSource::Block { after_block: 1, final_norm: true });
        assert_eq!(model.taps[0].pooling, Pooling::MeanPatchTokens);
        assert_eq!((model.mean, model.std), (None, None));
    }
}

#[test]
fn training_heads_are_left_out() {
    let mut tensors = plain();
    let heads = ["head.weight", "mask_token", "decoder_blocks.0.norm1.weight", "pre_logits.fc.bias"];
    for name in heads {
        tensors.insert(name.to_owned(), zeros(&[1, 1, 32]));
    }
    let model = Hub::new(&tensors).import(stated()).unwrap();
    let mut expected = heads.map(str::to_owned);
    expected.sort();
    assert_eq!(model.left_out, expected);
    assert_eq!(model.weights.read().unwrap(), plain());
    assert_eq!(model.notes[0], "timm's names");
}

#[test]
fn a_prefix_is_removed_when_all_have_it() {
    for prefix in ["backbone.", "module.", "visual.trunk.", "state_dict.model.encoder.", "teacher.backbone."] {
        let mut tensors = renamed(&plain(), |name| format!("{prefix}{name}"));
        tensors.insert("optimizer.state.0.exp_avg".to_owned(), zeros(&[2]));
        let model = Hub::new(&tensors).import(stated()).unwrap();
        assert_eq!(model.weights.read().unwrap(), plain(), "{prefix}");
        assert_eq!(model.left_out, ["optimizer.state.0.exp_avg"]);
        let prefix = prefix.trim_end_matches('.');
        assert!(model.notes.contains(&format!("the model is under the prefix `{prefix}`")), "{:?}", model.notes);
    }
    let mut tensors = renamed(&plain(), |name| format!("backbone.{name}"));
    let norm = tensors.remove("backbone.norm.bias").unwrap();
    tensors.insert("norm.bias".to_owned(), norm);
    Hub::new(&tensors).refuses(stated(), Invalid, &["unknown", "`norm.bias`", "could change the outputs"]);
}

#[test]
fn the_teacher_is_imported() {
    let mut tensors = renamed(&plain(), |name| format!("teacher.backbone.{name}"));
    let student = synthetic(&SyntheticSpec { seed: 2, ..SyntheticSpec::default() });
    tensors.extend(renamed(&student, |name| format!("student.module.backbone.{name}")));
    tensors.insert("teacher.dino_head.mlp.0.weight".to_owned(), zeros(&[4, 32]));
    let model = Hub::new(&tensors).import(stated()).unwrap();
    assert_eq!(model.weights.read().unwrap(), plain());
    assert_eq!(model.left_out.len(), student.len() + 1);
    let note = format!("the teacher is imported; {} tensors of the student are left out", student.len());
    assert!(model.notes.contains(&note), "{:?}", model.notes);

    let mut tensors = renamed(&plain(), |name| format!("model.{name}"));
    tensors.extend(renamed(&student, |name| format!("model_ema.{name}")));
    Hub::new(&tensors).refuses(stated(), Unsupported, &["several models", "`model.`", "`model_ema.`"]);
}

#[test]
fn transformers_newer_names_give_the_same_model() {
    let stored = read_tensors(&golden_dir("transformers_vit").join("model.safetensors"));
    let newer = renamed(&stored, |name| {
        let mut name = name.replace("encoder.layer.", "layers.").replace("intermediate.dense", "mlp.fc1");
        for (old, new) in [("attention.query", "q_proj"), ("attention.key", "k_proj"), ("attention.value", "v_proj")] {
            name = name.replace(old, new);
        }
        name.replace("attention.output.dense", "attention.o_proj").replace(".output.dense", ".mlp.fc2")
    });
    assert!(newer.contains_key("layers.0.attention.q_proj.weight") && newer.contains_key("layers.1.mlp.fc2.bias"));
    let config = fs::read(golden_dir("transformers_vit").join("config.json")).unwrap();
    let hub = Hub::new(&newer).write("config.json", &config);
    let model = hub.import(json!({ "pooling": "class_token" })).unwrap();
    let expected = golden("transformers_vit").unwrap();
    assert_eq!(model.architecture, expected.architecture);
    assert_eq!(model.weights.read().unwrap(), expected.weights.read().unwrap());
    // Without config.json not even ε is known.
    Hub::new(&newer).refuses(stated(), Missing, &["ε", "layer_norm_eps", "config.json"]);
}

#[test]
fn weights_are_stored_in_the_requested_type() {
    let hub = Hub::new(&plain());
    let element = |model: Value, precision| {
        let model = hub.import_as(model, precision).unwrap();
        model.weights.read().unwrap()["pos_embed"].element
    };
    assert_eq!(element(stated(), StoreAs::Keep), Element::F32);
    assert_eq!(element(stated(), StoreAs::Half), Element::F16);
    let half: TensorMap = plain().iter().map(|(name, t)| (name.clone(), t.to(name, Element::F16).unwrap())).collect();
    let hub = Hub::new(&half);
    let read = hub.import(stated()).unwrap().weights.read().unwrap();
    assert_eq!(read, half);
    // Resampled values are stored as float32, not float16.
    let resampled = hub.import(stated_and(json!({ "img_size": 24 }))).unwrap().weights.read().unwrap();
    assert_eq!((resampled["pos_embed"].element, resampled["norm.bias"].element), (Element::F32, Element::F16));

    let mut large = plain();
    large.insert("norm.bias".to_owned(), Tensor::f32(&[32], &[7e4; 32]));
    let model = Hub::new(&large).import_as(stated(), StoreAs::Half).unwrap();
    assert_refused(model.weights.read(), NotFinite, &["norm.bias", "70000", "float16"]);
}

// --------------------------------------------------------------------------------------------- gated MLPs

#[test]
fn the_gate_of_a_packed_mlp_is_stated() {
    let hub = Hub::new(&gated());
    let packed = |layer: &str, activation: &str| stated_and(json!({ "mlp_layer": layer, "act_layer": activation }));
    let first = hub.import(packed("SwiGLUPacked", "silu")).unwrap();
    assert_eq!((first.architecture.mlp, first.weights.read().unwrap()), (Mlp::SwiGlu, gated()));
    // timm's GluMlp has the gate last.
    let last = hub.import(packed("timm.layers.GluMlp", "torch.nn.SiLU")).unwrap();
    let (stored, read) =
        (&gated()["blocks.1.mlp.fc1.weight"], &last.weights.read().unwrap()["blocks.1.mlp.fc1.weight"]);
    let (value, gate) = stored.bytes.split_at(stored.bytes.len() / 2);
    assert_eq!((&stored.shape, &read.bytes), (&read.shape, &[gate, value].concat()));
    assert!(last.notes.iter().any(|note| note.contains("second half")), "{:?}", last.notes);

    let what_to_say = ["\"mlp_layer\": \"SwiGLUPacked\"", "\"act_layer\": \"silu\""];
    hub.refuses(stated(), Missing, &what_to_say);
    hub.refuses(stated_and(json!({ "mlp_layer": "SwiGLUPacked" })), Missing, &what_to_say);
    hub.refuses(packed("SwiGLUPacked", "gelu"), Unsupported, &["model.json's act_layer is `gelu`", "SiLU"]);
    hub.refuses(packed("Mlp", "gelu"), Invalid, &["model.json's mlp_layer is `Mlp`", "packed gated MLP"]);
    hub.refuses(packed("GatedMlp", "silu"), Unsupported, &["`GatedMlp`", "SwiGLUPacked"]);
}

#[test]
fn separate_gates_need_their_activation() {
    let mut tensors = gated();
    for block in 0..2 {
        for (suffix, inner) in [("weight", &[32][..]), ("bias", &[])] {
            let packed = tensors.remove(&format!("blocks.{block}.mlp.fc1.{suffix}")).unwrap();
            let shape = [&[packed.shape[0] / 2], inner].concat();
            let (gate, value) = packed.bytes.split_at(packed.bytes.len() / 2);
            for (layer, bytes) in [("fc1_g", gate), ("fc1_x", value)] {
                let part = Tensor { element: packed.element, shape: shape.clone(), bytes: bytes.to_vec() };
                tensors.insert(format!("blocks.{block}.mlp.{layer}.{suffix}"), part);
            }
        }
    }
    let hub = Hub::new(&tensors);
    let model = hub.import(stated_and(json!({ "activation": "silu" }))).unwrap();
    assert_eq!(model.weights.read().unwrap(), gated());
    hub.refuses(stated(), Missing, &["mlp.fc1_g", "act_layer"]);
    hub.refuses(stated_and(json!({ "activation": "gelu" })), Unsupported, &["`gelu`", "SiLU"]);
}

#[test]
fn activations_are_refused_by_name() {
    for name in ["quick_gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_tanh", "relu", "silu"] {
        let hub = Hub::new(&plain());
        hub.refuses(stated_and(json!({ "act_layer": name })), Unsupported, &[name, "exact GELU"]);
        let hub = hub.config(json!({ "model_type": "vit", "num_attention_heads": 4, "hidden_act": name }));
        hub.refuses(stated(), Unsupported, &["config.json's hidden_act", name]);
        hub.import(stated_and(json!({ "act_layer": "gelu" }))).unwrap();
    }
}

// ------------------------------------------------------------------------------------------------ config.json

fn timm_config(architecture: &str, args: Value) -> Value {
    json!({
        "architecture": architecture, "num_classes": 0, "num_features": 32, "global_pool": "token",
        "model_args": args,
        "pretrained_cfg": { "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 32, 32] }
    })
}

/// timm's arguments for the synthetic weights.
fn small_args() -> Value {
    json!({ "embed_dim": 32, "depth": 2, "num_heads": 8, "patch_size": 8, "mlp_ratio": 4.0, "dynamic_img_size": true })
}

#[test]
fn config_json_states_what_the_weights_do_not_show() {
    let hub = Hub::new(&plain()).config(timm_config("vit_small_patch16_224.augreg", small_args()));
    let model = hub.import(json!({})).unwrap();
    assert_eq!((model.architecture.heads, model.architecture.layer_norm_eps), (8, 1e-6));
    assert_eq!((model.mean, model.std), (Some([0.1, 0.2, 0.3]), Some([0.4, 0.5, 0.6])));
    assert_eq!(model.taps.len(), 1);
    assert_eq!(model.taps[0].source, TapSource::Block { after_block: 1, final_norm: true });
    assert_eq!((&model.taps[0].name[..], model.taps[0].pooling), ("last", Pooling::ClassToken));
    // model.json overrides it.
    let said = json!({ "num_heads": 4, "layer_norm_eps": 1e-5, "mean": [0.0, 0.0, 0.0] });
    let model = hub.import(said).unwrap();
    assert_eq!((model.architecture.heads, model.architecture.layer_norm_eps), (4, 1e-5));
    assert_eq!((model.mean, model.std), (Some([0.0; 3]), Some([0.4, 0.5, 0.6])));
    // The file may be anywhere; older timm wrote the fields without `pretrained_cfg`.
    let older = json!({ "architecture": "vit_small_patch8_224", "mean": [0.7, 0.7, 0.7], "input_size": [3, 32, 32] });
    let elsewhere = Hub::new(&plain()).config(older).preprocessor(json!({ "image_std": [0.9, 0.9, 0.9] }));
    let weights = hub.scratch.path().join("model.safetensors");
    let source = ModelSource::open(&weights, Some(&elsewhere.scratch.path().join("config.json"))).unwrap();
    let model = import_model(&source, &spec(stated()), StoreAs::Keep).unwrap();
    assert_eq!((model.mean, model.std), (Some([0.7; 3]), Some([0.9; 3])));
}

#[test]
fn statements_that_the_weights_contradict_are_refused_with_both_numbers() {
    let hub = Hub::new(&plain());
    let wrong = [
        (
            json!({ "depth": 3, "patch_size": 16 }),
            "model.json's depth is 3, the weights have 2 (blocks); model.json's \
          patch_size is 16, the weights have 8",
        ),
        (json!({ "mlp_ratio": 2.0 }), "mlp_ratio is 2, which makes 64 hidden values, the weights have 128"),
        (json!({ "register_tokens": 4 }), "register_tokens is 4, the weights have 0"),
        (json!({ "class_token": false }), "class_token claims no class token, the weights have one"),
        (json!({ "layer_scale": true }), "layer_scale claims a LayerScale, the weights have none"),
        (json!({ "num_heads": 5 }), "num_heads is 5, which does not divide the weights' width of 32"),
        (json!({ "img_size": 30 }), "img_size is 30, expected a multiple of the weights' patch of 8 px"),
    ];
    for (said, part) in wrong {
        hub.refuses(stated_and(said), Invalid, &[part]);
    }
    let args = [
        ("depth", json!(12), "config.json's model_args.depth is 12, the weights have 2"),
        ("embed_dim", json!(384), "config.json's model_args.embed_dim is 384, the weights have 32"),
        ("qkv_bias", json!(false), "model_args.qkv_bias claims no bias"),
        ("init_values", json!(1e-5), "model_args.init_values claims a LayerScale"),
        ("depth", json!("two"), "model_args.depth is \"two\", expected a whole number"),
    ];
    for (name, value, part) in args {
        let mut args = small_args();
        args[name] = value;
        let hub = Hub::new(&plain()).config(timm_config("vit_small_patch16_224", args));
        hub.refuses(json!({}), Invalid, &[part]);
    }
    let mut config = timm_config("vit_small_patch16_224", small_args());
    config["num_features"] = json!(64);
    config["model_args"].as_object_mut().unwrap().remove("embed_dim");
    let hub = Hub::new(&plain()).config(config);
    hub.refuses(stated(), Invalid, &["config.json's num_features is 64, the weights have 32"]);
    hub.import(stated_and(json!({ "embed_dim": 32 }))).unwrap();
    let transformers = [
        (json!({ "num_hidden_layers": 3 }), "config.json's num_hidden_layers is 3, the weights have 2"),
        (json!({ "intermediate_size": 64 }), "config.json's intermediate_size is 64, the weights have 128"),
        (json!({ "use_swiglu_ffn": true }), "config.json's use_swiglu_ffn is true, the weights have a plain MLP"),
        (json!({ "image_size": 224 }), "config.json's image_size is 224, `pos_embed` has 4 × 4 patches of 8 px"),
    ];
    for (said, part) in transformers {
        let mut config = json!({ "model_type": "dinov2" });
        config.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        Hub::new(&plain()).config(config).refuses(stated(), Invalid, &[part]);
    }
}

#[test]
fn a_name_that_does_not_fit_the_weights_implies_no_heads() {
    // 24 blocks as in vit_large, but 32 wide; `num_features` is information only, not an argument of the model.
    let tensors = synthetic(&SyntheticSpec { depth: 24, ..SyntheticSpec::default() });
    let hub = Hub::new(&tensors).config(timm_config("vit_large_patch8_224", json!({})));
    hub.refuses(json!({}), Missing, &["num_heads"]);
    hub.refuses(json!({ "embed_dim": 32 }), Missing, &["num_heads"]);
    assert_eq!(hub.import(stated()).unwrap().architecture.heads, 4);
    // If the width is among the arguments, timm takes the heads from the name.
    let hub = Hub::new(&tensors).config(timm_config("vit_large_patch8_224", json!({ "embed_dim": 32 })));
    assert_eq!(hub.import(json!({})).unwrap().architecture.heads, 16);
}

#[test]
fn other_models_and_arguments_are_refused_by_name() {
    let refused = [
        (timm_config("vit_base_patch32_siglip_gap_256", json!({})), "vit_base_patch32_siglip_gap_256"),
        (timm_config("vit_small_patch8_224", json!({ "block_fn": "ResPostBlock" })), "model_args.block_fn"),
        (timm_config("vit_small_patch8_224", json!({ "norm_layer": "rmsnorm" })), "model_args.norm_layer"),
        (timm_config("vit_small_patch8_224", json!({ "pool_include_prefix": true })), "pool_include_prefix"),
        (json!({ "model_type": "clip_vision_model" }), "model_type is `clip_vision_model`"),
        (json!({ "hidden_size": 32 }), "neither timm's (`architecture`) nor transformers' (`model_type`)"),
    ];
    for (config, part) in refused {
        Hub::new(&plain()).config(config).refuses(stated(), Unsupported, &[part, "not supported in this version"]);
    }
    // A person may state that the model is a plain ViT.
    let vit = stated_and(json!({ "architecture": "vit", "layer_norm_eps": 1e-6 }));
    Hub::new(&plain()).config(json!({ "model_type": "hibou" })).import(vit.clone()).unwrap();
    let unknown = Hub::new(&plain()).config(timm_config("vit_base_patch16_rpn_224", small_args()));
    unknown.import(vit).unwrap();
    let hub = Hub::new(&plain());
    hub.refuses(stated_and(json!({ "architecture": "ConvNeXt" })), Unsupported, &["ConvNeXt"]);
    assert!(
        serde_json::from_value::<ModelSpec>(json!({ "qk_norm": true })).unwrap_err().to_string().contains("qk_norm")
    );
    Hub::new(&plain()).write("config.json", b"[]").refuses(stated(), Invalid, &["config.json", "JSON object"]);
}

#[test]
fn preprocessing_is_read() {
    let config = json!({ "model_type": "vit", "num_attention_heads": 4, "image_size": 32 });
    let hub = |preprocessor: Value| Hub::new(&plain()).config(config.clone()).preprocessor(preprocessor);
    let model = json!({ "pooling": "class_token" });
    let colours =
        json!({ "image_mean": [0.5, 0.6, 0.7], "image_std": [0.1, 0.2, 0.3], "rescale_factor": 0.00392156862 });
    let read = hub(colours.clone()).import(model.clone()).unwrap();
    assert_eq!((read.mean, read.std), (Some([0.5, 0.6, 0.7]), Some([0.1, 0.2, 0.3])));
    let read = hub(json!({ "do_normalize": false, "image_mean": [0.5, 0.5, 0.5] })).import(model.clone()).unwrap();
    assert_eq!((read.mean, read.std), (Some([0.0; 3]), Some([1.0; 3])));
    let refused = [
        (json!({ "rescale_factor": 0.0078 }), Unsupported, "preprocessor_config.json's rescale_factor is 0.0078"),
        (json!({ "do_rescale": false }), Unsupported, "preprocessor_config.json's do_rescale is false"),
        (json!({ "image_mean": [0.5] }), Invalid, "image_mean is [0.5], expected three numbers"),
        (json!({ "size": { "height": 40, "width": 40 } }), Invalid, "size is 40, config.json's image_size is 32"),
        (json!({ "size": 36, "crop_size": { "height": 24, "width": 24 } }), Invalid, "crop_size is 24"),
    ];
    for (preprocessor, kind, part) in refused {
        hub(preprocessor).refuses(model.clone(), kind, &[part]);
    }
    // Dinov2Model resamples its positions for any input; the size of an edge is not the input's size.
    let dinov2 = json!({ "model_type": "dinov2", "num_attention_heads": 4, "image_size": 32 });
    let cropped = json!({ "size": { "shortest_edge": 28 }, "crop_size": { "height": 24, "width": 24 } });
    let read = Hub::new(&plain()).config(dinov2.clone()).preprocessor(cropped).import(model.clone()).unwrap();
    assert_eq!(read.side, 24);
    let uncropped = json!({ "size": { "shortest_edge": 28 }, "do_center_crop": false });
    let read = Hub::new(&plain()).config(dinov2).preprocessor(uncropped).import(model).unwrap();
    assert_eq!(read.side, 32);
}

// -------------------------------------------------------------------------------------------------- positions

#[test]
fn positions_are_resampled_as_the_library_does() {
    let resampled = |tensors: &TensorMap, interpolation: Option<&str>| {
        let mut said = stated_and(json!({ "img_size": 24 }));
        if let Some(interpolation) = interpolation {
            said["interpolation"] = json!(interpolation);
        }
        let model = Hub::new(tensors).import(said).unwrap();
        let note = model.notes.iter().find(|note| note.contains("resampled")).unwrap().clone();
        (values(&model.weights.read().unwrap()["pos_embed"]), note)
    };
    let mut native = plain();
    native.insert("mask_token".to_owned(), zeros(&[1, 32]));
    let (timm, note) = resampled(&plain(), None);
    assert!(note.starts_with("position embedding resampled from 4×4 to 3×3 as timm does, bicubic with antialias (by"));
    let (dinov2, note) = resampled(&native, None);
    assert!(note.contains("as DINOv2's own code does, bicubic without antialias (by the tensors' names"), "{note}");
    let (transformers, note) = resampled(&plain(), Some("transformers"));
    assert!(note.ends_with("as transformers does, bicubic without antialias (model.json says so)"), "{note}");
    assert_eq!(resampled(&native, Some("timm")).0, timm);
    assert_eq!(resampled(&plain(), Some("dinov2")).0, dinov2);
    let stored = values(&plain()["pos_embed"]);
    for found in [&timm, &dinov2, &transformers] {
        assert_eq!(found.len(), 10 * 32);
        assert_eq!(found[..32], stored[..32], "the class token's position is kept");
    }
    let differ = |a: &[f32], b: &[f32]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-4);
    assert!(differ(&timm, &dinov2) && differ(&timm, &transformers) && differ(&dinov2, &transformers));
    // config.json's size has the same effect: timm resamples on loading.
    let mut args = small_args();
    args["img_size"] = json!([24, 24]);
    let model = Hub::new(&plain()).config(timm_config("vit_small_patch16_224", args)).import(json!({})).unwrap();
    assert_eq!((model.side, &values(&model.weights.read().unwrap()["pos_embed"])), (24, &timm));
    let mut config = timm_config("vit_small_patch16_224", small_args());
    config["pretrained_cfg"]["input_size"] = json!([3, 24, 24]);
    let model = Hub::new(&plain()).config(config).import(json!({})).unwrap();
    assert_eq!((model.side, &values(&model.weights.read().unwrap()["pos_embed"])), (24, &timm));
}

#[test]
fn only_square_grids_are_read() {
    let with_rows = |rows: usize, registers: usize| {
        let mut tensors = synthetic(&SyntheticSpec { registers, ..SyntheticSpec::default() });
        tensors.insert("pos_embed".to_owned(), zeros(&[1, rows, 32]));
        Hub::new(&tensors)
    };
    let hub = with_rows(13, 0);
    hub.refuses(stated(), Unsupported, &["`pos_embed` has 13 rows", "no square grid", "1 tokens"]);
    hub.refuses(stated_and(json!({ "img_size": 32 })), Unsupported, &["img_size is 32, which is 4 × 4 patches"]);
    // 9 rows can be 3 × 3 patches, or 2 × 2 with a class token and 4 registers.
    let hub = with_rows(9, 4);
    hub.refuses(stated(), Missing, &["9 rows", "with and without the 5 tokens", "no_embed_class"]);
    for (said, side, no_embed_class) in [
        (json!({ "no_embed_class": true }), 24, true),
        (json!({ "no_embed_class": false }), 16, false),
        (json!({ "img_size": 16 }), 16, false),
        (json!({ "img_size": 24 }), 24, true),
        (json!({ "img_size": 32, "no_embed_class": true }), 32, true),
    ] {
        let model = hub.import(stated_and(said)).unwrap();
        assert_eq!((model.side, model.architecture.no_embed_class), (side, no_embed_class));
    }
    // timm's name decides if the sizes do not.
    for (name, no_embed_class) in [("vit_small_patch14_reg4_dinov2", true), ("vit_small_patch16_224", false)] {
        let hub = with_rows(9, 4).config(timm_config(name, small_args()));
        let model = hub.import(stated()).unwrap();
        assert_eq!((model.side, model.architecture.no_embed_class), (32, no_embed_class), "{name}");
    }
    let hub = with_rows(16, 4);
    hub.refuses(stated_and(json!({ "no_embed_class": false })), Unsupported, &["no_embed_class is false"]);
    let mut tensors = plain();
    tensors.insert("pos_embed".to_owned(), zeros(&[1, 17, 16]));
    Hub::new(&tensors).refuses(stated(), Unsupported, &["[1, 17, 16]", "[1, positions, 32]"]);
}

#[test]
fn positions_are_resampled_to_as_many_tokens_as_are_supported() {
    let words = ["an input of 1024 px in patches of 8 px has 16385 tokens, expected at most 8192"];
    Hub::new(&plain()).refuses(stated_and(json!({ "img_size": 1024 })), TooLarge, &words);
}

#[test]
fn positions_that_are_not_finite_are_not_resampled() {
    let mut tensors = plain();
    tensors.insert("pos_embed".to_owned(), Tensor::f32(&[1, 17, 32], &[f32::NAN; 17 * 32]));
    Hub::new(&tensors).refuses(stated_and(json!({ "img_size": 24 })), NotFinite, &["pos_embed"]);
}

// ----------------------------------------------------------------------------------------- tensors that do not fit

#[test]
fn all_missing_tensors_are_named() {
    let mut tensors = plain();
    for name in ["blocks.0.norm1.bias", "blocks.1.norm1.bias", "norm.weight", "pos_embed", "blocks.1.attn.qkv.bias"] {
        tensors.remove(name).unwrap();
    }
    let parts =
        ["`blocks.0…1.norm1.bias [32]`", "`norm.weight [32]`", "`pos_embed [1, positions, 32]`", "qkv.bias [96]"];
    Hub::new(&tensors).refuses(stated(), Missing, &parts);

    let mut rms = plain();
    rms.retain(|name, _| !(name.contains("norm") && name.ends_with(".bias")));
    Hub::new(&rms).refuses(stated(), Missing, &["`blocks.0…1.norm2.bias [32]`", "`norm.bias [32]`", "RmsNorm"]);

    let mut without_norm = plain();
    without_norm.retain(|name, _| !name.starts_with("norm."));
    let hub = Hub::new(&without_norm);
    hub.refuses(stated(), Missing, &["norm.weight", "\"after_norm\": false"]);
    let early = json!({ "num_heads": 4, "taps": [{ "name": "early", "block": 0, "pooling": "class_token" }] });
    hub.import(early).unwrap();

    let mut theirs = read_tensors(&golden_dir("transformers_dinov2").join("model.safetensors"));
    theirs.retain(|name, _| !name.contains("norm2.bias") && !name.contains("attention.key.bias"));
    let config = fs::read(golden_dir("transformers_dinov2").join("config.json")).unwrap();
    let hub = Hub::new(&theirs).write("config.json", &config);
    let parts = ["`encoder.layer.0…1.attention.attention.key.bias [32]`", "`encoder.layer.0…1.norm2.bias [32]`"];
    hub.refuses(json!({ "pooling": "class_token" }), Missing, &parts);
}

#[test]
fn all_unknown_tensors_are_named_and_known_ones_explained() {
    let foreign = [
        ("blocks.0.mlp.w1.weight", "gated MLP in three layers"),
        ("blocks.0.attn.q_norm.weight", "qk-norm"),
        ("blocks.0.attn.q_proj.weight", "separate q, k and v"),
        ("blocks.0.attn.relative_position_bias_table", "relative position"),
        ("norm_pre.weight", "CLIP"),
        ("fc_norm.weight", "global_pool=\"avg\""),
        ("attn_pool.latent", "AttentionPoolLatent"),
        ("dist_token", "distillation token"),
        ("rope.periods", "rotary"),
    ];
    let mut all = plain();
    for (name, meaning) in foreign {
        let mut tensors = plain();
        tensors.insert(name.to_owned(), zeros(&[1]));
        let parts = [name, meaning, "not supported in this version", "expected", "to ONNX"];
        Hub::new(&tensors).refuses(stated(), Unsupported, &parts);
        all.insert(name.to_owned(), zeros(&[1]));
    }
    all.insert("blocks.0.something".to_owned(), zeros(&[1]));
    let names: Vec<&str> = foreign.iter().map(|(name, _)| *name).chain(["unknown: `blocks.0.something`"]).collect();
    Hub::new(&all).refuses(stated(), Unsupported, &names);
    let mut tensors = plain();
    tensors.insert("blocks.1.ls1.gamma".to_owned(), zeros(&[32]));
    Hub::new(&tensors).refuses(stated(), Missing, &["`blocks.0.ls1.gamma [32]`", "`blocks.0…1.ls2.gamma [32]`"]);
    let mut tensors = gated();
    tensors.insert("blocks.0.mlp.w3.weight".to_owned(), zeros(&[32, 128]));
    let packed = stated_and(json!({ "mlp_layer": "SwiGLUPacked", "act_layer": "silu" }));
    Hub::new(&tensors).refuses(packed, Invalid, &["left over", "`blocks.0.mlp.w3.weight`"]);
}

#[test]
fn wrong_shapes_and_other_models_are_refused() {
    let mut tensors = plain();
    tensors.insert("norm.bias".to_owned(), zeros(&[31]));
    tensors.insert("blocks.1.attn.proj.weight".to_owned(), zeros(&[32, 33]));
    let parts = ["`norm.bias` has shape [31], expected [32]", "`blocks.1.attn.proj.weight` has shape [32, 33]"];
    Hub::new(&tensors).refuses(stated(), Invalid, &parts);
    let mut tensors = plain();
    tensors.insert("norm.bias".to_owned(), Tensor::i32(&[32], &[0; 32]));
    Hub::new(&tensors).refuses(stated(), Invalid, &["`norm.bias` has integers"]);
    let mut tensors = plain();
    tensors.insert("patch_embed.proj.weight".to_owned(), zeros(&[32, 1, 8, 8]));
    Hub::new(&tensors).refuses(stated(), Unsupported, &["[32, 1, 8, 8]", "three channels"]);
    let others = [("conv1.weight", "convolutional network"), ("visual.conv1.weight", "open_clip")];
    for (name, part) in others {
        let tensors = TensorMap::from([(name.to_owned(), zeros(&[1]))]);
        Hub::new(&tensors).refuses(stated(), Unsupported, &["patch_embed.proj.weight", name, part]);
    }
}

// ------------------------------------------------------------------------------------------------------ taps

#[test]
fn the_pooling_is_stated_or_implied() {
    let hub = Hub::new(&plain());
    hub.refuses(json!({ "num_heads": 4 }), Missing, &["no tap is stated", "\"pooling\"", "\"taps\""]);
    let both = hub.import(json!({ "num_heads": 4, "pooling": "class_and_mean" })).unwrap();
    assert_eq!((both.taps.len(), both.taps[0].pooling), (1, Pooling::ClassAndMean));
    assert!(both.notes.iter().any(|note| note.starts_with("no tap was stated: `last`")), "{:?}", both.notes);
    let beyond = json!({ "num_heads": 4, "taps": [{ "name": "x", "block": 2, "pooling": "class_token" }] });
    hub.refuses(beyond, Invalid, &["tap `x` reads after block 2", "2 blocks"]);
    let twice = json!([{ "name": "x", "block": 1, "pooling": "class_token" }]);
    hub.refuses(stated_and(json!({ "taps": twice })), Invalid, &["\"pooling\"", "\"taps\"", "one of them"]);
    // timm's average pooling has the norm after it, unless fc_norm is false.
    let average = |fc_norm: Value| {
        let mut args = small_args();
        args["global_pool"] = json!("avg");
        args["fc_norm"] = fc_norm;
        Hub::new(&plain()).config(timm_config("vit_small_patch16_224", args))
    };
    let mean = average(json!(false)).import(json!({})).unwrap();
    assert_eq!(mean.taps[0].pooling, Pooling::MeanPatchTokens);
    for fc_norm in [Value::Null, json!(true)] {
        average(fc_norm).refuses(json!({}), Unsupported, &["global_pool is avg", "fc_norm", "\"pooling\""]);
    }
    let mut config = timm_config("vit_small_patch16_224", small_args());
    config["global_pool"] = json!("map");
    Hub::new(&plain()).config(config).refuses(json!({}), Unsupported, &["global_pool is `map`", "\"pooling\""]);
}

// ------------------------------------------------------------------------------------------------------ files

#[test]
fn a_hubs_directory_is_searched_in_order() {
    let bytes = to_safetensors(&plain()).unwrap();
    let dir = coverslip_testkit::Scratch::new("import");
    let open = || ModelSource::open(dir.path(), None);
    assert_refused(open(), Missing, &["no weights", "model.safetensors", "pytorch_model.bin"]);
    fs::write(dir.path().join("pytorch_model.bin.index.json"), "{}").unwrap();
    assert_refused(open(), Unsupported, &["pytorch_model.bin.index.json", "sharded pickles", "safe_serialization"]);
    fs::remove_file(dir.path().join("pytorch_model.bin.index.json")).unwrap();
    fs::write(dir.path().join("dino.safetensors"), &bytes).unwrap();
    fs::write(dir.path().join(".hidden.pth"), "").unwrap();
    import_model(&open().unwrap(), &spec(stated()), StoreAs::Keep).unwrap();
    fs::write(dir.path().join("ema.pth"), "").unwrap();
    assert_refused(open(), Invalid, &["several", "`dino.safetensors`", "`ema.pth`", "give one"]);
    fs::write(dir.path().join("model.safetensors"), &bytes).unwrap();
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    open().unwrap();
    let absent = dir.path().join("no.json");
    assert_refused(ModelSource::open(dir.path(), Some(&absent)), Missing, &["no.json"]);
    assert_refused(ModelSource::open(&dir.path().join("absent.safetensors"), None), Missing, &["absent"]);
    let index = dir.path().join("pytorch_model.bin.index.json");
    assert_refused(ModelSource::open(&index, None), Unsupported, &["sharded pickles"]);
}

#[test]
fn a_stated_preprocessing_overrides_the_files_with_a_note() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models/timm_plain");
    let source = ModelSource::open(&case, None).unwrap();
    let golden: Value = serde_json::from_slice(&fs::read(case.join("golden.json")).unwrap()).unwrap();
    let mut stated = golden["model"].clone();
    let notes = |stated: &Value| {
        let spec: ModelSpec = serde_json::from_value(stated.clone()).unwrap();
        let model = import_model(&source, &spec, StoreAs::Keep).unwrap();
        (model.mean.unwrap(), model.notes.join("\n"))
    };
    let (mean, silent) = notes(&stated);
    assert!(!silent.contains("is taken"), "{silent}");
    stated["mean"] = json!([0.1, 0.2, 0.3]);
    let (taken, said) = notes(&stated);
    assert_eq!(taken, [0.1, 0.2, 0.3]);
    assert!(
        said.contains("model.json's mean [0.1, 0.2, 0.3] is taken") && said.contains(&format!("{mean:?}")),
        "{said}"
    );
}
