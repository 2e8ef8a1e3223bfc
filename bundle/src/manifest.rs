//! `manifest.json`: what the bundle is. Every field that changes a number is here, and a field that this
//! version does not know is refused, because it might change one too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The value of [`Manifest::format`] that this version reads and writes.
pub const FORMAT: &str = "coverslip.bundle/1";
/// The manifest's file name.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The ViT's weights, in timm's names.
pub const MODEL_FILE: &str = "model.safetensors";
/// The SAE's weights, in SAELens' names.
pub const SAE_FILE: &str = "sae.safetensors";
/// The self-check's tiles and outputs.
pub const REFERENCE_FILE: &str = "reference.safetensors";

/// What a bundle is: read from `manifest.json`, checked by [`crate::Bundle::open`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// A short name, shown to people.
    pub name: String,
    /// What the bundle is and is for, in a sentence or two.
    #[serde(default)]
    pub description: String,
    /// SPDX expression of the bundle's licence.
    pub licence: String,
    /// Where weights and data come from, with the attribution that their licences ask for.
    pub source: String,
    /// Width and height of the model's input, px.
    pub side: usize,
    /// Size of the model's input pixels, µm/px.
    pub mpp: f64,
    /// Per channel R, G, B: mean of pixel/255 that the model's preprocessing subtracts.
    pub mean: [f64; 3],
    /// Per channel R, G, B: standard deviation of pixel/255 that the preprocessing divides by.
    pub std: [f64; 3],
    /// Shape of the model.
    pub architecture: Architecture,
    /// The embeddings that the graph puts out, in the graph's order.
    pub taps: Vec<Tap>,
    /// The sparse autoencoder on one of the taps.
    pub sae: Sae,
    /// Every other file of the directory, by its name: size and digest.
    pub files: BTreeMap<String, FileEntry>,
    /// Free notes (training, provenance, tools). Nothing here changes a number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, serde_json::Value>,
}

/// One file's size and digest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// sha256 of the content.
    pub sha256: Digest,
}

/// The families of models that version 1 composes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// A vision transformer as timm writes it: pre-norm blocks, fused qkv, MLP with exact GELU.
    Vit,
}

/// Shape of the vision transformer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The family; its conventions are in `docs/bundle-format.md`.
    pub family: Family,
    /// Width of a token.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; divides `embed_dim`.
    pub heads: usize,
    /// Width and height of a patch, px; divides the manifest's `side`.
    pub patch: usize,
    /// Width of the MLP's hidden layer.
    pub mlp_dim: usize,
    /// Whether a class token precedes the registers and patches.
    pub class_token: bool,
    /// Number of register tokens, after the class token.
    pub register_tokens: usize,
    /// timm's `no_embed_class`: `pos_embed` covers the patches only, not class and register tokens.
    pub no_embed_class: bool,
    /// Whether `attn.qkv.bias` is there.
    pub qkv_bias: bool,
    /// Whether the residual branches are scaled (`ls1.gamma`, `ls2.gamma`).
    pub layer_scale: bool,
    /// ε of every LayerNorm.
    pub layer_norm_eps: f64,
}

/// How a tap turns tokens into one vector.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The class token: `embed_dim` values.
    ClassToken,
    /// The mean of the patch tokens, without class and registers: `embed_dim` values.
    MeanPatchTokens,
    /// Class token, then mean of the patch tokens: 2 × `embed_dim` values.
    ClassAndMean,
}

/// One embedding of the graph: `embedding_<name>`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tap {
    /// `[a-z0-9_]{1,32}`, unique in the bundle.
    pub name: String,
    /// The block, counted from 0, after whose residual addition the tokens are taken.
    pub after_block: usize,
    /// Whether the model's final LayerNorm is applied before pooling.
    pub final_norm: bool,
    /// How the tokens become one vector.
    pub pooling: Pooling,
}

/// The SAE's activation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SaeArchitecture {
    /// SAELens' `standard`: ReLU(p).
    Relu,
    /// The k largest of p, then ReLU.
    TopK,
    /// ReLU(p)·1\[p > θ\], strict.
    JumpRelu,
}

/// What is done to an embedding before the SAE, and undone after its decoder.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// Nothing.
    None,
    /// x·√d/‖x‖.
    ConstantNormRescale,
    /// (x−μ)/(σ+1e-5) with the unbiased σ of the d values.
    LayerNorm,
}

/// The sparse autoencoder.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sae {
    /// Name of the tap that it reads.
    pub tap: String,
    /// Its activation.
    pub architecture: SaeArchitecture,
    /// Width of the embedding: the tap's width.
    pub d_in: usize,
    /// Number of features.
    pub d_sae: usize,
    /// Features that may be active at once; `topk` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// Features reported per tile, the largest first; equals `k` for `topk`.
    pub outputs: usize,
    /// Whether `b_dec` is subtracted from the (normalised) input.
    pub apply_b_dec_to_input: bool,
    /// Normalisation around the SAE.
    pub normalize_activations: Normalization,
    /// Whether pre-activations are multiplied by ‖W_dec,i‖ and decoded features divided by it (`topk`).
    #[serde(default)]
    pub rescale_acts_by_decoder_norm: bool,
    /// What is normal for the data the SAE was trained on.
    pub reference: SaeReference,
    /// Names for features; features without one are known by their index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<FeatureLabel>,
}

/// Statistics of the SAE's training (or calibration) data, in embedding space.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SaeReference {
    /// mean ‖x−x̄‖²: the unit of `reconstruction_error`. x̄ itself is `sae.mean` in the reference file.
    pub mean_square_deviation: f64,
    /// Quantiles of `reconstruction_error` on that data, by level ("0.5", "0.99", …), ascending.
    pub error_quantiles: BTreeMap<String, f64>,
    /// How many tiles the figures come from.
    pub tiles: u64,
}

/// A feature's name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureLabel {
    /// The feature, 0 ≤ index < `d_sae`.
    pub index: usize,
    /// Its name.
    pub label: String,
    /// Where the name comes from and what speaks for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
}

impl Architecture {
    /// Tokens before the patches: class token and registers.
    pub fn prefix_tokens(&self) -> usize {
        usize::from(self.class_token) + self.register_tokens
    }
}

impl Manifest {
    /// Patches per tile.
    pub fn patches(&self) -> usize {
        (self.side / self.architecture.patch).pow(2)
    }

    /// Tokens per tile: class token, registers and patches.
    pub fn tokens(&self) -> usize {
        self.architecture.prefix_tokens() + self.patches()
    }

    /// Values in a tap's embedding.
    pub fn tap_width(&self, tap: &Tap) -> usize {
        match tap.pooling {
            Pooling::ClassToken | Pooling::MeanPatchTokens => self.architecture.embed_dim,
            Pooling::ClassAndMean => 2 * self.architecture.embed_dim,
        }
    }

    /// Index in [`Manifest::taps`] of the tap that the SAE reads; `None` only in an unchecked manifest.
    pub fn sae_tap(&self) -> Option<usize> {
        self.taps.iter().position(|tap| tap.name == self.sae.tap)
    }

    /// The reconstruction error's quantile at `level` (0 to 1), if the bundle states it.
    pub fn error_quantile(&self, level: f64) -> Option<f64> {
        let quantiles = &self.sae.reference.error_quantiles;
        quantiles
            .iter()
            .find(|(name, _)| name.parse::<f64>().is_ok_and(|found| (found - level).abs() < 1e-9))
            .map(|(_, value)| *value)
    }
}
