//! The model's shape: read from the weights, compared with all statements about it, and completed by the statements
//! where weights do not show it.

use super::config::Config;
use super::conventions::Convention;
use super::hidden::{self, Hidden};
use super::names::Found;
use super::statements::{Statement, Statements};
use super::{architectures, spec::ModelSpec};
use coverslip_bundle::Vit;
use coverslip_bundle::limits::{MAX_EMBED_DIM, MAX_MLP_DIM, MAX_REGISTERS};
use coverslip_bundle::{BundleError, fail};

/// The shape without the position embedding.
#[derive(Debug)]
pub(super) struct Shape {
    /// `no_embed_class` is not known yet.
    pub(super) vit: Vit,
    pub(super) hidden: Hidden,
}

/// The statements of model.json and config.json, and the same with those that the architecture's name implies. The name
/// counts only if the weights are as wide and deep as timm would build them from `config.json`. Otherwise Python code
/// passed other arguments (UNI2-h), and those that the weights do not show, such as the heads, are unknown.
pub(super) fn all_statements(
    found: &mut Found,
    config: &Config,
    spec: &ModelSpec,
) -> Result<(Statements, Statements), BundleError> {
    let stated = Statements::of_spec(spec).over(config.stated.clone());
    let Some(name) = architecture(config, spec)? else { return Ok((stated.clone(), stated)) };
    let named = architectures::find(&name)?;
    let size = |stated: &Statements| {
        let value = |said: &Option<Statement<usize>>| said.as_ref().map(|said| said.value);
        (value(&stated.embed_dim), value(&stated.depth))
    };
    let made = size(&config.stated.clone().over(named.clone()));
    let (width, depth) = (patch_embedding(found)?.0, found.depth());
    if made == (Some(width), Some(depth)) {
        return Ok((stated.clone(), stated.over(named)));
    }
    if let (Some(named_width), Some(named_depth)) = size(&named) {
        found.notes.push(format!(
            "{} is {}, {named_width} wide and {named_depth} deep; the weights are {width} wide and {depth} deep: \
             the name is not used any further",
            name.by, name.value
        ));
    }
    Ok((stated.clone(), stated))
}

/// timm's name of the architecture, unless model.json says that the model is a plain ViT.
fn architecture(config: &Config, spec: &ModelSpec) -> Result<Option<Statement<String>>, BundleError> {
    let Some(stated) = &spec.architecture else { return Ok(config.architecture.clone()) };
    if ["vit", "VisionTransformer", "timm.VisionTransformer"].contains(&stated.as_str()) {
        return Ok(None);
    }
    if !stated.starts_with("vit_") && !stated.starts_with("deit") {
        fail!(Unsupported, "architecture `{stated}`: not supported in this version; expected timm's VisionTransformer");
    }
    Ok(Statement::new(stated.clone(), "model.json's architecture"))
}

/// Reads the shape. `stated` has the statements about these weights; `all` also those that the architecture's name
/// implies.
///
/// # Errors
/// `Missing`, `Invalid`, `TooLarge`, and the errors of [`hidden::read`].
pub(super) fn read(found: &Found, stated: &Statements, all: &Statements) -> Result<Shape, BundleError> {
    let (embed_dim, patch) = patch_embedding(found)?;
    let registers = match found.shape("reg_token") {
        None => 0,
        Some([_, n, _]) => *n,
        Some(other) => fail!(
            Invalid,
            "tensor `{}` has shape {other:?}, expected [1, registers, {embed_dim}]",
            found.file_name("reg_token")
        ),
    };
    let (hidden, mlp_dim) = hidden::read(found, all)?;
    for (what, size, limit) in [("embed_dim", embed_dim, MAX_EMBED_DIM), ("mlp_dim", mlp_dim, MAX_MLP_DIM)] {
        if size > limit {
            fail!(TooLarge, "{what} is {size}; at most {limit} is supported");
        }
    }
    if registers > MAX_REGISTERS {
        fail!(TooLarge, "{registers} registers; at most {MAX_REGISTERS} are supported");
    }
    let vit = Vit {
        embed_dim,
        depth: found.depth(),
        heads: 0,
        patch,
        mlp_dim,
        mlp: hidden.mlp(),
        class_token: found.contains("cls_token"),
        register_tokens: registers,
        no_embed_class: false,
        qkv_bias: ["attn.qkv.bias", "attn.q.bias"].iter().any(|part| found.in_a_block(part).is_some()),
        layer_scale: found.in_a_block("ls1.gamma").is_some(),
        layer_norm_eps: 0.0,
    };
    compare(&vit, hidden, found, stated)?;
    let vit = Vit { heads: heads(&vit, all)?, layer_norm_eps: eps(found, all)?, ..vit };
    Ok(Shape { vit, hidden })
}

