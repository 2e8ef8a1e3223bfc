//! A sparse autoencoder in SAELens' files: `cfg.json` and `sae_weights.safetensors` (SAELens 6; the
//! TopK of before 6.0 too).

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Checkpoint, Precision};
use crate::error::{BundleError, fail};
use crate::manifest::{InputStep, SaeArchitecture};
use crate::tensors::{Element, Tensor, TensorMap};

const CONFIG: &str = "cfg.json";
const WEIGHTS: &str = "sae_weights.safetensors";

/// What the files do not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct SaeOptions {
    /// The factor on activations of `normalize_activations: expected_average_only_in`; folded into the
    /// weights as SAELens' `fold_activation_norm_scaling_factor` does.
    pub activation_scale: Option<f64>,
    /// How to store the weights.
    pub precision: Precision,
}

/// An SAE, read.
#[derive(Clone, Debug)]
pub struct ImportedSae {
    /// Its activation.
    pub architecture: SaeArchitecture,
    /// Width of its input.
    pub d_in: usize,
    /// Features.
    pub d_sae: usize,
    /// `topk`'s k.
    pub k: Option<usize>,
    /// Whether `b_dec` is subtracted from its input.
    pub apply_b_dec_to_input: bool,
    /// Steps before it, `expected_average_only_in` folded.
    pub input: Vec<InputStep>,
    /// `topk` only.
    pub rescale_acts_by_decoder_norm: bool,
    /// `metadata.hook_name`, if stated.
    pub hook_name: Option<String>,
    /// Its weights as they will be stored.
    pub tensors: TensorMap,
}

/// The fields of `cfg.json` that change a number.
#[derive(Debug, Deserialize)]
struct Config {
    architecture: Option<String>,
    d_in: usize,
    d_sae: usize,
    k: Option<usize>,
    activation_fn: Option<String>,
    activation_fn_str: Option<String>,
    activation_fn_kwargs: Option<Value>,
    apply_b_dec_to_input: Option<bool>,
    normalize_activations: Option<String>,
    reshape_activations: Option<String>,
    rescale_acts_by_decoder_norm: Option<bool>,
    finetuning_scaling_factor: Option<bool>,
    hook_name: Option<String>,
    metadata: Option<Value>,
}

/// Reads an SAE from a directory in SAELens' layout.
///
/// # Errors
/// `Unsupported`, by name, for other layouts and architectures; `Missing` and `Invalid` where the files
/// contradict each other.
pub fn import_sae(dir: &Path, options: &SaeOptions) -> Result<ImportedSae, BundleError> {
    refuse_layouts(dir)?;
    let config = read_config(&dir.join(CONFIG))?;
    let file = Checkpoint::open(&dir.join(WEIGHTS))?;
    import(&config, &file, options).map_err(|error| error.within(dir.display()))
}

fn import(config: &Config, file: &Checkpoint, options: &SaeOptions) -> Result<ImportedSae, BundleError> {
    refuse_config(config)?;
    let (architecture, k) = architecture(config)?;
    let normalize = config.normalize_activations.as_deref().unwrap_or("none");
    let input = match normalize {
        "none" | "expected_average_only_in" => Vec::new(),
        "constant_norm_rescale" => vec![InputStep::ConstantNormRescale],
        "layer_norm" => vec![InputStep::LayerNorm],
        other => fail!(
            Unsupported,
            "normalize_activations `{other}`: not supported in this version; expected none, \
             expected_average_only_in, constant_norm_rescale or layer_norm"
        ),
    };
    let fold = match (normalize, options.activation_scale) {
        ("expected_average_only_in", Some(scale)) if scale.is_finite() && scale > 0.0 => Some(scale),
        ("expected_average_only_in", found) => fail!(
            Missing,
            "normalize_activations is expected_average_only_in, whose scale is not in SAELens' files; \
             expected --activation-scale (√d_in / mean ‖x‖ of the training data), found {found:?}"
        ),
        (_, None) => None,
        (other, Some(_)) => {
            fail!(Invalid, "an activation scale belongs to expected_average_only_in; this SAE has {other}")
        }
    };
    Ok(ImportedSae {
        architecture,
        d_in: config.d_in,
        d_sae: config.d_sae,
        k,
        apply_b_dec_to_input: config.apply_b_dec_to_input.unwrap_or(true),
        input,
        rescale_acts_by_decoder_norm: config.rescale_acts_by_decoder_norm.unwrap_or(false),
        hook_name: hook_name(config),
        tensors: tensors(config, file, architecture, fold, options.precision)?,
    })
}

