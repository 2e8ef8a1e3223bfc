//! From a file's tensors to a bundle's: which rows of which tensors make each one. What is missing, of another shape
//! or left over is named at once, before a value is read.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::StoreAs;
use super::conventions::Convention;
use super::hidden::Hidden;
use super::names::Found;
use super::shape::Shape;
use super::unknown::grouped;
use coverslip_bundle::layout;
use coverslip_bundle::tensors::Element;
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{Weight, Weights};

const POSITIONS: &str = "pos_embed";

/// A tensor of the bundle.
struct Part {
    /// timm's name.
    name: String,
    shape: Vec<usize>,
    pieces: Vec<Piece>,
}

/// Rows of a tensor of the file.
struct Piece {
    /// Our name.
    name: String,
    /// Of the whole tensor.
    shape: Vec<usize>,
    rows: Range<usize>,
}

/// All weights but the position embedding, none of them read yet. `final_norm`: a tap needs it.
///
/// # Errors
/// `Missing`, `Invalid`: all tensors that are missing, or of another shape, or not part of the model.
pub(super) fn weights(
    found: &Found,
    shape: &Shape,
    final_norm: bool,
    precision: StoreAs,
) -> Result<Weights, BundleError> {
    let vit = &shape.vit;
    // Positions are another file's; the side does not matter without them.
    let mut tensors = layout::vit_tensors(vit, vit.patch);
    if final_norm || found.contains("norm.weight") || found.contains("norm.bias") {
        tensors.extend(layout::final_norm_tensors(vit));
    }
    let separate = found.convention == Convention::Transformers;
    let parts: Vec<Part> = tensors
        .into_iter()
        .filter(|(name, _)| name != POSITIONS)
        .map(|(name, whole)| Part { pieces: pieces(&name, &whole, shape.hidden, separate), name, shape: whole })
        .collect();
    check(found, &parts, vit.embed_dim)?;
    let mut weights = Weights::default();
    for part in parts {
        let elements: Vec<Element> = part.pieces.iter().filter_map(|piece| found.element(&piece.name)).collect();
        let half = elements.iter().all(|element| *element == Element::F16);
        let element = precision.stored(if half { Element::F16 } else { Element::F32 });
        let pieces = part.pieces.iter().map(|piece| (found.file_name(&piece.name), piece.rows.clone())).collect();
        weights.insert(part.name, Weight::rows(found.checkpoint.clone(), pieces, part.shape, element));
    }
    Ok(weights)
}

/// Where the bundle's tensor `name` comes from.
fn pieces(name: &str, shape: &[usize], hidden: Hidden, separate: bool) -> Vec<Piece> {
    let rows = shape.first().copied().unwrap_or(1);
    let whole = |name: String, shape: Vec<usize>| {
        let rows = 0..shape.first().copied().unwrap_or(1);
        Piece { name, shape, rows }
    };
    let with_rows = |rows: usize| [&[rows], shape.get(1..).unwrap_or_default()].concat();
    if separate && name.contains(".attn.qkv.") {
        let layer = |layer: &str| name.replace(".attn.qkv.", &format!(".attn.{layer}."));
        return ["q", "k", "v"].map(|part| whole(layer(part), with_rows(rows / 3))).into();
    }
    match hidden {
        Hidden::Packed { gate_last: true } if name.contains(".mlp.fc1.") => {
            let half = |rows: Range<usize>| Piece { name: name.to_owned(), shape: shape.to_vec(), rows };
            vec![half(rows / 2..rows), half(0..rows / 2)]
        }
        Hidden::Separate if name.contains(".mlp.fc1.") => {
            let layer = |layer: &str| name.replace(".mlp.fc1.", &format!(".mlp.{layer}."));
            ["fc1_g", "fc1_x"].map(|part| whole(layer(part), with_rows(rows / 2))).into()
        }
        Hidden::Dinov2 => {
            let name = name.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3.");
            vec![whole(name, shape.to_vec())]
        }
        _ => vec![whole(name.to_owned(), shape.to_vec())],
    }
}

/// What is missing, then what has another shape or is no floating-point tensor, then what is left over.
fn check(found: &Found, parts: &[Part], embed_dim: usize) -> Result<(), BundleError> {
    let expected: BTreeMap<&str, &[usize]> =
        parts.iter().flat_map(|part| &part.pieces).map(|piece| (&piece.name[..], &piece.shape[..])).collect();
    let mut missing: Vec<String> = Vec::new();
    if !found.contains(POSITIONS) {
        missing.push(format!("{} [1, positions, {embed_dim}]", found.file_name(POSITIONS)));
    }
    let mut wrong = Vec::new();
    for (name, shape) in &expected {
        match (found.shape(name), found.element(name)) {
            (Some(there), _) if there != *shape => {
                wrong.push(format!("`{}` has shape {there:?}, expected {shape:?}", found.file_name(name)));
            }
            (_, Some(Element::U8 | Element::I32 | Element::I64)) => {
                wrong.push(format!("`{}` has integers, expected floating point", found.file_name(name)));
            }
            (Some(_), _) => {}
            (None, _) => missing.push(format!("{} {shape:?}", found.file_name(name))),
        }
    }
    if !missing.is_empty() {
        fail!(Missing, "tensors are missing: {}{}", grouped(&missing), why(&missing));
    }
    if !wrong.is_empty() {
        fail!(Invalid, "tensors are of another model: {}", layout::listed(&wrong));
    }
    let extra: Vec<String> = found
        .names()
        .filter(|name| !expected.contains_key(name) && *name != POSITIONS)
        .map(|name| found.file_name(name))
        .collect();
    if !extra.is_empty() {
        fail!(
            Invalid,
            "tensors are left over that the first block, or the model, does not have: {}; leaving them out could \
             change the outputs; export the model again",
            grouped(&extra)
        );
    }
    Ok(())
}

/// What the missing ones have in common, where that is known.
fn why(missing: &[String]) -> &'static str {
    let any = |part: &str| missing.iter().any(|name| name.contains(part));
    if any("norm") && any(".bias") && !any("norm1.weight") && !any("layernorm_before.weight") && !any("norm.weight") {
        "; norms without biases (RmsNorm) are not supported in this version"
    } else if any("pos_embed") || any("position_embeddings") {
        "; models without a learned position embedding are not supported in this version"
    } else if any("norm.weight") || any("layernorm.weight") {
        "; where the model has no final norm, state taps with \"after_norm\": false"
    } else {
        "; export the model again"
    }
}
