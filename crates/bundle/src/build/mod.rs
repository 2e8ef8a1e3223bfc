//! Writing bundles. A bundle is composed, run by the caller's engine for calibration and reference outputs, written to
//! a directory beside the target, and opened to verify it; only then does it get its name.

mod engine;
mod int8;
mod labels;
mod recipe;
mod statistics;

use std::collections::BTreeMap;
use std::path::Path;

use coverslip_files::{Folder, IntoClaim, Replace};

use crate::bundle::Bundle;
use crate::compose::ComposedGraph;
use crate::digest::Digest;
use crate::error::{BundleError, BundleErrorKind, fail};
use crate::manifest::{FileEntry, GRAPH_FILE, MANIFEST_FILE, MODEL_FILE, Manifest, REFERENCE_FILE, SAE_FILE};
use crate::reference;
use crate::tensors::{TensorFile, to_safetensors};
use crate::{layout, limits};
pub use engine::{BATCH, LoadResult, Loaded, RunResult};
use engine::{Composer, Engine};
pub use int8::with_int8;
pub use labels::relabel;
pub use recipe::{Calibration, Recipe};

/// Writes a bundle to `out`, a path or a claim of one, and opens it. `load` is the caller's engine: it takes a graph, and then at most [`BATCH`]
/// tiles at a time (one if the graph is `single_tile`).
///
/// `out` must not exist, but `force` replaces an existing *bundle* there. On an error nothing is left behind and an
/// existing bundle stays.
///
/// # Errors
/// `Invalid` for contradictory parts, for an existing `out`, and when the engine fails; `Io`; and all errors of
/// [`Bundle::open`] for the result.
pub fn write_bundle(
    out: impl IntoClaim,
    recipe: Recipe,
    force: bool,
    load: impl FnMut(ComposedGraph) -> LoadResult,
) -> Result<Bundle, BundleError> {
    let claim = out.into_claim()?;
    check_place(claim.place(), force)?;
    let folder = Folder::beside(&claim)?;
    assemble(recipe, &folder, load)?;
    settle(folder, force)
}

/// Refuses a place where [`write_bundle`] would write no bundle: for those who work long before they call it.
///
/// # Errors
/// `Invalid`; the text says what to do.
pub fn check_place(out: &Path, force: bool) -> Result<(), BundleError> {
    Ok(coverslip_files::check_target(out, replace(force))?)
}

fn replace(force: bool) -> Replace<'static> {
    Replace { marker: MANIFEST_FILE, kind: "bundle", force }
}

/// Verifies the written bundle and gives it its name.
fn settle(folder: Folder<'_>, force: bool) -> Result<Bundle, BundleError> {
    let bundle = Bundle::open(folder.path())?;
    folder.settle(replace(force))?;
    Ok(bundle)
}

/// Writes all files of the bundle.
fn assemble(
    recipe: Recipe,
    folder: &Folder<'_>,
    load: impl FnMut(ComposedGraph) -> LoadResult,
) -> Result<(), BundleError> {
    let mut manifest = recipe.manifest;
    statistics::placeholder(&mut manifest, &recipe.calibration);
    limits::check(&manifest)?;
    check_documents(&manifest, &recipe.documents)?;
    let sae_bytes = to_safetensors(&recipe.sae)?;
    let sae = TensorFile::parse(sae_bytes)?;
    layout::check_sae(&manifest.sae, &sae).map_err(|e| e.within("SAE"))?;
    let path = folder.path().join(MODEL_FILE);
    recipe.model.write(&path)?;
    let model =
        TensorFile::parse(coverslip_files::read(&path).map_err(|error| BundleError::io(path.display(), &error))?)?;
    let topology = recipe.topology.as_deref();
    layout::check_model(&manifest, topology, &model).map_err(|e| e.within("model"))?;

    let mut engine = Engine { load };
    let composer = Composer { topology, model: &model, sae: &sae };
    let mean = statistics::complete(&mut manifest, &recipe.calibration, &composer, &mut engine)?;
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
            fail!(Invalid, "a document cannot be named `{name}`, which is a file of the bundle itself; rename it");
        }
    }
    Ok(())
}

/// The manifest's entry for a file with these bytes.
pub fn entry(bytes: &[u8]) -> FileEntry {
    FileEntry { bytes: bytes.len() as u64, sha256: Digest::of(bytes) }
}

/// The stored form of the manifest, indented so that people can read and compare it.
fn manifest_bytes(manifest: &Manifest) -> Result<Vec<u8>, BundleError> {
    let written = serde_json::to_vec_pretty(manifest);
    let mut bytes = written.map_err(|error| {
        BundleError::new(BundleErrorKind::Invalid, format!("the manifest cannot be written: {error}"))
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}
