//! From what was measured on one tile to its flags: a pure function.
//!
//! Without a profile four flags follow general rules, FOREIGN a rule of its stain where the host says that it is H&E, and
//! FEATURES_UNRELIABLE the bundle's quantile. With one, every check
//! that it calibrates is a p-value against the scanner's calibration tiles, raised at the slide's α; and on tiles without
//! tissue the general rules stay, since only tiles with tissue have calibrated it.
//!
//! OUT_OF_FOCUS needs a small p-value and little sharpness as such. Scanners differ in sharpness by more than a fault of
//! focus takes, so that against the profile of a sharper one nearly every tile of a softer one has a small p-value; and a
//! tile cannot know from itself whether its slide is that scanner's.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::Feature;
use coverslip_profile::{Check, ModelOutputs, TileScores, measurement as at};

use super::rules::{
    Calibrated, FOREIGN_ABOVE, OUT_OF_FOCUS_BELOW_DB, OUT_OF_FOCUS_WITH_PROFILE_BELOW_DB, Rules, is_background,
    is_overexposed, is_underexposed,
};
use crate::measure::exposure::Exposure;
use crate::tiles::grid::Place;
use crate::tiles::slot::{Evidence, Outcome};

// The contract's indices are the profile's: see `profile::measurement`.
const _: () = {
    assert!(abi::MEASUREMENT_COUNT == coverslip_profile::MEASUREMENTS);
    assert!(abi::FLAG_COUNT == Check::ALL.len() && abi::FLAG_UNSTABLE == 1 << Check::Unstable as u32);
    assert!(abi::MEASURE_TISSUE == at::TISSUE && abi::MEASURE_SHARPNESS == at::SHARPNESS);
    assert!(abi::MEASURE_BLACK == at::BLACK && abi::MEASURE_CLIPPED == at::CLIPPED);
    assert!(abi::MEASURE_WHITE_POINT == at::WHITE_POINT && abi::MEASURE_DENSITY_MEAN == at::DENSITY_MEAN);
    assert!(abi::MEASURE_DENSITY_SPREAD == at::DENSITY_SPREAD && abi::MEASURE_BANDING_ROWS == at::BANDING_ROWS);
    assert!(abi::MEASURE_BANDING_COLUMNS == at::BANDING_COLUMNS && abi::MEASURE_BANDING_PERIOD == at::BANDING_PERIOD);
    assert!(abi::MEASURE_GLASS == at::GLASS);
    assert!(abi::MEASURE_FOREIGN == at::FOREIGN && abi::MEASURE_FOREIGN_SHARE == at::FOREIGN_SHARE);
    assert!(abi::MEASURE_SHARPNESS_ACROSS == at::SHARPNESS_ACROSS);
};

/// A tile's flags, as in `coverslip_result`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flags {
    pub(crate) checked: u32,
    pub(crate) raised: u32,
    pub(crate) calibrated: u32,
    pub(crate) scores: [f32; abi::SCORE_COUNT],
    pub(crate) p_values: [f32; abi::SCORE_COUNT],
}

impl Flags {
    const NONE: Flags = Flags {
        checked: 0,
        raised: 0,
        calibrated: 0,
        scores: [f32::NAN; abi::SCORE_COUNT],
        p_values: [f32::NAN; abi::SCORE_COUNT],
    };

    fn check(&mut self, check: Check, score: Option<f32>, raised: impl FnOnce(f32) -> bool) {
        if let Some(score) = score {
            self.checked |= check.flag();
            self.scores[check.index()] = score;
            self.raise(check, raised(score));
        }
    }

    fn raise(&mut self, check: Check, raised: bool) {
        self.raised = (self.raised & !check.flag()) | if raised { check.flag() } else { 0 };
    }
}

/// Judges one tile with its strongest features and its embedding. Only tiles that were looked at (done or background)
/// have flags.
pub(crate) fn judge(
    evidence: &Evidence,
    (features, embedding): (&[Feature], &[f32]),
    (outcome, place): (Outcome, Place),
    rules: &Rules,
) -> Flags {
    let mut flags = Flags::NONE;
    if !matches!(outcome, Outcome::Done | Outcome::Background) {
        return flags;
    }
    // Also where the host has had it analysed: only tiles with tissue calibrate.
    let glass = outcome == Outcome::Background || is_background(evidence.measurements[at::TISSUE]);
    by_general_rules(&mut flags, evidence, glass, rules);
    if let Some(calibrated) = rules.calibrated.as_ref().filter(|_| !glass) {
        by_profile(&mut flags, evidence, (features, embedding), (place, rules.he), calibrated);
    }
    flags
}

