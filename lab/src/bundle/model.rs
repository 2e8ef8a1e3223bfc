//! The model's part of a bundle: a vision transformer from its weights, or an ONNX file as it is.

use std::error::Error;
use std::path::Path;

use coverslip_bundle::{Architecture, Tap, Weights};
use coverslip_import::{ModelSource, ModelSpec, OnnxFile, OnnxSpec, StoreAs, import_model, import_onnx};

use super::memory;
use super::request::{BuildRequest, Stated, from_json};

/// A model, whatever kind of file it came in.
pub(super) struct Model {
    pub(super) architecture: Architecture,
    pub(super) side: usize,
    pub(super) taps: Vec<Tap>,
    pub(super) weights: Weights,
    pub(super) topology: Option<Vec<u8>>,
    /// What the user should know.
    pub(super) notes: Vec<String>,
    pub(super) stated: Stated,
}

/// Reads the model of a request.
///
/// # Errors
/// Where the importers refuse it.
pub(super) fn read(request: &BuildRequest, precision: StoreAs) -> Result<Model, Box<dyn Error>> {
    let mut model = if is_onnx(&request.weights) { onnx(request, precision)? } else { vit(request, precision)? };
    let stated = &mut model.stated;
    let replace = |slot: &mut Option<String>, flag: &Option<String>| {
        if flag.is_some() {
            slot.clone_from(flag);
        }
    };
    replace(&mut stated.name, &request.stated.name);
    replace(&mut stated.description, &request.stated.description);
    replace(&mut stated.licence, &request.stated.licence);
    replace(&mut stated.source, &request.stated.source);
    stated.mpp = request.stated.mpp.or(stated.mpp);
    Ok(model)
}

/// Whether a path is an ONNX file.
pub(crate) fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

fn vit(request: &BuildRequest, precision: StoreAs) -> Result<Model, Box<dyn Error>> {
    let mut spec: ModelSpec = request.model.as_deref().map(from_json).transpose()?.unwrap_or_default();
    spec.num_heads = request.heads.or(spec.num_heads);
    spec.pooling = request.pooling.or(spec.pooling);
    let source = ModelSource::open(&request.weights, request.config.as_deref())?;
    let found = import_model(&source, &spec, precision)?;
    let mut notes = found.notes;
    if !found.left_out.is_empty() {
        notes.push(format!("left out, because no embedding needs it: {}", found.left_out.join(", ")));
    }
    Ok(Model {
        architecture: Architecture::Vit(found.architecture),
        side: found.side,
        taps: found.taps,
        weights: found.weights,
        topology: None,
        notes,
        stated: Stated {
            name: spec.name,
            description: spec.description,
            licence: spec.licence,
            source: spec.source,
            mpp: spec.mpp,
            mean: found.mean,
            std: found.std,
            sae_tap: spec.sae_tap,
        },
    })
}

fn onnx(request: &BuildRequest, precision: StoreAs) -> Result<Model, Box<dyn Error>> {
    if request.config.is_some() || request.heads.is_some() || request.pooling.is_some() {
        return Err("--config, --heads and --pooling belong to weights; an ONNX model's taps are in --model".into());
    }
    let spec: OnnxSpec = request.model.as_deref().map(from_json).transpose()?.unwrap_or_default();
    let file = OnnxFile::open(&request.weights)?;
    memory::check_parameters(file.parameters()?, 0)?;
    let found = import_onnx(&file, &spec, precision, &mut coverslip_runner::load_probe)?;
    Ok(Model {
        architecture: Architecture::Onnx(found.model),
        side: found.side,
        taps: found.taps,
        weights: found.weights,
        topology: Some(found.topology),
        notes: found.notes,
        stated: Stated {
            name: spec.name,
            description: spec.description,
            licence: spec.licence,
            source: spec.source,
            mpp: spec.mpp,
            mean: spec.mean,
            std: spec.std,
            sae_tap: spec.sae_tap,
        },
    })
}
