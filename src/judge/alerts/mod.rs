//! From the stream of a slide's results to alerts, one rule per file. Three need no profile and are not calibrated: a
//! run of tissue tiles out of focus, results that come too late, and refused frames.

mod drift;
mod finding;
mod focus;
mod lag;
mod mismatch;
mod novelty;
mod overrun;
mod scanner_drift;
mod scene;
#[cfg(test)]
mod simulated;
mod strips;
mod wealth;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{Alert, TileResult};
use coverslip_profile::Check;

use self::drift::Drift;
use self::finding::{Finding, Since};
use self::focus::FocusRule;
use self::lag::LagRule;
use self::mismatch::Mismatch;
use self::novelty::Novelty;
use self::overrun::OverrunRule;
use self::scanner_drift::ScannerDrift;
pub(crate) use self::scene::Scene;
use self::strips::StripRule;
use super::rules::Calibrated;
use crate::restarts::Restarted;
use crate::slide::counts::{NoveltyVerdict, ScannerVerdict};
use crate::tiles::assembler::Overrun;
use crate::tiles::grid::Rect;
use coverslip_base::error::Result;

/// The most alerts that one result can raise.
const PER_RESULT: usize = 6;

/// The alerts of one slide so far.
pub(crate) struct AlertState {
    sequence: u64,
    /// The reason of the last ENGINE_FALLBACK.
    fallback: Option<i32>,
    focus: FocusRule,
    lag: LagRule,
    overrun: OverrunRule,
    strips: Option<StripRule>,
    color: Option<Drift>,
    embedding: Option<Drift>,
    mismatch: Option<Mismatch>,
    scanner_drift: Option<ScannerDrift>,
    novelty: Option<Novelty>,
}

impl AlertState {
    /// Reserves what the rules remember.
    pub(crate) fn new(scene: &Scene<'_>) -> Result<AlertState> {
        let drift = |check: Check, code: i32| {
            let known = scene.calibrated.filter(|known| known.level(check).is_some());
            known.map(|known| Drift::new(scene, known, code, check)).transpose()
        };
        let strips = |known: &Calibrated| known.level(Check::Banding).map(|level| StripRule::new(level, known.alpha));
        Ok(AlertState {
            sequence: 0,
            fallback: None,
            focus: FocusRule::new(scene),
            lag: LagRule::default(),
            overrun: OverrunRule::default(),
            strips: scene.calibrated.and_then(strips),
            color: drift(Check::ColorShift, abi::ALERT_COLOR_DRIFT)?,
            embedding: drift(Check::ScannerShift, abi::ALERT_EMBEDDING_DRIFT)?,
            mismatch: scene.calibrated.map(Mismatch::new),
            scanner_drift: scene.calibrated.and_then(ScannerDrift::new),
            novelty: scene.calibrated.map(Novelty::new),
        })
    }

    /// Bytes that [`AlertState::new`] reserves at most.
    pub(crate) fn bytes(scene: &Scene<'_>) -> u64 {
        if scene.calibrated.is_some() { 2 * Drift::bytes(scene) } else { 0 }
    }

    /// What SCANNER_MISMATCH has come to.
    pub(crate) fn scanner(&self) -> ScannerVerdict {
        self.mismatch.as_ref().map_or(ScannerVerdict::Unknown, Mismatch::verdict)
    }

    /// Whether the slide looks like those of any scanner of the profile.
    pub(crate) fn novelty(&self) -> NoveltyVerdict {
        self.novelty.as_ref().map_or(NoveltyVerdict::Unknown, Novelty::verdict)
    }

    /// Another engine runs than the one asked for, or none. Raised once per slide and reason.
    pub(crate) fn fallback(&mut self, reason: i32, time_ns: i64) -> Option<Alert> {
        let said = self.fallback.replace(reason) == Some(reason);
        (!said).then(|| self.about_the_slide(abi::ALERT_ENGINE_FALLBACK, f64::from(reason), time_ns))
    }

    /// The profile does not know the scanner. Raised once per slide.
    pub(crate) fn unknown_scanner(&mut self) -> Alert {
        self.about_the_slide(abi::ALERT_UNKNOWN_SCANNER, 0.0, 0)
    }

    /// The engine's process was started again.
    pub(crate) fn restarted(&mut self, restarted: &Restarted, time_ns: i64) -> Alert {
        let strength = restarted.within_a_minute as f64;
        let mut alert = self.about_the_slide(abi::ALERT_WORKER_RESTARTED, strength, time_ns);
        (alert.threshold, alert.reason) = (restarted.most as f64, restarted.reason);
        alert
    }

