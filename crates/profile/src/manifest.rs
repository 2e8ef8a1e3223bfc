//! `profile.json`: what the profile was made from, and its small numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::color::ColorBaseline;
use super::perturbation::Perturbation;
use coverslip_bundle::Digest;
use coverslip_bundle::FileEntry;

/// The format that this version reads and writes.
pub const PROFILE_FORMAT: &str = "coverslip.profile/1";
/// The manifest's file name; its sha256 is the profile's identity.
pub const PROFILE_FILE: &str = "profile.json";
/// The tensors.
pub const TENSORS_FILE: &str = "profile.safetensors";

/// How a profile was made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The scanners saw the same tissue.
    pub paired: bool,
    /// There was one scanner: what scanners change was simulated.
    pub simulated: bool,
}

/// The file. A field that this version does not know is refused: it might change a number.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileManifest {
    pub(super) format: String,
    pub(super) name: String,
    pub(super) bundle: Digest,
    pub(super) provenance: Provenance,
    pub(super) taps: Vec<TapEntry>,
    pub(super) judged_tap: usize,
    pub(super) perturbation: Option<Perturbation>,
    pub(super) scanners: Vec<ScannerEntry>,
    /// [`TENSORS_FILE`] alone.
    pub(super) files: BTreeMap<String, FileEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, serde_json::Value>,
}

/// A tap; its tensors are `tap.<name>.variances`, `tap.<name>.axes`, `tap.<name>.scanner_axes`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TapEntry {
    pub(super) name: String,
    pub(super) width: usize,
    pub(super) rank: usize,
    pub(super) scanner_rank: usize,
    pub(super) floor: f32,
}

/// A scanner, number i; its tensors are `scanner.<i>.mean.<tap>`, `scanner.<i>.effects`, `scanner.<i>.slide_shift` and
/// one `scanner.<i>.calibration.<check>` per entry of `calibration`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScannerEntry {
    pub(super) id: String,
    pub(super) fitted_slides: Vec<String>,
    pub(super) fitted_tiles: usize,
    pub(super) calibration_slides: Vec<String>,
    pub(super) color: Option<ColorBaseline>,
    /// Scores per check, by its name.
    pub(super) calibration: BTreeMap<String, usize>,
}
