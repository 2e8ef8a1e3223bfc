//! What a manifest says of the sparse autoencoder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The SAE's activation: how features come from the pre-activations p.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SaeArchitecture {
    /// ReLU(p).
    Relu,
    /// The k largest of p, then ReLU.
    #[serde(rename = "topk")]
    TopK,
    /// The k largest of p without ReLU: features may be negative.
    #[serde(rename = "signed_topk")]
    SignedTopK,
    /// ReLU(p)·1\[p > θ\], strict.
    #[serde(rename = "jumprelu")]
    JumpRelu,
    /// With q = x'·W_enc: 1\[q + b_gate > 0\]·ReLU(q·exp(r_mag) + b_mag).
    Gated,
    /// The largest of ReLU(p) in each of k contiguous groups.
    #[serde(rename = "groupmax")]
    GroupMax,
}

/// A transformation of the embedding before the SAE, undone after the decoder.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputStep {
    /// (x − input_mean)/input_std, elementwise; both are tensors of the SAE.
    Standardize,
    /// x/‖x‖.
    L2,
    /// x·√d/‖x‖.
    ConstantNormRescale,
    /// (x−μ)/(σ+1e-5) with the unbiased σ of the d values; undone with σ alone.
    LayerNorm,
}

/// The sparse autoencoder.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sae {
    /// Name of the tap that the SAE reads.
    pub tap: String,
    /// The activation, stored as its name; `None`, stored as `none`, if the bundle has no SAE.
    #[serde(with = "stored_architecture")]
    pub architecture: Option<SaeArchitecture>,
    /// Width of the embedding: the tap's width.
    pub d_in: usize,
    /// Number of features.
    pub d_sae: usize,
    /// Most features active at once (`topk`, `signed_topk`, `groupmax` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// Features reported per tile, the largest first; equals `k` if the SAE has one.
    pub outputs: usize,
    /// Steps before the SAE, in order; undone in reverse order after the decoder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input: Vec<InputStep>,
    /// Whether `b_dec` is subtracted from the result of the input steps.
    pub apply_b_dec_to_input: bool,
    /// Whether pre-activations are multiplied by ‖W_dec,i‖ and decoded features divided by it (`topk` only).
    #[serde(default)]
    pub rescale_acts_by_decoder_norm: bool,
    /// Whether features were removed. Then the tensor `index_map` (i32 \[d_sae\]) holds each feature's original index.
    #[serde(default)]
    pub pruned: bool,
    /// Statistics of the SAE's training data.
    pub reference: SaeReference,
    /// Names of features; a feature without one is known by its index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<FeatureLabel>,
}

/// The stored form of the activation: without an SAE it is the string `none`, not a missing field.
mod stored_architecture {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    use super::SaeArchitecture;

    const NONE: &str = "none";

    pub(super) fn serialize<S: Serializer>(found: &Option<SaeArchitecture>, to: S) -> Result<S::Ok, S::Error> {
        match found {
            Some(architecture) => architecture.serialize(to),
            None => to.serialize_str(NONE),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SaeArchitecture>, D::Error> {
        match Value::deserialize(from)? {
            Value::String(name) if name == NONE => Ok(None),
            name => SaeArchitecture::deserialize(name).map(Some).map_err(D::Error::custom),
        }
    }
}

impl Sae {
    /// The entry of a bundle without an SAE: the tap that an SAE would read, and one feature that is never active, so
    /// that every bundle's graph has the same outputs.
    pub fn none(tap: &str, width: usize) -> Self {
        Self {
            tap: tap.to_owned(),
            architecture: None,
            d_in: width,
            d_sae: 1,
            k: None,
            outputs: 1,
            input: Vec::new(),
            apply_b_dec_to_input: false,
            rescale_acts_by_decoder_norm: false,
            pruned: false,
            reference: SaeReference::none(),
            labels: Vec::new(),
        }
    }

    /// Number of features that a host sees; 0 without an SAE.
    pub fn features(&self) -> usize {
        if self.architecture.is_none() { 0 } else { self.d_sae }
    }

    /// Number of features that a host gets per tile; 0 without an SAE.
    pub fn features_per_tile(&self) -> usize {
        self.outputs.min(self.features())
    }
}

impl SaeReference {
    /// Placeholders that pass the checks.
    pub(crate) fn none() -> Self {
        let error_quantiles = ["0.5", "0.99"].map(|level| (level.to_owned(), 0.0)).into();
        Self { mean_square_deviation: 1.0, error_quantiles, tiles: 0 }
    }
}

/// Statistics of the SAE's training (or calibration) data, in embedding space.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SaeReference {
    /// Mean of ‖x−x̄‖², the unit of `reconstruction_error`. x̄ itself is `sae.mean` in the reference file.
    pub mean_square_deviation: f64,
    /// Quantiles of `reconstruction_error` on that data by level ("0.5", "0.99", …), ascending.
    pub error_quantiles: BTreeMap<String, f64>,
    /// Number of tiles that the statistics come from.
    pub tiles: u64,
}

/// A feature's name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureLabel {
    /// The feature, 0 ≤ index < `d_sae`.
    pub index: usize,
    /// The name, shown to people.
    pub label: String,
    /// The name's origin and the evidence for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// The kind of cells whose counts the feature follows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cell_type: String,
    /// Pearson correlation with these counts, −1 to 1; partial on the tile's colour where `coverslip bundle label --counts`
    /// wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<f64>,
    /// Number of tiles on which the correlation was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<u64>,
    /// Name of the data set of these tiles.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dataset: String,
    /// How it was tested on groups that did not choose it; none: it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<LabelTest>,
}

/// The test of a label on groups that had no part in choosing it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LabelTest {
    /// The correlation on these groups with the tile's colour held fixed, −1 to 1; not known where the colour was not
    /// measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_correlation: Option<f64>,
    /// 0 to 1, corrected for all features and labels that were tried.
    pub p_value: f64,
    /// Groups (slides, patients), at least 1.
    pub groups: u64,
}
