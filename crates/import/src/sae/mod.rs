//! Sparse autoencoders in the formats of the libraries that train them, recognised from their files. Each format is
//! converted to the bundle's one form,
//!
//! ```text
//! x' = steps(x) − [apply_b_dec_to_input]·b_dec     p = x'·W_enc + b_enc
//! f  = activation(p)                               x̂ = steps⁻¹(f·W_dec + b_dec)
//! ```
//!
//! by folding what can be folded exactly. What the form cannot express is refused by name.

mod atoms;
mod dictionary_learning;
mod format;
mod found;
mod openai;
mod overcomplete;
mod own;
mod parts;
mod saelens;
mod sparsify;

use std::path::Path;

use coverslip_bundle::layout::INDEX_MAP;
use coverslip_bundle::limits::MAX_D_SAE;
use coverslip_bundle::tensors::{Tensor, TensorMap};
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{InputStep, SaeArchitecture};
pub use format::{CONFIGURATION_FILE, SAELENS_WEIGHTS_FILE};
use found::Found;
pub use found::SaeOptions;
use parts::shown;

/// An imported SAE.
#[derive(Clone, Debug)]
pub struct ImportedSae {
    /// The files' format: `SAELens`, `sparsify`, `dictionary_learning`, `OpenAI sparse_autoencoder`, `overcomplete` or
    /// `coverslip.sae/1`.
    pub format: &'static str,
    /// The activation.
    pub architecture: SaeArchitecture,
    /// Width of the input.
    pub d_in: usize,
    /// Number of features.
    pub d_sae: usize,
    /// Most features active at once (`topk`, `signed_topk`, `groupmax` only).
    pub k: Option<usize>,
    /// Whether `b_dec` is subtracted from the input.
    pub apply_b_dec_to_input: bool,
    /// Steps before the SAE that were not folded.
    pub input: Vec<InputStep>,
    /// Whether p is multiplied by ‖W_dec,i‖ and f divided by it before decoding (`topk` only).
    pub rescale_acts_by_decoder_norm: bool,
    /// Whether features were removed. Then the tensor `index_map` holds each feature's original index.
    pub pruned: bool,
    /// The place in the model that the SAE reads, if the files state it.
    pub hook_name: Option<String>,
    /// The weights in their stored form, named as in `docs/reference/bundle-format.md`.
    pub tensors: TensorMap,
    /// What was folded and which defaults were assumed, in sentences.
    pub notes: Vec<String>,
}

/// Imports an SAE from a directory, as its library or a hub writes it, or from a file of weights with its configuration
/// beside it.
///
/// # Errors
/// `Missing`, `Io`, `Truncated`; `Unsupported`, naming what this version does not support, and if more than one format
/// fits; `Invalid` if the files contradict each other; `NotFinite`.
pub fn import_sae(path: &Path, options: &SaeOptions) -> Result<ImportedSae, BundleError> {
    let weights = format::weights(path)?;
    let (format, found) = format::read(&weights, options).map_err(|error| error.within(weights.display()))?;
    finish(format, found, options).map_err(|error| error.within(weights.display()))
}

/// Checks what all formats have in common and converts the tensors to their stored form.
fn finish(format: &'static str, found: Found, options: &SaeOptions) -> Result<ImportedSae, BundleError> {
    let [d_in, d_sae] = found.parts["W_enc"].shape[..] else {
        fail!(Invalid, "`W_enc` is not a matrix");
    };
    if d_in == 0 || d_sae == 0 {
        fail!(Invalid, "the SAE has {d_in} values and {d_sae} features, expected at least one of each");
    }
    if d_sae > MAX_D_SAE {
        fail!(TooLarge, "the SAE has {d_sae} features; expected at most {MAX_D_SAE}");
    }
    if let Some(k) = found.k
        && (k == 0 || k > d_sae)
    {
        fail!(Invalid, "`k` is {k}, expected 1 to {d_sae}, the number of features");
    }
    if options.k.is_some() && options.k != found.k {
        let (given, stated) = (shown(options.k), shown(found.k));
        fail!(Invalid, "k is given as {given}, but the files say {stated}; do not give it");
    }
    if options.activation_scale.is_some() && format != saelens::FORMAT {
        fail!(
            Invalid,
            "an activation scale is given, but this is {format}; only SAELens' expected_average_only_in has one"
        );
    }
    let mut tensors = parts::stored(&found.parts, options.precision)?;
    if let Some(map) = &found.index_map {
        tensors.insert(INDEX_MAP.to_owned(), Tensor::i32(&[map.len()], map));
    }
    Ok(ImportedSae {
        format,
        architecture: found.architecture,
        d_in,
        d_sae,
        k: found.k,
        apply_b_dec_to_input: found.apply_b_dec_to_input,
        input: found.input,
        rescale_acts_by_decoder_norm: found.rescale_acts_by_decoder_norm,
        pruned: found.index_map.is_some(),
        hook_name: found.hook_name,
        tensors,
        notes: found.notes,
    })
}