    /// The profile was calibrated at another precision than `engine`, which runs. Raised once per slide.
    pub(crate) fn other_precision(&mut self, profile: i32, engine: i32) -> Alert {
        let (strength, threshold) = (f64::from(profile), f64::from(engine));
        let (code, since) = (abi::ALERT_PROFILE_PRECISION, Since::default());
        self.number(Finding { code, calibrated: false, area: None, since, strength, threshold }, 0)
    }

    fn about_the_slide(&mut self, code: i32, strength: f64, time_ns: i64) -> Alert {
        let since = Since::default();
        self.number(Finding { code, calibrated: false, area: None, since, strength, threshold: 0.0 }, time_ns)
    }

    /// The next result, in the order in which tiles ended.
    pub(crate) fn observe(&mut self, record: &TileResult, paced: bool, time_ns: i64) -> [Option<Alert>; PER_RESULT] {
        if record.status != abi::TILE_DONE || record.flags_raised & abi::FLAG_BACKGROUND != 0 {
            return [None; PER_RESULT];
        }
        if let Some(mismatch) = &mut self.mismatch {
            mismatch.observe(record);
        }
        if let Some(novelty) = &mut self.novelty {
            novelty.observe(record);
        }
        let findings = [
            self.focus.observe(record),
            if paced { self.lag.observe(record, time_ns) } else { None },
            self.strips.as_mut().and_then(|strips| strips.observe(record)),
            self.color.as_mut().and_then(|drift| drift.observe(record)),
            self.embedding.as_mut().and_then(|drift| drift.observe(record)),
            self.scanner_drift.as_mut().and_then(|drift| drift.observe(record)),
        ];
        findings.map(|finding| finding.map(|finding| self.number(finding, time_ns)))
    }

    /// Every tile has its result: what can be said of the slide as a whole. Only a slide that was scanned to its end
    /// (`whole`) counts among the scanner's slides.
    pub(crate) fn conclude(&mut self, whole: bool, time_ns: i64) -> Option<Alert> {
        if let Some(drift) = self.scanner_drift.as_ref().filter(|_| whole) {
            drift.conclude();
        }
        let finding = self.mismatch.as_mut()?.conclude()?;
        Some(self.number(finding, time_ns))
    }

    /// Frames were refused.
    pub(crate) fn refused(&mut self, overrun: &Overrun, sequence: u64, time_ns: i64) -> Option<Alert> {
        let finding = self.overrun.observe(overrun, sequence)?;
        Some(self.number(finding, time_ns))
    }

    fn number(&mut self, finding: Finding, time_ns: i64) -> Alert {
        let area = finding.area.unwrap_or(Rect { x0: 0, y0: 0, x1: 0, y1: 0 });
        let alert = Alert {
            sequence: self.sequence,
            code: finding.code,
            calibrated: u32::from(finding.calibrated),
            x: area.x0,
            y: area.y0,
            width: (area.x1 - area.x0) as u64,
            height: (area.y1 - area.y0) as u64,
            since_sequence: finding.since.sequence,
            since_frame_id: finding.since.frame,
            strength: finding.strength,
            threshold: finding.threshold,
            time_ns,
            ..Default::default()
        };
        self.sequence += 1;
        alert
    }
}

#[cfg(test)]
mod tests {
    use super::finding::tests::tile;
    use super::*;
    use crate::tiles::grid::Grid;

    #[test]
    fn alerts_are_numbered_in_the_order_in_which_they_are_given() {
        let grid = Grid { origin: (0, 0), tile_width: 100, tile_height: 100, extent: None };
        let scene = Scene { calibrated: None, grid: &grid, max_tiles: 100, tile_mm: 0.1 };
        let mut state = AlertState::new(&scene).unwrap();
        assert_eq!(AlertState::bytes(&scene), 0);
        let first = state.fallback(3, 0).unwrap();
        assert_eq!((first.sequence, state.unknown_scanner().sequence, state.sequence), (0, 1, 2));
        assert!(state.fallback(3, 0).is_none(), "said once");
        let blurry = |i: u64| TileResult { flags_raised: abi::FLAG_OUT_OF_FOCUS, ..tile(i, i as i64) };
        let given: Vec<Alert> = (0..9).flat_map(|i| state.observe(&blurry(i), false, 7)).flatten().collect();
        assert_eq!(given.iter().map(|a| (a.code, a.sequence, a.time_ns)).collect::<Vec<_>>(), [(1, 2, 7)]);
        let glass = |i: u64| TileResult {
            flags_raised: abi::FLAG_OUT_OF_FOCUS | abi::FLAG_BACKGROUND,
            ..tile(i, 500 + i as i64)
        };
        assert_eq!((20..40).flat_map(|i| state.observe(&glass(i), false, 7)).flatten().count(), 0);
        assert!(state.conclude(true, 0).is_none() && state.scanner() == ScannerVerdict::Unknown);
    }
}
