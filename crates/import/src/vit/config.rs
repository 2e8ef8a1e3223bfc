//! `config.json` in timm's and transformers' forms, and `preprocessor_config.json`.

use serde_json::{Map, Value};

use super::source::{Document, ModelSource};
use super::spec::ModelSpec;
use super::statements::{Fields, Statement, Statements, square};
use coverslip_bundle::{BundleError, fail};

/// The content of the configuration files.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) stated: Statements,
    /// timm's name of the architecture, which implies more.
    pub(super) architecture: Option<Statement<String>>,
    /// The model's kind, for notes: `config.json says dinov2`.
    pub(super) says: Option<String>,
}

/// Arguments of timm's `VisionTransformer` that do not affect the embedding of a whole tile.
const NEUTRAL: [&str; 14] = [
    "num_classes",
    "drop_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "weight_init",
    "fix_init",
    "dynamic_img_size",
    "dynamic_img_pad",
    "strict_img_size",
    "in_chans",
    "proj_bias",
];
/// Arguments that are read below.
const READ: [&str; 14] = [
    "img_size",
    "patch_size",
    "embed_dim",
    "depth",
    "num_heads",
    "mlp_ratio",
    "qkv_bias",
    "init_values",
    "class_token",
    "no_embed_class",
    "reg_tokens",
    "act_layer",
    "mlp_layer",
    "fc_norm",
];

/// Reads the files beside the weights. `spec` decides whether an unknown model is refused.
pub(super) fn read(source: &ModelSource, spec: &ModelSpec) -> Result<Config, BundleError> {
    let mut found = match &source.config {
        None => Config::default(),
        Some(config) if config.fields.contains_key("architecture") => timm(config)?,
        Some(config) if config.fields.contains_key("model_type") => transformers(config, spec)?,
        Some(config) => fail!(
            Unsupported,
            "{}: not supported in this version: neither timm's (`architecture`) nor transformers' (`model_type`); \
             expected one of them; write one, or move its content into model.json and remove the file",
            config.name
        ),
    };
    let Some(preprocessor) = &source.preprocessor else { return Ok(found) };
    let prepared = preprocessing(preprocessor)?;
    // By default ViTModel refuses every input size but its own; Dinov2Model resamples for any size.
    if let (Some(made), Some(stored), None) = (&prepared.side, &found.stated.stored_side, spec.img_size)
        && made.value != stored.value
        && found.says.as_deref().is_some_and(|says| says.ends_with(" vit"))
    {
        fail!(
            Invalid,
            "{} is {}, {} is {}; expected the same; state the model's input in model.json (\"img_size\")",
            made.by,
            made.value,
            stored.by,
            stored.value
        );
    }
    found.stated = found.stated.over(prepared);
    Ok(found)
}

fn object<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Map<String, Value>> {
    fields.get(key).and_then(Value::as_object)
}

/// timm's form: `architecture`, `model_args` and `pretrained_cfg`, whose fields are at the top level in older files.
fn timm(config: &Document) -> Result<Config, BundleError> {
    let (none, name) = (Map::new(), &config.name);
    let places = ["", "model_args.", "pretrained_cfg."].map(|part| format!("{name}'s {part}"));
    let all = Fields { map: &config.fields, place: &places[0] };
    let args = Fields { map: object(&config.fields, "model_args").unwrap_or(&none), place: &places[1] };
    let pretrained = match object(&config.fields, "pretrained_cfg") {
        Some(map) => Fields { map, place: &places[2] },
        None => all,
    };
    refuse_arguments(&args)?;
    let scaled = args.number("init_values")?;
    let stated = Statements {
        embed_dim: args.size("embed_dim")?,
        features: all.size("num_features")?,
        depth: args.size("depth")?,
        heads: args.size("num_heads")?,
        patch: args.size("patch_size")?,
        side: args.size("img_size")?.or(pretrained.size("input_size")?),
        registers: args.size("reg_tokens")?,
        mlp_ratio: args.number("mlp_ratio")?,
        class_token: args.flag("class_token")?,
        no_embed_class: args.flag("no_embed_class")?,
        layer_scale: scaled.map(|said| Statement { value: true, by: said.by }),
        qkv_bias: args.flag("qkv_bias")?,
        activation: args.text("act_layer")?,
        mlp_layer: args.text("mlp_layer")?,
        global_pool: args.text("global_pool")?.or(all.text("global_pool")?),
        fc_norm: args.flag("fc_norm")?,
        mean: pretrained.colours("mean")?,
        std: pretrained.colours("std")?,
        ..Statements::default()
    };
    let architecture = all.text("architecture")?;
    let says = architecture.as_ref().map(|said| format!("{name} says {}", said.value));
    Ok(Config { stated, architecture, says })
}

