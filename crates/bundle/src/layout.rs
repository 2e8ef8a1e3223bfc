//! Names and shapes of the tensors of a manifest's model and SAE, in timm's and SAELens' conventions.

use std::collections::HashSet;

use crate::error::{BundleError, fail};
use crate::manifest::{
    Architecture, GRAPH_FILE, InputStep, Manifest, OnnxModel, PixelLayout, Sae, SaeArchitecture, Tap, TapSource, Vit,
};
use crate::onnx::{self, DataType, Model};
use crate::tensors::TensorFile;

/// The tensor of a pruned SAE that holds each feature's original index.
pub const INDEX_MAP: &str = "index_map";

/// A tensor's name and shape.
pub type Shape = (String, Vec<usize>);

/// A ViT's tensors, without the final norm.
pub fn vit_tensors(a: &Vit, side: usize) -> Vec<Shape> {
    let (d, hidden) = (a.embed_dim, a.mlp_dim);
    let mut tensors: Vec<Shape> = Vec::new();
    let mut add = |name: String, shape: &[usize]| tensors.push((name, shape.to_vec()));
    if a.class_token {
        add("cls_token".into(), &[1, 1, d]);
    }
    if a.register_tokens > 0 {
        add("reg_token".into(), &[1, a.register_tokens, d]);
    }
    add("pos_embed".into(), &[1, position_rows(a, side), d]);
    add("patch_embed.proj.weight".into(), &[d, 3, a.patch, a.patch]);
    add("patch_embed.proj.bias".into(), &[d]);
    for i in 0..a.depth {
        let mut block = |name: &str, shape: &[usize]| add(format!("blocks.{i}.{name}"), shape);
        for norm in ["norm1", "norm2"] {
            block(&format!("{norm}.weight"), &[d]);
            block(&format!("{norm}.bias"), &[d]);
        }
        block("attn.qkv.weight", &[3 * d, d]);
        if a.qkv_bias {
            block("attn.qkv.bias", &[3 * d]);
        }
        block("attn.proj.weight", &[d, d]);
        block("attn.proj.bias", &[d]);
        block("mlp.fc1.weight", &[a.fc1_rows(), d]);
        block("mlp.fc1.bias", &[a.fc1_rows()]);
        block("mlp.fc2.weight", &[d, hidden]);
        block("mlp.fc2.bias", &[d]);
        if a.layer_scale {
            block("ls1.gamma", &[d]);
            block("ls2.gamma", &[d]);
        }
    }
    tensors
}

/// Rows of `pos_embed`: one per patch, and one per prefix token unless `no_embed_class` is set.
pub(crate) fn position_rows(vit: &Vit, side: usize) -> usize {
    if vit.no_embed_class { vit.patches(side) } else { vit.tokens(side) }
}

/// The final norm's tensors. Taps with `final_norm` need them; otherwise they are optional.
pub fn final_norm_tensors(vit: &Vit) -> Vec<Shape> {
    let d = vit.embed_dim;
    vec![("norm.weight".into(), vec![d]), ("norm.bias".into(), vec![d])]
}

/// The SAE's floating-point tensors.
pub fn sae_tensors(sae: &Sae) -> Vec<Shape> {
    let Some(architecture) = sae.architecture else { return Vec::new() };
    let (d, m) = (sae.d_in, sae.d_sae);
    let mut tensors: Vec<Shape> = vec![("W_enc".into(), vec![d, m])];
    let mut add = |name: &str, width: usize| tensors.push((name.into(), vec![width]));
    match architecture {
        SaeArchitecture::Gated => ["b_gate", "r_mag", "b_mag"].into_iter().for_each(|name| add(name, m)),
        _ => add("b_enc", m),
    }
    if architecture == SaeArchitecture::JumpRelu {
        add("threshold", m);
    }
    if sae.input.contains(&InputStep::Standardize) {
        add("input_mean", d);
        add("input_std", d);
    }
    add("b_dec", d);
    tensors.push(("W_dec".into(), vec![m, d]));
    tensors
}

/// Parameters of the model.
pub fn model_parameters(manifest: &Manifest) -> u128 {
    match &manifest.architecture {
        Architecture::Vit(vit) => vit_parameters(vit, manifest.side),
        Architecture::Onnx(onnx) => u128::from(onnx.parameters),
    }
}

/// Parameters of a ViT, including the final norm.
pub(crate) fn vit_parameters(vit: &Vit, side: usize) -> u128 {
    count(&vit_tensors(vit, side)) + count(&final_norm_tensors(vit))
}

/// Parameters of the SAE.
pub fn sae_parameters(sae: &Sae) -> u128 {
    count(&sae_tensors(sae))
}

/// Parameters of model and SAE.
pub fn parameters(manifest: &Manifest) -> u128 {
    model_parameters(manifest) + sae_parameters(&manifest.sae)
}

fn count(tensors: &[Shape]) -> u128 {
    // A manifest's sizes are limited, a graph's are not: hence the saturating arithmetic.
    let size = |shape: &Vec<usize>| shape.iter().fold(1u128, |n, d| n.saturating_mul(*d as u128));
    tensors.iter().map(|(_, shape)| size(shape)).fold(0, u128::saturating_add)
}

