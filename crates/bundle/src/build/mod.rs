//! Writing bundles: compose, run the caller's engine for calibration and reference outputs, write to a
//! directory beside the target, open what was written, and only then give it its name.

mod calibrate;
mod label;

use std::collections::BTreeMap;
use std::path::Path;

use coverslip_files::{Folder, Replace};

use crate::compose::{self, ComposedGraph};
use crate::digest::Digest;
use crate::error::{BundleError, BundleErrorKind, fail};
use crate::manifest::{
    FileEntry, GRAPH_FILE, MANIFEST_FILE, MODEL_FILE, Manifest, REFERENCE_FILE, SAE_FILE, SaeArchitecture,
};
use crate::onnx::Placement;
use crate::open::Bundle;
use crate::precision::Precision;
use crate::reference::{self, ReferenceOutputs};
use crate::tensors::{TensorFile, TensorMap, to_safetensors};
use crate::weights::Weights;
use crate::{layout, limits};
pub use label::relabel;

/// What a caller's engine returns for tiles.
pub type RunResult = Result<ReferenceOutputs, Box<dyn std::error::Error + Send + Sync>>;

/// A graph in a caller's engine: outputs for `n` tiles u8 `[n, side, side, 3]` (`tiles` may stay empty).
pub type Loaded = Box<dyn FnMut(&[u8], usize) -> RunResult>;

/// What a caller's engine makes of a graph.
pub type LoadResult = Result<Loaded, Box<dyn std::error::Error + Send + Sync>>;

/// Tiles that a caller's engine gets at once, at most.
pub const BATCH: usize = 8;

/// Everything that a bundle is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What the bundle is. `files` and `sae.reference` are filled in by [`write_bundle`].
    pub manifest: Manifest,
    /// The model's weights, as they will be stored: a ViT's in timm's names, an ONNX model's in its graph's.
    pub model: Weights,
    /// An ONNX model's graph: large weights are inputs of it, by their names in `model`.
    pub topology: Option<Vec<u8>>,
    /// The SAE's weights in SAELens' names, as they will be stored.
    pub sae: TensorMap,
    /// What is normal for the SAE.
    pub calibration: Calibration,
    /// Tiles of the self-check, u8 `[n, side, side, 3]`, 1 ≤ n ≤ 64.
    pub reference_tiles: Vec<u8>,
    /// Further files by name: card, licences.
    pub documents: BTreeMap<String, Vec<u8>>,
}

/// What is normal for the SAE, in embedding space: stated by whoever trained it, or computed from tiles.
/// What is not stated is computed, and needs at least two tiles.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// x̄, `d_in` values.
    pub mean: Option<Vec<f32>>,
    /// mean ‖x−x̄‖².
    pub mean_square_deviation: Option<f64>,
    /// Quantiles of ‖x−x̂‖² / mean ‖x−x̄‖² by level; empty: computed.
    pub error_quantiles: BTreeMap<String, f64>,
    /// How many tiles the stated figures come from.
    pub stated_tiles: u64,
    /// Tiles to compute the rest from, u8 `[n, side, side, 3]`.
    pub tiles: Vec<u8>,
}

/// Writes a bundle to `out` and opens it. `load` is the caller's engine: it takes a graph, and then at most
/// [`BATCH`] tiles at a time (one, where the graph says so).
///
/// `out` must not exist; with `force` an existing *bundle* there is replaced, nothing else. On an error
/// nothing is left behind and an existing bundle stays.
///
/// # Errors
/// `Invalid` for contradictory parts, for an existing `out` and when the engine fails; `Io`; and everything
/// that [`Bundle::open`] says of the result.
pub fn write_bundle(
    out: &Path,
    recipe: Recipe,
    force: bool,
    load: impl FnMut(ComposedGraph) -> LoadResult,
) -> Result<Bundle, BundleError> {
    coverslip_files::check_target(out, replace(force))?;
    let folder = Folder::beside(out)?;
    assemble(recipe, &folder, load)?;
    settle(folder, force)
}

fn replace(force: bool) -> Replace<'static> {
    Replace { marker: MANIFEST_FILE, kind: "bundle", force }
}

/// Opens what was written, and gives it its name.
fn settle(folder: Folder, force: bool) -> Result<Bundle, BundleError> {
    let bundle = Bundle::open(folder.path())?;
    folder.settle(replace(force))?;
    Ok(bundle)
}

