//! A bundle for people: a page of 80 columns.

use std::collections::{BTreeMap, BTreeSet};

use coverslip_bundle::tensors::{Element, TensorFile};
use coverslip_bundle::{
    Architecture, Bundle, BundleError, InputStep, Manifest, Mlp, OnnxModel, PixelLayout, Pooling, SaeArchitecture, Tap,
    TapSource, Vit,
};

use crate::term::{Page, prefixed};

/// The page for a bundle; `origin` says who made it.
///
/// # Errors
/// Where the reference tiles cannot be read.
pub(crate) fn page(bundle: &Bundle, origin: &str) -> Result<String, BundleError> {
    let manifest = bundle.manifest();
    let mut page = Page::default();
    page.row("bundle", &manifest.name);
    page.row("", &manifest.description);
    page.row("licence", &manifest.licence);
    page.row("source", &manifest.source);
    page.row("digest", &bundle.digest().to_string());
    page.row("signature", origin);
    model(&mut page, manifest);
    taps(&mut page, manifest);
    sae(&mut page, manifest);
    int8(&mut page, manifest);
    files(&mut page, bundle)?;
    Ok(page.finish())
}

fn model(page: &mut Page, m: &Manifest) {
    page.gap();
    match &m.architecture {
        Architecture::Vit(a) => vit(page, a, m.side),
        Architecture::Onnx(a) => onnx(page, a),
    }
    page.row(
        "size",
        &format!(
            "{} parameters, SAE {}; {} FLOP per tile",
            prefixed(m.model_parameters() as f64),
            prefixed(m.sae_parameters() as f64),
            prefixed(m.flops_per_tile() as f64)
        ),
    );
    page.row("input", &format!("{0} × {0} px RGB at {1} µm/px ({2:.0} µm)", m.side, m.mpp, m.side as f64 * m.mpp));
    let three = |values: [f64; 3]| values.map(|v| v.to_string()).join(" ");
    page.row("preprocessing", &format!("(pixel/255 − [{}]) / [{}]", three(m.mean), three(m.std)));
}

/// The layers in int8, and whether hosts may ask for them.
fn int8(page: &mut Page, m: &Manifest) {
    let Some(int8) = &m.int8 else { return };
    let (of_all, gate) = (4 * int8.layers.len(), &int8.gate);
    let count: usize = int8.layers.iter().map(BTreeSet::len).sum();
    let offered = gate.refusal().map_or("offered".to_owned(), |reason| format!("not offered: {reason}"));
    page.gap();
    page.row("int8", &format!("{count} of {of_all} layers; {offered}"));
    page.row(
        "",
        &format!(
            "on {} tiles of {} slides: overlap {:.3}, 5th percentile {:.3}, by value {:.3}, flags changed {:.4} ({})",
            gate.tiles,
            gate.slides,
            gate.overlap,
            gate.overlap_low,
            gate.value_overlap,
            gate.flags_changed,
            gate.kernels
        ),
    );
}

fn vit(page: &mut Page, a: &Vit, side: usize) {
    let mlp = match a.mlp {
        Mlp::Gelu => "GELU",
        Mlp::SwiGlu => "SwiGLU",
    };
    page.row(
        "model",
        &format!(
            "vision transformer, width {}, {} blocks, {} heads, MLP {} ({mlp}), patch {} px",
            a.embed_dim, a.depth, a.heads, a.mlp_dim, a.patch
        ),
    );
    let mut parts = vec![format!("{} patches", a.patches(side))];
    if a.class_token {
        parts.push("class token".to_owned());
    }
    if a.register_tokens > 0 {
        parts.push(format!("{} registers", a.register_tokens));
    }
    if a.layer_scale {
        parts.push("LayerScale".to_owned());
    }
    if !a.qkv_bias {
        parts.push("no qkv bias".to_owned());
    }
    page.row("", &format!("{}; ε {:e}", parts.join(", "), a.layer_norm_eps));
}

fn onnx(page: &mut Page, a: &OnnxModel) {
    let layout = match a.layout {
        PixelLayout::Nchw => "channels first",
        PixelLayout::Nhwc => "channels last",
    };
    page.row("model", &format!("an ONNX graph, input `{}` ({layout})", a.input));
    if a.single_tile {
        page.row("", "runs one tile at a time: its batch is fixed");
    }
}

fn place(tap: &Tap, m: &Manifest) -> String {
    match (&tap.source, &m.architecture) {
        (TapSource::Block { after_block, final_norm }, Architecture::Vit(vit)) => format!(
            "after block {after_block} of 0–{}{}",
            vit.depth - 1,
            if *final_norm { " and the final norm" } else { "" }
        ),
        (TapSource::Block { after_block, .. }, _) => format!("after block {after_block}"),
        (TapSource::Tensor { tensor, .. }, _) => format!("of `{tensor}`"),
    }
}