/// Other projects' files, known by their names.
fn refuse_layouts(dir: &Path) -> Result<(), BundleError> {
    let found = |name: &str| dir.join(name).is_file();
    let layouts = [
        ("sae.safetensors", "EleutherAI sparsify's layout"),
        ("ae.pt", "dictionary_learning's layout (a pickle)"),
        ("sae_weights.pt", "a pickle"),
    ];
    if found(CONFIG) && found(WEIGHTS) {
        return Ok(());
    }
    for (name, meaning) in layouts {
        if found(name) {
            fail!(
                Unsupported,
                "{}: not supported in this version: found `{name}`, {meaning}; expected SAELens' {CONFIG} \
                 and {WEIGHTS}; convert it",
                dir.display()
            );
        }
    }
    refuse_pickles(dir)?;
    for name in [CONFIG, WEIGHTS] {
        if !found(name) {
            fail!(Missing, "{}: no `{name}`; expected SAELens' {CONFIG} and {WEIGHTS}", dir.display());
        }
    }
    Ok(())
}

/// A directory whose weights are a pickle of whatever name.
fn refuse_pickles(dir: &Path) -> Result<(), BundleError> {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "pt" || extension == "pth") {
            super::read_safetensors(&path)?;
        }
    }
    Ok(())
}

fn read_config(path: &Path) -> Result<Config, BundleError> {
    let bytes = std::fs::read(path).map_err(|error| BundleError::io(path.display(), &error))?;
    match serde_json::from_slice(&bytes) {
        Ok(config) => Ok(config),
        Err(error) => fail!(Invalid, "{}: no SAELens configuration: {error}", path.display()),
    }
}

fn refuse_config(config: &Config) -> Result<(), BundleError> {
    if let Some(reshape) = &config.reshape_activations
        && reshape != "none"
    {
        fail!(Unsupported, "reshape_activations `{reshape}`: not supported in this version; expected none");
    }
    if config.finetuning_scaling_factor == Some(true) {
        fail!(Unsupported, "finetuning_scaling_factor: not supported in this version; fold it into the weights");
    }
    if let Some(activation) = &config.activation_fn
        && activation != "relu"
    {
        fail!(Unsupported, "activation_fn `{activation}`: not supported in this version; expected relu");
    }
    Ok(())
}

fn architecture(config: &Config) -> Result<(SaeArchitecture, Option<usize>), BundleError> {
    let stated = config.architecture.as_deref().unwrap_or("standard");
    let before_6 = config.activation_fn_str.as_deref();
    match (stated, before_6) {
        ("standard", None | Some("relu")) => Ok((SaeArchitecture::Relu, None)),
        ("jumprelu", _) => Ok((SaeArchitecture::JumpRelu, None)),
        ("topk", _) | ("standard", Some("topk")) => {
            let kwargs = config.activation_fn_kwargs.as_ref();
            let k = kwargs.and_then(|kwargs| kwargs.get("k")).and_then(Value::as_u64);
            let Some(k) = config.k.or(k.map(|k| k as usize)) else {
                fail!(Missing, "a topk SAE without `k`");
            };
            Ok((SaeArchitecture::TopK, Some(k)))
        }
        ("standard", Some(other)) => {
            fail!(Unsupported, "activation_fn_str `{other}`: not supported in this version; expected relu or topk")
        }
        (other, _) => fail!(
            Unsupported,
            "SAE architecture `{other}`: not supported in this version; expected standard, topk or \
             jumprelu{}",
            match other {
                "batchtopk" | "matryoshka_batchtopk" =>
                    "; SAELens saves trained BatchTopK and Matryoshka SAEs as jumprelu: use save_inference_model",
                _ => "",
            }
        ),
    }
}

