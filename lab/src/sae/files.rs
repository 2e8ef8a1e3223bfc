//! SAELens' files of an SAE: `cfg.json` and `sae_weights.safetensors`.

use std::error::Error;
use std::path::Path;

use coverslip_analysis::sae::{Objective, Sae};
use coverslip_bundle::SaeArchitecture;
use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
use coverslip_import::{CONFIGURATION_FILE, ImportedSae, SAELENS_WEIGHTS_FILE, SaeOptions, import_sae};
use serde_json::json;

/// A file's name and its content.
type Named = (&'static str, Vec<u8>);

/// The files of an SAE, by name. `details`: how it was trained, into the configuration's metadata, which changes no number.
pub(super) fn of(
    sae: &Sae,
    objective: Objective,
    tap: &str,
    details: serde_json::Value,
) -> Result<[Named; 2], Box<dyn Error>> {
    let (d, m) = (sae.width, sae.features);
    let mut tensors = TensorMap::from([
        ("W_enc".to_owned(), Tensor::f32(&[d, m], &transposed(&sae.w_enc, d))),
        ("b_enc".to_owned(), Tensor::f32(&[m], &sae.b_enc)),
        ("W_dec".to_owned(), Tensor::f32(&[m, d], &sae.w_dec)),
        ("b_dec".to_owned(), Tensor::f32(&[d], &sae.b_dec)),
    ]);
    let mut config = json!({
        "d_in": d, "d_sae": m, "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": true,
        "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {"hook_name": tap, "training_details": details},
    });
    match objective {
        Objective::TopK { k } => {
            config["architecture"] = "topk".into();
            config["k"] = k.into();
            config["rescale_acts_by_decoder_norm"] = false.into();
        }
        Objective::Relu { .. } => config["architecture"] = "standard".into(),
        // One threshold for all features is a JumpReLU with equal thresholds; SAELens saves BatchTopK and Matryoshka so.
        Objective::BatchTopK { .. } | Objective::Matryoshka { .. } | Objective::JumpRelu { .. } => {
            config["architecture"] = "jumprelu".into();
            let thresholds: Vec<f32> = sae.threshold.iter().map(|threshold| threshold.max(0.0)).collect();
            tensors.insert("threshold".into(), Tensor::f32(&[m], &thresholds));
        }
    }
    let (config, weights) = (serde_json::to_vec_pretty(&config)?, to_safetensors(&tensors)?);
    Ok([(CONFIGURATION_FILE, config), (SAELENS_WEIGHTS_FILE, weights)])
}

/// Reads an SAE in any format that `bundle build --sae` takes.
///
/// # Errors
/// As [`import_sae`]; when the SAE has steps before it, or an activation that the trainer does not know.
pub(super) fn read(path: &Path) -> Result<(Sae, Objective), Box<dyn Error>> {
    let found = import_sae(path, &SaeOptions::default())?;
    let objective = match found.architecture {
        SaeArchitecture::Relu => Objective::Relu { l1: 0.0 },
        SaeArchitecture::TopK => Objective::TopK { k: found.k.unwrap_or(found.d_sae) },
        SaeArchitecture::JumpRelu => Objective::JumpRelu { l0: 0.0, bandwidth: 0.0 },
        other => return Err(unsupported(path, &format!("the activation {other:?}"))),
    };
    if !found.input.is_empty() || found.rescale_acts_by_decoder_norm || found.pruned {
        return Err(unsupported(path, "steps before or behind it"));
    }
    let tensor = |name: &str| read_tensor(&found, name);
    let (d, m) = (found.d_in, found.d_sae);
    let b_dec = tensor("b_dec")?;
    let w_enc = transposed(&tensor("W_enc")?, m);
    let mut b_enc = tensor("b_enc")?;
    if !found.apply_b_dec_to_input {
        // x·W + b = (x − b_dec)·W + (b + b_dec·W)
        for (bias, row) in b_enc.iter_mut().zip(w_enc.chunks_exact(d)) {
            *bias += row.iter().zip(&b_dec).map(|(weight, value)| weight * value).sum::<f32>();
        }
    }
    let threshold = if found.tensors.contains_key("threshold") { tensor("threshold")? } else { vec![0.0; m] };
    Ok((Sae { width: d, features: m, w_enc, b_enc, w_dec: tensor("W_dec")?, b_dec, threshold }, objective))
}

fn read_tensor(found: &ImportedSae, name: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    let tensor = found.tensors.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
    Ok(tensor.view(name).to_f32()?)
}

fn unsupported(path: &Path, what: &str) -> Box<dyn Error> {
    format!(
        "{}: an SAE with {what} is not measured by this command; expected relu, topk or jumprelu on the embedding as it is. \
         Build a bundle with it and look at `coverslip bundle inspect`",
        path.display()
    )
    .into()
}

/// A row-major matrix of `columns` columns, with rows and columns exchanged.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}