/// Refuses fields of `model_args` that change numbers and are not read, unless they have timm's defaults `null` and
/// `false`.
fn refuse_arguments(args: &Fields) -> Result<(), BundleError> {
    for (key, value) in args.map {
        let default = match key.as_str() {
            "global_pool" => true,
            "pos_embed" => value == "learn",
            "final_norm" => true, // The weights show it.
            "norm_layer" => {
                value.as_str().is_none_or(|name| name.eq_ignore_ascii_case("layernorm")) && !value.is_object()
            }
            _ => value.is_null() || value == false,
        };
        if !default && !NEUTRAL.contains(&&key[..]) && !READ.contains(&&key[..]) {
            fail!(
                Unsupported,
                "{}{key} is {value}: not supported in this version; expected a VisionTransformer without it; remove it \
                 if it has no effect",
                args.place
            );
        }
    }
    Ok(())
}

/// transformers' form, for ViTModel, Dinov2Model and Dinov2WithRegistersModel.
fn transformers(config: &Document, spec: &ModelSpec) -> Result<Config, BundleError> {
    let place = format!("{}'s ", config.name);
    let fields = Fields { map: &config.fields, place: &place };
    let kind = fields.text("model_type")?.map(|said| said.value).unwrap_or_default();
    // The defaults of transformers' configuration classes.
    let default_eps = match (&kind[..], &spec.architecture) {
        ("vit", _) => Some(1e-12),
        ("dinov2" | "dinov2_with_registers", _) => Some(1e-6),
        (_, Some(_)) => None,
        (_, None) => fail!(
            Unsupported,
            "{place}model_type is `{kind}`: not supported in this version; expected vit, dinov2 or \
             dinov2_with_registers; if it computes the same as one of these, say so in model.json \
             (\"architecture\": \"vit\")"
        ),
    };
    let default_eps = default_eps.and_then(|eps| Statement::new(eps, format!("transformers' default for {kind}")));
    let stated = Statements {
        embed_dim: fields.size("hidden_size")?,
        depth: fields.size("num_hidden_layers")?,
        heads: fields.size("num_attention_heads")?,
        patch: fields.size("patch_size")?,
        stored_side: fields.size("image_size")?,
        registers: fields.size("num_register_tokens")?,
        mlp_ratio: fields.number("mlp_ratio")?,
        hidden: fields.size("intermediate_size")?,
        eps: fields.number("layer_norm_eps")?.or(default_eps),
        layer_scale: fields.number("layerscale_value")?.map(|said| Statement { value: true, by: said.by }),
        qkv_bias: fields.flag("qkv_bias")?,
        gated: fields.flag("use_swiglu_ffn")?,
        activation: fields.text("hidden_act")?,
        ..Statements::default()
    };
    Ok(Config { stated, architecture: None, says: Some(format!("{} says {kind}", config.name)) })
}

/// `preprocessor_config.json`: mean and std of (pixel/255 − mean)/std, and the input's size.
fn preprocessing(document: &Document) -> Result<Statements, BundleError> {
    let place = format!("{}'s ", document.name);
    let fields = Fields { map: &document.fields, place: &place };
    let factor = fields.number("rescale_factor")?;
    if let Some(factor) = factor.filter(|factor| (factor.value * 255.0 - 1.0).abs() > 1e-6) {
        fail!(
            Unsupported,
            "{} is {}: not supported in this version; expected 1/255; state mean and std of pixel/255 in \
             model.json and remove the file",
            factor.by,
            factor.value
        );
    }
    let off = |key: &str| fields.flag(key).map(|said| said.filter(|said| !said.value));
    if let Some(off) = off("do_rescale")? {
        fail!(
            Unsupported,
            "{} is false: not supported in this version; expected pixel/255; state mean and std of pixel/255 in \
             model.json and remove the file",
            off.by
        );
    }
    let (mean, std) = match off("do_normalize")? {
        Some(off) => (Statement::new([0.0; 3], off.by.clone()), Statement::new([1.0; 3], off.by)),
        None => (fields.colours("image_mean")?, fields.colours("image_std")?),
    };
    let size =
        |key: &str| document.fields.get(key).and_then(square).and_then(|n| Statement::new(n, format!("{place}{key}")));
    let side = match (off("do_center_crop")?, off("do_resize")?) {
        (None, _) if document.fields.contains_key("crop_size") => size("crop_size"),
        (_, None) => size("size"),
        _ => None,
    };
    Ok(Statements { side, mean, std, ..Statements::default() })
}
