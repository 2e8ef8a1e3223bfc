//! Limits on a bundle's sizes. Everything that a later allocation depends on is checked here, before any weight is read
//! and in arithmetic that cannot overflow, so that a wrong or hostile manifest costs no memory.

use std::collections::BTreeSet;

use crate::budget::{Budget, MAX_HEADER_BYTES};
use crate::error::{BundleError, fail};
use crate::layout;
use crate::manifest::{
    Architecture, FORMAT, GRAPH_FILE, INT8_FILE, InputStep, MODEL_FILE, Manifest, OnnxModel, Pooling, REFERENCE_FILE,
    SAE_FILE, Sae, SaeArchitecture, Tap, TapSource, Vit,
};

/// Largest `manifest.json`, bytes: room for the labels of 262,144 features.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 20;
/// Largest file other than the two weight files, bytes.
pub(crate) const MAX_OTHER_BYTES: u64 = 256 << 20;
/// Most files in a bundle, not counting the manifest.
pub(crate) const MAX_FILES: usize = 64;
/// Largest `model.onnx`, bytes. It holds nodes and small constants, no weights.
pub(crate) const MAX_GRAPH_BYTES: u64 = 64 << 20;
/// Largest model input, px.
pub const MAX_SIDE: usize = 1024;
/// Most tokens per tile. Attention's memory grows with their square.
pub const MAX_TOKENS: usize = 8192;
/// Most transformer blocks.
pub const MAX_DEPTH: usize = 64;
/// Widest token.
pub const MAX_EMBED_DIM: usize = 4096;
/// Widest hidden layer of an MLP.
pub const MAX_MLP_DIM: usize = 32768;
/// Most register tokens.
pub const MAX_REGISTERS: usize = 64;
/// Most taps.
pub const MAX_TAPS: usize = 16;
/// Most values of all taps per tile: what a tile's slot, a batch and a result are made for. The 1,369 patch tokens of a tile
/// of 518 px are 2.1 million of 1,536 values each. Four million keep the outputs of 256 tiles below 4 GiB, the most that a
/// message between plugin and worker can say.
pub const MAX_EMBEDDING: usize = (1 << 22) - (1 << 12);
/// Most features of an SAE.
pub const MAX_D_SAE: usize = 262_144;
/// Most input steps of an SAE: one of each kind.
pub(crate) const MAX_INPUT_STEPS: usize = 4;
/// Most features reported per tile.
pub const MAX_OUTPUTS: usize = 1024;
/// Longest name of a value in an ONNX graph, bytes.
pub(crate) const MAX_VALUE_NAME: usize = 512;
/// Most parameters, model and SAE together.
pub(crate) const MAX_PARAMETERS: u128 = 4_000_000_000;
/// Most reference tiles.
pub(crate) const MAX_REFERENCE_TILES: usize = 64;

/// Makes all the checks that need no other file.
pub(crate) fn check(manifest: &Manifest) -> Result<(), BundleError> {
    check_text(manifest)?;
    check_preprocessing(manifest)?;
    size("side", manifest.side, MAX_SIDE)?;
    match &manifest.architecture {
        Architecture::Vit(vit) => check_vit(vit, manifest.side)?,
        Architecture::Onnx(onnx) => check_onnx(onnx)?,
    }
    check_taps(manifest)?;
    check_sae(manifest)?;
    check_reference(manifest)?;
    let parameters = layout::parameters(manifest);
    if parameters > MAX_PARAMETERS {
        fail!(TooLarge, "the manifest asks for {parameters} parameters; at most {MAX_PARAMETERS}");
    }
    match &manifest.architecture {
        Architecture::Vit(vit) => check_vit_demand(manifest, vit),
        // Its graph says what it needs.
        Architecture::Onnx(_) => Ok(()),
    }
}

