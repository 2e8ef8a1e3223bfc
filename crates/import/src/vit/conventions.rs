//! Whose names tensors have, and what they are called here: timm's, with `attn.q`, `attn.k`, `attn.v` for layers that
//! timm has in one, and DINOv2's `mlp.w12`, `mlp.w3`, which tell what timm's `mlp.fc1` does not.

use coverslip_bundle::limits::MAX_DEPTH;
use coverslip_bundle::{BundleError, fail};

/// Whose names the tensors have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Convention {
    /// timm's.
    Timm,
    /// Those of DINOv2's own code: timm's but for registers and gated MLPs.
    Dinov2,
    /// Those of transformers' ViTModel and Dinov2Model, on the hub and in memory (from 5.0 on).
    Transformers,
}

/// A library's names and ours. Layers have `.weight` and `.bias`, parameters neither. Of several names for one thing
/// the first one is the usual one.
struct Names {
    /// What comes before a block's number.
    blocks: &'static [&'static str],
    parameters: &'static [(&'static str, &'static str)],
    layers: &'static [(&'static str, &'static str)],
    block_parameters: &'static [(&'static str, &'static str)],
    block_layers: &'static [(&'static str, &'static str)],
}

/// timm's, and DINOv2's own.
const TIMM: Names = Names {
    blocks: &["blocks."],
    parameters: &[
        ("cls_token", "cls_token"),
        ("reg_token", "reg_token"),
        ("register_tokens", "reg_token"),
        ("pos_embed", "pos_embed"),
    ],
    layers: &[("patch_embed.proj", "patch_embed.proj"), ("norm", "norm")],
    block_parameters: &[("ls1.gamma", "ls1.gamma"), ("ls2.gamma", "ls2.gamma")],
    block_layers: &[
        ("norm1", "norm1"),
        ("norm2", "norm2"),
        ("attn.qkv", "attn.qkv"),
        ("attn.proj", "attn.proj"),
        ("mlp.fc1", "mlp.fc1"),
        ("mlp.fc2", "mlp.fc2"),
        ("mlp.fc1_g", "mlp.fc1_g"),
        ("mlp.fc1_x", "mlp.fc1_x"),
        ("mlp.w12", "mlp.w12"),
        ("mlp.w3", "mlp.w3"),
    ],
};

const TRANSFORMERS: Names = Names {
    blocks: &["encoder.layer.", "layers."],
    parameters: &[
        ("embeddings.cls_token", "cls_token"),
        ("embeddings.register_tokens", "reg_token"),
        ("embeddings.position_embeddings", "pos_embed"),
    ],
    layers: &[("embeddings.patch_embeddings.projection", "patch_embed.proj"), ("layernorm", "norm")],
    block_parameters: &[("layer_scale1.lambda1", "ls1.gamma"), ("layer_scale2.lambda1", "ls2.gamma")],
    block_layers: &[
        ("layernorm_before", "norm1"),
        ("norm1", "norm1"),
        ("layernorm_after", "norm2"),
        ("norm2", "norm2"),
        ("attention.attention.query", "attn.q"),
        ("attention.q_proj", "attn.q"),
        ("attention.attention.key", "attn.k"),
        ("attention.k_proj", "attn.k"),
        ("attention.attention.value", "attn.v"),
        ("attention.v_proj", "attn.v"),
        ("attention.output.dense", "attn.proj"),
        ("attention.o_proj", "attn.proj"),
        ("intermediate.dense", "mlp.fc1"),
        ("mlp.fc1", "mlp.fc1"),
        ("mlp.fc2", "mlp.fc2"),
        ("mlp.down_proj", "mlp.fc2"),
        ("output.dense", "mlp.fc2"),
        ("mlp.gate_proj", "mlp.fc1_g"),
        ("mlp.up_proj", "mlp.fc1_x"),
        ("mlp.weights_in", "mlp.w12"),
        ("mlp.weights_out", "mlp.w3"),
    ],
};

/// The tensor that every convention has, by which it is known.
pub(super) const ANCHORS: [(&str, Convention); 2] = [
    ("patch_embed.proj.weight", Convention::Timm),
    ("embeddings.patch_embeddings.projection.weight", Convention::Transformers),
];

/// Modules that no embedding needs: classifiers, heads and decoders of the training.
const HEADS: [&str; 10] = [
    "head",
    "head_dist",
    "classifier",
    "dino_head",
    "ibot_head",
    "pooler",
    "pre_logits",
    "mask_token",
    "masked_embed",
    "decoder",
];

/// A name, understood.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// Ours; and whether it was in a chunk of blocks.
    Part {
        name: String,
        chunked: bool,
    },
    /// Not needed.
    Head,
    Unknown,
}

