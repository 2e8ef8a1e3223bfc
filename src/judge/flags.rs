//! From what was measured on one tile to its flags: a pure function. Without a profile every rule is a general one, so
//! nothing is marked as calibrated.

use coverslip_plugin_abi as abi;

use crate::intake::focus::OUT_OF_FOCUS_BELOW_DB;
use crate::intake::slot::{Evidence, Outcome};

/// What the bundle contributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    /// The bundle's quantile of the reconstruction error; None: the bundle states none, the check is not made.
    pub(crate) reconstruction_error: Option<f32>,
}

/// A tile's flags, as in `coverslip_result`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flags {
    pub(crate) checked: u32,
    pub(crate) raised: u32,
    pub(crate) scores: [f32; abi::SCORE_COUNT],
}

impl Flags {
    const NONE: Flags = Flags { checked: 0, raised: 0, scores: [f32::NAN; abi::SCORE_COUNT] };

    fn check(&mut self, flag: u32, score: Option<f32>, raised: impl FnOnce(f32) -> bool) {
        if let Some(score) = score {
            self.checked |= flag;
            self.scores[flag.trailing_zeros() as usize] = score;
            if raised(score) {
                self.raised |= flag;
            }
        }
    }
}

/// Judges one tile. Only tiles that were looked at (done or background) have flags.
pub(crate) fn judge(evidence: &Evidence, outcome: Outcome, thresholds: Thresholds) -> Flags {
    let mut flags = Flags::NONE;
    if !matches!(outcome, Outcome::Done | Outcome::Background) {
        return flags;
    }
    flags.check(abi::FLAG_BACKGROUND, evidence.tissue, |_| outcome == Outcome::Background);
    flags.check(abi::FLAG_OUT_OF_FOCUS, evidence.sharpness, |db| db < OUT_OF_FOCUS_BELOW_DB);
    if let Some(exposure) = evidence.exposure {
        flags.check(abi::FLAG_UNDEREXPOSED, Some(exposure.under), |_| exposure.is_under());
        flags.check(abi::FLAG_OVEREXPOSED, Some(exposure.over), |_| exposure.is_over());
    }
    if let Some(limit) = thresholds.reconstruction_error {
        // A NaN from the graph is not a pass.
        let unreliable = |error: f32| error.is_nan() || error > limit;
        flags.check(abi::FLAG_FEATURES_UNRELIABLE, evidence.reconstruction_error, unreliable);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::exposure::Exposure;

    const THRESHOLDS: Thresholds = Thresholds { reconstruction_error: Some(0.8) };

    fn evidence() -> Evidence {
        Evidence {
            exposure: Some(Exposure { over: 0.0, under: 0.0, white_point: [240.0; 3] }),
            tissue: Some(0.7),
            sharpness: Some(OUT_OF_FOCUS_BELOW_DB + 1.0),
            reconstruction_error: Some(0.5),
            active_count: 3,
            epoch: None,
        }
    }

    #[test]
    fn a_good_tile_is_checked_and_not_flagged() {
        let flags = judge(&evidence(), Outcome::Done, THRESHOLDS);
        assert_eq!((flags.checked, flags.raised), (0x40f, 0));
        assert!(flags.scores[4].is_nan());
        assert_eq!(flags.scores[10], 0.5);
    }

    #[test]
    fn each_measure_raises_its_own_flag() {
        let raised = |change: &dyn Fn(&mut Evidence)| {
            let mut evidence = evidence();
            change(&mut evidence);
            judge(&evidence, Outcome::Done, THRESHOLDS).raised
        };
        assert_eq!(raised(&|e| e.sharpness = Some(OUT_OF_FOCUS_BELOW_DB - 0.1)), abi::FLAG_OUT_OF_FOCUS);
        assert_eq!(raised(&|e| e.exposure.as_mut().unwrap().over = 1.0), abi::FLAG_OVEREXPOSED);
        assert_eq!(raised(&|e| e.exposure.as_mut().unwrap().under = 1.0), abi::FLAG_UNDEREXPOSED);
        assert_eq!(raised(&|e| e.reconstruction_error = Some(0.81)), abi::FLAG_FEATURES_UNRELIABLE);
        assert_eq!(raised(&|e| e.reconstruction_error = Some(f32::NAN)), abi::FLAG_FEATURES_UNRELIABLE);
    }

    #[test]
    fn what_was_not_measured_is_not_checked() {
        let background = Evidence { sharpness: None, reconstruction_error: None, ..evidence() };
        let flags = judge(&background, Outcome::Background, THRESHOLDS);
        assert_eq!((flags.checked, flags.raised), (0x00d, abi::FLAG_BACKGROUND));
        assert_eq!(judge(&evidence(), Outcome::Expired, THRESHOLDS).checked, 0);
        let none = Thresholds { reconstruction_error: None };
        assert_eq!(judge(&evidence(), Outcome::Done, none).checked & abi::FLAG_FEATURES_UNRELIABLE, 0);
    }
}
