//! From the stream of a slide's results to alerts: one rule per file. Without a profile there are three, none of them
//! calibrated: a run of tissue tiles out of focus, results that come too late, and frames that were refused.

mod drift;
mod focus;
mod lag;
mod mismatch;
mod overrun;
#[cfg(test)]
mod simulated;
mod strips;
mod wealth;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{Alert, TileResult};

use self::drift::Drift;
use self::focus::FocusRule;
use self::lag::LagRule;
use self::mismatch::Mismatch;
pub(crate) use self::mismatch::Verdict;
use self::overrun::OverrunRule;
use self::strips::StripRule;
use super::flags::Rules;
use crate::error::Result;
use crate::intake::assembler::Overrun;
use crate::intake::grid::{Grid, Rect};

/// What a rule has found, before it is numbered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Finding {
    /// `COVERSLIP_ALERT_*`.
    code: i32,
    calibrated: bool,
    /// None: the whole slide.
    area: Option<Rect>,
    since: Since,
    strength: f64,
    threshold: f64,
}

/// The first result that belongs to a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Since {
    sequence: u64,
    frame: u64,
}

impl Since {
    fn of(record: &TileResult) -> Since {
        Since { sequence: record.sequence, frame: record.first_frame_id }
    }
}

fn tile_box(record: &TileResult) -> Rect {
    let (width, height) = (i64::from(record.width), i64::from(record.height));
    Rect { x0: record.x, y0: record.y, x1: record.x + width, y1: record.y + height }
}

/// Boxes that an alert was given for: what touches one belongs to it and is not said again. After sixteen places apart a
/// rule says no more: the host knows, and alerts of other rules must not drown.
#[derive(Clone, Copy, Debug, Default)]
struct Known([Option<Rect>; 16]);

impl Known {
    /// Whether `area` is new; adds it.
    fn is_new(&mut self, area: &Rect) -> bool {
        if let Some(known) = self.0.iter_mut().flatten().find(|known| touches(known, area)) {
            *known = known.union(area);
            return false;
        }
        let free = self.0.iter_mut().find(|place| place.is_none());
        free.map(|place| *place = Some(*area)).is_some()
    }
}

/// Whether two boxes overlap or lie side by side.
fn touches(a: &Rect, b: &Rect) -> bool {
    a.x0 <= b.x1 && b.x0 <= a.x1 && a.y0 <= b.y1 && b.y0 <= a.y1
}

/// Most alerts that one result can bring.
const PER_RESULT: usize = 5;

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
}

/// What the rules need to know of a slide.
pub(crate) struct Scene<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) grid: &'a Grid,
    pub(crate) max_tiles: usize,
    /// A tile's side, mm.
    pub(crate) tile_mm: f64,
}

impl AlertState {
    /// Reserves what the rules remember.
    pub(crate) fn new(scene: &Scene<'_>) -> Result<AlertState> {
        use coverslip_profile::Check;
        let calibrated = |check: Check| scene.rules.level(check).is_some();
        let drift = |check: Check, code: i32| calibrated(check).then(|| Drift::new(scene, code, check)).transpose();
        Ok(AlertState {
            sequence: 0,
            fallback: None,
            focus: FocusRule::new(scene),
            lag: LagRule::default(),
            overrun: OverrunRule::default(),
            strips: scene.rules.level(Check::Banding).map(|level| StripRule::new(level, scene.rules.alpha())),
            color: drift(Check::ColorShift, abi::ALERT_COLOR_DRIFT)?,
            embedding: drift(Check::ScannerShift, abi::ALERT_EMBEDDING_DRIFT)?,
            mismatch: scene.rules.calibrated().map(Mismatch::new),
        })
    }

    /// Bytes that [`AlertState::new`] reserves at most.
    pub(crate) fn bytes(scene: &Scene<'_>) -> u64 {
        if scene.rules.calibrated().is_some() { 2 * Drift::bytes(scene) } else { 0 }
    }

    /// Alerts given so far.
    pub(crate) fn count(&self) -> u64 {
        self.sequence
    }