fn taps(page: &mut Page, m: &Manifest) {
    page.gap();
    for (i, tap) in m.taps.iter().enumerate() {
        let pooling = match tap.pooling {
            Pooling::ClassToken => "class token",
            Pooling::MeanPatchTokens => "mean of patch tokens",
            Pooling::ClassAndMean => "class token and mean of patch tokens",
            Pooling::PatchTokens => "patch tokens one by one",
            Pooling::None => "the vector",
        };
        let text = format!("{}: {pooling} {}, {} values", tap.name, place(tap, m), m.tap_width(tap));
        page.row(if i == 0 { "taps" } else { "" }, &text);
    }
}

fn sae(page: &mut Page, m: &Manifest) {
    let sae = &m.sae;
    page.gap();
    let Some(architecture) = sae.architecture else {
        page.row("SAE", "none: embeddings only; train one on them and build the bundle again with --sae");
        return;
    };
    let activation = match architecture {
        SaeArchitecture::Relu => "ReLU".to_owned(),
        SaeArchitecture::TopK => format!("TopK, k = {}", sae.outputs),
        SaeArchitecture::SignedTopK => format!("TopK without ReLU, k = {}", sae.outputs),
        SaeArchitecture::JumpRelu => "JumpReLU".to_owned(),
        SaeArchitecture::Gated => "gated".to_owned(),
        SaeArchitecture::GroupMax => format!("the largest of each of {} groups", sae.outputs),
    };
    page.row(
        "SAE",
        &format!(
            "{activation}; {} features from the {} values of {}; {} reported per tile",
            sae.d_sae, sae.d_in, sae.tap, sae.outputs
        ),
    );
    let mut steps: Vec<&str> = sae
        .input
        .iter()
        .map(|step| match step {
            InputStep::Standardize => "standardized",
            InputStep::L2 => "norm 1",
            InputStep::ConstantNormRescale => "norm rescaled to √d",
            InputStep::LayerNorm => "layer norm",
        })
        .collect();
    if sae.apply_b_dec_to_input {
        steps.push("b_dec subtracted");
    }
    if sae.rescale_acts_by_decoder_norm {
        steps.push("activations rescaled by decoder norm");
    }
    if !steps.is_empty() {
        page.row("", &format!("input: {}", steps.join(", ")));
    }
    let reference = &sae.reference;
    let quantiles = reference.error_quantiles.iter().map(|(level, value)| format!("{level}: {value:.3}"));
    page.row(
        "",
        &format!(
            "error over mean ‖x−x̄‖² {:.4} ({} tiles), quantiles {}",
            reference.mean_square_deviation,
            reference.tiles,
            quantiles.collect::<Vec<_>>().join(", ")
        ),
    );
    if !sae.labels.is_empty() {
        page.row("", &format!("{} features are named", sae.labels.len()));
    }
}

fn files(page: &mut Page, bundle: &Bundle) -> Result<(), BundleError> {
    page.gap();
    for (i, (name, entry)) in bundle.manifest().files.iter().enumerate() {
        let label = if i == 0 { "files" } else { "" };
        // Names are short; a long one only widens its own row.
        page.line(label, &format!("{name:24}{:>9}  {}…", bytes(entry.bytes), &entry.sha256.to_string()[..24]));
    }
    let of_sae = match bundle.manifest().sae.features() {
        0 => String::new(),
        _ => format!(" and {} (SAE)", elements(bundle.sae_tensors())),
    };
    let (of_model, tiles) = (elements(bundle.model_tensors()), bundle.reference()?.count);
    page.row("", &format!("stored as {of_model} (model){of_sae}, computed in f32; {tiles} reference tiles"));
    Ok(())
}

/// The element types in a file, the most frequent first.
fn elements(file: &TensorFile) -> String {
    let mut bytes: BTreeMap<String, usize> = BTreeMap::new();
    for tensor in file.names().filter_map(|name| file.get(name)) {
        *bytes.entry(element_name(tensor.element).to_owned()).or_default() += tensor.bytes.len();
    }
    let mut elements: Vec<_> = bytes.into_iter().collect();
    elements.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    elements.into_iter().map(|(element, _)| element).collect::<Vec<_>>().join(", ")
}

fn element_name(element: Element) -> &'static str {
    match element {
        Element::F16 => "f16",
        Element::Bf16 => "bf16",
        Element::F32 => "f32",
        Element::F64 => "f64",
        Element::U8 => "u8",
        Element::I32 => "i32",
        Element::I64 => "i64",
    }
}

fn bytes(value: u64) -> String {
    format!("{}B", prefixed(value as f64))
}
