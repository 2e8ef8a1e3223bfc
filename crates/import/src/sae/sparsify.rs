//! EleutherAI sparsify: `cfg.json` and `sae.safetensors`.
//!
//! ```text
//! p = (x − b_dec)·encoder.weightᵀ + encoder.bias     x̂ = f·W_dec + b_dec
//! topk: the k largest of ReLU(p)                     groupmax: the largest of ReLU(p) in each of k groups
//! ```
//!
//! Source: sparsify 1.3, `sparse_coder.py`, `config.py`, `fused_encoder.py`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::found::Found;
use super::parts::{Parts, check, read as read_tensor, shape};
use crate::Checkpoint;
use coverslip_bundle::SaeArchitecture;
use coverslip_bundle::{BundleError, fail};

pub(super) const FORMAT: &str = "sparsify";

/// The fields of `cfg.json` that change a number, with the library's defaults.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Config {
    activation: String,
    expansion_factor: usize,
    num_latents: usize,
    k: usize,
    d_in: Option<usize>,
    skip_connection: bool,
    transcode: bool,
    /// Before 1.0: without ReLU.
    signed: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            activation: "topk".to_owned(),
            expansion_factor: 32,
            num_latents: 0,
            k: 32,
            d_in: None,
            skip_connection: false,
            transcode: false,
            signed: false,
        }
    }
}

/// Reads an SAE of sparsify.
pub(super) fn read(map: &Map<String, Value>, file: &Checkpoint) -> Result<Found, BundleError> {
    let config: Config = match serde_json::from_value(Value::Object(map.clone())) {
        Ok(config) => config,
        Err(error) => fail!(Invalid, "cfg.json is no configuration of sparsify: {error}"),
    };
    refuse(&config)?;
    let Some(d) = config.d_in else {
        fail!(Missing, "cfg.json has no `d_in`, which sparsify always writes; expected the SAE's own cfg.json");
    };
    let m = if config.num_latents > 0 { config.num_latents } else { d.saturating_mul(config.expansion_factor) };
    let architecture = match config.activation.as_str() {
        "topk" => SaeArchitecture::TopK,
        "groupmax" => SaeArchitecture::GroupMax,
        other => fail!(Unsupported, "activation `{other}`: not supported in this version; expected topk or groupmax"),
    };
    if architecture == SaeArchitecture::GroupMax && (config.k == 0 || !m.is_multiple_of(config.k)) {
        fail!(Invalid, "groupmax has k = {} groups of equal size, which {m} features do not give", config.k);
    }
    let expected =
        [shape("encoder.weight", &[m, d]), shape("encoder.bias", &[m]), shape("W_dec", &[m, d]), shape("b_dec", &[d])];
    check(file, "sparsify's SAE", &expected, &[])?;
    let tensors = Parts::from([
        ("W_enc", read_tensor(file, "encoder.weight")?.transposed()),
        ("b_enc", read_tensor(file, "encoder.bias")?),
        ("W_dec", read_tensor(file, "W_dec")?),
        ("b_dec", read_tensor(file, "b_dec")?),
    ]);
    let mut found = Found { k: Some(config.k), apply_b_dec_to_input: true, ..Found::new(architecture, tensors) };
    for (field, default) in [("activation", config.activation), ("k", config.k.to_string())] {
        if !map.contains_key(field) {
            found.notes.push(format!("{field} is not stated: {default}, sparsify's default."));
        }
    }
    Ok(found)
}

fn refuse(config: &Config) -> Result<(), BundleError> {
    let refused = [
        ("transcode", config.transcode, "a transcoder, which predicts another layer"),
        ("skip_connection", config.skip_connection, "a linear path around the features"),
        ("signed", config.signed, "features without ReLU, chosen by size"),
    ];
    for (field, set, meaning) in refused {
        if set {
            fail!(
                Unsupported,
                "{field} ({meaning}): not supported in this version; expected an SAE that reconstructs its input from \
                 its features alone"
            );
        }
    }
    Ok(())
}
