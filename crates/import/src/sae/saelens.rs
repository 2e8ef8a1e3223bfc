//! SAELens: `cfg.json` and `sae_weights.safetensors`, as version 6 saves them for inference, and the architectures
//! `standard`, `topk`, `jumprelu` and `gated` of earlier versions. Tensors and formulas are the bundle's own:
//!
//! ```text
//! x' = N(x) − [apply_b_dec_to_input]·b_dec     p = x'·W_enc + b_enc     x̂ = N⁻¹(f·W_dec + b_dec)
//! ```
//!
//! Source: SAELens 6.54, `saes/*.py`, `loading/pretrained_sae_loaders.py`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::found::{Found, SaeOptions};
use super::parts::{self, Parts, check, shape, shown};
use crate::Checkpoint;
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{InputStep, SaeArchitecture};

pub(super) const FORMAT: &str = "SAELens";

/// A tensor of some versions: all ones, unless `finetuning_scaling_factor` is set.
const SCALING_FACTOR: &str = "scaling_factor";

/// The fields of `cfg.json` that change a number.
#[derive(Debug, Deserialize)]
struct Config {
    architecture: Option<String>,
    d_in: usize,
    d_sae: usize,
    d_out: Option<usize>,
    k: Option<usize>,
    activation_fn: Option<String>,
    activation_fn_str: Option<String>,
    activation_fn_kwargs: Option<Value>,
    apply_b_dec_to_input: Option<bool>,
    /// A name; before 6.0 also true or false.
    normalize_activations: Option<Value>,
    reshape_activations: Option<String>,
    rescale_acts_by_decoder_norm: Option<bool>,
    finetuning_scaling_factor: Option<bool>,
    hook_name: Option<String>,
    /// `hook_name` before 3.0.
    hook_point: Option<String>,
    metadata: Option<Value>,
}

/// Reads an SAE of SAELens.
pub(super) fn read(config: Map<String, Value>, file: &Checkpoint, options: &SaeOptions) -> Result<Found, BundleError> {
    let config: Config = match serde_json::from_value(Value::Object(config)) {
        Ok(config) => config,
        Err(error) => fail!(Invalid, "cfg.json is not a SAELens configuration: {error}"),
    };
    refuse(&config)?;
    let mut notes = Vec::new();
    let (architecture, k) = architecture(&config, &mut notes)?;
    let (input, scale) = normalization(&config, options)?;
    let mut tensors = read_tensors(&config, file, architecture, &mut notes)?;
    if let Some(scale) = scale {
        parts::fold_scale(&mut tensors, scale);
        notes.push(format!("The scale {scale} of activations was folded into the weights."));
    }
    let rescale = config.rescale_acts_by_decoder_norm == Some(true);
    if rescale && architecture != SaeArchitecture::TopK {
        notes.push("rescale_acts_by_decoder_norm was ignored: SAELens reads it for topk only.".to_owned());
    }
    if config.apply_b_dec_to_input.is_none() {
        notes.push("apply_b_dec_to_input is not stated: true, SAELens' default.".to_owned());
    }
    Ok(Found {
        k,
        apply_b_dec_to_input: config.apply_b_dec_to_input.unwrap_or(true),
        input,
        rescale_acts_by_decoder_norm: rescale && architecture == SaeArchitecture::TopK,
        hook_name: hook_name(&config),
        notes,
        ..Found::new(architecture, tensors)
    })
}

fn refuse(config: &Config) -> Result<(), BundleError> {
    if let Some(reshape) = config.reshape_activations.as_deref()
        && reshape != "none"
    {
        fail!(Unsupported, "reshape_activations `{reshape}`: not supported in this version; expected none");
    }
    if config.finetuning_scaling_factor == Some(true) {
        fail!(
            Unsupported,
            "finetuning_scaling_factor: not supported in this version; expected an SAE without it: fold it into the \
             weights"
        );
    }
    if let Some(d_out) = config.d_out
        && d_out != config.d_in
    {
        fail!(
            Unsupported,
            "d_out {d_out} is not d_in {}: a transcoder, not supported in this version; expected an SAE, which \
             reconstructs its input",
            config.d_in
        );
    }
    Ok(())
}

fn architecture(config: &Config, notes: &mut Vec<String>) -> Result<(SaeArchitecture, Option<usize>), BundleError> {
    if config.architecture.is_none() {
        notes.push("The architecture is not stated: standard, SAELens' default before 6.0.".to_owned());
    }
    let stated = config.architecture.as_deref().unwrap_or("standard");
    // From 6.0 on SAELens reads activation_fn_str for `topk` only; before, it named the activation.
    let activation = config.activation_fn_str.as_deref().or(config.activation_fn.as_deref()).unwrap_or("relu");
    Ok(match (stated, activation) {
        ("standard", "relu") => (SaeArchitecture::Relu, None),
        ("jumprelu", "relu") => (SaeArchitecture::JumpRelu, None),
        ("gated", "relu") => (SaeArchitecture::Gated, None),
        ("topk", "relu" | "topk") | ("standard", "topk") => (SaeArchitecture::TopK, Some(k(config)?)),
        ("standard" | "jumprelu" | "gated" | "topk", other) => {
            fail!(
                Unsupported,
                "activation_fn `{other}` with architecture `{stated}`: not supported in this version; expected relu, \
                 or topk of a standard SAE"
            )
        }
        (other, _) => fail!(
            Unsupported,
            "SAE architecture `{other}`: not supported in this version; expected standard, topk, jumprelu or gated{}",
            match other {
                "batchtopk" | "matryoshka_batchtopk" =>
                    "; SAELens saves trained BatchTopK and Matryoshka SAEs as jumprelu: use save_inference_model",
                _ => "",
            }
        ),
    })
}