fn by_general_rules(flags: &mut Flags, evidence: &Evidence, glass: bool, rules: &Rules) {
    let m = &evidence.measurements;
    flags.check(Check::Background, number(m[at::TISSUE]), |_| glass);
    // Glass has no edges to be sharp.
    flags.check(Check::OutOfFocus, number(m[at::SHARPNESS]).filter(|_| !glass), |db| db < OUT_OF_FOCUS_BELOW_DB);
    if let Some(exposure) = Exposure::read(m) {
        flags.check(Check::Underexposed, Some(exposure.under), |_| is_underexposed(&exposure, at::white(m)));
        flags.check(Check::Overexposed, Some(exposure.over), |_| is_overexposed(&exposure));
    }
    // Glass with dust on it is glass; ink counts as tissue.
    let foreign = number(m[at::FOREIGN]).filter(|_| rules.he && !glass);
    flags.check(Check::Foreign, foreign, |distance| distance > FOREIGN_ABOVE);
    if let Some(limit) = rules.reconstruction_error {
        flags.check(Check::FeaturesUnreliable, evidence.reconstruction_error, |error| error > limit);
    }
}

fn by_profile(
    flags: &mut Flags,
    evidence: &Evidence,
    (features, embedding): (&[Feature], &[f32]),
    (place, he): (Place, bool),
    calibrated: &Calibrated,
) {
    let outputs = ModelOutputs {
        embedding: embedding.get(calibrated.tap.clone()),
        features: features.iter().map(|feature| (feature.index, feature.value)),
        reconstruction_error: evidence.reconstruction_error,
        instability: evidence.instability,
    };
    let scored = TileScores::new(&calibrated.profile, calibrated.scanner(), &evidence.measurements, outputs);
    let draw = calibrated.draw.of(place.column as u64).of(place.row as u64).of(u64::from(place.pass));
    for check in Check::ALL {
        let Some(score) = scored.score(check) else { continue };
        // The general rules' scores stay as the contract has them. A score is given also where nothing calibrates it: a
        // profile's builder is a host like any other.
        if flags.scores[check.index()].is_nan() {
            flags.scores[check.index()] = score;
        }
        let Some(scores) = calibrated.calibration(check) else { continue };
        let p = scores.p_value(score, draw.of(check as u64));
        flags.checked |= check.flag();
        flags.calibrated |= check.flag();
        flags.p_values[check.index()] = at_most(p);
        // What is outside tissue's colours is no tissue on any scanner; a profile adds what is odd for this one.
        let absolute = check == Check::Foreign && he && score > FOREIGN_ABOVE;
        let soft = evidence.measurements[at::SHARPNESS] < OUT_OF_FOCUS_WITH_PROFILE_BELOW_DB;
        let odd = p <= scores.supported(calibrated.alpha) && (soft || check != Check::OutOfFocus);
        flags.raise(check, absolute || odd);
    }
}

/// `p` in float32, not above it: a host that compares it with the level decides as it was decided here.
fn at_most(p: f64) -> f32 {
    let near = p as f32;
    if f64::from(near) > p { near.next_down() } else { near }
}

/// What was measured; NaN was not.
fn number(value: f32) -> Option<f32> {
    (!value.is_nan()).then_some(value)
}

