//! Tensors that no supported model has. An error names all of them and what is known about them.

use super::super::Checkpoint;
use coverslip_bundle::{BundleError, BundleErrorKind};

/// Words of tensor names, and the features that they indicate. The first that fits counts.
const MEANINGS: [(&str, &str); 32] = [
    ("mlp.w1.", "a gated MLP in three layers (w1, w2, w3)"),
    ("mlp.w2.", "a gated MLP in three layers (w1, w2, w3)"),
    ("attn.q_norm", "normalised queries (qk-norm)"),
    ("attn.k_norm", "normalised keys (qk-norm)"),
    ("attn.q_proj", "separate q, k and v layers (EVA)"),
    ("attn.k_proj", "separate q, k and v layers (EVA)"),
    ("attn.v_proj", "separate q, k and v layers (EVA)"),
    ("attn.q_bias", "separate q and v biases (BEiT)"),
    ("attn.v_bias", "separate q and v biases (BEiT)"),
    ("relative_position", "relative position biases"),
    ("rel_pos", "relative positions"),
    ("rope", "rotary position embeddings"),
    ("attn.norm", "a norm inside attention"),
    ("attn.inner_attn_ln", "a norm inside attention"),
    ("mlp.norm", "a norm inside the MLP"),
    ("mlp.ffn_ln", "a norm inside the MLP"),
    ("norm_pre.", "a norm before the blocks (CLIP)"),
    ("pre_layrnorm", "a norm before the blocks (CLIP)"),
    ("patch_embed.norm", "a norm in the patch embedding"),
    ("fc_norm.", "timm's fc_norm, a norm after pooling (global_pool=\"avg\")"),
    ("attn_pool", "attention pooling (AttentionPoolLatent)"),
    ("dist_token", "a distillation token (DeiT)"),
    ("distillation_token", "a distillation token (DeiT)"),
    ("storage_tokens", "DINOv3's registers"),
    ("lora", "LoRA weights that are not merged"),
    ("sampler", "a learned pooling"),
    ("resampler", "a learned pooling"),
    ("text", "a text model beside the vision transformer"),
    ("downsample", "a hierarchical transformer (Swin)"),
    ("pretext_token", "a token of PathoDuet's pretraining beside the class token"),
    ("token", "a further token beside the class token"),
    ("tokens", "further tokens beside the class token"),
];

/// Tensors by which models of other conventions are recognised.
const OTHER_MODELS: [(&str, &str); 9] = [
    ("conv_proj.weight", "torchvision's VisionTransformer"),
    ("visual.conv1.weight", "open_clip's own names"),
    ("vision_model.embeddings", "transformers' CLIP or SigLIP"),
    ("class_embedding", "CLIP"),
    ("stem.", "a convolutional network"),
    ("conv1.weight", "a convolutional network, or CLIP"),
    ("patch_embed.", "another patch embedding than one convolution"),
    ("embeddings.", "another model of transformers"),
    ("encoder.", "another kind of encoder"),
];

/// Refuses `names`, if there are any.
pub(super) fn refuse(names: &[&str]) -> Result<(), BundleError> {
    if names.is_empty() {
        return Ok(());
    }
    let meaning = |name: &str| MEANINGS.iter().find(|(part, _)| has_words(name, part)).map(|(_, meaning)| *meaning);
    let (known, other): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| meaning(name).is_some());
    let mut parts: Vec<String> = Vec::new();
    for text in MEANINGS.map(|(_, meaning)| meaning) {
        let of: Vec<&str> = known.iter().copied().filter(|name| meaning(name) == Some(text)).collect();
        let part = format!("{text}: {}", grouped(&of));
        if !of.is_empty() && !parts.contains(&part) {
            parts.push(part);
        }
    }
    if !other.is_empty() {
        parts.push(format!("unknown: {}", grouped(&other)));
    }
    let kind = if known.is_empty() { BundleErrorKind::Invalid } else { BundleErrorKind::Unsupported };
    Err(BundleError::new(
        kind,
        format!(
            "not supported in this version: found tensors of {}; expected a plain VisionTransformer and nothing \
             else, since ignoring a tensor could change the outputs; export the whole model to ONNX and give that file \
             as --weights",
            parts.join("; ")
        ),
    ))
}

