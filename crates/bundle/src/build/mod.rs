//! Writing bundles: compose, run the caller's engine for calibration and reference outputs, write to a
//! directory beside the target, open what was written, and only then give it its name.

mod calibrate;
mod engine;
mod label;
mod recipe;

use std::collections::BTreeMap;
use std::path::Path;

use coverslip_files::{Folder, Replace};

use crate::compose::ComposedGraph;
use crate::digest::Digest;
use crate::error::{BundleError, BundleErrorKind, fail};
use crate::manifest::{FileEntry, GRAPH_FILE, MANIFEST_FILE, MODEL_FILE, Manifest, REFERENCE_FILE, SAE_FILE};
use crate::open::Bundle;
use crate::reference;
use crate::tensors::{TensorFile, to_safetensors};
use crate::{layout, limits};
pub use engine::{BATCH, LoadResult, Loaded, RunResult};
use engine::{Composer, Engine};
pub use label::relabel;
pub use recipe::{Calibration, Recipe};

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
    if manifest.sae.architecture.is_some() {
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
