//! Whether a bundle computes on this machine what it computed where it was built.

use std::error::Error;
use std::io::Write;

use coverslip_bundle::{Agreement, Bundle, Tolerance};

/// Opening has checked the files; this runs the reference tiles and compares.
///
/// # Errors
/// Where the outputs differ by more than float32 explains.
pub(crate) fn verify(bundle: &Bundle, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let manifest = bundle.manifest();
    writeln!(out, "{}", bundle.digest())?;
    writeln!(out, "{} files have the stated sizes and sha256", manifest.files.len())?;
    writeln!(out, "all tensors are there, in shape and finite")?;
    let reference = bundle.reference()?;
    let found = coverslip_runner::outputs(bundle.compose()?, &reference.tiles)?;
    let agreement = Agreement::between(manifest, &reference, &found)?;
    writeln!(out, "{} reference tiles: {agreement}", reference.count)?;
    if !agreement.is_within(Tolerance::FLOAT32) {
        return Err(format!(
            "the outputs differ from the stored ones by more than {:?}; expected them to agree on every \
             machine: build the bundle again, or report this processor",
            Tolerance::FLOAT32
        )
        .into());
    }
    Ok(writeln!(out, "verified")?)
}
