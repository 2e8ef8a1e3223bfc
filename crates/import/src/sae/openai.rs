//! OpenAI's sparse_autoencoder: one `.pt` with the tensors and the name of the activation.
//!
//! ```text
//! x' = N(x) − pre_bias     p = x'·encoder.weightᵀ + latent_bias     x̂ = N⁻¹(f·decoder.weightᵀ + pre_bias)
//! ```
//!
//! As in the library, N is a layer norm ((x−μ)/(σ+1e-5), σ unbiased) if the activation is TopK and the identity
//! otherwise. Source: github.com/openai/sparse_autoencoder, `model.py`.

use super::found::Found;
use super::parts::{Parts, check, matrix, read as read_tensor, shape};
use crate::Checkpoint;
use crate::pickle::Value;
use crate::torch::{Node, TorchFile};
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{InputStep, SaeArchitecture};

pub(super) const FORMAT: &str = "OpenAI sparse_autoencoder";

/// Training statistics, which are not read.
const STATISTICS: [&str; 3] = ["stats_last_nonzero", "latents_activation_frequency", "latents_mean_square"];

/// Reads an SAE of OpenAI's library. `torch` has the file's content beside tensors.
pub(super) fn read(file: &Checkpoint, torch: Option<&TorchFile>) -> Result<Found, BundleError> {
    let Some(torch) = torch else {
        fail!(
            Missing,
            "found tensors of {FORMAT} without its `activation`, which decides whether the input is normalised; a \
             safetensors file cannot hold it; expected the .pt file"
        );
    };
    let [m, d] = matrix(file, "encoder.weight")?;
    let expected = [
        shape("pre_bias", &[d]),
        shape("encoder.weight", &[m, d]),
        shape("latent_bias", &[m]),
        shape("decoder.weight", &[d, m]),
    ];
    check(file, "an SAE of OpenAI's sparse_autoencoder", &expected, &STATISTICS)?;
    let tensors = Parts::from([
        ("W_enc", read_tensor(file, "encoder.weight")?.transposed()),
        ("b_enc", read_tensor(file, "latent_bias")?),
        ("W_dec", read_tensor(file, "decoder.weight")?.transposed()),
        ("b_dec", read_tensor(file, "pre_bias")?),
    ]);
    let mut notes = Vec::new();
    let (architecture, k) = activation(torch, &mut notes)?;
    let input = if k.is_some() { vec![InputStep::LayerNorm] } else { Vec::new() };
    Ok(Found { k, apply_b_dec_to_input: true, input, notes, ..Found::new(architecture, tensors) })
}

fn activation(torch: &TorchFile, notes: &mut Vec<String>) -> Result<(SaeArchitecture, Option<usize>), BundleError> {
    let name = match torch.value(&["activation"]) {
        None => {
            notes.push("The activation is not stated: ReLU, the library's default.".to_owned());
            "ReLU"
        }
        Some(node) => text(node, "activation")?,
    };
    match name {
        "ReLU" => Ok((SaeArchitecture::Relu, None)),
        "TopK" => {
            let k = match torch.value(&["activation_state_dict", "k"]) {
                Some(Node::Leaf(Value::Int(k))) if *k > 0 => *k as usize,
                found => {
                    let found = found.map_or("none", |_| "another value");
                    fail!(Missing, "TopK without k: expected a number in activation_state_dict.k, found {found}")
                }
            };
            let Some(after) = torch.value(&["activation_state_dict", "postact_fn"]) else {
                fail!(Missing, "TopK without activation_state_dict.postact_fn; expected ReLU or Identity");
            };
            match text(after, "postact_fn")? {
                "ReLU" => Ok((SaeArchitecture::TopK, Some(k))),
                "Identity" => Ok((SaeArchitecture::SignedTopK, Some(k))),
                other => {
                    fail!(Unsupported, "postact_fn `{other}`: not supported in this version; expected ReLU or Identity")
                }
            }
        }
        other => fail!(Unsupported, "activation `{other}`: not supported in this version; expected ReLU or TopK"),
    }
}

fn text<'a>(node: &'a Node, name: &str) -> Result<&'a str, BundleError> {
    match node {
        Node::Leaf(Value::Text(text)) => Ok(text),
        _ => fail!(
            Unsupported,
            "`{name}` is not text: not supported in this version; expected what state_dict() returns"
        ),
    }
}
