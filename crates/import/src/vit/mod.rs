//! Vision transformers as they lie on a hub: in timm's, DINOv2's or transformers' names, beside a `config.json` or
//! without one. The result has timm's names. Shapes are read off the tensors, and what files say is compared with
//! them; what neither says, `model.json` has to.

mod architectures;
mod config;
mod conventions;
mod hidden;
mod names;
mod parts;
mod positions;
mod shape;
mod source;
mod spec;
mod stated;
mod taps;
mod unknown;

pub use source::ModelSource;
pub use spec::{Interpolation, ModelSpec, TapSpec};

use super::StoreAs;
use coverslip_bundle::BundleError;
use coverslip_bundle::Weights;
use coverslip_bundle::{Tap, Vit};
use stated::Said;

/// A model, read.
#[derive(Clone, Debug)]
pub struct ImportedModel {
    /// Its shape.
    pub architecture: Vit,
    /// Model input, px.
    pub side: usize,
    /// Its taps.
    pub taps: Vec<Tap>,
    /// Its weights as they will be stored, by timm's names. They are read when they are written.
    pub weights: Weights,
    /// Mean of pixel/255 that its preprocessing subtracts, R G B, if anything says it.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of pixel/255 that its preprocessing divides by, R G B, if anything says it.
    pub std: Option<[f64; 3]>,
    /// Tensors that are left out because no embedding needs them: classifiers, heads, the student.
    pub left_out: Vec<String>,
    /// What was recognised, and what was done to it, in sentences.
    pub notes: Vec<String>,
}

/// Reads a vision transformer. `spec` overrides what lies beside the weights.
///
/// # Errors
/// `Unsupported`, by name, for other conventions, parts and activations; `Missing` for tensors (all at once) and for
/// what nothing says; `Invalid` where files, `spec` and weights contradict each other, and for unknown tensors (all
/// at once); `TooLarge` beyond the limits.
pub fn import_model(source: &ModelSource, spec: &ModelSpec, precision: StoreAs) -> Result<ImportedModel, BundleError> {
    let mut found = names::read(&source.checkpoint)?;
    let config = config::read(source, spec)?;
    let (stated, all) = shape::everything_said(&mut found, &config, spec)?;
    let mut shape = shape::read(&found, &stated, &all)?;
    let (taps, tap_note) = taps::read(&found, &shape.vit, spec, &all)?;
    let mut weights = parts::weights(&found, &shape, taps.iter().any(Tap::final_norm), precision)?;
    let positions = positions::read(&found, &shape, &stated, &all, spec, precision)?;
    shape.vit.no_embed_class = positions.no_embed_class;
    weights.insert("pos_embed", positions.weight);

    let mut notes = vec![match &config.says {
        Some(says) => format!("{}, {says}", found.convention.title()),
        None => found.convention.title().to_owned(),
    }];
    notes.append(&mut found.notes);
    notes.extend(shape.hidden.note(&all));
    notes.extend(positions.notes);
    notes.extend(tap_note);
    notes.extend(overruled(&all.mean, &config.stated.mean));
    notes.extend(overruled(&all.std, &config.stated.std));
    Ok(ImportedModel {
        architecture: shape.vit,
        side: positions.side,
        taps,
        weights,
        mean: all.mean.map(|said| said.value),
        std: all.std.map(|said| said.value),
        left_out: found.left_out,
        notes,
    })
}

/// A preprocessing that a person stated against the model's own files: they decide, but it is said.
fn overruled(taken: &Option<Said<[f64; 3]>>, file: &Option<Said<[f64; 3]>>) -> Option<String> {
    let (taken, file) = (taken.as_ref()?, file.as_ref()?);
    (taken.value != file.value)
        .then(|| format!("{} {:?} is taken, {} is {:?}", taken.by, taken.value, file.by, file.value))
}
