//! Whether a profile is whole, and made for a bundle.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use coverslip_bundle::signature::{Signed, Trust};
use coverslip_bundle::{Bundle, Digest};
use coverslip_profile::Profile;

/// Opens a profile; an error names it.
///
/// # Errors
/// Where its files are missing or damaged.
pub(crate) fn open(path: &Path) -> Result<(Profile, Digest), Box<dyn Error>> {
    let (profile, digest, _) = open_trusted(path, &Trust::default())?;
    Ok((profile, digest))
}

/// Opens a profile and checks its signature; an error names it.
///
/// # Errors
/// As [`open`]; where it is signed by nobody in `trust`.
pub(crate) fn open_trusted(path: &Path, trust: &Trust) -> Result<(Profile, Digest, Option<Signed>), Box<dyn Error>> {
    Profile::open_trusted(path, trust).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Checks the profile at `path`, and that it belongs to `bundle` where one is given.
///
/// # Errors
/// Where it does not; says what was expected and what was found.
pub(crate) fn verify(out: &mut dyn Write, path: &Path, bundle: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let (profile, digest) = open(path)?;
    writeln!(out, "{}: digests, shapes and numbers are right; profile {digest}", path.display())?;
    match bundle {
        None => writeln!(out, "made for the bundle {} (not checked: give it with --bundle)", profile.bundle)?,
        Some(bundle) => {
            let opened = Bundle::open(bundle)?;
            profile.check_bundle(opened.manifest(), opened.digest())?;
            writeln!(out, "made for this bundle: `{}`, {}", opened.manifest().name, opened.digest())?;
        }
    }
    Ok(())
}
