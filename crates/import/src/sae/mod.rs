//! Sparse autoencoders as their libraries save them, recognised from their files. Each format is brought to the
//! bundle's one form,
//!
//! ```text
//! x' = steps(x) − [apply_b_dec_to_input]·b_dec     p = x'·W_enc + b_enc
//! f  = activation(p)                               x̂ = steps⁻¹(f·W_dec + b_dec)
//! ```
//!
//! by folding what is exact to fold; what is neither folded nor carried is refused by name.

mod atoms;
mod dictionary_learning;
mod found;
mod openai;
mod overcomplete;
mod own;
mod parts;
mod recognise;
mod saelens;
mod sparsify;

use std::path::Path;

use coverslip_bundle::layout::INDEX_MAP;
use coverslip_bundle::limits::MAX_D_SAE;
use coverslip_bundle::tensors::{Tensor, TensorMap};
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{InputStep, SaeArchitecture};
use found::Found;
pub use found::SaeOptions;

/// An SAE, read.
#[derive(Clone, Debug)]
pub struct ImportedSae {
    /// Whose files these are: `SAELens`, `sparsify`, `dictionary_learning`, `OpenAI sparse_autoencoder`,
    /// `overcomplete` or `coverslip.sae/1`.
    pub format: &'static str,
    /// Its activation.
    pub architecture: SaeArchitecture,
    /// Width of its input.
    pub d_in: usize,
    /// Features.
    pub d_sae: usize,
    /// Features that may be active: `topk`, `signed_topk`, `groupmax`.
    pub k: Option<usize>,
    /// Whether `b_dec` is subtracted from its input.
    pub apply_b_dec_to_input: bool,
    /// Steps before it, without those that were folded.
    pub input: Vec<InputStep>,
    /// `topk` only: p is multiplied by ‖W_dec,i‖, and f divided by it before it is decoded.
    pub rescale_acts_by_decoder_norm: bool,
    /// Whether features were removed; `index_map` among the tensors has the original number of each.
    pub pruned: bool,
    /// Where in its model it reads, as far as the files say.
    pub hook_name: Option<String>,
    /// Its weights as they will be stored, under the names of `docs/reference/bundle-format.md`.
    pub tensors: TensorMap,
    /// What a reader should know, in sentences: what was folded, what was taken as the library's default.
    pub notes: Vec<String>,
}

/// Reads an SAE: a directory as its library or a hub has it, or a file of weights (with its configuration beside it).
///
/// # Errors
/// `Missing`, `Io`, `Truncated`; `Unsupported`, by name, for what this version does not do, and where more than
/// one format fits; `Invalid` where the files contradict each other; `NotFinite`.
pub fn import_sae(path: &Path, options: &SaeOptions) -> Result<ImportedSae, BundleError> {
    let weights = recognise::weights(path)?;
    let (format, found) = recognise::read(&weights, options).map_err(|error| error.within(weights.display()))?;
    finish(format, found, options).map_err(|error| error.within(weights.display()))
}

/// Checks what every format has in common, and stores the tensors.
fn finish(format: &'static str, found: Found, options: &SaeOptions) -> Result<ImportedSae, BundleError> {
    let [d_in, d_sae] = found.parts["W_enc"].shape[..] else {
        fail!(Invalid, "`W_enc` is no matrix");
    };
    if d_in == 0 || d_sae == 0 {
        fail!(Invalid, "the SAE has {d_in} values and {d_sae} features, expected at least one of each");
    }
    if d_sae > MAX_D_SAE {
        fail!(TooLarge, "the SAE has {d_sae} features, at most {MAX_D_SAE}");
    }
    if let Some(k) = found.k
        && (k == 0 || k > d_sae)
    {
        fail!(Invalid, "`k` is {k}, expected 1 to {d_sae}, the number of features");
    }
    if options.k.is_some() && options.k != found.k {
        fail!(Invalid, "k is stated as {:?}, the files say {:?}; leave it to the files", options.k, found.k);
    }
    if options.activation_scale.is_some() && format != saelens::FORMAT {
        fail!(Invalid, "an activation scale belongs to SAELens' expected_average_only_in; this is {format}");
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