    /// What SCANNER_MISMATCH has come to.
    pub(crate) fn scanner(&self) -> Verdict {
        self.mismatch.as_ref().map_or(Verdict::Unknown, Mismatch::verdict)
    }

    /// Another engine runs than the one asked for, or none any more: said once per slide and reason.
    pub(crate) fn fallback(&mut self, reason: i32, time_ns: i64) -> Option<Alert> {
        let said = self.fallback.replace(reason) == Some(reason);
        (!said).then(|| self.about_the_slide(abi::ALERT_ENGINE_FALLBACK, f64::from(reason), time_ns))
    }

    /// The profile does not know the scanner: said once per slide.
    pub(crate) fn unknown_scanner(&mut self) -> Alert {
        self.about_the_slide(abi::ALERT_UNKNOWN_SCANNER, 0.0, 0)
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
        let findings = [
            self.focus.observe(record),
            if paced { self.lag.observe(record) } else { None },
            self.strips.as_mut().and_then(|strips| strips.observe(record)),
            self.color.as_mut().and_then(|drift| drift.observe(record)),
            self.embedding.as_mut().and_then(|drift| drift.observe(record)),
        ];
        findings.map(|finding| finding.map(|finding| self.number(finding, time_ns)))
    }

    /// Every tile has its result: what can be said of the slide as a whole.
    pub(crate) fn conclude(&mut self, time_ns: i64) -> Option<Alert> {
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
    use super::*;

    /// A done tile of a row of tiles of 100 px.
    pub(super) fn tile(sequence: u64, column: i64) -> TileResult {
        TileResult {
            sequence,
            column: column as i32,
            x: column * 100,
            width: 100,
            height: 100,
            status: abi::TILE_DONE,
            first_frame_id: sequence + 50,
            scores: [f32::NAN; abi::SCORE_COUNT],
            ..Default::default()
        }
    }

    #[test]
    fn boxes_that_touch_are_one() {
        let mut known = Known::default();
        let at = |x: i64| Rect { x0: x, y0: 0, x1: x + 100, y1: 100 };
        assert!(known.is_new(&at(0)) && !known.is_new(&at(100)) && !known.is_new(&at(200)) && known.is_new(&at(900)));
        // In turn, as two regions side by side come row by row.
        let again = (0..20).filter(|i| known.is_new(&at(900 * (i % 2)))).count();
        let many = (0..100).filter(|i| known.is_new(&at(10_000 + 900 * i))).count();
        assert_eq!((again, many), (0, 14));
    }

    #[test]
    fn alerts_are_numbered_in_the_order_in_which_they_are_given() {
        let grid = Grid { origin: (0, 0), tile_width: 100, tile_height: 100, extent: None };
        let scene = Scene { rules: &Rules::uncalibrated(None), grid: &grid, max_tiles: 100, tile_mm: 0.1 };
        let mut state = AlertState::new(&scene).unwrap();
        assert_eq!(AlertState::bytes(&scene), 0);
        let first = state.fallback(3, 0).unwrap();
        assert_eq!((first.sequence, state.unknown_scanner().sequence, state.count()), (0, 1, 2));
        assert!(state.fallback(3, 0).is_none(), "said once");
        let blurry = |i: u64| TileResult { flags_raised: abi::FLAG_OUT_OF_FOCUS, ..tile(i, i as i64) };
        let given: Vec<Alert> = (0..9).flat_map(|i| state.observe(&blurry(i), false, 7)).flatten().collect();
        assert_eq!(given.iter().map(|a| (a.code, a.sequence, a.time_ns)).collect::<Vec<_>>(), [(1, 2, 7)]);
        let glass = |i: u64| TileResult {
            flags_raised: abi::FLAG_OUT_OF_FOCUS | abi::FLAG_BACKGROUND,
            ..tile(i, 500 + i as i64)
        };
        assert_eq!((20..40).flat_map(|i| state.observe(&glass(i), false, 7)).flatten().count(), 0);
        assert!(state.conclude(0).is_none() && state.scanner() == Verdict::Unknown);
    }
}
