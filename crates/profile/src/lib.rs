//! The profile: what a site's scanners look like to one bundle, and how much of what is measured on a tile is usual.
//!
//! A profile is a directory of two files: [`PROFILE_FILE`] (JSON: what it was made from, small numbers) and
//! [`TENSORS_FILE`]. Its identity is the sha256 of [`PROFILE_FILE`], which holds the digest of the tensors and of the
//! bundle it belongs to. The plugin scores tiles by it, the lab's builder scores its calibration tiles: both by the
//! functions here, so a score means the same in both.
//!
//! | part | what it is | score of |
//! |---|---|---|
//! | [`TapGeometry`] | pooled within-scanner covariance of a tap, low rank, and the scanner subspace | NOVEL, SCANNER_SHIFT |
//! | [`Scanner::effects`] | which SAE features other scanners switch on more | SCANNER_FEATURES |
//! | [`ColorBaseline`] | white point and optical densities of a scanner | COLOR_SHIFT |
//! | [`Perturbation`] | a colour change such as lies between scanners | UNSTABLE |
//! | [`Calibration`] | scores of tiles from slides that fitted nothing | every p-value |

mod calibration;
mod check;
mod color;
mod features;
mod geometry;
mod manifest;
pub mod measurement;
mod open;
mod perturbation;
mod score;
pub mod synthetic;
mod write;

pub use calibration::{Calibration, MAX_SCORES};
pub use check::Check;
pub use color::{COLOR_VALUES, ColorBaseline, color_vector};
pub use features::{instability, scanner_mass};
pub use geometry::{Displacement, TapGeometry};
pub use manifest::{PROFILE_FILE, PROFILE_FORMAT, Provenance, TENSORS_FILE};
pub use measurement::{MEASUREMENTS, Measurements};
pub use open::{MAX_FEATURES, MAX_RANK, MAX_SCANNERS, MAX_SLIDES};
pub use perturbation::Perturbation;
pub use score::{ModelOutputs, TileScores};
pub use write::write;

use std::collections::BTreeMap;

use coverslip_bundle::Digest;
use coverslip_numerics::Draw;

/// A profile in memory: the builder fills one and [`write()`] stores it, [`Profile::open`] reads and checks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Shown to people: site, stain, date.
    pub name: String,
    /// sha256 of the manifest of the bundle that the embeddings came from.
    pub bundle: Digest,
    /// How it was made.
    pub provenance: Provenance,
    /// One per tap that was fitted, in the bundle's order; may be empty, then NOVEL and SCANNER_SHIFT are not checked.
    pub taps: Vec<TapGeometry>,
    /// Which of `taps` tiles are judged by.
    pub judged_tap: usize,
    /// SAE features that differ between scanners, ascending; see [`Scanner::effects`].
    pub features: Vec<u32>,
    /// What UNSTABLE is measured with.
    pub perturbation: Option<Perturbation>,
    /// The scanners it knows, each once.
    pub scanners: Vec<Scanner>,
    /// Free notes. Nothing here changes a number.
    pub annotations: BTreeMap<String, serde_json::Value>,
}

/// What a profile knows of one scanner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scanner {
    /// As hosts pass it in `slide_desc.scanner_id`.
    pub id: String,
    /// Slides that means, covariances and baselines were fitted on.
    pub fitted_slides: Vec<String>,
    /// Tiles of these.
    pub fitted_tiles: usize,
    /// Slides that the calibration scores come from: none of `fitted_slides`.
    pub calibration_slides: Vec<String>,
    /// Per tap of [`Profile::taps`]: mean embedding.
    pub means: Vec<Vec<f32>>,
    /// Per feature of [`Profile::features`]: the standardised mean difference (Cohen's d) of its activation, this
    /// scanner less the others. Negative: other scanners switch it on more.
    pub effects: Vec<f32>,
    /// White point and optical densities; None: COLOR_SHIFT is not checked.
    pub color: Option<ColorBaseline>,
    /// Scores of calibration tiles. What is missing is not calibrated, and NOVEL, SCANNER_SHIFT, SCANNER_FEATURES,
    /// COLOR_SHIFT, BANDING, FOREIGN and UNSTABLE are then not checked.
    pub calibration: BTreeMap<Check, Calibration>,
    /// One mean SCANNER_SHIFT score per calibration slide, for SCANNER_MISMATCH: see [`Profile::mismatch_p_value`].
    pub slide_shift: Calibration,
}

impl Profile {
    /// The scanner that hosts name `id`.
    pub fn scanner(&self, id: &str) -> Option<&Scanner> {
        self.scanners.iter().find(|scanner| scanner.id == id)
    }

    /// How far an embedding of the judged tap lies from `scanner`'s tissue; None where the profile has no geometry.
    ///
    /// `embedding` has the tap's width. NaN in it gives NaN.
    pub fn displacement(&self, scanner: &Scanner, embedding: &[f32]) -> Option<Displacement> {
        let (tap, mean) = (self.taps.get(self.judged_tap)?, scanner.means.get(self.judged_tap)?);
        Some(tap.displacement(mean, embedding))
    }

    /// SCANNER_FEATURES: see [`scanner_mass`]. None where no feature is marked.
    pub fn feature_score(&self, scanner: &Scanner, active: impl Iterator<Item = (u32, f32)>) -> Option<f32> {
        (!self.features.is_empty()).then(|| scanner_mass(&self.features, &scanner.effects, active))
    }
}
