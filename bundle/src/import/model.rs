//! A vision transformer in timm's names. Its shape is read off the tensors; `model.json` says what they
//! cannot: heads, ε, preprocessing, µm/px, taps.

use serde::Deserialize;

use std::sync::Arc;

use super::{Checkpoint, Precision};
use crate::error::{BundleError, fail};
use crate::manifest::{Mlp, Pooling, Tap, TapSource, Vit};
use crate::weights::{Weight, Weights};

/// `model.json`. Shapes are optional: they are compared with the weights. A field that is not here is
/// refused: it might be one of these, misspelt, or something that changes a number.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Must name timm's `VisionTransformer`, or nothing.
    pub architecture: Option<String>,
    /// Must be exact GELU (`gelu`, `gelu_erf`), or nothing.
    #[serde(alias = "act_layer")]
    pub activation: Option<String>,
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
    /// Model input, px.
    #[serde(alias = "side")]
    pub img_size: Option<usize>,
    /// Hidden width of the MLP over `embed_dim`.
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
    /// µm/px of the model's input.
    pub mpp: Option<f64>,
    /// Mean of pixel/255, R G B.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of pixel/255, R G B.
    pub std: Option<[f64; 3]>,
    /// The taps.
    #[serde(default)]
    pub taps: Vec<TapSpec>,
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

/// A model, read.
#[derive(Clone, Debug)]
pub struct ImportedModel {
    /// Its shape.
    pub architecture: Vit,
    /// Model input, px.
    pub side: usize,
    /// Its taps.
    pub taps: Vec<Tap>,
    /// Its weights as they will be stored.
    pub weights: Weights,
    /// Tensors that are left out because no embedding needs them (the classifier).
    pub left_out: Vec<String>,
}

/// Reads a ViT in timm's names.
///
/// # Errors
/// `Unsupported`, by name, for other conventions; `Missing` and `Invalid` where weights and `spec`
/// contradict each other.
pub fn import_model(
    file: &Arc<Checkpoint>,
    spec: &ModelSpec,
    precision: Precision,
) -> Result<ImportedModel, BundleError> {
    refuse_stated(spec)?;
    refuse_found(file)?;
    let (architecture, side) = infer(file, spec)?;
    compare(&architecture, side, spec)?;
    let head = |name: &str| name.starts_with("head.") || name.starts_with("head_dist.");
    let mut weights = Weights::default();
    for name in file.names().filter(|name| !head(name)) {
        if let (Some(shape), Some(element)) = (file.shape(name), file.element(name)) {
            let pieces = vec![(name.to_owned(), 0..shape.first().copied().unwrap_or(1))];
            weights.insert(name, Weight::rows(file, pieces, shape.to_vec(), precision.stored(element)));
        }
    }
    let tap = |tap: &TapSpec| Tap {
        name: tap.name.clone(),
        source: TapSource::Block { after_block: tap.block, final_norm: tap.after_norm },
        pooling: tap.pooling,
    };
    Ok(ImportedModel {
        taps: spec.taps.iter().map(tap).collect(),
        architecture,
        side,
        weights,
        left_out: file.names().filter(|name| head(name)).map(str::to_owned).collect(),
    })
}

fn refuse_stated(spec: &ModelSpec) -> Result<(), BundleError> {
    if let Some(found) = &spec.architecture
        && !["vit", "VisionTransformer", "timm.VisionTransformer"].contains(&found.as_str())
        && !found.starts_with("vit_")
    {
        fail!(Unsupported, "architecture `{found}`: not supported in this version; expected timm's VisionTransformer");
    }
    if let Some(found) = &spec.activation
        && !["gelu", "gelu_erf"].contains(&found.as_str())
    {
        fail!(Unsupported, "activation `{found}`: not supported in this version; expected exact GELU (`gelu`)");
    }
    Ok(())
}

/// Parts of names that other conventions have, and what they mean.
const OTHER_CONVENTIONS: [(&str, &str); 19] = [
    ("mlp.fc1_g", "a gated MLP (SwiGLU, fc1_g/fc1_x)"),
    ("mlp.w12", "a packed gated MLP (SwiGLU, w12)"),
    ("mlp.w1", "a gated MLP (SwiGLU, w1/w2/w3)"),
    ("attn.q_norm", "normalised queries (qk-norm)"),
    ("attn.k_norm", "normalised keys (qk-norm)"),
    ("attn.q_proj", "separate q, k and v layers"),
    ("attn.q.", "separate q, k and v layers"),
    ("attn.q_bias", "separate q and v biases (BEiT)"),
    ("relative_position", "relative position biases"),
    ("rope", "rotary position embeddings"),
    ("attn.norm", "a norm inside attention"),
    ("mlp.norm", "a norm inside the MLP"),
    ("norm_pre.", "a norm before the blocks (CLIP)"),
    ("patch_embed.norm", "a norm in the patch embedding"),
    ("fc_norm.", "timm's fc_norm (global_pool=\"avg\")"),
    ("embeddings.", "Hugging Face transformers' names"),
    ("encoder.layer", "Hugging Face transformers' or torchvision's names"),
    ("visual.", "open_clip's names"),
    ("mask_token", "DINOv2's own names"),
];