/// Holds a ViT against the budget of a graph with its weights, for the engine that runs it without one. The last
/// block counts whole, also where only its class token is read.
fn check_vit_demand(manifest: &Manifest, vit: &Vit) -> Result<(), BundleError> {
    let read = Vit { depth: manifest.blocks_read(), ..vit.clone() };
    let weights = layout::vit_parameters(&read, manifest.side) + layout::sae_parameters(&manifest.sae);
    let budget = Budget::of(u64::try_from(4 * weights).unwrap_or(u64::MAX), 1);
    let tokens = vit.tokens(manifest.side);
    let attention = (vit.heads as u128) * (tokens as u128).pow(2);
    if 4 * attention > u128::from(budget.bytes) {
        fail!(
            TooLarge,
            "the attention of a block, {} heads over {tokens} tokens, is a value of {} bytes; expected at most {} beside \
             {weights} weights: use a model with smaller values",
            vit.heads,
            4 * attention,
            budget.bytes
        );
    }
    let work = manifest.flops_per_tile() / 2 + read.depth as u128 * attention;
    if work > u128::from(budget.work) {
        fail!(
            TooLarge,
            "the model needs {work} operations for a tile; expected at most {} for {weights} weights: use a smaller model",
            budget.work
        );
    }
    Ok(())
}

/// Checks the names and sizes of the listed files, and that the required ones are among them.
pub(crate) fn check_files(manifest: &Manifest) -> Result<(), BundleError> {
    if manifest.files.len() > MAX_FILES {
        fail!(TooLarge, "`files` lists {} files, at most {MAX_FILES}", manifest.files.len());
    }
    for name in required_files(manifest) {
        if !manifest.files.contains_key(name) {
            fail!(Missing, "`files` does not list `{name}`, which this bundle needs");
        }
    }
    for (name, entry) in &manifest.files {
        check_file_name(name)?;
        let most = match name.as_str() {
            MODEL_FILE => weight_bytes(layout::model_parameters(manifest)),
            SAE_FILE => weight_bytes(layout::sae_parameters(&manifest.sae)),
            GRAPH_FILE if !matches!(manifest.architecture, Architecture::Onnx(_)) => {
                fail!(Invalid, "`files` lists `{GRAPH_FILE}`, which only a bundle with an ONNX model has")
            }
            GRAPH_FILE => u128::from(MAX_GRAPH_BYTES),
            _ => u128::from(MAX_OTHER_BYTES),
        };
        if u128::from(entry.bytes) > most {
            fail!(
                TooLarge,
                "`{name}` is listed with {} bytes, at most {most} for what the manifest describes",
                entry.bytes
            );
        }
    }
    Ok(())
}

/// The files that every bundle with this family of model has.
pub(crate) fn required_files(manifest: &Manifest) -> Vec<&'static str> {
    let mut files = vec![MODEL_FILE, REFERENCE_FILE];
    if manifest.sae.architecture.is_some() {
        files.push(SAE_FILE);
    }
    if matches!(manifest.architecture, Architecture::Onnx(_)) {
        files.push(GRAPH_FILE);
    }
    if manifest.int8.is_some() {
        files.push(INT8_FILE);
    }
    files
}

fn weight_bytes(parameters: u128) -> u128 {
    4 * parameters + u128::from(MAX_HEADER_BYTES)
}

/// Refuses every name that is not a plain file of the bundle's own directory.
pub(crate) fn check_file_name(name: &str) -> Result<(), BundleError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
        fail!(
            Invalid,
            "`{}` is not a valid file name in a bundle: expected 1 to 64 characters of A-Z a-z 0-9 . _ -, no \
             leading dot, no directory",
            name.escape_default()
        );
    }
    if name.eq_ignore_ascii_case(crate::manifest::MANIFEST_FILE) {
        fail!(Invalid, "`files` lists the manifest itself");
    }
    if name.to_ascii_lowercase().ends_with(crate::signature::SUFFIX) {
        fail!(Invalid, "`files` lists `{name}`: signatures are not listed, a list cannot hold its own");
    }
    Ok(())
}

