//! `model.json`: a person's description of an ONNX model.

use coverslip_bundle::Pooling;
use serde::Deserialize;

/// `model.json` of an ONNX model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxSpec {
    /// Name of the image input, needed if there are several inputs.
    pub input: Option<String>,
    /// Width and height of the model's input, px, needed if the graph does not fix them.
    #[serde(alias = "side")]
    pub img_size: Option<usize>,
    /// The taps.
    #[serde(default)]
    pub taps: Vec<OnnxTap>,
    /// The tap that the SAE reads; by default the last one.
    pub sae_tap: Option<String>,
    /// Size of the model's input pixels, µm/px.
    pub mpp: Option<f64>,
    /// Mean of pixel/255: R, G, B.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of pixel/255: R, G, B.
    pub std: Option<[f64; 3]>,
    /// The bundle's name.
    pub name: Option<String>,
    /// The bundle's description.
    pub description: Option<String>,
    /// SPDX expression of the licence.
    #[serde(alias = "license")]
    pub licence: Option<String>,
    /// The origin of weights and data.
    pub source: Option<String>,
}

/// A tap in an ONNX model's `model.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxTap {
    /// Name of the tap.
    pub name: String,
    /// Name of the graph's value that the tap reads.
    pub tensor: String,
    /// The pooling; `none` if the value is one vector per tile.
    pub pooling: Pooling,
    /// Tokens before the patches. By default 0 or 1, whichever leaves a square of patches.
    pub prefix_tokens: Option<usize>,
}