fn refuse_found(file: &Checkpoint) -> Result<(), BundleError> {
    for name in file.names() {
        if let Some((_, meaning)) = OTHER_CONVENTIONS.iter().find(|(part, _)| name.contains(part)) {
            fail!(
                Unsupported,
                "not supported in this version: found tensor `{name}`, {meaning}; expected a \
                 VisionTransformer in timm's names (blocks.N.attn.qkv, mlp.fc1, mlp.fc2); convert the \
                 model with timm where it has a counterpart there"
            );
        }
    }
    for needed in ["pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight"] {
        if !file.contains(needed) {
            let first = file.names().next().unwrap_or("no tensor at all");
            fail!(
                Unsupported,
                "not supported in this version: no tensor `{needed}` (the first one is `{first}`); expected \
                 a VisionTransformer in timm's names with a learned position embedding; convert the model"
            );
        }
    }
    Ok(())
}

fn infer(file: &Checkpoint, spec: &ModelSpec) -> Result<(Vit, usize), BundleError> {
    let shape = |name: &str, rank: usize| match file.shape(name) {
        Some(shape) if shape.len() == rank => Ok(shape),
        Some(shape) => fail!(Invalid, "tensor `{name}` has shape {shape:?}, expected {rank} dimensions"),
        None => fail!(Missing, "tensor `{name}` is missing"),
    };
    let kernel = shape("patch_embed.proj.weight", 4)?;
    let (embed_dim, patch) = (kernel[0], kernel[2]);
    let depth = (0..).find(|i| !file.contains(&format!("blocks.{i}.norm1.weight")));
    let class_token = file.contains("cls_token");
    let register_tokens = if file.contains("reg_token") { shape("reg_token", 3)?[1] } else { 0 };
    let prefix = usize::from(class_token) + register_tokens;
    let (side, no_embed_class) = positions(shape("pos_embed", 3)?[1], prefix, patch, spec)?;
    let Some(heads) = spec.num_heads else {
        fail!(
            Missing,
            "the number of attention heads is not stated, and weights do not tell it; expected \
             \"num_heads\" in model.json (or --heads); often embed_dim / 64, here {}",
            embed_dim / 64
        );
    };
    let architecture = Vit {
        mlp: Mlp::Gelu,
        embed_dim,
        depth: depth.unwrap_or(0),
        heads,
        patch,
        mlp_dim: shape("blocks.0.mlp.fc1.weight", 2)?[0],
        class_token,
        register_tokens,
        no_embed_class,
        qkv_bias: file.contains("blocks.0.attn.qkv.bias"),
        layer_scale: file.contains("blocks.0.ls1.gamma"),
        layer_norm_eps: spec.layer_norm_eps.unwrap_or(1e-6),
    };
    Ok((architecture, side))
}

/// Model input and `no_embed_class`, from the rows of `pos_embed`: patches alone, or with the tokens
/// before them. Squares are sparse, so at most one reading fits a square grid when there is a prefix of
/// one; what is stated decides where both would.
fn positions(rows: usize, prefix: usize, patch: usize, spec: &ModelSpec) -> Result<(usize, bool), BundleError> {
    let square = |n: usize| Some(n.isqrt()).filter(|root| *root > 0 && root * root == n);
    let stated = |side: &usize| spec.img_size.is_none_or(|stated| stated == *side);
    let with = rows.checked_sub(prefix).and_then(square).map(|root| root * patch).filter(stated);
    let without = square(rows).map(|root| root * patch).filter(stated);
    match (with, without, spec.no_embed_class) {
        (Some(side), _, Some(false)) | (Some(side), None, None) => Ok((side, false)),
        (_, Some(side), Some(true)) | (None, Some(side), None) => Ok((side, true)),
        (Some(side), Some(_), None) => Ok((side, false)),
        _ => fail!(
            Unsupported,
            "not supported in this version: `pos_embed` has {rows} rows, which is no square grid of patches \
             with or without the {prefix} tokens before it{}; expected a fixed square input; resample the \
             position embedding with timm first",
            spec.img_size.map(|side| format!(" at {side} px")).unwrap_or_default()
        ),
    }
}

fn compare(found: &Vit, side: usize, spec: &ModelSpec) -> Result<(), BundleError> {
    let mlp = spec.mlp_ratio.map(|ratio| (ratio * found.embed_dim as f64) as usize);
    let sizes = [
        ("embed_dim", spec.embed_dim, found.embed_dim),
        ("depth", spec.depth, found.depth),
        ("patch_size", spec.patch_size, found.patch),
        ("img_size", spec.img_size, side),
        ("mlp_ratio × embed_dim", mlp, found.mlp_dim),
        ("register_tokens", spec.register_tokens, found.register_tokens),
        ("class_token", spec.class_token.map(usize::from), usize::from(found.class_token)),
        ("layer_scale", spec.layer_scale.map(usize::from), usize::from(found.layer_scale)),
    ];
    for (name, stated, found) in sizes {
        if stated.is_some_and(|stated| stated != found) {
            fail!(
                Invalid,
                "model.json says {name} {}, the weights have {found}; they do not belong together",
                stated.unwrap_or_default()
            );
        }
    }
    Ok(())
}
