//! The parts of a bundle to be written.

use std::collections::BTreeMap;

use crate::manifest::Manifest;
use crate::tensors::TensorMap;
use crate::weights::Weights;

/// The parts of a bundle to be written by [`super::write_bundle`].
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The bundle's description. [`super::write_bundle`] fills in `files` and `sae.reference`.
    pub manifest: Manifest,
    /// The model's weights in their stored form: a ViT's under timm's names, an ONNX model's under its graph's.
    pub model: Weights,
    /// An ONNX model's graph. Its large weights are inputs named as in `model`.
    pub topology: Option<Vec<u8>>,
    /// The SAE's weights in their stored form, under SAELens' names.
    pub sae: TensorMap,
    /// Statistics of the SAE's data.
    pub calibration: Calibration,
    /// Tiles for the self-check, u8 `[n, side, side, 3]`, 1 ≤ n ≤ 64.
    pub reference_tiles: Vec<u8>,
    /// Further files, such as a card and licences, by name.
    pub documents: BTreeMap<String, Vec<u8>>,
}

/// Statistics of the SAE's data in embedding space. What the trainer does not state is computed from `tiles`, of which
/// it needs at least two.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// x̄, `d_in` values.
    pub mean: Option<Vec<f32>>,
    /// Mean of ‖x−x̄‖².
    pub mean_square_deviation: Option<f64>,
    /// Quantiles of ‖x−x̂‖² / mean ‖x−x̄‖² by level; computed if empty.
    pub error_quantiles: BTreeMap<String, f64>,
    /// Number of tiles that the stated figures come from.
    pub stated_tiles: u64,
    /// Tiles for the computed figures, u8 `[n, side, side, 3]`.
    pub tiles: Vec<u8>,
}
