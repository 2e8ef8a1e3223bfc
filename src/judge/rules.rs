//! What a tile and a slide are judged by: every threshold, and the profile as far as it concerns one slide.
//!
//! The general thresholds are not calibrated: how they were chosen, and what they miss, is in `docs/measured/general-rules.md`.

use std::ops::Range;
use std::sync::Arc;

use coverslip_bundle::Manifest;
use coverslip_numerics::Draw;
use coverslip_plugin_abi as abi;
use coverslip_profile::{Arithmetic, Calibration, Check, Profile, Scanner};

use super::history::{Histories, History};
use crate::measure::exposure::Exposure;
use coverslip_base::sync::MutexGuard;

// -- tiles ------------------------------------------------------------------------------------------------------------

/// A tile with a smaller share (0..1) of tissue is BACKGROUND.
const BACKGROUND_TISSUE_FRACTION: f32 = 0.05;
/// OVEREXPOSED above this share of clipped pixels. Glass that the scanner puts at 255, and a file's padding at 255,
/// count and raise it: from pixels alone they cannot be told from light that was too strong.
const OVEREXPOSED_ABOVE: f32 = 0.20;
/// UNDEREXPOSED above this share of black pixels.
const UNDEREXPOSED_ABOVE: f32 = 0.05;
/// UNDEREXPOSED also when no channel's white point reaches this level: half of the range. The dimmest light leaves
/// tissue far above black, so that clipping alone does not show it.
const UNDEREXPOSED_WHITE_BELOW: f32 = 128.0;
/// A tile of tissue below this sharpness (dB) is OUT_OF_FOCUS. Sharp fibres that run one way over the whole tile reach −12.
pub(super) const OUT_OF_FOCUS_BELOW_DB: f32 = -12.5;
/// With a profile a tile with a small p-value is OUT_OF_FOCUS below this sharpness (dB): at most 2 % of the sharp tiles of
/// any source are, by the profile of any other.
pub(super) const OUT_OF_FOCUS_WITH_PROFILE_BELOW_DB: f32 = -11.8;

/// Whether a tile with this share of tissue is background. NaN, not measured, is not.
pub(crate) fn is_background(tissue: f32) -> bool {
    tissue < BACKGROUND_TISSUE_FRACTION
}

/// Whether OVEREXPOSED is raised.
pub(super) fn is_overexposed(exposure: &Exposure) -> bool {
    exposure.over > OVEREXPOSED_ABOVE
}

/// Whether UNDEREXPOSED is raised: by black pixels, or by a white that is dim; `white` is the brightest channel of the
/// white by which the tile's light is judged.
pub(super) fn is_underexposed(exposure: &Exposure, white: f32) -> bool {
    exposure.under > UNDEREXPOSED_ABOVE || white < UNDEREXPOSED_WHITE_BELOW
}

/// A reconstruction error (FVU scale) above which the features say less of a tile than the mean of all tiles does.
const NOTHING_KEPT: f32 = 1.0;
/// FOREIGN of H&E is raised above this distance from tissue's colours, in optical density.
pub(super) const FOREIGN_ABOVE: f32 = 0.0;

// -- alerts -----------------------------------------------------------------------------------------------------------

/// FOCUS_LOSS without a profile: analysed tiles in a row, all out of focus.
pub(super) const FOCUS_RUN: u64 = 5;
/// FOCUS_LOSS with a profile: the shortest run that may be an alert.
pub(super) const SHORTEST_FOCUS_RUN: u64 = 4;
/// LAGGING: mean latency over the last tiles, ns.
pub(super) const LAGGING_ABOVE_NS: f64 = 2e9;
/// LAGGING: for so much of the capture.
pub(super) const LAGGING_FOR_NS: i64 = 2_000_000_000;
/// BANDING of a strip: α is divided by this, because neighbouring tiles are alike.
pub(super) const STRIP_STRICTER: f64 = 1e4;
/// Drift: a lattice may raise the alarm while its semivariance is at least this share of the farther ones'.
pub(super) const DRIFT_ALIKE_BELOW: f64 = 0.85;
/// Drift: with fewer pairs at twice the distance nothing is known.
pub(super) const DRIFT_FEWEST_PAIRS: f64 = 20.0;
/// SCANNER_MISMATCH: with fewer calibration slides (5 %) nothing can be said.
pub(super) const MISMATCH_FEWEST_SLIDES: usize = 19;
/// SCANNER_MISMATCH: with fewer tiles a slide has no mean.
pub(super) const MISMATCH_FEWEST_TILES: u64 = 30;

// -- a slide's rules --------------------------------------------------------------------------------------------------

/// What a slide's tiles are judged by; fixed when it begins.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// FEATURES_UNRELIABLE without a profile, from the bundle's quantiles; None: the bundle states none, and the check
    /// needs a profile.
    pub(crate) reconstruction_error: Option<f32>,
    /// The host says that the stain is H&E: FOREIGN then has a rule of its own, with a profile and without.
    pub(crate) he: bool,
    /// None: there is no profile, or it does not know the scanner. General rules alone then apply.
    pub(crate) calibrated: Option<Calibrated>,
}

