//! What a bundle is made of.

use std::collections::BTreeMap;

use crate::manifest::Manifest;
use crate::tensors::TensorMap;
use crate::weights::Weights;

/// Everything that a bundle is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What the bundle is. `files` and `sae.reference` are filled in by [`write_bundle`].
    pub manifest: Manifest,
    /// The model's weights, as they will be stored: a ViT's in timm's names, an ONNX model's in its graph's.
    pub model: Weights,
    /// An ONNX model's graph: large weights are inputs of it, by their names in `model`.
    pub topology: Option<Vec<u8>>,
    /// The SAE's weights in SAELens' names, as they will be stored.
    pub sae: TensorMap,
    /// What is normal for the SAE.
    pub calibration: Calibration,
    /// Tiles of the self-check, u8 `[n, side, side, 3]`, 1 ≤ n ≤ 64.
    pub reference_tiles: Vec<u8>,
    /// Further files by name: card, licences.
    pub documents: BTreeMap<String, Vec<u8>>,
}

/// What is normal for the SAE, in embedding space: stated by whoever trained it, or computed from tiles.
/// What is not stated is computed, and needs at least two tiles.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// x̄, `d_in` values.
    pub mean: Option<Vec<f32>>,
    /// mean ‖x−x̄‖².
    pub mean_square_deviation: Option<f64>,
    /// Quantiles of ‖x−x̂‖² / mean ‖x−x̄‖² by level; empty: computed.
    pub error_quantiles: BTreeMap<String, f64>,
    /// How many tiles the stated figures come from.
    pub stated_tiles: u64,
    /// Tiles to compute the rest from, u8 `[n, side, side, 3]`.
    pub tiles: Vec<u8>,
}
