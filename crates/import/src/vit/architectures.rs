//! timm's architecture names, and the properties that they imply and that neither weights nor `config.json` state. Only
//! plain `VisionTransformer`s are known, not those that compute something else (CLIP, SigLIP, parallel blocks).

use super::statements::{Statement, Statements};
use coverslip_bundle::{BundleError, fail};

/// Name, width, blocks, heads.
const SIZES: [(&str, usize, usize, usize); 12] = [
    ("tiny", 192, 12, 3),
    ("little", 320, 14, 5),
    ("small", 384, 12, 6),
    ("medium", 512, 12, 8),
    ("mediumd", 512, 20, 8),
    ("betwixt", 640, 12, 10),
    ("base", 768, 12, 12),
    ("so150m", 896, 18, 14),
    ("large", 1024, 24, 16),
    ("huge", 1280, 32, 16),
    ("giant", 1408, 40, 16),
    ("gigantic", 1664, 48, 16),
];

/// Parts of names that change no number: older versions of timm's names for data and training.
const NEUTRAL: [&str; 5] = ["dino", "in21k", "miil", "sam", "augreg"];

/// Parses a name: `vit_SIZE_patchN[_regN][_gap][_dinov2][_PIXELS]`, `deit_SIZE_patchN_PIXELS`, `deit3_…`. A dot
/// separates it from the name of the weights.
///
/// # Errors
/// `Unsupported` for other names.
pub(super) fn find(name: &Statement<String>) -> Result<Statements, BundleError> {
    match parse(name.value.split('.').next().unwrap_or_default(), &format!("{} {}", name.by, name.value)) {
        Some(stated) => Ok(stated),
        None => fail!(
            Unsupported,
            "{} is `{}`: not supported in this version; expected one of timm's plain VisionTransformers \
             (vit_large_patch16_224, vit_base_patch14_reg4_dinov2, …); if it computes the same as one of those, say \
             so in model.json (\"architecture\": \"vit\", \"num_heads\", \"act_layer\")",
            name.by,
            name.value
        ),
    }
}

fn parse(name: &str, by: &str) -> Option<Statements> {
    let mut parts = name.split('_');
    let family = parts.next().filter(|family| ["vit", "deit", "deit3"].contains(family))?;
    let size = parts.next()?;
    let (_, mut width, depth, mut heads) = SIZES.into_iter().find(|(name, ..)| *name == size)?;
    parts.next()?.strip_prefix("patch")?.parse::<usize>().ok()?;
    let (mut registers, mut gap, mut dinov2) = (false, false, false);
    for part in parts {
        match part {
            "gap" => gap = true,
            "dinov2" => dinov2 = true,
            _ if part.strip_prefix("reg").is_some_and(|n| n.parse::<usize>().is_ok()) => registers = true,
            _ if NEUTRAL.contains(&part) || part.parse::<usize>().is_ok() => {}
            _ => return None,
        }
    }
    let packed = size == "giant" && dinov2;
    if packed {
        (width, heads) = (1536, 24);
    }
    if name == "vit_base_patch16_gap_224" {
        heads = 16;
    }
    let text = |value: &str| Statement::new(value.to_owned(), by);
    Some(Statements {
        embed_dim: Statement::new(width, by),
        depth: Statement::new(depth, by),
        heads: Statement::new(heads, by),
        eps: Statement::new(1e-6, by),
        no_embed_class: Statement::new(family == "deit3" || registers && (dinov2 || gap && size != "so150m"), by),
        mlp_layer: text("SwiGLUPacked").filter(|_| packed),
        activation: text("silu").filter(|_| packed),
        global_pool: text(if gap { "avg" } else { "token" }),
        fc_norm: Statement::new(false, by).filter(|_| gap && !registers),
        ..Statements::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coverslip_bundle::BundleErrorKind;

    /// The expected values are timm 1.0.31's: width, blocks, heads, no_embed_class, packed SwiGLU, average pooling.
    #[test]
    fn names_imply_what_timm_builds() {
        let known = [
            ("vit_tiny_patch16_384", 192, 12, 3, false, false, false),
            ("vit_small_patch16_224_dino", 384, 12, 6, false, false, false),
            ("vit_small_patch14_reg4_dinov2.lvd142m", 384, 12, 6, true, false, false),
            ("vit_medium_patch16_reg4_gap_256", 512, 12, 8, true, false, true),
            ("vit_mediumd_patch16_reg4_gap_384", 512, 20, 8, true, false, true),
            ("vit_base_patch16_gap_224", 768, 12, 16, false, false, true),
            ("vit_base_patch16_reg4_gap_256", 768, 12, 12, true, false, true),
            ("vit_so150m_patch16_reg4_gap_256", 896, 18, 14, false, false, true),
            ("vit_large_patch14_dinov2", 1024, 24, 16, false, false, false),
            ("deit3_large_patch16_384", 1024, 24, 16, true, false, false),
            ("vit_huge_patch14_gap_224", 1280, 32, 16, false, false, true),
            ("vit_giant_patch14_224", 1408, 40, 16, false, false, false),
            ("vit_giant_patch14_dinov2", 1536, 40, 24, false, true, false),
            ("vit_giant_patch14_reg4_dinov2", 1536, 40, 24, true, true, false),
            ("vit_gigantic_patch14_224", 1664, 48, 16, false, false, false),
        ];
        for (name, width, depth, heads, no_embed_class, packed, average) in known {
            let found = parse(name.split('.').next().unwrap(), "").unwrap();
            let value = |said: Option<Statement<usize>>| said.unwrap().value;
            assert_eq!(
                (value(found.embed_dim), value(found.depth), value(found.heads)),
                (width, depth, heads),
                "{name}"
            );
            assert_eq!(found.no_embed_class.unwrap().value, no_embed_class, "{name}");
            assert_eq!((found.mlp_layer.is_some(), found.activation.is_some()), (packed, packed), "{name}");
            assert_eq!(found.global_pool.unwrap().value == "avg", average, "{name}");
        }
    }

    #[test]
    fn models_that_compute_something_else_are_not_known() {
        let unknown = [
            "vit_base_patch16_clip_quickgelu_224",
            "vit_base_patch32_siglip_gap_256",
            "vit_base_patch16_rpn_224",
            "vit_large_patch14_xp_224",
            "vit_small_patch16_18x2_224",
            "deit_tiny_distilled_patch16_224",
            "vit_small_r26_s32_224",
            "eva02_large_patch14_224",
            "vit_huge_patch16_radio_v3",
            "convnext_base",
        ];
        for name in unknown {
            let error =
                find(&Statement { value: name.to_owned(), by: "config.json's architecture".to_owned() }).unwrap_err();
            assert_eq!(error.kind(), BundleErrorKind::Unsupported);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