/// The level that each check runs at, by its index; 0 where it is not calibrated.
pub(crate) fn levels(rules: &Rules) -> [f64; abi::SCORE_COUNT] {
    let mut levels = [0.0; abi::SCORE_COUNT];
    for check in Check::ALL {
        let level = rules.calibrated.as_ref().and_then(|calibrated| calibrated.level(check));
        levels[check.index()] = level.unwrap_or(0.0);
    }
    levels
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coverslip_profile::Calibration;

    use super::super::rules::tests::calibrated;
    use super::*;

    const PLACE: Place = Place { column: 3, row: 4, pass: 0 };
    const GENERAL: u32 = 0x40f;

    fn uncalibrated() -> Rules {
        Rules { reconstruction_error: Some(0.8), he: false, calibrated: None }
    }

    fn evidence() -> Evidence {
        let mut measurements = Evidence::default().measurements;
        Exposure { over: 0.0, under: 0.0, white_point: [240.0; 3] }.write(&mut measurements);
        measurements[at::TISSUE] = 0.7;
        measurements[at::SHARPNESS] = OUT_OF_FOCUS_BELOW_DB + 1.0;
        Evidence { measurements, reconstruction_error: Some(0.5), active_count: 3, ..Evidence::default() }
    }

    fn judged(evidence: &Evidence, outcome: Outcome, rules: &Rules) -> Flags {
        judge(evidence, (&[], &[0.5; 64]), (outcome, PLACE), rules)
    }

    #[test]
    fn a_good_tile_is_checked_and_not_flagged() {
        let flags = judged(&evidence(), Outcome::Done, &uncalibrated());
        assert_eq!((flags.checked, flags.raised, flags.calibrated), (GENERAL, 0, 0));
        assert!(flags.scores[4].is_nan() && flags.p_values.iter().all(|p| p.is_nan()));
        assert_eq!(flags.scores[10], 0.5);
    }

    #[test]
    fn each_measure_raises_its_own_flag() {
        let raised = |change: &dyn Fn(&mut Evidence)| {
            let mut evidence = evidence();
            change(&mut evidence);
            judged(&evidence, Outcome::Done, &uncalibrated()).raised
        };
        let blurry = |e: &mut Evidence| e.measurements[at::SHARPNESS] = OUT_OF_FOCUS_BELOW_DB - 0.1;
        assert_eq!(raised(&blurry), abi::FLAG_OUT_OF_FOCUS);
        assert_eq!(raised(&|e| e.measurements[at::CLIPPED] = 1.0), abi::FLAG_OVEREXPOSED);
        assert_eq!(raised(&|e| e.measurements[at::BLACK] = 1.0), abi::FLAG_UNDEREXPOSED);
        assert_eq!(raised(&|e| e.reconstruction_error = Some(0.81)), abi::FLAG_FEATURES_UNRELIABLE);
    }

    #[test]
    fn what_was_not_measured_is_not_checked() {
        let mut background = Evidence { reconstruction_error: None, ..evidence() };
        background.measurements[at::SHARPNESS] = f32::NAN;
        let flags = judged(&background, Outcome::Background, &uncalibrated());
        assert_eq!((flags.checked, flags.raised), (0x00d, abi::FLAG_BACKGROUND));
        assert_eq!(judged(&evidence(), Outcome::Expired, &uncalibrated()).checked, 0);
        let flags =
            judged(&evidence(), Outcome::Done, &Rules { reconstruction_error: None, he: false, calibrated: None });
        assert_eq!(flags.checked & abi::FLAG_FEATURES_UNRELIABLE, 0);
    }

    #[test]
    fn with_a_profile_every_check_that_has_evidence_has_a_p_value() {
        let rules = Rules { reconstruction_error: Some(0.8), he: false, calibrated: Some(calibrated(0.01)) };
        let mut evidence = evidence();
        for index in [at::BANDING_ROWS, at::BANDING_COLUMNS, at::FOREIGN] {
            evidence.measurements[index] = 0.5;
        }
        evidence.measurements[at::SHARPNESS] = OUT_OF_FOCUS_BELOW_DB - 0.1;
        let flags = judged(&evidence, Outcome::Done, &rules);
        // Not the stain (no density was measured), not UNSTABLE (not run twice).
        let expected = 0xfff & !abi::FLAG_BACKGROUND & !abi::FLAG_COLOR_SHIFT & !abi::FLAG_UNSTABLE;
        assert_eq!((flags.calibrated, flags.checked), (expected, expected | abi::FLAG_BACKGROUND));
        // 31 values of 0.5: well within. Sharpness: −12.6 dB against scores of 0..1.
        assert_eq!(flags.raised, abi::FLAG_OUT_OF_FOCUS);
        assert!(flags.p_values[7] > 0.9 && (flags.p_values[1] - 0.001).abs() < 1e-9);
        assert_eq!(flags.scores[1], OUT_OF_FOCUS_BELOW_DB - 0.1);
        let again = judged(&evidence, Outcome::Done, &rules);
        assert_eq!(format!("{flags:?}"), format!("{again:?}"), "draws are seeded");
    }

    #[test]
    fn a_softer_scanner_is_not_out_of_focus_by_a_sharper_ones_profile() {
        let mut known = calibrated(0.01);
        let mut profile = (*known.profile).clone();
        // A scanner whose tiles lie between −3 and −4 dB.
        let sharp = (0..999).map(|i| 3.0 + i as f32 / 999.0).collect();
        profile.scanners[0].calibration.insert(Check::OutOfFocus, Calibration::new(sharp));
        known.profile = Arc::new(profile);
        let rules = Rules { calibrated: Some(known), ..uncalibrated() };
        let at_sharpness = |decibels| {
            let mut evidence = evidence();
            evidence.measurements[at::SHARPNESS] = decibels;
            let flags = judged(&evidence, Outcome::Done, &rules);
            assert_ne!(flags.calibrated & abi::FLAG_OUT_OF_FOCUS, 0);
            (flags.p_values[1] < 0.0011, flags.raised & abi::FLAG_OUT_OF_FOCUS != 0)
        };
        assert_eq!(at_sharpness(-8.0), (true, false), "soft beside them, sharp as such");
        assert_eq!(at_sharpness(-12.2), (true, true), "also where the general rule alone says nothing");
        assert!(!at_sharpness(-3.5).1);
        // A scanner that is soft by itself: what is usual for it is not flagged either.
        let mut known = calibrated(0.01);
        let mut profile = (*known.profile).clone();
        profile.scanners[0].calibration.insert(Check::OutOfFocus, Calibration::new(vec![15.0; 999]));
        known.profile = Arc::new(profile);
        let mut soft = evidence();
        soft.measurements[at::SHARPNESS] = -14.0;
        let rules = Rules { calibrated: Some(known), ..uncalibrated() };
        assert_eq!(judged(&soft, Outcome::Done, &rules).raised & abi::FLAG_OUT_OF_FOCUS, 0);
    }

    #[test]
    fn ink_on_h_and_e_is_foreign_with_a_profile_and_without() {
        let mut tile = evidence();
        let foreign = |tile: &Evidence, he: bool, calibrated: Option<Calibrated>| {
            let flags = judged(tile, Outcome::Done, &Rules { reconstruction_error: None, he, calibrated });
            (flags.checked & abi::FLAG_FOREIGN != 0, flags.raised & abi::FLAG_FOREIGN != 0)
        };
        tile.measurements[at::FOREIGN] = -0.01;
        assert_eq!(foreign(&tile, true, None), (true, false));
        tile.measurements[at::FOREIGN] = 0.05;
        assert_eq!((foreign(&tile, true, None), foreign(&tile, false, None)), ((true, true), (false, false)));
        // A profile of inked slides calls ink usual; its scores lie in 0..1.
        assert_eq!(foreign(&tile, true, Some(calibrated(0.01))), (true, true));
        assert_eq!(foreign(&tile, false, Some(calibrated(0.01))), (true, false));
        tile.measurements[at::TISSUE] = 0.01;
        assert_eq!(foreign(&tile, true, None), (false, false), "glass");
    }

    #[test]
    fn a_tile_of_dense_tissue_is_not_dark_beside_glass() {
        let mut tile = evidence();
        Exposure { over: 0.0, under: 0.0, white_point: [120.0, 80.0, 125.0] }.write(&mut tile.measurements);
        let dark = |tile: &Evidence| judged(tile, Outcome::Done, &uncalibrated()).raised & abi::FLAG_UNDEREXPOSED != 0;
        assert!(dark(&tile), "nothing says that this is tissue");
        tile.measurements[at::GLASS..][..3].fill(240.0);
        assert!(!dark(&tile));
        tile.measurements[at::WHITE_POINT..][..3].fill(110.0);
        assert!(dark(&tile), "dim glass");
    }

    #[test]
    fn few_calibration_tiles_run_at_the_level_that_they_support() {
        let mut known = calibrated(0.01);
        let mut profile = (*known.profile).clone();
        profile.scanners[0].calibration.insert(Check::Foreign, Calibration::new(vec![0.0; 19]));
        profile.scanners[0].calibration.insert(Check::Banding, Calibration::new(Vec::new()));
        known.profile = Arc::new(profile);
        assert_eq!((known.level(Check::Foreign), known.level(Check::Banding)), (Some(0.05), None));
        let rules = Rules { reconstruction_error: None, he: false, calibrated: Some(known) };
        let mut evidence = evidence();
        evidence.measurements[at::FOREIGN] = 1.0;
        evidence.measurements[at::BANDING_ROWS] = 99.0;
        evidence.measurements[at::BANDING_COLUMNS] = 99.0;
        let flags = judged(&evidence, Outcome::Done, &rules);
        assert_ne!(flags.raised & abi::FLAG_FOREIGN, 0);
        assert_eq!(flags.checked & abi::FLAG_BANDING, 0, "nothing to compare with is not a pass");
        assert_eq!((levels(&rules)[6], levels(&rules)[5], levels(&rules)[7]), (0.05, 0.0, 0.01));
    }

    #[test]
    fn tiles_without_tissue_keep_the_general_rules() {
        let rules = Rules { reconstruction_error: Some(0.8), he: false, calibrated: Some(calibrated(0.01)) };
        let flags = judged(&evidence(), Outcome::Background, &rules);
        assert_eq!((flags.calibrated, flags.raised), (0, abi::FLAG_BACKGROUND));
        // Also where the model has seen it.
        let mut glass = evidence();
        glass.measurements[at::TISSUE] = 0.01;
        glass.measurements[at::SHARPNESS] = -40.0;
        let flags = judged(&glass, Outcome::Done, &rules);
        assert_eq!((flags.calibrated, flags.raised), (0, abi::FLAG_BACKGROUND));
    }

    #[test]
    fn a_host_that_compares_p_with_the_level_decides_alike() {
        for (above, n) in [(1.0, 20.0), (1.0, 40.0), (1.0, 500.0), (50.0, 1000.0), (3.0, 7.0)] {
            let p: f64 = above / n;
            assert!(f64::from(at_most(p)) <= p && p - f64::from(at_most(p)) < 1e-7);
        }
    }
}
