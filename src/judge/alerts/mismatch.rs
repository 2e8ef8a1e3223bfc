//! SCANNER_MISMATCH: whether the slide as a whole looks like one of the scanner's slides. Its mean SCANNER_SHIFT score is
//! ranked among those of the calibration slides when the slide is over.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::TileResult;
use coverslip_profile::Check;

use super::super::rules::{Calibrated, MISMATCH_FEWEST_SLIDES, MISMATCH_FEWEST_TILES};
use super::finding::{Finding, Since};
use crate::slide::counts::ScannerVerdict;

pub(super) struct Mismatch {
    level: f64,
    calibrated: Calibrated,
    sum: f64,
    tiles: u64,
    verdict: ScannerVerdict,
}

impl Mismatch {
    pub(super) fn new(calibrated: &Calibrated) -> Mismatch {
        let level = calibrated.scanner().slide_shift.supported(calibrated.alpha);
        Mismatch { level, calibrated: calibrated.clone(), sum: 0.0, tiles: 0, verdict: ScannerVerdict::Unknown }
    }

    pub(super) fn observe(&mut self, record: &TileResult) {
        let score = record.scores[Check::ScannerShift.index()];
        if record.pass == 0 && score.is_finite() {
            self.sum += f64::from(score);
            self.tiles += 1;
        }
    }

    pub(super) fn verdict(&self) -> ScannerVerdict {
        self.verdict
    }

    pub(super) fn conclude(&mut self) -> Option<Finding> {
        let slides = &self.calibrated.scanner().slide_shift;
        if slides.len() < MISMATCH_FEWEST_SLIDES || self.tiles < MISMATCH_FEWEST_TILES {
            return None;
        }
        let mean = (self.sum / self.tiles as f64) as f32;
        let p = slides.p_value(mean, self.calibrated.draw);
        if p > self.level {
            self.verdict = ScannerVerdict::Matches(p);
            return None;
        }
        self.verdict = ScannerVerdict::Mismatch(p);
        // The lowest mean that would have been too much.
        let most = (self.level * (slides.len() as f64 + 1.0)).floor() as usize;
        let threshold = slides.scores()[slides.len() - most.clamp(1, slides.len())];
        Some(Finding {
            code: abi::ALERT_SCANNER_MISMATCH,
            calibrated: true,
            area: None,
            since: Since::default(),
            strength: f64::from(mean),
            threshold: f64::from(threshold),
        })
    }
}

#[cfg(test)]
mod tests {
    use coverslip_profile::Calibration;

    use super::super::finding::tests::tile;
    use super::*;
    use crate::judge::rules::tests::calibrated;

    fn run(calibrated: &Calibrated, tiles: u64, score: f32) -> (ScannerVerdict, Option<Finding>) {
        let mut rule = Mismatch::new(calibrated);
        for i in 0..tiles {
            let mut record = tile(i, i as i64);
            record.scores[8] = score;
            rule.observe(&record);
        }
        let finding = rule.conclude();
        (rule.verdict(), finding)
    }

    /// The synthetic profile's slides have means between 0.7 and 0.8.
    #[test]
    fn a_slide_is_ranked_among_the_calibration_slides() {
        let known = calibrated(0.01);
        let (verdict, finding) = run(&known, 100, 2.0);
        assert_eq!(verdict, ScannerVerdict::Mismatch(0.01));
        let finding = finding.unwrap();
        assert!(finding.strength == 2.0 && (0.7..0.8).contains(&finding.threshold) && finding.calibrated);
        assert!(matches!(run(&known, 100, 0.75), (ScannerVerdict::Matches(p), None) if p > 0.1));
        assert_eq!(run(&known, 29, 2.0), (ScannerVerdict::Unknown, None));
    }

    #[test]
    fn few_calibration_slides_say_nothing_or_less_surely() {
        let with = |slides: usize| {
            let mut known = calibrated(0.01);
            let mut profile = (*known.profile).clone();
            profile.scanners[0].slide_shift = Calibration::new((0..slides).map(|i| i as f32 / 100.0).collect());
            known.profile = std::sync::Arc::new(profile);
            run(&known, 100, 2.0).0
        };
        assert_eq!(with(18), ScannerVerdict::Unknown);
        assert_eq!(with(19), ScannerVerdict::Mismatch(0.05));
    }
}
