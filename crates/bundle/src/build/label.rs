//! New labels for the features of a bundle that is there.

use std::fs;
use std::path::Path;

use coverslip_files::Folder;

use super::{manifest_bytes, replace, settle};
use crate::error::{BundleError, fail};
use crate::limits;
use crate::manifest::{FeatureLabel, MANIFEST_FILE};
use crate::open::Bundle;

/// Writes a copy of the bundle in `dir` to `out`, with `labels` in place of the labels that it has for the same
/// features, and opens it. Everything else stays; the manifest, and so the bundle's digest, is a new one.
///
/// `out` must not exist; with `force` an existing *bundle* there is replaced, `dir` itself for instance. On an error
/// nothing is left behind and an existing bundle stays.
///
/// # Errors
/// All that [`Bundle::open`] says of either bundle; `Invalid` for labels of features that are not there, that come
/// twice or have no text, and for an existing `out`; `Io`.
pub fn relabel(dir: &Path, out: &Path, labels: Vec<FeatureLabel>, force: bool) -> Result<Bundle, BundleError> {
    coverslip_files::check_target(out, replace(force))?;
    if let Some(nameless) = labels.iter().find(|label| label.label.trim().is_empty()) {
        fail!(Invalid, "the label of feature {} is empty; expected a name", nameless.index);
    }
    let mut manifest = Bundle::open(dir)?.manifest().clone();
    let kept = &mut manifest.sae.labels;
    kept.retain(|old| labels.iter().all(|new| new.index != old.index));
    kept.extend(labels);
    kept.sort_by_key(|label| label.index);
    limits::check(&manifest)?;
    let folder = Folder::beside(out)?;
    for name in manifest.files.keys() {
        let from = dir.join(name);
        fs::copy(&from, folder.path().join(name)).map_err(|error| BundleError::io(from.display(), &error))?;
    }
    folder.write(MANIFEST_FILE, &manifest_bytes(&manifest)?)?;
    settle(folder, force)
}
