//! Which tensors a manifest's model and SAE have: names and shapes, in timm's and SAELens' conventions.

use crate::error::{BundleError, fail};
use crate::manifest::{Manifest, SaeArchitecture};
use crate::tensors::TensorFile;

/// A tensor's name and shape.
pub(crate) type Shape = (String, Vec<usize>);

/// The model's tensors, without the final norm.
pub(crate) fn model_tensors(manifest: &Manifest) -> Vec<Shape> {
    let a = &manifest.architecture;
    let (d, hidden) = (a.embed_dim, a.mlp_dim);
    let mut tensors: Vec<Shape> = Vec::new();
    let mut add = |name: String, shape: &[usize]| tensors.push((name, shape.to_vec()));
    if a.class_token {
        add("cls_token".into(), &[1, 1, d]);
    }
    if a.register_tokens > 0 {
        add("reg_token".into(), &[1, a.register_tokens, d]);
    }
    add("pos_embed".into(), &[1, position_rows(manifest), d]);
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
        block("mlp.fc1.weight", &[hidden, d]);
        block("mlp.fc1.bias", &[hidden]);
        block("mlp.fc2.weight", &[d, hidden]);
        block("mlp.fc2.bias", &[d]);
        if a.layer_scale {
            block("ls1.gamma", &[d]);
            block("ls2.gamma", &[d]);
        }
    }
    tensors
}

/// Rows of `pos_embed`: patches, and the tokens before them unless `no_embed_class`.
pub(crate) fn position_rows(manifest: &Manifest) -> usize {
    if manifest.architecture.no_embed_class { manifest.patches() } else { manifest.tokens() }
}

/// The final norm's tensors: needed by taps with `final_norm`, allowed without.
pub(crate) fn final_norm_tensors(manifest: &Manifest) -> Vec<Shape> {
    let d = manifest.architecture.embed_dim;
    vec![("norm.weight".into(), vec![d]), ("norm.bias".into(), vec![d])]
}

/// The SAE's tensors.
pub(crate) fn sae_tensors(manifest: &Manifest) -> Vec<Shape> {
    let (d, m) = (manifest.sae.d_in, manifest.sae.d_sae);
    let mut tensors = vec![
        ("W_enc".into(), vec![d, m]),
        ("b_enc".into(), vec![m]),
        ("W_dec".into(), vec![m, d]),
        ("b_dec".into(), vec![d]),
    ];
    if manifest.sae.architecture == SaeArchitecture::JumpRelu {
        tensors.push(("threshold".into(), vec![m]));
    }
    tensors
}

/// The model's parameters. Sizes were limited before, so 128 bits cannot overflow.
pub(crate) fn model_parameters(manifest: &Manifest) -> u128 {
    count(&model_tensors(manifest)) + count(&final_norm_tensors(manifest))
}

/// The SAE's parameters.
pub(crate) fn sae_parameters(manifest: &Manifest) -> u128 {
    count(&sae_tensors(manifest))
}

/// Parameters of model and SAE.
pub(crate) fn parameters(manifest: &Manifest) -> u128 {
    model_parameters(manifest) + sae_parameters(manifest)
}

fn count(tensors: &[Shape]) -> u128 {
    let size = |shape: &Vec<usize>| shape.iter().map(|d| *d as u128).product::<u128>();
    tensors.iter().map(|(_, shape)| size(shape)).sum()
}

/// Checks the model's tensors: all there, in shape, finite, and no others.
pub(crate) fn check_model(manifest: &Manifest, file: &TensorFile) -> Result<(), BundleError> {
    let mut expected = model_tensors(manifest);
    let wanted = manifest.taps.iter().any(|tap| tap.final_norm);
    if wanted || file.get("norm.weight").is_some() || file.get("norm.bias").is_some() {
        expected.extend(final_norm_tensors(manifest));
    }
    check_tensors(&expected, file)
}

/// Checks the SAE's tensors: all there, in shape, finite, and no others.
pub(crate) fn check_sae(manifest: &Manifest, file: &TensorFile) -> Result<(), BundleError> {
    check_tensors(&sae_tensors(manifest), file)
}

fn check_tensors(expected: &[Shape], file: &TensorFile) -> Result<(), BundleError> {
    for (name, shape) in expected {
        file.expect(name, shape)?.check_finite()?;
    }
    let known = |name: &str| expected.iter().any(|(known, _)| known == name);
    if let Some(name) = file.names().find(|name| !known(name)) {
        fail!(
            Invalid,
            "tensor `{name}` is not part of what the manifest describes; leaving it out could change \
             the outputs"
        );
    }
    Ok(())
}