/// Checks the model's tensors, and the graph of an ONNX model.
pub(crate) fn check_model(manifest: &Manifest, topology: Option<&[u8]>, file: &TensorFile) -> Result<(), BundleError> {
    match (&manifest.architecture, topology) {
        (Architecture::Vit(vit), None) => check_vit(manifest, vit, file),
        (Architecture::Onnx(onnx), Some(topology)) => check_onnx(manifest, onnx, topology, file),
        (Architecture::Onnx(_), None) => fail!(Missing, "{GRAPH_FILE} is missing: an ONNX model needs its graph"),
        (Architecture::Vit(_), Some(_)) => {
            fail!(Invalid, "found {GRAPH_FILE} in a ViT's bundle: only an ONNX model has one")
        }
    }
}

/// Checks that exactly a ViT's tensors are there, each with its shape and finite values.
fn check_vit(manifest: &Manifest, vit: &Vit, file: &TensorFile) -> Result<(), BundleError> {
    let mut expected = vit_tensors(vit, manifest.side);
    let wanted = manifest.taps.iter().any(Tap::final_norm);
    if wanted || file.get("norm.weight").is_some() || file.get("norm.bias").is_some() {
        expected.extend(final_norm_tensors(vit));
    }
    check_tensors(&expected, file, &[])
}

/// Checks that an ONNX model's graph has the values that the manifest and its taps name, and that the file holds
/// exactly the graph's weights, each with its shape and finite values.
fn check_onnx(manifest: &Manifest, onnx: &OnnxModel, topology: &[u8], file: &TensorFile) -> Result<(), BundleError> {
    let model = Model::read(topology)?;
    onnx::check_model(&model, DataType::Float).map_err(|e| e.within(GRAPH_FILE))?;
    let side = manifest.side;
    let image = match onnx.layout {
        PixelLayout::Nchw => [1, 3, side, side],
        PixelLayout::Nhwc => [1, side, side, 3],
    };
    if !model.inputs.iter().any(|input| input.name == onnx.input) {
        fail!(Invalid, "{GRAPH_FILE} has no input `{}`", onnx.input.escape_default());
    }
    onnx::demand(&model, (&onnx.input, &image), 1).map_err(|e| e.within(GRAPH_FILE))?;
    for tap in &manifest.taps {
        let TapSource::Tensor { tensor, .. } = &tap.source else { continue };
        if !model.nodes.iter().any(|node| node.outputs.contains(tensor)) {
            fail!(
                Missing,
                "tap `{}` reads `{}`, which {GRAPH_FILE} does not compute",
                tap.name,
                tensor.escape_default()
            );
        }
    }
    let weights = model.inputs.iter().filter(|input| input.name != onnx.input);
    if let Some(open) = weights.clone().find(|input| input.dims.contains(&None)) {
        fail!(Invalid, "weight `{}` of {GRAPH_FILE} has a dimension without a size", open.name);
    }
    let expected: Vec<Shape> =
        weights.map(|input| (input.name.clone(), input.dims.iter().flatten().copied().collect())).collect();
    let parameters =
        count(&expected) + model.constants.iter().map(|c| c.elements() as u128).fold(0, u128::saturating_add);
    if parameters != u128::from(onnx.parameters) {
        fail!(Invalid, "the graph has {parameters} parameters, the manifest says {}", onnx.parameters);
    }
    check_tensors(&expected, file, &[])
}

/// Checks that exactly the SAE's tensors are there, each with its shape and finite values.
pub fn check_sae(sae: &Sae, file: &TensorFile) -> Result<(), BundleError> {
    if sae.pruned {
        file.expect(INDEX_MAP, &[sae.d_sae])?.to_i32()?;
    }
    check_tensors(&sae_tensors(sae), file, if sae.pruned { &[INDEX_MAP] } else { &[] })
}

/// Names all missing or unexpected tensors in one error, so that they can be fixed in one go.
fn check_tensors(expected: &[Shape], file: &TensorFile, others: &[&str]) -> Result<(), BundleError> {
    let missing: Vec<String> = expected
        .iter()
        .filter(|(name, _)| file.get(name).is_none())
        .map(|(name, shape)| format!("`{name}` {shape:?}"))
        .collect();
    if !missing.is_empty() {
        fail!(Missing, "{} missing: {}", tensors_are(missing.len()), listed(&missing));
    }
    for (name, shape) in expected {
        file.expect(name, shape)?.check_finite()?;
    }
    // A stranger's graph has as many weights as it has parts.
    let known: HashSet<&str> = expected.iter().map(|(name, _)| name.as_str()).chain(others.iter().copied()).collect();
    let extra: Vec<String> =
        file.names().filter(|name| !known.contains(name)).map(|name| format!("`{name}`")).collect();
    if !extra.is_empty() {
        fail!(
            Invalid,
            "{} not described by the manifest: {}; ignoring them could change the outputs",
            tensors_are(extra.len()),
            listed(&extra)
        );
    }
    Ok(())
}

fn tensors_are(n: usize) -> String {
    if n == 1 { "a tensor is".to_owned() } else { format!("{n} tensors are") }
}

/// The first 12 names, and the number of the rest.
pub fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
