//! A tiny random bundle, with reference outputs from rten itself.

use std::path::Path;

use coverslip_bundle::synthetic::{self, SyntheticSpec};

/// Writes a tiny bundle; one that an earlier run left there is replaced.
pub fn bundle(folder: &Path) {
    bundle_of(folder, &SyntheticSpec::default());
}

/// The same with other sizes.
pub fn bundle_of(folder: &Path, spec: &SyntheticSpec) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("the old bundle can be removed");
    }
    synthetic::write(folder, spec, coverslip_runner::load).expect("a synthetic bundle");
}