/// The error for a file without a vision transformer.
pub(super) fn no_model(checkpoint: &Checkpoint) -> BundleError {
    let hint = OTHER_MODELS.iter().find_map(|(part, meaning)| {
        let name = checkpoint.names().find(|name| has_words(name, part))?;
        Some(format!("; `{name}` belongs to {meaning}"))
    });
    let first =
        checkpoint.names().next().map_or("there is none at all".into(), |name| format!("the first is `{name}`"));
    BundleError::new(
        BundleErrorKind::Unsupported,
        format!(
            "not supported in this version: no tensor `patch_embed.proj.weight` (timm, DINOv2) or \
             `embeddings.patch_embeddings.projection.weight` (transformers), with or without a prefix; {first}{}; \
             expected a vision transformer; convert the model",
            hint.unwrap_or_default()
        ),
    )
}

/// Whether the words of `part` follow each other in `name`. A word ends at a dot or an underscore: `text` is a word of
/// `text_model.proj`, and none of `pretext_token`.
fn has_words(name: &str, part: &str) -> bool {
    let words = |text: &str| text.split(['.', '_']).map(str::to_owned).filter(|word| !word.is_empty()).collect();
    let (name, part): (Vec<String>, Vec<String>) = (words(name), words(part));
    name.windows(part.len()).any(|some| some == part)
}

/// Lists names and merges those of several blocks into one: `blocks.0…23.attn.q_norm.weight`.
pub(super) fn grouped<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 60;
    let mut groups: Vec<(String, String, Vec<usize>)> = Vec::new();
    for name in names {
        let (before, index, after) = around_number(name.as_ref());
        match groups.iter_mut().find(|(b, a, seen)| *b == before && *a == after && !seen.is_empty()) {
            Some((_, _, seen)) if index.is_some() => seen.extend(index),
            _ => groups.push((before.to_owned(), after.to_owned(), index.into_iter().collect())),
        }
    }
    let text = |(before, after, seen): &(String, String, Vec<usize>)| {
        let (first, last) = (seen.iter().min().copied().unwrap_or(0), seen.iter().max().copied().unwrap_or(0));
        match seen.len() {
            0 => format!("`{before}{after}`"),
            1 => format!("`{before}{first}{after}`"),
            n if n == last - first + 1 => format!("`{before}{first}…{last}{after}`"),
            n => format!("`{before}{first}{after}` and {} other blocks'", n - 1),
        }
    };
    let mut texts: Vec<String> = groups.iter().map(text).collect();
    if texts.len() > SHOWN {
        let more = texts.split_off(SHOWN).len();
        texts.push(format!("{more} more"));
    }
    texts.join(", ")
}

/// Splits a name at its first part that is a number.
fn around_number(name: &str) -> (&str, Option<usize>, &str) {
    let mut at = 0;
    for part in name.split('.') {
        if let Ok(index) = part.parse() {
            return (&name[..at], Some(index), &name[at + part.len()..]);
        }
        at += part.len() + 1;
    }
    (name, None, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_recognised_by_whole_words() {
        for (name, part) in [
            ("text_model.encoder.weight", "text"),
            ("visual.text_projection", "text"),
            ("blocks.3.attn.q_norm.weight", "attn.q_norm"),
            ("blocks.0.attn.relative_position_bias_table", "relative_position"),
            ("blocks.0.mlp.w1.weight", "mlp.w1."),
            ("layers.0.downsample.norm.weight", "downsample"),
        ] {
            assert!(has_words(name, part), "{part} in {name}");
        }
        for (name, part) in [
            ("pretext_token", "text"),
            ("context_embed.weight", "text"),
            ("texture_head.weight", "text"),
            ("blocks.0.europe.weight", "rope"),
            ("exploration.weight", "lora"),
            ("blocks.0.mlp.w12.weight", "mlp.w1."),
            ("system.weight", "stem."),
        ] {
            assert!(!has_words(name, part), "{part} in {name}");
        }
    }

    #[test]
    fn a_token_is_called_a_token() {
        let said = refuse(&["pretext_token"]).unwrap_err().to_string();
        assert!(said.contains("PathoDuet's pretraining beside the class token: `pretext_token`"), "{said}");
        assert!(said.contains("ONNX") && !said.contains("text model"), "{said}");
        assert!(refuse(&["task_token"]).unwrap_err().to_string().contains("a further token"));
    }

    #[test]
    fn the_same_name_in_several_blocks_is_listed_once() {
        let names = ["blocks.0.a", "blocks.0.b", "blocks.1.a", "blocks.10.b", "blocks.2.a", "norm", "pos [1, 2]"];
        assert_eq!(grouped(&names), "`blocks.0…2.a`, `blocks.0.b` and 1 other blocks', `norm`, `pos [1, 2]`");
        let many: Vec<String> = (0..100).map(|i| format!("x{i}")).collect();
        assert!(grouped(&many).ends_with("`x59`, 40 more"));
    }
}
