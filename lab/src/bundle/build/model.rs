//! The model's part of a bundle: a vision transformer from its weights, or an ONNX file as it is.

use std::error::Error;
use std::path::Path;

use coverslip_bundle::{Architecture, Tap, Weights};
use coverslip_import::{ModelSource, ModelSpec, OnnxFile, OnnxSpec, StoreAs, import_model, import_onnx};

use super::super::engine;
use super::{BuildArgs, from_json, memory};

/// A model, whichever way it came.
pub(super) struct Model {
    pub(super) architecture: Architecture,
    pub(super) side: usize,
    pub(super) taps: Vec<Tap>,
    pub(super) weights: Weights,
    pub(super) topology: Option<Vec<u8>>,
    /// What a reader should know.
    pub(super) notes: Vec<String>,
    pub(super) about: About,
}

/// What people say of a model.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) licence: Option<String>,
    pub(super) source: Option<String>,
    pub(super) mpp: Option<f64>,
    pub(super) mean: Option<[f64; 3]>,
    pub(super) std: Option<[f64; 3]>,
    pub(super) sae_tap: Option<String>,
}

/// Reads the model that `--weights` names.
///
/// # Errors
/// Whatever the importers say.
pub(super) fn read(args: &BuildArgs, precision: StoreAs) -> Result<Model, Box<dyn Error>> {
    let mut model = if is_onnx(&args.weights) { onnx(args, precision)? } else { vit(args, precision)? };
    let about = &mut model.about;
    let replace = |slot: &mut Option<String>, flag: &Option<String>| {
        if flag.is_some() {
            slot.clone_from(flag);
        }
    };
    replace(&mut about.name, &args.name);
    replace(&mut about.description, &args.description);
    replace(&mut about.licence, &args.licence);
    replace(&mut about.source, &args.source);
    about.mpp = args.mpp.or(about.mpp);
    Ok(model)
}

/// Whether a path is an ONNX file.
pub(in super::super) fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

fn vit(args: &BuildArgs, precision: StoreAs) -> Result<Model, Box<dyn Error>> {
    let mut spec: ModelSpec = args.model.as_deref().map(from_json).transpose()?.unwrap_or_default();
    spec.num_heads = args.heads.or(spec.num_heads);
    spec.pooling = args.pooling.map(super::PoolingName::meant).or(spec.pooling);
    let source = ModelSource::open(&args.weights, args.config.as_deref())?;
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
        about: About {
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

fn onnx(args: &BuildArgs, precision: StoreAs) -> Result<Model, Box<dyn Error>> {
    if args.config.is_some() || args.heads.is_some() || args.pooling.is_some() {
        return Err("--config, --heads and --pooling belong to weights; an ONNX model's taps are in --model".into());
    }
    let spec: OnnxSpec = args.model.as_deref().map(from_json).transpose()?.unwrap_or_default();
    let file = OnnxFile::open(&args.weights)?;
    memory::check_parameters(file.parameters()?, 0)?;
    let found = import_onnx(&file, &spec, precision, &mut engine::load_probe)?;
    Ok(Model {
        architecture: Architecture::Onnx(found.model),
        side: found.side,
        taps: found.taps,
        weights: found.weights,
        topology: Some(found.topology),
        notes: found.notes,
        about: About {
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