fn k(config: &Config) -> Result<usize, BundleError> {
    let kwargs = config.activation_fn_kwargs.as_ref();
    if kwargs.and_then(|kwargs| kwargs.get("signed")).and_then(Value::as_bool) == Some(true) {
        fail!(Unsupported, "found a signed topk: not supported in this version; expected a topk followed by ReLU");
    }
    let before_6 = kwargs.and_then(|kwargs| kwargs.get("k")).and_then(Value::as_u64).map(|k| k as usize);
    match (config.k, before_6) {
        (Some(k), Some(other)) if k != other => {
            fail!(Invalid, "`k` is {k}, activation_fn_kwargs says {other}; expected the same")
        }
        (Some(k), _) | (None, Some(k)) => Ok(k),
        (None, None) => fail!(Missing, "found a topk SAE without `k`; expected it in cfg.json"),
    }
}

/// The input step, or the scale to fold.
fn normalization(config: &Config, options: &SaeOptions) -> Result<(Vec<InputStep>, Option<f64>), BundleError> {
    let stated = match &config.normalize_activations {
        None | Some(Value::Null | Value::Bool(false)) => "none",
        Some(Value::Bool(true)) => "expected_average_only_in",
        Some(Value::String(name)) => name,
        Some(other) => fail!(Invalid, "normalize_activations is {other}, expected a name"),
    };
    let steps = match stated {
        "none" | "expected_average_only_in" => Vec::new(),
        "constant_norm_rescale" => vec![InputStep::ConstantNormRescale],
        "layer_norm" => vec![InputStep::LayerNorm],
        other => fail!(
            Unsupported,
            "normalize_activations `{other}`: not supported in this version; expected none, expected_average_only_in, \
             constant_norm_rescale or layer_norm"
        ),
    };
    match (stated, options.activation_scale) {
        ("expected_average_only_in", Some(scale)) if scale.is_finite() && scale > 0.0 => Ok((steps, Some(scale))),
        ("expected_average_only_in", found) => fail!(
            Missing,
            "normalize_activations is expected_average_only_in, whose scale is not in SAELens' files; expected \
             --activation-scale (√d_in / mean ‖x‖ of the training data; scaling_factor in a training checkpoint's \
             activation_scaler.json), found {}",
            shown(found)
        ),
        (_, None) => Ok((steps, None)),
        (other, Some(_)) => {
            fail!(
                Invalid,
                "an activation scale is given, but this SAE has {other}; only expected_average_only_in has a scale"
            )
        }
    }
}

fn read_tensors(
    config: &Config,
    file: &Checkpoint,
    architecture: SaeArchitecture,
    notes: &mut Vec<String>,
) -> Result<Parts, BundleError> {
    let (d, m) = (config.d_in, config.d_sae);
    let vectors: &[&'static str] = match architecture {
        SaeArchitecture::Gated => &["b_gate", "r_mag", "b_mag"],
        SaeArchitecture::JumpRelu => &["b_enc", "threshold"],
        _ => &["b_enc"],
    };
    let mut expected = vec![shape("W_enc", &[d, m]), shape("W_dec", &[m, d]), shape("b_dec", &[d])];
    expected.extend(vectors.iter().map(|name| shape(name, &[m])));
    check(file, &format!("SAELens' {architecture:?} SAE"), &expected, &[SCALING_FACTOR])?;
    if file.contains(SCALING_FACTOR) {
        if parts::read(file, SCALING_FACTOR)?.values.iter().any(|factor| (factor - 1.0).abs() > 1e-5) {
            fail!(
                Unsupported,
                "tensor `{SCALING_FACTOR}` is not all ones: not supported in this version; expected an SAE without it: \
                 fold it into the weights"
            );
        }
        notes.push(format!("The tensor {SCALING_FACTOR} is all ones and was left out, as SAELens does."));
    }
    let names = ["W_enc", "W_dec", "b_dec"].into_iter().chain(vectors.iter().copied());
    names.map(|name| Ok((name, parts::read(file, name)?))).collect()
}

fn hook_name(config: &Config) -> Option<String> {
    let metadata = config.metadata.as_ref();
    let nested = metadata.and_then(|metadata| metadata.get("hook_name")).and_then(Value::as_str);
    nested.map(str::to_owned).or_else(|| config.hook_name.clone()).or_else(|| config.hook_point.clone())
}
