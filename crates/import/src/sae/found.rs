//! What every format's reader takes and gives.

use coverslip_bundle::{InputStep, SaeArchitecture};

use super::parts::Parts;
use crate::StoreAs;

/// What the files do not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct SaeOptions {
    /// The factor on activations of SAELens' `normalize_activations: expected_average_only_in`; folded into the
    /// weights as its `fold_activation_norm_scaling_factor` does.
    pub activation_scale: Option<f64>,
    /// k of an overcomplete `TopKSAE` of which only the `state_dict` was saved.
    pub k: Option<usize>,
    /// How to store the weights. Thresholds and statistics of the input are never rounded to float16.
    pub precision: StoreAs,
}

/// What a format's reader found.
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
    /// The plainest SAE: no steps, `b_dec` not subtracted.
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
