//! The options and the result of every format's reader.

use coverslip_bundle::{InputStep, SaeArchitecture};

use super::parts::Parts;
use crate::StoreAs;

/// Facts that the files may not state, and how to store the weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct SaeOptions {
    /// The factor on activations for SAELens' `normalize_activations: expected_average_only_in`. It is folded into the
    /// weights, as SAELens' `fold_activation_norm_scaling_factor` does.
    pub activation_scale: Option<f64>,
    /// k of an overcomplete `TopKSAE` that was saved as a `state_dict` only.
    pub k: Option<usize>,
    /// The type of the stored weights. Thresholds and input statistics are never rounded to float16.
    pub precision: StoreAs,
}

/// An SAE as a format's reader found it.
pub(super) struct Found {
    pub(super) architecture: SaeArchitecture,
    pub(super) k: Option<usize>,
    pub(super) apply_b_dec_to_input: bool,
    pub(super) input: Vec<InputStep>,
    pub(super) rescale_acts_by_decoder_norm: bool,
    pub(super) index_map: Option<Vec<i32>>,
    pub(super) hook_name: Option<String>,
    pub(super) parts: Parts,
    pub(super) notes: Vec<String>,
}

impl Found {
    /// The simplest SAE: no input steps, and `b_dec` not subtracted.
    pub(super) fn new(architecture: SaeArchitecture, parts: Parts) -> Self {
        Self {
            architecture,
            k: None,
            apply_b_dec_to_input: false,
            input: Vec::new(),
            rescale_acts_by_decoder_norm: false,
            index_map: None,
            hook_name: None,
            parts,
            notes: Vec::new(),
        }
    }
}