impl Convention {
    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Timm => "timm's names",
            Self::Dinov2 => "DINOv2's own names",
            Self::Transformers => "transformers' names",
        }
    }

    fn names(self) -> &'static Names {
        match self {
            Self::Timm | Self::Dinov2 => &TIMM,
            Self::Transformers => &TRANSFORMERS,
        }
    }

    /// What the tensor `name` (without a prefix) is.
    ///
    /// # Errors
    /// `TooLarge` for a block beyond the limit.
    pub(super) fn meaning(self, name: &str) -> Result<Meaning, BundleError> {
        let names = self.names();
        if is_head(name) || name == "embeddings.mask_token" {
            return Ok(Meaning::Head);
        }
        for stem in names.blocks {
            let Some((chunk, index, rest)) = name.strip_prefix(stem).and_then(block_number) else { continue };
            let Some(part) = ours(rest, names.block_parameters, names.block_layers) else { break };
            if index >= MAX_DEPTH {
                fail!(TooLarge, "tensor `{name}` is of block {index}; at most {MAX_DEPTH} blocks are supported");
            }
            return Ok(Meaning::Part { name: format!("blocks.{index}.{part}"), chunked: chunk });
        }
        let part = ours(name, names.parameters, names.layers);
        Ok(part.map_or(Meaning::Unknown, |name| Meaning::Part { name, chunked: false }))
    }

    /// What this convention calls our tensor `name`: of two names one that `occurs` in the file.
    pub(super) fn theirs(self, name: &str, occurs: impl Fn(&str) -> bool) -> String {
        let names = self.names();
        let Some((_, index, rest)) = name.strip_prefix("blocks.").and_then(block_number) else {
            return theirs(name, names.parameters, names.layers, &occurs);
        };
        let stem = names.blocks.iter().find(|stem| occurs(stem)).unwrap_or(&names.blocks[0]);
        format!("{stem}{index}.{}", theirs(rest, names.block_parameters, names.block_layers, &occurs))
    }
}

/// Whether the module at the beginning of `name` is one that no embedding needs.
pub(super) fn is_head(name: &str) -> bool {
    let module = name.split('.').next().unwrap_or_default();
    HEADS.contains(&module) || module.starts_with("decoder_")
}

/// `3.attn.qkv.weight`, or `0.3.attn.qkv.weight` in DINOv2's chunks, where blocks are counted over all chunks:
/// whether it is in one, the block and the rest.
fn block_number(name: &str) -> Option<(bool, usize, &str)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<usize>().ok()).flatten();
    let (first, rest) = name.split_once('.')?;
    let first = number(first)?;
    match rest.split_once('.').and_then(|(second, rest)| Some((number(second)?, rest))) {
        Some((second, rest)) => Some((true, second, rest)),
        None => Some((false, first, rest)),
    }
}

fn split_layer(name: &str) -> Option<(&str, &str)> {
    let at = name.rfind('.')?;
    [".weight", ".bias"].contains(&&name[at..]).then(|| name.split_at(at))
}

fn ours(name: &str, parameters: &[(&str, &str)], layers: &[(&str, &str)]) -> Option<String> {
    if let Some((_, ours)) = parameters.iter().find(|(theirs, _)| *theirs == name) {
        return Some((*ours).to_owned());
    }
    let (layer, suffix) = split_layer(name)?;
    let (_, ours) = layers.iter().find(|(theirs, _)| *theirs == layer)?;
    Some(format!("{ours}{suffix}"))
}

fn theirs(name: &str, parameters: &[(&str, &str)], layers: &[(&str, &str)], occurs: &impl Fn(&str) -> bool) -> String {
    let (layer, suffix) = split_layer(name).unwrap_or((name, ""));
    let table = if suffix.is_empty() { parameters } else { layers };
    let mut known = table.iter().filter(|(_, ours)| *ours == layer).map(|(theirs, _)| *theirs);
    let usual = known.clone().next().unwrap_or(layer);
    format!("{}{suffix}", known.find(|theirs| occurs(theirs)).unwrap_or(usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(convention: Convention, name: &str) -> Option<(String, bool)> {
        match convention.meaning(name).unwrap() {
            Meaning::Part { name, chunked } => Some((name, chunked)),
            Meaning::Head | Meaning::Unknown => None,
        }
    }

    #[test]
    fn names_are_understood() {
        use Convention::{Dinov2, Timm, Transformers};
        let known = [
            (Timm, "blocks.11.attn.qkv.bias", "blocks.11.attn.qkv.bias", false),
            (Dinov2, "blocks.0.7.mlp.w12.weight", "blocks.7.mlp.w12.weight", true),
            (Dinov2, "register_tokens", "reg_token", false),
            (Transformers, "encoder.layer.3.layer_scale1.lambda1", "blocks.3.ls1.gamma", false),
            (Transformers, "layers.3.attention.k_proj.weight", "blocks.3.attn.k.weight", false),
            (Transformers, "encoder.layer.3.attention.attention.value.bias", "blocks.3.attn.v.bias", false),
            (Transformers, "layernorm.bias", "norm.bias", false),
        ];
        for (convention, name, ours, chunked) in known {
            assert_eq!(part(convention, name), Some((ours.to_owned(), chunked)), "{name}");
        }
        for name in ["blocks.0.attn.q_norm.weight", "blocks.x.norm1.weight", "blocks.0.norm1", "pos_embed.weight"] {
            assert_eq!(Timm.meaning(name).unwrap(), Meaning::Unknown, "{name}");
        }
        for name in ["head.weight", "mask_token", "decoder_blocks.0.norm1.weight", "pooler.dense.bias"] {
            assert_eq!(Timm.meaning(name).unwrap(), Meaning::Head, "{name}");
        }
        assert!(Timm.meaning("blocks.64.norm1.weight").is_err());
    }

    #[test]
    fn what_is_missing_is_called_as_in_the_file() {
        let here = |there: &'static [&'static str]| move |name: &str| there.contains(&name);
        let convention = Convention::Transformers;
        assert_eq!(convention.theirs("cls_token", here(&[])), "embeddings.cls_token");
        assert_eq!(convention.theirs("blocks.2.norm1.bias", here(&[])), "encoder.layer.2.layernorm_before.bias");
        assert_eq!(convention.theirs("blocks.2.norm1.bias", here(&["layers.", "norm1"])), "layers.2.norm1.bias");
        assert_eq!(Convention::Timm.theirs("blocks.2.mlp.fc1.bias", here(&[])), "blocks.2.mlp.fc1.bias");
    }
}