fn check_text(manifest: &Manifest) -> Result<(), BundleError> {
    if manifest.format != FORMAT {
        fail!(
            UnsupportedVersion,
            "the manifest's format is `{}`; this version reads `{FORMAT}`",
            manifest.format.escape_default()
        );
    }
    let required = [("name", &manifest.name), ("licence", &manifest.licence), ("source", &manifest.source)];
    for (field, text) in required {
        if text.trim().is_empty() {
            fail!(Invalid, "`{field}` is empty; every bundle must state it");
        }
    }
    if manifest.name.chars().any(char::is_control) {
        fail!(Invalid, "`name` is `{}`; expected one line without control characters", manifest.name.escape_debug());
    }
    Ok(())
}

fn check_preprocessing(manifest: &Manifest) -> Result<(), BundleError> {
    let m = manifest;
    in_range("mpp", m.mpp, 0.01, 100.0, "µm/px")?;
    for (mean, std) in m.mean.iter().zip(&m.std) {
        in_range("mean", *mean, -10.0, 10.0, "of pixel/255")?;
        in_range("std", *std, 1e-4, 100.0, "of pixel/255")?;
    }
    Ok(())
}

fn in_range(field: &str, value: f64, low: f64, high: f64, unit: &str) -> Result<(), BundleError> {
    if !(low..=high).contains(&value) {
        fail!(Invalid, "`{field}` is {value}, expected {low} to {high} {unit}");
    }
    Ok(())
}

fn size(field: &str, value: usize, most: usize) -> Result<(), BundleError> {
    if value == 0 {
        fail!(Invalid, "`{field}` is 0, expected 1 to {most}");
    }
    if value > most {
        fail!(TooLarge, "`{field}` is {value}, at most {most}");
    }
    Ok(())
}

fn check_vit(a: &Vit, side: usize) -> Result<(), BundleError> {
    size("architecture.patch", a.patch, MAX_SIDE)?;
    size("architecture.embed_dim", a.embed_dim, MAX_EMBED_DIM)?;
    size("architecture.depth", a.depth, MAX_DEPTH)?;
    size("architecture.heads", a.heads, MAX_EMBED_DIM)?;
    size("architecture.mlp_dim", a.mlp_dim, MAX_MLP_DIM)?;
    if a.register_tokens > MAX_REGISTERS {
        fail!(TooLarge, "`architecture.register_tokens` is {}, at most {MAX_REGISTERS}", a.register_tokens);
    }
    if !side.is_multiple_of(a.patch) {
        fail!(Invalid, "`side` {side} is not a multiple of `architecture.patch` {}", a.patch);
    }
    if !a.embed_dim.is_multiple_of(a.heads) {
        fail!(Invalid, "`architecture.heads` {} does not divide `embed_dim` {}", a.heads, a.embed_dim);
    }
    size("tokens per tile", a.tokens(side), MAX_TOKENS)?;
    in_range("architecture.layer_norm_eps", a.layer_norm_eps, 1e-12, 0.1, "")
}

fn check_onnx(onnx: &OnnxModel) -> Result<(), BundleError> {
    check_value_name("architecture.input", &onnx.input)?;
    if onnx.parameters == 0 {
        fail!(Invalid, "`architecture.parameters` is 0; expected the number of the model's weights");
    }
    Ok(())
}

fn check_value_name(field: &str, name: &str) -> Result<(), BundleError> {
    if name.is_empty() || name.len() > MAX_VALUE_NAME || name.chars().any(char::is_control) {
        fail!(
            Invalid,
            "`{field}` is `{}`; expected the name of a value in the graph, 1 to {MAX_VALUE_NAME} bytes",
            name.chars().take(64).collect::<String>().escape_default()
        );
    }
    Ok(())
}

