//! SCANNER_DRIFT: what SCANNER_MISMATCH says at the end of a slide, said while it is on the stage: the scanner's slides, this
//! one included as far as it has been scanned, look unlike the calibration slides.
//!
//! A slide is one unit, since its tiles are alike, and it is ranked by its peak: the highest that its running mean of
//! SCANNER_SHIFT has been. It depends on the order in which tiles ended, and on the slides of this scanner that the
//! runtime has finished before.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::TileResult;
use coverslip_profile::{Check, Peak};

use super::super::rules::{Calibrated, MISMATCH_FEWEST_SLIDES};
use super::finding::{Finding, Since};

pub(super) struct ScannerDrift {
    known: Calibrated,
    peak: Peak,
    /// The highest peak that was ranked.
    ranked: f32,
    since: Option<Since>,
    said: bool,
}

impl ScannerDrift {
    /// None where too few calibration slides say what is usual.
    pub(super) fn new(known: &Calibrated) -> Option<ScannerDrift> {
        let slides = known.scanner().slide_peak.len();
        let middle = known.scanner().shift_middle().filter(|_| slides >= MISMATCH_FEWEST_SLIDES)?;
        let peak = Peak::new(middle);
        Some(ScannerDrift { known: known.clone(), peak, ranked: f32::NEG_INFINITY, since: None, said: false })
    }

    pub(super) fn observe(&mut self, record: &TileResult) -> Option<Finding> {
        if record.pass != 0 {
            return None;
        }
        let since = *self.since.get_or_insert(Since::of(record));
        self.peak.add(record.scores[Check::ScannerShift.index()], 1.0);
        let highest = self.peak.highest().filter(|&highest| !self.said && highest > self.ranked)?;
        self.ranked = highest;
        let history = self.known.history();
        let value = history.with(history.rank(highest, self.known.draw));
        let threshold = 1.0 / self.known.alpha;
        self.said = value >= threshold;
        self.said.then_some(Finding {
            code: abi::ALERT_SCANNER_DRIFT,
            calibrated: true,
            area: None,
            since,
            strength: value,
            threshold,
        })
    }

    /// The slide was scanned to its end.
    pub(super) fn conclude(&self) {
        if let Some(highest) = self.peak.highest() {
            let mut history = self.known.history();
            let p = history.rank(highest, self.known.draw);
            history.absorb(highest, p);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coverslip_profile::Calibration;

    use super::super::finding::tests::tile;
    use super::*;
    use crate::judge::history::Histories;
    use crate::judge::rules::tests::calibrated;

    fn known(slides: usize) -> Calibrated {
        let mut known = calibrated(0.01);
        let mut profile = (*known.profile).clone();
        profile.scanners[0].slide_peak = Calibration::new((0..slides).map(|i| i as f32 / 1000.0).collect());
        known.histories = Arc::new(Histories::new(&profile));
        known.profile = Arc::new(profile);
        known
    }

    /// The number of the tile that brings the alert on each of some slides of 400 tiles; the synthetic scanner's middle is
    /// 0.75.
    fn said(known: &Calibrated, slides: usize, score: f32) -> Vec<Option<usize>> {
        let slide = |_| {
            let mut rule = ScannerDrift::new(known).unwrap();
            let found = (0..400).find(|&i| {
                let mut record = tile(i as u64, i as i64);
                record.scores[8] = score;
                rule.observe(&record)
                    .is_some_and(|found| found.code == abi::ALERT_SCANNER_DRIFT && found.strength >= 100.0)
            });
            rule.conclude();
            found
        };
        (0..slides).map(slide).collect()
    }

    #[test]
    fn a_wrong_scanner_is_said_on_the_stage_and_a_right_one_never() {
        let wrong = said(&known(99), 6, 3.0);
        let first = wrong.iter().position(Option::is_some).expect("said");
        assert!(first <= 4 && wrong[first..].iter().all(|tile| tile.is_some_and(|tile| tile < 200)), "{wrong:?}");
        assert!(said(&known(99), 20, 0.76).iter().all(Option::is_none));
        assert!(ScannerDrift::new(&known(18)).is_none());
    }
}