/// Writes all files of the bundle.
fn assemble(recipe: Recipe, folder: &Folder, load: impl FnMut(ComposedGraph) -> LoadResult) -> Result<(), BundleError> {
    let mut manifest = recipe.manifest;
    calibrate::placeholder(&mut manifest, &recipe.calibration);
    limits::check(&manifest)?;
    check_documents(&manifest, &recipe.documents)?;
    let sae_bytes = to_safetensors(&recipe.sae)?;
    let sae = TensorFile::parse(sae_bytes)?;
    layout::check_sae(&manifest.sae, &sae).map_err(|e| e.within("SAE"))?;
    let path = folder.path().join(MODEL_FILE);
    recipe.model.write(&path)?;
    folder.share(MODEL_FILE)?;
    let model = TensorFile::parse(std::fs::read(&path).map_err(|error| BundleError::io(path.display(), &error))?)?;
    let topology = recipe.topology.as_deref();
    layout::check_model(&manifest, topology, &model).map_err(|e| e.within("model"))?;

    let mut engine = Engine { load };
    let composer = Composer { topology, model: &model, sae: &sae };
    let mean = calibrate::calibrate(&mut manifest, &recipe.calibration, &composer, &mut engine)?;
    let outputs = engine.run(&manifest, composer.compose(&manifest)?, &recipe.reference_tiles)?;
    let reference = to_safetensors(&reference::to_tensors(&manifest, &outputs, &mean))?;

    let mut files = recipe.documents;
    if manifest.sae.architecture != SaeArchitecture::None {
        files.insert(SAE_FILE.to_owned(), sae.into_bytes());
    }
    files.insert(REFERENCE_FILE.to_owned(), reference);
    files.extend(recipe.topology.map(|topology| (GRAPH_FILE.to_owned(), topology)));
    manifest.files = files.iter().map(|(name, bytes)| (name.clone(), entry(bytes))).collect();
    manifest.files.insert(MODEL_FILE.to_owned(), entry(model.bytes()));
    limits::check_files(&manifest)?;
    files.insert(MANIFEST_FILE.to_owned(), manifest_bytes(&manifest)?);
    Ok(files.iter().try_for_each(|(name, bytes)| folder.write(name, bytes))?)
}

fn check_documents(manifest: &Manifest, documents: &BTreeMap<String, Vec<u8>>) -> Result<(), BundleError> {
    let own = limits::required_files(manifest).into_iter().chain([MANIFEST_FILE]);
    for name in own {
        if documents.contains_key(name) {
            fail!(Invalid, "a document cannot be called `{name}`");
        }
    }
    Ok(())
}

/// Composes the graph, once the figures in the manifest changed again.
struct Composer<'a> {
    topology: Option<&'a [u8]>,
    model: &'a TensorFile,
    sae: &'a TensorFile,
}

impl Composer<'_> {
    fn compose(&self, manifest: &Manifest) -> Result<ComposedGraph, BundleError> {
        compose::compose(manifest, self.topology, self.model, self.sae, Precision::Float32, Placement::Inside)
    }
}

/// What a manifest says of a file with these bytes.
pub fn entry(bytes: &[u8]) -> FileEntry {
    FileEntry { bytes: bytes.len() as u64, sha256: Digest::of(bytes) }
}

/// The manifest as it is stored: indented, so that people can read and compare it.
fn manifest_bytes(manifest: &Manifest) -> Result<Vec<u8>, BundleError> {
    let written = serde_json::to_vec_pretty(manifest);
    let mut bytes = written.map_err(|error| {
        BundleError::new(BundleErrorKind::Invalid, format!("the manifest cannot be written: {error}"))
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The caller's engine, fed in batches.
struct Engine<F> {
    load: F,
}

impl<F: FnMut(ComposedGraph) -> LoadResult> Engine<F> {
    /// Runs all `tiles`; the result has them and their outputs, checked.
    fn run(
        &mut self,
        manifest: &Manifest,
        graph: ComposedGraph,
        tiles: &[u8],
    ) -> Result<ReferenceOutputs, BundleError> {
        let tile_bytes = manifest.side * manifest.side * 3;
        if tiles.is_empty() || !tiles.len().is_multiple_of(tile_bytes) {
            fail!(
                Invalid,
                "{} bytes of tiles; expected one or more of {side} × {side} × 3",
                tiles.len(),
                side = manifest.side
            );
        }
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            BundleError::new(BundleErrorKind::Invalid, format!("the engine could not run the composed graph: {error}"))
        };
        let at_once = if graph.single_tile { 1 } else { BATCH };
        let mut run = (self.load)(graph).map_err(failed)?;
        let mut all =
            ReferenceOutputs { embeddings: vec![Vec::new(); manifest.taps.len()], ..ReferenceOutputs::default() };
        for batch in tiles.chunks(at_once * tile_bytes) {
            let n = batch.len() / tile_bytes;
            let outputs = run(batch, n).map_err(failed)?;
            let outputs = ReferenceOutputs { count: n, tiles: Vec::new(), ..outputs };
            outputs.check(manifest).map_err(|e| e.within("the engine's outputs"))?;
            all.append(outputs);
        }
        all.tiles = tiles.to_vec();
        Ok(all)
    }
}
