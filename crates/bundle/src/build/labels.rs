//! New labels for the features of an existing bundle.

use std::path::Path;

use coverslip_files::{Folder, IntoClaim};

use super::{check_place, manifest_bytes, settle};
use crate::bundle::Bundle;
use crate::error::{BundleError, fail};
use crate::limits;
use crate::manifest::{FeatureLabel, MANIFEST_FILE};

/// Writes a copy of the bundle in `dir` to `out` and opens it. `labels` replace the labels of the same features; all
/// else is copied. The manifest changes, and with it the bundle's digest.
///
/// `out` must not exist, but `force` replaces an existing *bundle* there, which may be `dir` itself. On an error
/// nothing is left behind and an existing bundle stays.
///
/// # Errors
/// All errors of [`Bundle::open`], for either bundle; `Invalid` for labels of unknown features, duplicate or empty
/// labels, and an existing `out`; `Io`.
pub fn relabel(dir: &Path, out: impl IntoClaim, labels: Vec<FeatureLabel>, force: bool) -> Result<Bundle, BundleError> {
    let claim = out.into_claim()?;
    check_place(claim.place(), force)?;
    if let Some(nameless) = labels.iter().find(|label| label.label.trim().is_empty()) {
        fail!(Invalid, "the label of feature {} is empty; expected a name", nameless.index);
    }
    let mut manifest = Bundle::open(dir)?.manifest().clone();
    let kept = &mut manifest.sae.labels;
    kept.retain(|old| labels.iter().all(|new| new.index != old.index));
    kept.extend(labels);
    kept.sort_by_key(|label| label.index);
    limits::check(&manifest)?;
    let folder = Folder::beside(&claim)?;
    for name in manifest.files.keys() {
        folder.copy(&dir.join(name), name)?;
    }
    folder.write(MANIFEST_FILE, &manifest_bytes(&manifest)?)?;
    settle(folder, force)
}