fn hook_name(config: &Config) -> Option<String> {
    let metadata = config.metadata.as_ref();
    let nested = metadata.and_then(|metadata| metadata.get("hook_name")).and_then(Value::as_str);
    nested.map(str::to_owned).or_else(|| config.hook_name.clone())
}

fn tensors(
    config: &Config,
    file: &Checkpoint,
    architecture: SaeArchitecture,
    fold: Option<f64>,
    precision: Precision,
) -> Result<TensorMap, BundleError> {
    let mut names = vec!["W_enc", "W_dec", "b_enc", "b_dec"];
    if architecture == SaeArchitecture::JumpRelu {
        names.push("threshold");
    }
    for name in file.names() {
        if !names.contains(&name) {
            fail!(
                Unsupported,
                "not supported in this version: found tensor `{name}` in an SAE of architecture \
                 {architecture:?}; expected {} alone",
                names.join(", ")
            );
        }
    }
    let mut tensors = TensorMap::new();
    for name in names {
        let tensor = file.read(name)?;
        tensor.view(name).check_finite()?;
        let stored = tensor.to(name, precision.stored(tensor.element))?;
        tensors.insert(name.to_owned(), stored);
    }
    let Some(scale) = fold else {
        return Ok(tensors);
    };
    // x' = s·x: the encoder gets s, what is decoded and what is subtracted before it 1/s.
    for (name, factor) in [("W_enc", scale), ("W_dec", 1.0 / scale), ("b_dec", 1.0 / scale)] {
        let stored = file.read(name)?;
        if stored.shape != shape_of(config, name) {
            fail!(Invalid, "tensor `{name}` has shape {:?}, expected {:?}", stored.shape, shape_of(config, name));
        }
        let values = stored.view(name).to_f32()?;
        let values: Vec<f32> = values.iter().map(|v| (f64::from(*v) * factor) as f32).collect();
        // Scaled float16 values are no float16 values any more: they stay so only when asked for.
        let element = if precision == Precision::Half { Element::F16 } else { Element::F32 };
        tensors.insert(name.to_owned(), Tensor::f32(&stored.shape, &values).to(name, element)?);
    }
    Ok(tensors)
}

fn shape_of(config: &Config, name: &str) -> Vec<usize> {
    match name {
        "W_enc" => vec![config.d_in, config.d_sae],
        "W_dec" => vec![config.d_sae, config.d_in],
        _ => vec![config.d_in],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BundleErrorKind;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn architectures_old_and_new() {
        let known = [
            (r#"{"d_in":2,"d_sae":4}"#, SaeArchitecture::Relu, None),
            (r#"{"architecture":"topk","k":3,"d_in":2,"d_sae":4}"#, SaeArchitecture::TopK, Some(3)),
            (
                r#"{"activation_fn_str":"topk","activation_fn_kwargs":{"k":5},"d_in":2,"d_sae":8}"#,
                SaeArchitecture::TopK,
                Some(5),
            ),
            (r#"{"architecture":"jumprelu","d_in":2,"d_sae":4}"#, SaeArchitecture::JumpRelu, None),
        ];
        for (json, expected, k) in known {
            assert_eq!(architecture(&config(json)).unwrap(), (expected, k), "{json}");
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        for name in ["gated", "batchtopk", "matryoshka_batchtopk", "matching_pursuit", "temporal"] {
            let json = format!(r#"{{"architecture":"{name}","d_in":2,"d_sae":4}}"#);
            let error = architecture(&config(&json)).unwrap_err();
            assert_eq!(error.kind(), BundleErrorKind::Unsupported);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