/// The profile, as far as it concerns a slide.
#[derive(Clone, Debug)]
pub(crate) struct Calibrated {
    pub(crate) profile: Arc<Profile>,
    /// Of the profile's scanners.
    pub(super) histories: Arc<Histories>,
    /// Index into the profile's scanners.
    scanner: usize,
    /// Where the judged tap lies among the taps' values.
    pub(super) tap: Range<usize>,
    pub(crate) alpha: f64,
    /// The slide's seed.
    pub(crate) draw: Draw,
}

impl Calibrated {
    /// None where the profile does not know the scanner. `tap` is where its judged tap lies in a tile's embedding.
    pub(crate) fn new(
        (profile, histories): (Arc<Profile>, Arc<Histories>),
        scanner_id: &str,
        tap: Range<usize>,
        alpha: f64,
        draw: Draw,
    ) -> Option<Calibrated> {
        let scanner = profile.scanners.iter().position(|scanner| scanner.id == scanner_id)?;
        Some(Calibrated { profile, histories, scanner, tap, alpha, draw })
    }

    pub(crate) fn scanner(&self) -> &Scanner {
        &self.profile.scanners[self.scanner]
    }

    /// The slides of this scanner so far.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.histories.of(self.scanner)
    }

    /// `COVERSLIP_PRECISION_*` at which the profile was calibrated; 0: not known.
    pub(crate) fn precision(&self) -> i32 {
        precision_of(&self.profile)
    }

    /// The scores that a check's p-value is ranked among; None where the check is not calibrated.
    pub(super) fn calibration(&self, check: Check) -> Option<&Calibration> {
        self.scanner().calibration.get(&check).filter(|scores| !scores.is_empty())
    }

    /// The level that a check runs at: α, or what its calibration supports; None where it is not calibrated.
    pub(crate) fn level(&self, check: Check) -> Option<f64> {
        self.calibration(check).map(|scores| scores.supported(self.alpha))
    }
}

/// `COVERSLIP_PRECISION_*` at which a profile was calibrated; 0: not known.
pub(crate) fn precision_of(profile: &Profile) -> i32 {
    match profile.provenance.precision {
        None => 0,
        Some(Arithmetic::Float32) => abi::PRECISION_FLOAT32,
        Some(Arithmetic::Float16) => abi::PRECISION_FLOAT16,
        Some(Arithmetic::BFloat16) => abi::PRECISION_BFLOAT16,
        Some(Arithmetic::Int8) => abi::PRECISION_INT8,
    }
}

/// FEATURES_UNRELIABLE without a profile: the bundle's lowest stated quantile that at most α of its reference tiles
/// exceed, or the highest it states; but never above what the mean of all tiles would leave. Reference tiles that the SAE
/// does not keep at all set no limit: the demo bundle's 99 % was 2.1, which nothing exceeds.
pub(crate) fn reconstruction_limit(manifest: &Manifest, alpha: f64) -> Option<f32> {
    if manifest.sae.features() == 0 {
        return None;
    }
    let quantiles = manifest.sae.reference.error_quantiles.iter();
    let stated = quantiles.filter_map(|(level, &value)| level.parse::<f64>().ok().map(|level| (level, value)));
    let lowest = |a: &(f64, f64), b: &(f64, f64)| a.0.total_cmp(&b.0);
    let fitting = stated.clone().filter(|(level, _)| *level >= 1.0 - alpha - 1e-9).min_by(lowest);
    let quantile = fitting.or_else(|| stated.max_by(lowest)).map(|(_, value)| value as f32);
    quantile.map(|quantile| quantile.min(NOTHING_KEPT))
}

#[cfg(test)]
pub(crate) mod tests {
    use coverslip_bundle::Digest;
    use coverslip_bundle::synthetic::{SyntheticSpec, recipe};

    use super::*;

    /// A profile of the scanner "A" for a synthetic bundle, with 999 calibration scores per check: standard normal
    /// embeddings, uniform everything else.
    pub(crate) fn calibrated(alpha: f64) -> Calibrated {
        let manifest = recipe(&SyntheticSpec::default()).manifest;
        let profile = coverslip_profile::synthetic::profile(&manifest, Digest([0; 32]), &["A"], 999);
        let histories = Arc::new(Histories::new(&profile));
        Calibrated::new((Arc::new(profile), histories), "A", 32..64, alpha, Draw::new(5)).expect("A is known")
    }

    #[test]
    fn too_much_light_and_too_little_are_told_from_enough() {
        let of = |over, under, white| {
            let exposure = Exposure { over, under, white_point: [white; 3] };
            (is_overexposed(&exposure), is_underexposed(&exposure, white))
        };
        assert_eq!(of(0.0, 0.0, 241.0), (false, false));
        assert_eq!(of(0.5, 0.0, 255.0), (true, false));
        assert_eq!(of(0.0, 0.0, 110.0), (false, true), "dim");
        assert_eq!(of(0.0, 1.0, 3.0), (false, true), "black");
    }

    #[test]
    fn dust_is_background_and_what_was_not_measured_is_not() {
        assert!(is_background(0.0) && is_background(0.049) && !is_background(0.05) && !is_background(f32::NAN));
    }
}
