//! Writing bundles: compose, run the caller's engine for calibration and reference outputs, write to a
//! directory beside the target, open what was written, and only then give it its name.

mod calibrate;
mod place;

use std::collections::BTreeMap;
use std::path::Path;

use crate::compose::{self, ComposedGraph};
use crate::digest::Digest;
use crate::error::{BundleError, BundleErrorKind, fail};
use crate::manifest::{FileEntry, MANIFEST_FILE, MODEL_FILE, Manifest, REFERENCE_FILE, SAE_FILE};
use crate::open::Bundle;
use crate::reference::{self, ReferenceOutputs};
use crate::tensors::{TensorFile, TensorMap, to_safetensors};
use crate::{layout, limits};

/// What a caller's engine returns for a graph and tiles.
pub type RunResult = Result<ReferenceOutputs, Box<dyn std::error::Error + Send + Sync>>;

/// Tiles that a caller's engine gets at once, at most.
pub const BATCH: usize = 8;

/// Everything that a bundle is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What the bundle is. `files` and `sae.reference` are filled in by [`write_bundle`].
    pub manifest: Manifest,
    /// The ViT's weights in timm's names, as they will be stored.
    pub model: TensorMap,
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

/// Writes a bundle to `out` and opens it. `run` is the caller's engine: it gets a graph and `n` tiles
/// (at most [`BATCH`]) and returns their outputs.
///
/// `out` must not exist; with `force` an existing *bundle* there is replaced, nothing else. On an error
/// nothing is left behind and an existing bundle stays.
///
/// # Errors
/// `Invalid` for contradictory parts, for an existing `out` and when `run` fails; `Io`; and everything
/// that [`Bundle::open`] says of the result.
pub fn write_bundle(
    out: &Path,
    recipe: Recipe,
    force: bool,
    run: impl FnMut(&ComposedGraph, &[u8], usize) -> RunResult,
) -> Result<Bundle, BundleError> {
    place::check_target(out, force)?;
    let files = assemble(recipe, run)?;
    place::write(out, &files, force)
}

/// All files of the bundle, by name.
fn assemble(
    recipe: Recipe,
    run: impl FnMut(&ComposedGraph, &[u8], usize) -> RunResult,
) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let mut manifest = recipe.manifest;
    calibrate::placeholder(&mut manifest, &recipe.calibration);
    limits::check(&manifest)?;
    let model = TensorFile::parse(to_safetensors(&recipe.model)?)?;
    let sae = TensorFile::parse(to_safetensors(&recipe.sae)?)?;
    layout::check_model(&manifest, &model).map_err(|e| e.within("model"))?;
    layout::check_sae(&manifest, &sae).map_err(|e| e.within("SAE"))?;

    let mut engine = Engine { run };
    let mean = calibrate::calibrate(&mut manifest, &recipe.calibration, &model, &sae, &mut engine)?;
    let graph = compose::compose(&manifest, &model, &sae)?;
    let outputs = engine.run(&manifest, &graph, &recipe.reference_tiles)?;
    let reference = to_safetensors(&reference::to_tensors(&manifest, &outputs, &mean))?;

    let mut files = recipe.documents;
    for name in [MANIFEST_FILE, MODEL_FILE, SAE_FILE, REFERENCE_FILE] {
        if files.contains_key(name) {
            fail!(Invalid, "a document cannot be called `{name}`");
        }
    }
    files.insert(MODEL_FILE.to_owned(), model.into_bytes());
    files.insert(SAE_FILE.to_owned(), sae.into_bytes());
    files.insert(REFERENCE_FILE.to_owned(), reference);
    manifest.files = files.iter().map(|(name, bytes)| (name.clone(), entry(bytes))).collect();
    limits::check_files(&manifest)?;
    files.insert(MANIFEST_FILE.to_owned(), manifest_bytes(&manifest)?);
    Ok(files)
}

fn entry(bytes: &[u8]) -> FileEntry {
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
    run: F,
}

impl<F: FnMut(&ComposedGraph, &[u8], usize) -> RunResult> Engine<F> {
    /// Runs all `tiles`; the result has them and their outputs, checked.
    fn run(
        &mut self,
        manifest: &Manifest,
        graph: &ComposedGraph,
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
        let mut all =
            ReferenceOutputs { embeddings: vec![Vec::new(); manifest.taps.len()], ..ReferenceOutputs::default() };
        for batch in tiles.chunks(BATCH * tile_bytes) {
            let n = batch.len() / tile_bytes;
            let outputs = (self.run)(graph, batch, n).map_err(|error| {
                BundleError::new(
                    BundleErrorKind::Invalid,
                    format!("the engine could not run the composed graph: {error}"),
                )
            })?;
            let outputs = ReferenceOutputs { count: n, tiles: Vec::new(), ..outputs };
            outputs.check(manifest).map_err(|e| e.within("the engine's outputs"))?;
            all.append(outputs);
        }
        all.tiles = tiles.to_vec();
        Ok(all)
    }
}
