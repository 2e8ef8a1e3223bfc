//! A mix of int8 and floats for an existing bundle.

use std::path::Path;

use coverslip_files::{Folder, IntoClaim};

use super::{check_place, entry, manifest_bytes, settle};
use crate::bundle::Bundle;
use crate::error::BundleError;
use crate::int8::Int8Mix;
use crate::limits;
use crate::manifest::{INT8_FILE, Int8, Int8Gate, MANIFEST_FILE};

/// Writes a copy of the bundle in `dir` to `out`, with `mix` and what was measured with it, and opens it. The manifest
/// changes, and with it the bundle's digest. A mix that does not pass its gate is written too, so that a host is told
/// why it is refused.
///
/// # Errors
/// As [`super::relabel`]; `Invalid` for a mix that does not fit the model.
pub fn with_int8(
    dir: &Path,
    out: impl IntoClaim,
    mix: &Int8Mix,
    gate: Int8Gate,
    force: bool,
) -> Result<Bundle, BundleError> {
    let claim = out.into_claim()?;
    check_place(claim.place(), force)?;
    let mut manifest = Bundle::open(dir)?.manifest().clone();
    let layers = mix.blocks.iter().map(|block| block.layers.clone()).collect();
    manifest.int8 = Some(Int8 { rest: mix.rest, layers, gate });
    let factors = mix.factors()?;
    let folder = Folder::beside(&claim)?;
    for name in manifest.files.keys().filter(|name| *name != INT8_FILE) {
        folder.copy(&dir.join(name), name)?;
    }
    manifest.files.insert(INT8_FILE.to_owned(), entry(&factors));
    limits::check(&manifest)?;
    limits::check_files(&manifest)?;
    folder.write(INT8_FILE, &factors)?;
    folder.write(MANIFEST_FILE, &manifest_bytes(&manifest)?)?;
    settle(folder, force)
}
