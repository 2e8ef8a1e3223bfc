//! The profile of the generated slides' scanner. It lies beside the demo bundle, and a scan of the slide that is generated
//! where none is given is held against it. No other scan is.

use std::path::{Path, PathBuf};

use coverslip_bundle::{Digest, MANIFEST_FILE};
use coverslip_plugin_abi as abi;
use coverslip_profile::Profile;

use crate::host::{Setup, find_bundle, profile_beside};

/// The generated slides' scanner, as its profile names it.
const SCANNER: &str = "generated";

/// The setup with that profile, where the user names none, one lies beside the bundle, and it was made of generated slides
/// with this very bundle at the precision that runs. Otherwise general rules apply, as without it.
pub(super) fn held_against(setup: &Setup) -> Setup {
    let given = setup.profile.clone();
    Setup { profile: given.or_else(|| fitting(setup)), ..setup.clone() }
}

fn fitting(setup: &Setup) -> Option<PathBuf> {
    let engine = &setup.engine;
    if engine.engine != abi::ENGINE_CPU || engine.cpu_precision != abi::CPU_PRECISION_FLOAT32 {
        return None;
    }
    let bundle = find_bundle(setup.bundle.as_deref()).ok()?;
    let profile = profile_beside(&bundle)?;
    let (known, ..) = Profile::open_trusted(&profile, &setup.trust).ok()?;
    (is_of_generated_slides(&known) && known.bundle == digest(&bundle)?).then_some(profile)
}

/// A user's own profile may lie beside the user's bundle, and says nothing of generated slides.
fn is_of_generated_slides(known: &Profile) -> bool {
    known.provenance.simulated && matches!(known.scanners.as_slice(), [only] if only.id == SCANNER)
}

/// A bundle's digest is its manifest's.
fn digest(bundle: &Path) -> Option<Digest> {
    const MOST: u64 = 64 << 20;
    coverslip_files::read_at_most(&bundle.join(MANIFEST_FILE), MOST).ok().map(|manifest| Digest::of(&manifest))
}
