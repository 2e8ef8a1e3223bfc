//! `manifest.json` describes the bundle. It has every field that changes a number; a field that this version does not
//! know is refused, because it might change one too.

mod int8;
mod sae;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
pub use int8::{Int8, Int8Gate, Int8Layer, Int8Rest};
pub use sae::{FeatureLabel, InputStep, LabelTest, Sae, SaeArchitecture, SaeReference};

/// The value of [`Manifest::format`] that this version reads and writes.
pub const FORMAT: &str = "coverslip.bundle/1";
/// The manifest's file name.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The model's weights: a ViT's under timm's names, an ONNX model's under their names in its graph.
pub const MODEL_FILE: &str = "model.safetensors";
/// The graph of an ONNX model; its weights are in [`MODEL_FILE`].
pub const GRAPH_FILE: &str = "model.onnx";
/// The SAE's weights, under SAELens' names.
pub const SAE_FILE: &str = "sae.safetensors";
/// Tiles and outputs for the self-check.
pub const REFERENCE_FILE: &str = "reference.safetensors";

/// The factors of the norms before layers in int8, if the manifest has [`Manifest::int8`].
pub const INT8_FILE: &str = "int8.safetensors";

/// A bundle's description, read from `manifest.json` and checked by [`crate::Bundle::open`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// A short name, shown to people.
    pub name: String,
    /// What the bundle is and what it is for, in a sentence or two.
    #[serde(default)]
    pub description: String,
    /// SPDX expression of the bundle's licence.
    pub licence: String,
    /// The origin of weights and data, with the attribution that their licences require.
    pub source: String,
    /// Width and height of the model's input, px.
    pub side: usize,
    /// Size of the model's input pixels, µm/px.
    pub mpp: f64,
    /// Mean of pixel/255 that the model's preprocessing subtracts: R, G, B.
    pub mean: [f64; 3],
    /// Standard deviation of pixel/255 that the preprocessing divides by: R, G, B.
    pub std: [f64; 3],
    /// The model's family and shape.
    pub architecture: Architecture,
    /// The embeddings that the graph outputs, in order.
    pub taps: Vec<Tap>,
    /// The sparse autoencoder on one of the taps.
    pub sae: Sae,
    /// The layers that a CPU engine may run in int8; `None`: none has been chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8: Option<Int8>,
    /// Size and digest of every other file in the directory, by name.
    pub files: BTreeMap<String, FileEntry>,
    /// Free notes (training, provenance, tools). They change no number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, serde_json::Value>,
}

/// One file's size and digest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// Digest of the content.
    pub sha256: Digest,
}

/// The model's family and shape. The weights are in [`MODEL_FILE`] in either case.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "family", rename_all = "snake_case")]
pub enum Architecture {
    /// A vision transformer in timm's form; the composer writes its graph from the weights.
    Vit(Vit),
    /// A graph exported by another program, in [`GRAPH_FILE`].
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
    /// Width of the MLP's hidden layer, after the gate if it has one.
    pub mlp_dim: usize,
    /// The kind of MLP.
    #[serde(default)]
    pub mlp: Mlp,
    /// Whether a class token precedes registers and patches.
    pub class_token: bool,
    /// Number of register tokens, after the class token.
    pub register_tokens: usize,
    /// timm's `no_embed_class`: `pos_embed` covers the patches only, not class and register tokens.
    pub no_embed_class: bool,
    /// Whether `attn.qkv` has a bias.
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
    /// fc2(SiLU(g)·v), where fc1 x is g followed by v: timm's `SwiGLUPacked`, DINOv2's `w12` and `w3`.
    SwiGlu,
}

/// A graph exported by another program, reduced to what the taps need.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxModel {
    /// Name of the image input.
    pub input: String,
    /// Order of the input's axes.
    pub layout: PixelLayout,
    /// Whether the graph takes only one tile at a time.
    pub single_tile: bool,
    /// Number of weights, counted by the importer.
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
    /// The mean of the patch tokens, without class and register tokens.
    MeanPatchTokens,
    /// The class token followed by the mean of the patch tokens: twice the width.
    ClassAndMean,
    /// No pooling, of all patch tokens: they lie one after the other, row by row of their grid. For training on tokens
    /// in the lab; neither an SAE of the bundle nor a profile reads such a tap.
    PatchTokens,
    /// No pooling: the tensor has one vector per tile already (ONNX models only).
    None,
}

/// One embedding of the graph, its output `embedding_<name>`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "TapFields", into = "TapFields")]
pub struct Tap {
    /// `[a-z0-9_]{1,32}`, unique in the bundle.
    pub name: String,
    /// The value that the tap reads.
    pub source: TapSource,
    /// How its tokens become one vector.
    pub pooling: Pooling,
}

/// The value that a tap reads.
#[derive(Clone, Debug, PartialEq)]
pub enum TapSource {
    /// The tokens after a block of a ViT.
    Block {
        /// Index of the block; the tokens are taken after its last residual addition.
        after_block: usize,
        /// Whether the model's final LayerNorm is applied before pooling.
        final_norm: bool,
    },
    /// A value of an ONNX graph: `[batch, tokens, width]`, or `[batch, width]` with [`Pooling::None`].
    Tensor {
        /// The value's name in the graph.
        tensor: String,
        /// Values per token.
        width: usize,
        /// Tokens before the patches: class token and registers.
        prefix_tokens: usize,
        /// Patches of a tile, with [`Pooling::PatchTokens`]; else 0.
        patches: usize,
    },
}