/// Token width and patch.
fn patch_embedding(found: &Found) -> Result<(usize, usize), BundleError> {
    let name = "patch_embed.proj.weight";
    match found.shape(name) {
        Some([width, 3, height, across]) if height == across && *width > 0 && *height > 0 => Ok((*width, *height)),
        other => fail!(
            Unsupported,
            "not supported in this version: tensor `{}` has shape {:?}; expected [width, 3, patch, patch], square \
             patches of three channels",
            found.file_name(name),
            other.unwrap_or_default()
        ),
    }
}

fn heads(vit: &Vit, all: &Statements) -> Result<usize, BundleError> {
    let Some(heads) = &all.heads else {
        fail!(
            Missing,
            "the number of attention heads is not stated, and weights do not show it; expected \
             \"num_heads\" in model.json (or --heads); often it is embed_dim / 64, here {}",
            vit.embed_dim / 64
        );
    };
    if heads.value == 0 || !vit.embed_dim.is_multiple_of(heads.value) {
        fail!(
            Invalid,
            "{} is {}, which does not divide the weights' width of {}; expected \"num_heads\" in model.json",
            heads.by,
            heads.value,
            vit.embed_dim
        );
    }
    Ok(heads.value)
}

fn eps(found: &Found, all: &Statements) -> Result<f64, BundleError> {
    match &all.eps {
        Some(said) => Ok(said.value),
        None if found.convention != Convention::Transformers => Ok(1e-6),
        None => fail!(
            Missing,
            "the LayerNorms' ε is not stated, and transformers' models differ in it (ViTModel 1e-12, Dinov2Model \
             1e-6); expected config.json beside the weights, or \"layer_norm_eps\" in model.json"
        ),
    }
}

/// Refuses statements that the weights contradict; one error names all of them.
fn compare(vit: &Vit, hidden: Hidden, found: &Found, stated: &Statements) -> Result<(), BundleError> {
    let mut wrong = Vec::new();
    let sizes = [
        (&stated.embed_dim, vit.embed_dim, "width"),
        (&stated.features, vit.embed_dim, "width"),
        (&stated.depth, vit.depth, "blocks"),
        (&stated.patch, vit.patch, "px per patch"),
        (&stated.registers, vit.register_tokens, "registers"),
        (&stated.hidden, vit.mlp_dim, "hidden values"),
    ];
    for (said, there, what) in sizes {
        if let Some(said) = said.as_ref().filter(|said| said.value != there) {
            wrong.push(format!("{} is {}, the weights have {there} ({what})", said.by, said.value));
        }
    }
    let flags = [
        (&stated.class_token, vit.class_token, "class token"),
        (&stated.layer_scale, vit.layer_scale, "LayerScale"),
        (&stated.qkv_bias, vit.qkv_bias, "bias on queries, keys and values"),
    ];
    for (said, there, what) in flags {
        if let Some(said) = said.as_ref().filter(|said| said.value != there) {
            let (claimed, has) = if there { ("no", "one") } else { ("a", "none") };
            wrong.push(format!("{} claims {claimed} {what}, the weights have {has}", said.by));
        }
    }
    if let Some(said) = &stated.mlp_ratio {
        let widths = hidden_widths(said.value, vit, hidden, found.convention);
        if !widths.contains(&vit.mlp_dim) {
            let there = vit.mlp_dim;
            wrong.push(format!(
                "{} is {}, which makes {} hidden values, the weights have {there}",
                said.by, said.value, widths[0]
            ));
        }
    }
    if !wrong.is_empty() {
        fail!(Invalid, "{}; expected statements that fit the weights", wrong.join("; "));
    }
    Ok(())
}

/// The hidden widths, after the gate, that `ratio` can mean. timm counts gate and value together if they are packed;
/// DINOv2 and transformers take two thirds, rounded up to a multiple of 8; a person means the true ratio.
fn hidden_widths(ratio: f64, vit: &Vit, hidden: Hidden, convention: Convention) -> Vec<usize> {
    let whole = (vit.embed_dim as f64 * ratio) as usize;
    let thirds = ((whole as f64 * 2.0 / 3.0) as usize).div_ceil(8) * 8;
    match (hidden, convention) {
        (Hidden::Plain, _) => vec![whole],
        (Hidden::Packed { .. }, _) => vec![whole / 2, whole],
        (_, Convention::Timm) => vec![whole],
        (_, Convention::Dinov2 | Convention::Transformers) => vec![thirds, whole],
    }
}
