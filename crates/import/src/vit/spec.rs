//! `model.json`: what a person says about a model. It is believed over `config.json`, and compared with the weights.

use serde::Deserialize;

use coverslip_bundle::Pooling;

/// `model.json`. Shapes are optional: they are compared with the weights. A field that is not here is
/// refused: it might be one of these, misspelt, or something that changes a number.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// `vit`, or one of timm's names, or nothing. `vit` takes nothing from the name in `config.json`.
    pub architecture: Option<String>,
    /// The activation: exact GELU (`gelu`, `gelu_erf`), or `silu` in gated MLPs.
    #[serde(alias = "act_layer")]
    pub activation: Option<String>,
    /// timm's class of the MLP: `Mlp`, `SwiGLUPacked`, `GluMlp` or `SwiGLU`. Weights do not tell which half of a
    /// packed MLP is the gate.
    pub mlp_layer: Option<String>,
    /// Token width.
    pub embed_dim: Option<usize>,
    /// Blocks.
    pub depth: Option<usize>,
    /// Attention heads; the weights do not tell.
    #[serde(alias = "heads")]
    pub num_heads: Option<usize>,
    /// Patch, px.
    #[serde(alias = "patch")]
    pub patch_size: Option<usize>,
    /// Model input, px. Where the position embedding is another grid's, it is resampled.
    #[serde(alias = "side")]
    pub img_size: Option<usize>,
    /// Hidden width of the MLP over `embed_dim`, as the model's own code counts it.
    pub mlp_ratio: Option<f64>,
    /// Whether there is a class token.
    pub class_token: Option<bool>,
    /// Register tokens.
    #[serde(alias = "reg_tokens")]
    pub register_tokens: Option<usize>,
    /// timm's `no_embed_class`.
    pub no_embed_class: Option<bool>,
    /// Whether residual branches are scaled.
    pub layer_scale: Option<bool>,
    /// ε of the LayerNorms; timm's ViTs have 1e-6.
    #[serde(alias = "ln_eps", alias = "layer_norm_epsilon")]
    pub layer_norm_eps: Option<f64>,
    /// Whose way of resampling a position embedding.
    pub interpolation: Option<Interpolation>,
    /// µm/px of the model's input.
    pub mpp: Option<f64>,
    /// Mean of pixel/255, R G B.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of pixel/255, R G B.
    pub std: Option<[f64; 3]>,
    /// The taps; when there are none, one tap `last` behind the final norm.
    #[serde(default)]
    pub taps: Vec<TapSpec>,
    /// Pooling of the tap `last` where `taps` is empty.
    pub pooling: Option<Pooling>,
    /// The tap that the SAE reads; the last one when not stated.
    pub sae_tap: Option<String>,
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

/// A tap in `model.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapSpec {
    /// Its name.
    pub name: String,
    /// The block, counted from 0, after which it reads.
    #[serde(alias = "after_block", alias = "index")]
    pub block: usize,
    /// Whether the final norm is applied.
    #[serde(alias = "final_norm", default)]
    pub after_norm: bool,
    /// The pooling.
    pub pooling: Pooling,
}

/// Whose way of resampling a position embedding for another number of patches. All are PyTorch's bicubic
/// interpolation; the class token's position, and registers' where they have any, are kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// timm's `resample_abs_pos_embed`: to the size, with antialias.
    Timm,
    /// DINOv2's own code: without registers by the factor (n + 0.1)/m, no antialias; with registers to the size, with
    /// antialias. So the released models were made.
    Dinov2,
    /// transformers from 4.45 on: to the size; `Dinov2WithRegistersModel` with antialias, the others without.
    Transformers,
}
