//! `manifest.json`: what the bundle is. Every field that changes a number is here, and a field that this
//! version does not know is refused, because it might change one too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The value of [`Manifest::format`] that this version reads and writes.
pub const FORMAT: &str = "coverslip.bundle/1";
/// The manifest's file name.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The model's weights: a ViT's in timm's names, an ONNX model's by their names in its graph.
pub const MODEL_FILE: &str = "model.safetensors";
/// The graph of a model that came as ONNX; its weights are in [`MODEL_FILE`].
pub const GRAPH_FILE: &str = "model.onnx";
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

/// What the model is. Its weights are in [`MODEL_FILE`] in either case.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "family", rename_all = "snake_case")]
pub enum Architecture {
    /// A vision transformer as timm writes it, composed from its weights.
    Vit(Vit),
    /// A graph that somebody else exported, in [`GRAPH_FILE`].
    Onnx(OnnxModel),
}

/// Shape of the vision transformer: pre-norm blocks, fused qkv, no dropout.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Vit {
    /// Width of a token.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; divides `embed_dim`.
    pub heads: usize,
    /// Width and height of a patch, px; divides the manifest's `side`.
    pub patch: usize,
    /// Width of the MLP's hidden layer, after the gate where there is one.
    pub mlp_dim: usize,
    /// What the hidden layer does.
    #[serde(default)]
    pub mlp: Mlp,
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

/// The MLP of a block.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mlp {
    /// fc2(GELU(fc1 x)), GELU exact (erf).
    #[default]
    Gelu,
    /// fc2(SiLU(g)·v) where fc1 x is g, then v: timm's `SwiGLUPacked`, DINOv2's `w12`, `w3`.
    SwiGlu,
}

/// A graph as somebody else exported it, cut down to what the taps need.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxModel {
    /// Name of the image input.
    pub input: String,
    /// Order of its axes.
    pub layout: PixelLayout,
    /// Whether the graph runs one tile at a time only.
    pub single_tile: bool,
    /// Weights in the graph, counted by the importer.
    pub parameters: u64,
    /// Floating-point operations per tile in its matrix products and convolutions, counted by the importer.
    pub flops_per_tile: u64,
}

/// Order of an image input's axes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelLayout {
    /// `[batch, 3, height, width]`
    Nchw,
    /// `[batch, height, width, 3]`
    Nhwc,
}

/// How a tap turns tokens into one vector.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The class token.
    ClassToken,
    /// The mean of the patch tokens, without class and registers.
    MeanPatchTokens,
    /// Class token, then mean of the patch tokens: twice the width.
    ClassAndMean,
    /// The tensor is one vector per tile already (ONNX models only).
    None,
}

/// One embedding of the graph: `embedding_<name>`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "TapFields", into = "TapFields")]
pub struct Tap {
    /// `[a-z0-9_]{1,32}`, unique in the bundle.
    pub name: String,
    /// Where it reads.
    pub source: TapSource,
    /// How the tokens become one vector.
    pub pooling: Pooling,
}

/// Where a tap reads.
#[derive(Clone, Debug, PartialEq)]
pub enum TapSource {
    /// The tokens after a block of a ViT.
    Block {
        /// The block, counted from 0, after whose residual addition the tokens are taken.
        after_block: usize,
        /// Whether the model's final LayerNorm is applied before pooling.
        final_norm: bool,
    },
    /// A value of an ONNX graph: `[batch, tokens, width]`, or `[batch, width]` with [`Pooling::None`].
    Tensor {
        /// Its name in the graph.
        tensor: String,
        /// Values per token.
        width: usize,
        /// Tokens before the patches: class token and registers.
        prefix_tokens: usize,
    },
}

/// A [`Tap`] as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TapFields {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_block: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    final_norm: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tensor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix_tokens: Option<usize>,
    pooling: Pooling,
}

impl TryFrom<TapFields> for Tap {
    type Error = String;

    fn try_from(fields: TapFields) -> Result<Self, String> {
        let source = match fields {
            TapFields {
                after_block: Some(after_block),
                final_norm,
                tensor: None,
                width: None,
                prefix_tokens: None,
                ..
            } => TapSource::Block { after_block, final_norm: final_norm.unwrap_or(false) },
            TapFields {
                after_block: None,
                final_norm: None,
                tensor: Some(tensor),
                width: Some(width),
                prefix_tokens,
                ..
            } => TapSource::Tensor { tensor, width, prefix_tokens: prefix_tokens.unwrap_or(0) },
            _ => {
                return Err(format!(
                    "tap `{}`: expected `after_block` (with `final_norm`), or `tensor` and `width` (with \
                     `prefix_tokens`)",
                    fields.name.escape_default()
                ));
            }
        };
        Ok(Self { name: fields.name, source, pooling: fields.pooling })
    }
}

impl From<Tap> for TapFields {
    fn from(tap: Tap) -> Self {
        let mut fields = Self {
            name: tap.name,
            after_block: None,
            final_norm: None,
            tensor: None,
            width: None,
            prefix_tokens: None,
            pooling: tap.pooling,
        };
        match tap.source {
            TapSource::Block { after_block, final_norm } => {
                (fields.after_block, fields.final_norm) = (Some(after_block), Some(final_norm));
            }
            TapSource::Tensor { tensor, width, prefix_tokens } => {
                (fields.tensor, fields.width, fields.prefix_tokens) = (Some(tensor), Some(width), Some(prefix_tokens));
            }
        }
        fields
    }
}

