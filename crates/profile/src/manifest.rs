//! `profile.json`: the profile's provenance and small numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::color::ColorBaseline;
use super::perturbation::Perturbation;
use coverslip_bundle::Digest;
use coverslip_bundle::FileEntry;

/// The format that this version writes. It also reads [`EARLIER_FORMAT`], whose NOVEL is a length, in which no slide has
/// a mean of it, and whose scores of sharpness are of another measure.
pub const PROFILE_FORMAT: &str = "coverslip.profile/2";
/// The format before this one.
pub const EARLIER_FORMAT: &str = "coverslip.profile/1";
/// The manifest's file name. The file's sha256 identifies the profile.
pub const PROFILE_FILE: &str = "profile.json";
/// The tensors' file name.
pub const TENSORS_FILE: &str = "profile.safetensors";

/// How a profile was made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Whether the scanners scanned the same tissue.
    pub paired: bool,
    /// Whether there was one scanner and other scanners were simulated.
    pub simulated: bool,
    /// How the engine multiplied on the slides that fitted and calibrated it; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Arithmetic>,
}

/// The precision of an engine's products.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    Float32,
    Float16,
    BFloat16,
    Int8,
}

/// The content of `profile.json`. Unknown fields are refused, since they might change a number.
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
    /// [`TENSORS_FILE`] only.
    pub(super) files: BTreeMap<String, FileEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, serde_json::Value>,
}

/// A tap. Its tensors are `tap.<name>.variances`, `tap.<name>.axes` and `tap.<name>.scanner_axes`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TapEntry {
    pub(super) name: String,
    pub(super) width: usize,
    pub(super) rank: usize,
    pub(super) scanner_rank: usize,
    pub(super) floor: f32,
}

/// What NOVEL's lengths are on a scanner's calibration tiles: a tile's score is (length − middle) / spread.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NovelScale {
    /// Their median.
    pub middle: f32,
    /// Their standard deviation, by the median absolute deviation; above 0.
    pub spread: f32,
}

/// A scanner. With the index i, its tensors are `scanner.<i>.mean.<tap>`, `scanner.<i>.effects`,
/// `scanner.<i>.slide_shift`, since /2 `scanner.<i>.slide_novel` and
/// `scanner.<i>.slide_peak`, and `scanner.<i>.calibration.<check>` for each entry of `calibration`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScannerEntry {
    pub(super) id: String,
    pub(super) fitted_slides: Vec<String>,
    pub(super) fitted_tiles: usize,
    pub(super) calibration_slides: Vec<String>,
    pub(super) color: Option<ColorBaseline>,
    /// Since /2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) novel: Option<NovelScale>,
    /// Number of scores by the check's name.
    pub(super) calibration: BTreeMap<String, usize>,
}
