//! Vision transformers from a hub: with timm's, DINOv2's or transformers' names, and with or without a `config.json`.
//! The result has timm's names. Shapes are read from the tensors and compared with what the files state; `model.json`
//! must state what neither does.

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
mod statements;
mod taps;
mod unknown;

pub use source::ModelSource;
pub use spec::{Interpolation, ModelSpec, TapSpec};

use super::StoreAs;
use coverslip_bundle::BundleError;
use coverslip_bundle::Weights;
use coverslip_bundle::{Tap, Vit};
use statements::Statement;

/// An imported model.
#[derive(Clone, Debug)]
pub struct ImportedModel {
    /// The model's shape.
    pub architecture: Vit,
    /// Width and height of the model's input, px.
    pub side: usize,
    /// The taps.
    pub taps: Vec<Tap>,
    /// The weights in their stored form, under timm's names. They are read when the bundle is written.
    pub weights: Weights,
    /// Mean of pixel/255 that the preprocessing subtracts, R, G, B, if stated.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of pixel/255 that the preprocessing divides by, R, G, B, if stated.
    pub std: Option<[f64; 3]>,
    /// Tensors that no embedding needs and that are left out: classifiers, heads, a student.
    pub left_out: Vec<String>,
    /// What was recognised and changed, in sentences.
    pub notes: Vec<String>,
}

/// Imports a vision transformer. `spec` overrides the files beside the weights.
///
/// # Errors
/// `Unsupported`, by name, for other conventions, parts and activations; `Missing` for tensors and for facts that
/// nothing states; `Invalid` if files, `spec` and weights contradict each other, and for unknown tensors; `TooLarge`
/// beyond the limits. One error names all missing or unknown tensors.
pub fn import_model(source: &ModelSource, spec: &ModelSpec, precision: StoreAs) -> Result<ImportedModel, BundleError> {
    let mut found = names::read(&source.checkpoint)?;
    let config = config::read(source, spec)?;
    let (stated, all) = shape::all_statements(&mut found, &config, spec)?;
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

/// A note if a person's preprocessing overrides a different one in the model's files.
fn overruled(taken: &Option<Statement<[f64; 3]>>, file: &Option<Statement<[f64; 3]>>) -> Option<String> {
    let (taken, file) = (taken.as_ref()?, file.as_ref()?);
    (taken.value != file.value)
        .then(|| format!("{} {:?} is taken, {} is {:?}", taken.by, taken.value, file.by, file.value))
}
