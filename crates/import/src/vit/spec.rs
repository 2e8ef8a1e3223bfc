//! `model.json`: a person's description of a model. It overrides `config.json` and is compared with the weights.

use serde::Deserialize;

use coverslip_bundle::Pooling;

/// `model.json`. Shapes are optional and compared with the weights. Unknown fields are refused: one could be misspelt
/// or change a number.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// `vit` or one of timm's names. With `vit`, nothing is inferred from the name in `config.json`.
    pub architecture: Option<String>,
    /// The activation: exact GELU (`gelu`, `gelu_erf`), or `silu` in gated MLPs.
    #[serde(alias = "act_layer")]
    pub activation: Option<String>,
    /// timm's class of the MLP: `Mlp`, `SwiGLUPacked`, `GluMlp` or `SwiGLU`. Weights do not show which half of a packed
    /// MLP is the gate.
    pub mlp_layer: Option<String>,
    /// Width of a token.
    pub embed_dim: Option<usize>,
    /// Number of blocks.
    pub depth: Option<usize>,
    /// Attention heads, which the weights do not show.
    #[serde(alias = "heads")]
    pub num_heads: Option<usize>,
    /// Width and height of a patch, px.
    #[serde(alias = "patch")]
    pub patch_size: Option<usize>,
    /// Width and height of the model's input, px. A position embedding for another size is resampled.
    #[serde(alias = "side")]
    pub img_size: Option<usize>,
    /// Hidden width of the MLP divided by `embed_dim`, as the model's own code counts it.
    pub mlp_ratio: Option<f64>,
    /// Whether there is a class token.
    pub class_token: Option<bool>,
    /// Number of register tokens.
    #[serde(alias = "reg_tokens")]
    pub register_tokens: Option<usize>,
    /// timm's `no_embed_class`.
    pub no_embed_class: Option<bool>,
    /// Whether residual branches are scaled.
    pub layer_scale: Option<bool>,
    /// ε of the LayerNorms; timm's ViTs have 1e-6.
    #[serde(alias = "ln_eps", alias = "layer_norm_epsilon")]
    pub layer_norm_eps: Option<f64>,
    /// The library whose resampling of the position embedding is used.
    pub interpolation: Option<Interpolation>,
    /// Size of the model's input pixels, µm/px.
    pub mpp: Option<f64>,
    /// Mean of pixel/255: R, G, B.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of pixel/255: R, G, B.
    pub std: Option<[f64; 3]>,
    /// The taps. By default one tap `last` after the final norm.
    #[serde(default)]
    pub taps: Vec<TapSpec>,
    /// Pooling of the tap `last` if `taps` is empty.
    pub pooling: Option<Pooling>,
    /// The tap that the SAE reads; by default the last one.
    pub sae_tap: Option<String>,
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

/// A tap in `model.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapSpec {
    /// Name of the tap.
    pub name: String,
    /// Index of the block after which the tap reads.
    #[serde(alias = "after_block", alias = "index")]
    pub block: usize,
    /// Whether the final norm is applied before pooling.
    #[serde(alias = "final_norm", default)]
    pub after_norm: bool,
    /// The pooling.
    pub pooling: Pooling,
}

/// The library whose resampling of a position embedding for another number of patches is used. All use PyTorch's
/// bicubic interpolation and keep the positions of the class token and, if they have any, of registers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// timm's `resample_abs_pos_embed`: to the exact size, with antialias.
    Timm,
    /// DINOv2's own code, as configured for the released models: without registers by the factor (n + 0.1)/m and
    /// without antialias; with registers to the exact size and with antialias.
    Dinov2,
    /// transformers from 4.45 on: to the exact size; `Dinov2WithRegistersModel` with antialias, the others without.
    Transformers,
}