fn check_taps(manifest: &Manifest) -> Result<(), BundleError> {
    size("number of taps", manifest.taps.len(), MAX_TAPS)?;
    let mut seen = BTreeSet::new();
    for tap in &manifest.taps {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if tap.name.is_empty() || tap.name.len() > 32 || !tap.name.chars().all(plain) {
            fail!(Invalid, "tap name `{}`: expected 1 to 32 characters of a-z 0-9 _", tap.name.escape_default());
        }
        if !seen.insert(&tap.name) {
            fail!(Invalid, "two taps are named `{}`", tap.name);
        }
        match (&tap.source, &manifest.architecture) {
            (TapSource::Block { after_block, .. }, Architecture::Vit(vit)) => check_block_tap(tap, *after_block, vit)?,
            (TapSource::Tensor { tensor, width, prefix_tokens, patches }, Architecture::Onnx(_)) => {
                check_value_name("taps.tensor", tensor)?;
                size("taps.width", *width, MAX_EMBED_DIM)?;
                if *prefix_tokens > MAX_REGISTERS {
                    fail!(TooLarge, "`taps.prefix_tokens` is {prefix_tokens}, at most {MAX_REGISTERS}");
                }
                if tap.pooling == Pooling::PatchTokens {
                    size("taps.patches", *patches, MAX_TOKENS)?;
                    if patches.isqrt().pow(2) != *patches {
                        fail!(Invalid, "tap `{}` has {patches} patches, expected a square grid of them", tap.name);
                    }
                }
            }
            (TapSource::Block { .. }, _) => {
                fail!(Invalid, "tap `{}` has `after_block`; a tap of an ONNX model names a `tensor`", tap.name)
            }
            (TapSource::Tensor { .. }, _) => {
                fail!(Invalid, "tap `{}` names a `tensor`; a tap of a ViT has `after_block`", tap.name)
            }
        }
    }
    let all = manifest.taps.iter().map(|tap| manifest.tap_width(tap)).fold(0, usize::saturating_add);
    size("values of all taps per tile", all, MAX_EMBEDDING)
}

fn check_block_tap(tap: &Tap, after_block: usize, vit: &Vit) -> Result<(), BundleError> {
    if after_block >= vit.depth {
        fail!(
            Invalid,
            "tap `{}` is after block {after_block}, but blocks are numbered 0 to {}",
            tap.name,
            vit.depth - 1
        );
    }
    match tap.pooling {
        Pooling::MeanPatchTokens | Pooling::PatchTokens => Ok(()),
        Pooling::None => {
            fail!(Invalid, "tap `{}` has no pooling; a ViT's tokens must be pooled into one vector", tap.name)
        }
        Pooling::ClassToken | Pooling::ClassAndMean if vit.class_token => Ok(()),
        Pooling::ClassToken | Pooling::ClassAndMean => {
            fail!(Invalid, "tap `{}` pools the class token, but the model has none; use mean_patch_tokens", tap.name)
        }
    }
}

