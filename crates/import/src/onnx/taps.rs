//! The taps of `model.json`, checked against the values that the graph computes.

use std::collections::{HashMap, HashSet};

use super::probe::Probed;
use super::source::Source;
use super::spec::{OnnxSpec, OnnxTap};
use coverslip_bundle::limits::{MAX_EMBED_DIM, MAX_TOKENS};
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{Pooling, Tap, TapSource};

/// The values that the taps read. An error names all values that the graph does not compute.
pub(super) fn tapped(source: &Source, spec: &OnnxSpec) -> Result<Vec<String>, BundleError> {
    if spec.taps.is_empty() {
        fail!(
            Missing,
            "no taps: an ONNX model does not say which of its values are embeddings; expected \"taps\" in model.json: \
             `coverslip bundle inspect MODEL.onnx` lists candidates"
        );
    }
    let mut wanted: Vec<String> = spec.taps.iter().map(|tap| tap.tensor.clone()).collect();
    let made: HashSet<&String> = source.nodes.iter().flat_map(|node| &node.outputs).collect();
    let missing: Vec<String> =
        wanted.iter().filter(|name| !made.contains(name)).map(|name| format!("`{name}`")).collect();
    if !missing.is_empty() {
        fail!(
            Missing,
            "the graph does not compute {}; `coverslip bundle inspect MODEL.onnx` lists what it computes",
            coverslip_bundle::layout::listed(&missing)
        );
    }
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

/// The taps, with widths and prefixes from the values' shapes.
pub(super) fn taps(
    spec: &OnnxSpec,
    source: &Source,
    side: usize,
    found: &HashMap<String, Probed>,
    notes: &mut Vec<String>,
) -> Result<Vec<Tap>, BundleError> {
    let mut taps = Vec::with_capacity(spec.taps.len());
    for tap in &spec.taps {
        let shape = found.get(&tap.tensor).map(|probed| &probed.shape[..]).unwrap_or_default();
        let (width, prefix_tokens, tokens) = match (shape, tap.pooling) {
            ([1, width], Pooling::None) => (*width, 0, 0),
            ([1, tokens, width], pooling) if pooling != Pooling::None => {
                (*width, prefix(tap, *tokens, source, side, notes)?, *tokens)
            }
            _ => fail!(
                Invalid,
                "tap `{}`: `{}` has the shape {shape:?} for one tile; expected [1, tokens, width] to be pooled, or \
                 [1, width] with the pooling `none`",
                tap.name,
                tap.tensor.escape_default()
            ),
        };
        // The trial run keeps a few of them.
        if width > MAX_EMBED_DIM || tokens.saturating_mul(width) > MAX_TOKENS * MAX_EMBED_DIM {
            fail!(
                TooLarge,
                "tap `{}`: `{}` has the shape {shape:?} for one tile; expected at most {MAX_EMBED_DIM} values for a token, \
                 and {} in all",
                tap.name,
                tap.tensor.escape_default(),
                MAX_TOKENS * MAX_EMBED_DIM
            );
        }
        let patches = if tap.pooling == Pooling::PatchTokens { tokens - prefix_tokens } else { 0 };
        let tensor = TapSource::Tensor { tensor: tap.tensor.clone(), width, prefix_tokens, patches };
        taps.push(Tap { name: tap.name.clone(), source: tensor, pooling: tap.pooling });
    }
    Ok(taps)
}

/// Tokens before the patches.
fn prefix(
    tap: &OnnxTap,
    tokens: usize,
    source: &Source,
    side: usize,
    notes: &mut Vec<String>,
) -> Result<usize, BundleError> {
    let square = |n: usize| n > 0 && n.isqrt().pow(2) == n;
    if let Some(stated) = tap.prefix_tokens {
        if stated >= tokens {
            fail!(Invalid, "tap `{}`: {stated} tokens before the patches, but there are {tokens} in all", tap.name);
        }
        return Ok(stated);
    }
    // The patch embedding is the convolution whose stride equals its kernel; its output gives the number of patches.
    for node in source.nodes.iter().filter(|node| node.op == "Conv") {
        let Some(weight) = node.inputs.get(1).and_then(|name| source.constants.get(name)) else { continue };
        if let [_, 3, height, width] = weight.dims[..]
            && height == width
            && side.is_multiple_of(height)
            && let patches = (side / height).pow(2)
            && patches <= tokens
        {
            return Ok(tokens - patches);
        }
    }
    if tap.pooling == Pooling::ClassToken || square(tokens - 1) {
        notes.push(format!(
            "tap `{}`: the first of {tokens} tokens is taken as the class token, the others as patches",
            tap.name
        ));
        return Ok(1);
    }
    if square(tokens) {
        return Ok(0);
    }
    fail!(
        Missing,
        "tap `{}`: it is not clear how many of the {tokens} tokens come before the patches (class token and \
         registers); expected \"prefix_tokens\" in model.json",
        tap.name
    );
}
