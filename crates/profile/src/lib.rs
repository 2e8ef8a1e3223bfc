//! The profile: the appearance of a site's scanners to one bundle, and the scores that are usual on them.
//!
//! A profile is a directory of two files: [`PROFILE_FILE`] (JSON: provenance and small numbers) and [`TENSORS_FILE`].
//! The sha256 of [`PROFILE_FILE`], which holds the digests of the tensors and of the bundle, identifies it. The plugin
//! scores tiles, and the lab scores calibration tiles, with the functions of this crate, so that a score means the same
//! in both.
//!
//! | part | content | score of |
//! |---|---|---|
//! | [`TapGeometry`] | pooled within-scanner covariance of a tap, low rank, and the scanner subspace | NOVEL, SCANNER_SHIFT |
//! | [`Scanner::effects`] | SAE features that are more active on other scanners | SCANNER_FEATURES |
//! | [`ColorBaseline`] | white point and optical densities of a scanner | COLOR_SHIFT |
//! | [`Perturbation`] | a colour change as between two scanners | UNSTABLE |
//! | [`Calibration`] | scores of tiles from slides that nothing was fitted on | every p-value |

mod bounds;
mod calibration;
mod check;
mod color;
mod features;
mod geometry;
mod manifest;
pub mod measurement;
mod open;
mod peak;
mod perturbation;
mod score;
pub mod synthetic;
mod write;

pub use calibration::{Calibration, MAX_SCORES};
pub use check::Check;
pub use color::{COLOR_VALUES, ColorBaseline, color_vector};
pub use features::{instability, scanner_mass};
pub use geometry::{Displacement, TapGeometry};
pub use manifest::{Arithmetic, EARLIER_FORMAT, NovelScale, PROFILE_FILE, PROFILE_FORMAT, Provenance, TENSORS_FILE};
pub use measurement::{MEASUREMENTS, Measurements};
pub use open::{MAX_FEATURES, MAX_RANK, MAX_SCANNERS, MAX_SLIDES};
pub use peak::Peak;
pub use perturbation::Perturbation;
pub use score::{ModelOutputs, TileScores};
pub use write::{check_place, write, write_with};

use std::collections::BTreeMap;

use coverslip_bundle::Digest;
use coverslip_numerics::Draw;

/// A profile in memory. [`write()`] stores it; [`Profile::open`] reads and checks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// A name for people, such as site, stain and date.
    pub name: String,
    /// Digest of the bundle that made the embeddings.
    pub bundle: Digest,
    /// How the profile was made.
    pub provenance: Provenance,
    /// The fitted taps, in the bundle's order. If there are none, NOVEL and SCANNER_SHIFT are not checked.
    pub taps: Vec<TapGeometry>,
    /// Index in `taps` of the tap by which tiles are judged.
    pub judged_tap: usize,
    /// SAE features that differ between scanners, ascending; see [`Scanner::effects`].
    pub features: Vec<u32>,
    /// The colour change for UNSTABLE.
    pub perturbation: Option<Perturbation>,
    /// The known scanners, each once.
    pub scanners: Vec<Scanner>,
    /// Free notes. They change no number.
    pub annotations: BTreeMap<String, serde_json::Value>,
}

/// One scanner of a profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scanner {
    /// The scanner's name, which hosts pass in `slide_desc.scanner_id`.
    pub id: String,
    /// Slides on which means, covariances and baselines were fitted.
    pub fitted_slides: Vec<String>,
    /// Number of tiles in `fitted_slides`.
    pub fitted_tiles: usize,
    /// Slides of the calibration scores; none of `fitted_slides`.
    pub calibration_slides: Vec<String>,
    /// Mean embedding for each of [`Profile::taps`].
    pub means: Vec<Vec<f32>>,
    /// For each of [`Profile::features`], the standardised difference of mean activation (Cohen's d), this scanner
    /// minus the others. Negative values mean that the feature is more active on other scanners.
    pub effects: Vec<f32>,
    /// White point and optical densities; without them COLOR_SHIFT is not checked.
    pub color: Option<ColorBaseline>,
    /// Scores of calibration tiles. A missing check is not calibrated; NOVEL, SCANNER_SHIFT, SCANNER_FEATURES,
    /// COLOR_SHIFT, BANDING, FOREIGN and UNSTABLE are then not checked.
    pub calibration: BTreeMap<Check, Calibration>,
    /// The mean SCANNER_SHIFT score of each calibration slide, for SCANNER_MISMATCH.
    pub slide_shift: Calibration,
    /// The unit of NOVEL's score; without it the score is the length itself.
    pub novel: Option<NovelScale>,
    /// The mean NOVEL score of each calibration slide, for the novelty of a slide.
    pub slide_novel: Calibration,
    /// The [`Peak`] of each calibration slide, for SCANNER_DRIFT.
    pub slide_peak: Calibration,
}

impl Profile {
    /// The scanner with this id.
    pub fn scanner(&self, id: &str) -> Option<&Scanner> {
        self.scanners.iter().find(|scanner| scanner.id == id)
    }

    /// The distance of an embedding of the judged tap from `scanner`'s tissue; `None` if the profile has no taps.
    ///
    /// `embedding` has the tap's width. NaN in it gives NaN.
    pub fn displacement(&self, scanner: &Scanner, embedding: &[f32]) -> Option<Displacement> {
        let (tap, mean) = (self.taps.get(self.judged_tap)?, scanner.means.get(self.judged_tap)?);
        Some(tap.displacement(mean, embedding))
    }

    /// The score of SCANNER_FEATURES, see [`scanner_mass`]; `None` if the profile marks no features.
    pub fn feature_score(&self, scanner: &Scanner, active: impl Iterator<Item = (u32, f32)>) -> Option<f32> {
        (!self.features.is_empty()).then(|| scanner_mass(&self.features, &scanner.effects, active))
    }
}

impl Scanner {
    /// NOVEL's score of a displacement of this length outside the scanner subspace: how many standard deviations of the
    /// calibration tiles' lengths it lies above their median, where the profile has their scale.
    pub fn novel_score(&self, length: f32) -> f32 {
        self.novel.map_or(length, |scale| (length - scale.middle) / scale.spread)
    }

    /// The length that gives this score.
    pub fn novel_length(&self, score: f32) -> f32 {
        self.novel.map_or(score, |scale| score * scale.spread + scale.middle)
    }

    /// The median of the calibration slides' mean SCANNER_SHIFT; None of none.
    pub fn shift_middle(&self) -> Option<f32> {
        let means = self.slide_shift.scores();
        means.get(means.len() / 2).copied()
    }
}