fn check_sae(manifest: &Manifest) -> Result<(), BundleError> {
    let sae = &manifest.sae;
    let Some(tap) = manifest.sae_tap() else {
        let known: Vec<&str> = manifest.taps.iter().map(|tap| tap.name.as_str()).collect();
        fail!(Invalid, "the SAE reads tap `{}`; the taps are {}", sae.tap.escape_default(), known.join(", "));
    };
    let width = manifest.tap_width(&manifest.taps[tap]);
    if sae.d_in != width {
        fail!(Invalid, "`sae.d_in` is {}, but tap `{}` has {width} values", sae.d_in, sae.tap);
    }
    if sae.architecture.is_none() {
        if *sae != Sae::none(&sae.tap, width) {
            fail!(
                Invalid,
                "`sae.architecture` is none, but the manifest has features, steps or labels of an SAE; remove them"
            );
        }
        return Ok(());
    }
    if manifest.taps[tap].pooling == Pooling::PatchTokens {
        fail!(
            Invalid,
            "the SAE reads tap `{}`, which has patch tokens one by one; a bundle's SAE reads one vector per tile: expected \
             another tap",
            sae.tap
        );
    }
    size("sae.d_sae", sae.d_sae, MAX_D_SAE)?;
    size("sae.outputs", sae.outputs, sae.d_sae.min(MAX_OUTPUTS))?;
    let has_k = matches!(
        sae.architecture,
        Some(SaeArchitecture::TopK | SaeArchitecture::SignedTopK | SaeArchitecture::GroupMax)
    );
    match (has_k, sae.k) {
        (true, Some(k)) if k == sae.outputs => {}
        (true, found) => {
            let found = found.map_or_else(|| "not set".to_owned(), |k| k.to_string());
            fail!(
                Invalid,
                "`sae.k` is {found}, `sae.outputs` is {}; a topk SAE reports its k features: expected the same",
                sae.outputs
            )
        }
        (false, None) => {}
        (false, Some(_)) => fail!(Invalid, "`sae.k` is set; only topk and groupmax SAEs have it"),
    }
    if sae.architecture == Some(SaeArchitecture::GroupMax) && !sae.d_sae.is_multiple_of(sae.outputs) {
        fail!(
            Invalid,
            "groupmax needs k = {} groups of equal size; {} features do not divide into them",
            sae.outputs,
            sae.d_sae
        );
    }
    if sae.input.len() > MAX_INPUT_STEPS || (1..sae.input.len()).any(|i| sae.input[..i].contains(&sae.input[i])) {
        fail!(Invalid, "`sae.input` has {} steps; expected each at most once", sae.input.len());
    }
    if sae.rescale_acts_by_decoder_norm && sae.architecture != Some(SaeArchitecture::TopK) {
        fail!(Invalid, "`sae.rescale_acts_by_decoder_norm` is set; only topk SAEs have it");
    }
    if sae.input.contains(&InputStep::LayerNorm) && sae.d_in < 2 {
        fail!(Invalid, "`sae.input` has layer_norm, which needs an embedding of at least two values");
    }
    let mut seen = BTreeSet::new();
    for label in &sae.labels {
        if label.index >= sae.d_sae || !seen.insert(label.index) {
            fail!(
                Invalid,
                "`sae.labels` names feature {} twice, or beyond the SAE's {} features",
                label.index,
                sae.d_sae
            );
        }
        if label.correlation.is_some_and(|r| !(-1.0..=1.0).contains(&r)) {
            fail!(Invalid, "`sae.labels`: feature {} has a correlation that is not between -1 and 1", label.index);
        }
        let Some(test) = &label.tested else { continue };
        let partial = test.partial_correlation.is_none_or(|r| (-1.0..=1.0).contains(&r));
        if !partial || !(0.0..=1.0).contains(&test.p_value) || test.groups == 0 {
            fail!(
                Invalid,
                "`sae.labels`: feature {} is `tested` with a partial correlation of {}, a p-value of {} and {} groups: \
                 expected a correlation of -1 to 1 or none, a p-value of 0 to 1 and at least one group",
                label.index,
                test.partial_correlation.map_or_else(|| "none".to_owned(), |r| r.to_string()),
                test.p_value,
                test.groups
            );
        }
    }
    Ok(())
}

fn check_reference(manifest: &Manifest) -> Result<(), BundleError> {
    let reference = &manifest.sae.reference;
    in_range("sae.reference.mean_square_deviation", reference.mean_square_deviation, 1e-12, 1e12, "")?;
    let mut levels = Vec::new();
    for (level, value) in &reference.error_quantiles {
        let parsed = level.parse::<f64>().unwrap_or(f64::NAN);
        if !(parsed > 0.0 && parsed < 1.0 && value.is_finite() && *value >= 0.0) {
            fail!(
                Invalid,
                "`sae.reference.error_quantiles` has `{}`: {value}; expected levels between 0 and 1 and \
                 values of at least 0",
                level.escape_default()
            );
        }
        levels.push((parsed, *value));
    }
    levels.sort_by(|a, b| a.0.total_cmp(&b.0));
    if levels.windows(2).any(|pair| pair[0].1 > pair[1].1) {
        fail!(Invalid, "`sae.reference.error_quantiles` do not ascend");
    }
    for level in [0.5, 0.99] {
        if manifest.error_quantile(level).is_none() {
            fail!(Missing, "`sae.reference.error_quantiles` has no `{level}`, which tiles are compared with");
        }
    }
    Ok(())
}
