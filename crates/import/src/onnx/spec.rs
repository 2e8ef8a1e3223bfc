//! What a person says of an ONNX model: `model.json`.

use coverslip_bundle::Pooling;
use serde::Deserialize;

/// `model.json` of an ONNX model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxSpec {
    /// The image input, where there are several.
    pub input: Option<String>,
    /// Model input, px; where the graph does not fix it.
    #[serde(alias = "side")]
    pub img_size: Option<usize>,
    /// The taps.
    #[serde(default)]
    pub taps: Vec<OnnxTap>,
    /// The tap that the SAE reads; the last one when not stated.
    pub sae_tap: Option<String>,
    /// µm/px of the model's input.
    pub mpp: Option<f64>,
    /// Mean of pixel/255, R G B.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of pixel/255, R G B.
    pub std: Option<[f64; 3]>,
    /// The bundle's name.
    pub name: Option<String>,
    /// The bundle's description.
    pub description: Option<String>,
    /// SPDX expression.
    #[serde(alias = "license")]
    pub licence: Option<String>,
    /// Where weights and data come from.
    pub source: Option<String>,
}

/// A tap in an ONNX model's `model.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxTap {
    /// Its name.
    pub name: String,
    /// The value of the graph that it reads.
    pub tensor: String,
    /// The pooling; `none` for a value that is one vector per tile.
    pub pooling: Pooling,
    /// Tokens before the patches; where it is not stated, 0 or 1, whichever leaves a square of patches.
    pub prefix_tokens: Option<usize>,
}