/// The stored form of a [`Tap`].
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    patches: Option<usize>,
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
                patches: None,
                ..
            } => TapSource::Block { after_block, final_norm: final_norm.unwrap_or(false) },
            TapFields {
                after_block: None,
                final_norm: None,
                tensor: Some(tensor),
                width: Some(width),
                prefix_tokens,
                patches,
                pooling,
                ..
            } if patches.is_some() == (pooling == Pooling::PatchTokens) => TapSource::Tensor {
                tensor,
                width,
                prefix_tokens: prefix_tokens.unwrap_or(0),
                patches: patches.unwrap_or(0),
            },
            _ => {
                return Err(format!(
                    "tap `{}`: expected `after_block` (with `final_norm`), or `tensor` and `width` (with \
                     `prefix_tokens`, and with `patches` where the pooling is `patch_tokens`)",
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
            patches: None,
            pooling: tap.pooling,
        };
        match tap.source {
            TapSource::Block { after_block, final_norm } => {
                (fields.after_block, fields.final_norm) = (Some(after_block), Some(final_norm));
            }
            TapSource::Tensor { tensor, width, prefix_tokens, patches } => {
                fields.patches = (tap.pooling == Pooling::PatchTokens).then_some(patches);
                (fields.tensor, fields.width, fields.prefix_tokens) = (Some(tensor), Some(width), Some(prefix_tokens));
            }
        }
        fields
    }
}

impl Tap {
    /// Width of the tap's embedding in a model of this architecture and input.
    pub fn width(&self, architecture: &Architecture, side: usize) -> usize {
        let (token, patches) = self.tokens(architecture, side);
        match self.pooling {
            Pooling::ClassToken | Pooling::MeanPatchTokens | Pooling::None => token,
            Pooling::ClassAndMean => 2 * token,
            Pooling::PatchTokens => token.saturating_mul(patches),
        }
    }

    /// Width of a token, and patches of a tile.
    fn tokens(&self, architecture: &Architecture, side: usize) -> (usize, usize) {
        match (&self.source, architecture) {
            (TapSource::Tensor { width, patches, .. }, _) => (*width, *patches),
            (TapSource::Block { .. }, Architecture::Vit(vit)) => (vit.embed_dim, vit.patches(side)),
            // Only in an unchecked manifest.
            (TapSource::Block { .. }, Architecture::Onnx(_)) => (0, 0),
        }
    }

    /// The block after which the tap reads a ViT.
    pub fn after_block(&self) -> Option<usize> {
        match self.source {
            TapSource::Block { after_block, .. } => Some(after_block),
            TapSource::Tensor { .. } => None,
        }
    }

    /// Whether a ViT's final norm is applied before pooling.
    pub fn final_norm(&self) -> bool {
        matches!(self.source, TapSource::Block { final_norm: true, .. })
    }
}

impl Vit {
    /// Tokens before the patches: class token and registers.
    pub fn prefix_tokens(&self) -> usize {
        usize::from(self.class_token) + self.register_tokens
    }

    /// Patches in a tile of `side` px.
    pub fn patches(&self, side: usize) -> usize {
        (side / self.patch).pow(2)
    }

    /// Tokens of a tile of `side` px: class token, registers, patches.
    pub fn tokens(&self, side: usize) -> usize {
        self.prefix_tokens() + self.patches(side)
    }

    /// Rows of fc1's weight: twice the hidden layer's width if half of them are the gate.
    pub(crate) fn fc1_rows(&self) -> usize {
        match self.mlp {
            Mlp::Gelu => self.mlp_dim,
            Mlp::SwiGlu => 2 * self.mlp_dim,
        }
    }
}

impl Manifest {
    /// Width of a tap's embedding.
    pub fn tap_width(&self, tap: &Tap) -> usize {
        tap.width(&self.architecture, self.side)
    }

    /// Width of a patch token and the number of patches, of a tap that has them one by one.
    pub fn patch_tokens(&self, tap: &Tap) -> Option<(usize, usize)> {
        (tap.pooling == Pooling::PatchTokens).then(|| tap.tokens(&self.architecture, self.side))
    }

    /// Number of a ViT's blocks that the taps need: those up to the last tap.
    pub fn blocks_read(&self) -> usize {
        self.taps.iter().filter_map(Tap::after_block).map(|block| block + 1).max().unwrap_or(0)
    }

    /// Index in [`Manifest::taps`] of the tap that the SAE reads; `None` only in an unchecked manifest.
    pub fn sae_tap(&self) -> Option<usize> {
        self.taps.iter().position(|tap| tap.name == self.sae.tap)
    }

    /// The quantile of the reconstruction error at `level` (0 to 1), if the bundle states it.
    pub fn error_quantile(&self, level: f64) -> Option<f64> {
        let quantiles = &self.sae.reference.error_quantiles;
        quantiles
            .iter()
            .find(|(name, _)| name.parse::<f64>().is_ok_and(|found| (found - level).abs() < 1e-9))
            .map(|(_, value)| *value)
    }
}
