//! ONNX models of any kind. The graph is reduced to what the taps need, checked, run once to learn its shapes, and
//! stored beside its weights. Its results do not change.

mod candidates;
mod probe;
mod resize;
mod source;
mod spec;
mod store;
mod taps;
mod trial;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreAs;
pub use candidates::{Candidate, Candidates, candidates};
use coverslip_bundle::Weights;
use coverslip_bundle::onnx::{Constant, DataType, Model, operators};
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{OnnxModel, Tap};
use probe::{Front, Probe};
pub use probe::{LoadedProbe, ProbeGraph, ProbeResult, Probed, Prober, Rewrite};
use source::Source;
pub use spec::{OnnxSpec, OnnxTap};

/// An ONNX file in memory.
#[derive(Debug)]
pub struct OnnxFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// An imported model that was run on test tiles.
#[derive(Clone, Debug)]
pub struct ImportedOnnx {
    /// The manifest's description of the model.
    pub model: OnnxModel,
    /// Width and height of the model's input, px.
    pub side: usize,
    /// The taps.
    pub taps: Vec<Tap>,
    /// The weights in their stored form.
    pub weights: Weights,
    /// The graph in its stored form.
    pub topology: Vec<u8>,
    /// What the importer replaced, assumed or found, in sentences.
    pub notes: Vec<String>,
}

impl OnnxFile {
    /// Reads `path`. Weights in external files are read on request.
    ///
    /// # Errors
    /// `Missing`, `Io`.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let bytes =
            coverslip_files::read_at_most(path, 2 << 30).map_err(|error| BundleError::io(path.display(), &error))?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Number of values in the graph's constants.
    ///
    /// # Errors
    /// `Truncated`, `Invalid`, `TooLarge`.
    pub fn parameters(&self) -> Result<u64, BundleError> {
        let within = |error: BundleError| error.within(self.path.display());
        let model = Model::read(&self.bytes).map_err(within)?;
        model.constants.iter().try_for_each(Constant::check).map_err(within)?;
        Ok(model.constants.iter().map(|constant| constant.elements() as u64).fold(0, u64::saturating_add))
    }
}

/// Imports an ONNX model. `engine` runs graphs, to learn shapes and to check that a tile's results do not depend on its
/// batch.
///
/// # Errors
/// `Unsupported`, naming everything that is not supported; `Missing` or `Invalid` if graph and `spec` contradict each
/// other.
pub fn import_onnx(
    file: &OnnxFile,
    spec: &OnnxSpec,
    precision: StoreAs,
    engine: &mut Prober,
) -> Result<ImportedOnnx, BundleError> {
    import(file, spec, precision, engine).map_err(|error| error.within(file.path.display()))
}

fn import(
    file: &OnnxFile,
    spec: &OnnxSpec,
    precision: StoreAs,
    engine: &mut Prober,
) -> Result<ImportedOnnx, BundleError> {
    let mut source = Source::read(&file.bytes, spec.input.as_deref())?;
    source.image.expect_one_tile_or_any()?;
    let wanted = taps::tapped(&source, spec)?;
    source.prune(&wanted)?;
    operators::check(&source.nodes, DataType::Float, |name| source.constants.get(name))?;
    let side = side(&source, spec)?;
    let checkpoint = Arc::new(store::checkpoint(&file.path, &file.bytes, &source)?);
    store::take_in(&mut source, &checkpoint)?;
    let mut front = front(&source, side, spec);

    let mut values = resize::values(&source)?;
    values.extend(probe::cost_values(&source.nodes));
    values.extend(wanted.iter().cloned());
    let made: HashSet<&String> = source.nodes.iter().flat_map(|node| &node.outputs).collect();
    values.retain(|name| made.contains(name));
    values.sort();
    values.dedup();
    let tiles = noise(2, side);
    let found = Probe::load(&source, &checkpoint, &front, &values, Rewrite::No, engine)?
        .run(&tiles[..tiles.len() / 2], 1)
        .map_err(|error| match source.image.batch {
            Some(_) => error,
            None => BundleError::new(error.kind(), format!("{error}; {FIXED_INSIDE}")),
        })?;
    probe::refuse_vectors(&source.nodes, &found)?;
    let mut notes = resize::lower(&mut source, &found)?;
    source.prune(&wanted)?;
    let taps = taps::taps(spec, &source, side, &found, &mut notes)?;
    let single_tile = trial::single_tile(&source, &checkpoint, &front, &wanted, &tiles, engine, &mut notes)?;

    let flops_per_tile = probe::flops(&source, &found);
    front.model.flops_per_tile = flops_per_tile;
    front.model.single_tile = single_tile;
    front.model.parameters =
        source.constants.values().map(|constant| constant.elements() as u64).fold(0, u64::saturating_add);
    let weights = store::weights(&source, &checkpoint, precision)?;
    let topology = store::topology(&source, &weights, &wanted, &taps, side)?;
    Ok(ImportedOnnx { model: front.model, side, taps, weights, topology, notes })
}

/// What may be wrong with a graph that declares a dynamic batch and does not run.
const FIXED_INSIDE: &str = "where its batch is fixed inside, though declared as dynamic, export it with one tile";

fn side(source: &Source, spec: &OnnxSpec) -> Result<usize, BundleError> {
    match (source.image.side, spec.img_size) {
        (Some(found), Some(stated)) if found != stated => {
            fail!(Invalid, "model.json says img_size {stated}, the graph's input is {found} px; expected the same")
        }
        (Some(side), _) | (None, Some(side)) if (1..=coverslip_bundle::limits::MAX_SIDE).contains(&side) => Ok(side),
        (Some(side), _) | (None, Some(side)) => {
            fail!(TooLarge, "the model's input is {side} px, expected 1 to {}", coverslip_bundle::limits::MAX_SIDE)
        }
        (None, None) => fail!(
            Missing,
            "the graph takes images of any size; expected \"img_size\" in model.json: the size used in training"
        ),
    }
}

/// The graph's input and preprocessing. Listing needs shapes only, so the preprocessing need not be stated for it.
fn front(source: &Source, side: usize, spec: &OnnxSpec) -> Front {
    let model = OnnxModel {
        input: source.image.name.clone(),
        layout: source.image.layout,
        single_tile: source.image.batch == Some(1),
        parameters: 0,
        flops_per_tile: 0,
    };
    Front { model, side, mean: spec.mean.unwrap_or([0.5; 3]), std: spec.std.unwrap_or([0.5; 3]) }
}

/// `n` different tiles of noise from a linear congruential generator.
fn noise(n: usize, side: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..n * side * side * 3).map(|_| next()).collect()
}