impl Tap {
    /// Values in its embedding of a model of this architecture.
    pub fn width(&self, architecture: &Architecture) -> usize {
        let token = match (&self.source, architecture) {
            (TapSource::Tensor { width, .. }, _) => *width,
            (TapSource::Block { .. }, Architecture::Vit(vit)) => vit.embed_dim,
            // Only in an unchecked manifest.
            (TapSource::Block { .. }, Architecture::Onnx(_)) => 0,
        };
        match self.pooling {
            Pooling::ClassToken | Pooling::MeanPatchTokens | Pooling::None => token,
            Pooling::ClassAndMean => 2 * token,
        }
    }

    /// The block after which it reads, in a ViT.
    pub fn after_block(&self) -> Option<usize> {
        match self.source {
            TapSource::Block { after_block, .. } => Some(after_block),
            TapSource::Tensor { .. } => None,
        }
    }

    /// Whether it reads behind a ViT's final norm.
    pub fn final_norm(&self) -> bool {
        matches!(self.source, TapSource::Block { final_norm: true, .. })
    }
}

/// The SAE's activation: which of the pre-activations p become features.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SaeArchitecture {
    /// ReLU(p).
    Relu,
    /// The k largest of p, then ReLU.
    #[serde(rename = "topk")]
    TopK,
    /// The k largest of p as they are: features may be negative.
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

/// What is done to an embedding before the SAE, and undone after its decoder.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputStep {
    /// (x − input_mean)/input_std, value by value; both are tensors of the SAE.
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
    /// Name of the tap that it reads.
    pub tap: String,
    /// Its activation, stored as its name; None, stored as `none`, where the bundle has no SAE.
    #[serde(with = "stored_architecture")]
    pub architecture: Option<SaeArchitecture>,
    /// Width of the embedding: the tap's width.
    pub d_in: usize,
    /// Number of features.
    pub d_sae: usize,
    /// Features that may be active at once: `topk`, `signed_topk`, `groupmax`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// Features reported per tile, the largest first; equals `k` where there is one.
    pub outputs: usize,
    /// Steps before the SAE, in their order; undone in the reverse order behind the decoder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input: Vec<InputStep>,
    /// Whether `b_dec` is subtracted from the result of these steps.
    pub apply_b_dec_to_input: bool,
    /// Whether pre-activations are multiplied by ‖W_dec,i‖ and decoded features divided by it (`topk`).
    #[serde(default)]
    pub rescale_acts_by_decoder_norm: bool,
    /// Whether features were removed and `index_map` (i32 \[d_sae\]) has the original number of each.
    #[serde(default)]
    pub pruned: bool,
    /// What is normal for the data the SAE was trained on.
    pub reference: SaeReference,
    /// Names for features; features without one are known by their index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<FeatureLabel>,
}

/// How a manifest names the activation: `none` is a name of its own, not a missing field.
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
    /// What a manifest says where there is no SAE yet: the tap that one would read, and one feature that is never active,
    /// so that the graph of every bundle has the same outputs.
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

    /// Features that a host sees: none where there is no SAE.
    pub fn features(&self) -> usize {
        if self.architecture.is_none() { 0 } else { self.d_sae }
    }

    /// Features that a host gets per tile.
    pub fn features_per_tile(&self) -> usize {
        self.outputs.min(self.features())
    }
}

impl SaeReference {
    /// Figures that pass the checks and say nothing.
    pub(crate) fn none() -> Self {
        let error_quantiles = ["0.5", "0.99"].map(|level| (level.to_owned(), 0.0)).into();
        Self { mean_square_deviation: 1.0, error_quantiles, tiles: 0 }
    }
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
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureLabel {
    /// The feature, 0 ≤ index < `d_sae`.
    pub index: usize,
    /// Its name.
    pub label: String,
    /// Where the name comes from and what speaks for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// The cells whose counts it follows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cell_type: String,
    /// Pearson's r with these counts, −1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<f64>,
    /// Tiles that r was measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<u64>,
    /// What these tiles are called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dataset: String,
}

impl Vit {
    /// Tokens before the patches: class token and registers.
    pub fn prefix_tokens(&self) -> usize {
        usize::from(self.class_token) + self.register_tokens
    }

    /// Patches of a tile of `side` px.
    pub fn patches(&self, side: usize) -> usize {
        (side / self.patch).pow(2)
    }

    /// Tokens of a tile of `side` px: class token, registers and patches.
    pub fn tokens(&self, side: usize) -> usize {
        self.prefix_tokens() + self.patches(side)
    }

    /// Rows of the hidden layer's weight: twice its width where half of them is the gate.
    pub(crate) fn fc1_rows(&self) -> usize {
        match self.mlp {
            Mlp::Gelu => self.mlp_dim,
            Mlp::SwiGlu => 2 * self.mlp_dim,
        }
    }
}

impl Manifest {
    /// Values in a tap's embedding.
    pub fn tap_width(&self, tap: &Tap) -> usize {
        tap.width(&self.architecture)
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
