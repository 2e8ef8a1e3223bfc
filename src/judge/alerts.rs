//! From the stream of a slide's results to alerts. Without a profile there are three rules, none of them calibrated: a
//! run of tissue tiles out of focus, results that come too late, and frames that were refused.

use std::time::Duration;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{Alert, TileResult};

use crate::intake::assembler::Overrun;
use crate::intake::grid::Rect;

/// Analysed tiles in a row, all out of focus, that make a FOCUS_LOSS. Single tiles are folds and thick tissue.
const FOCUS_RUN: u64 = 5;
/// Mean latency over the last tiles that counts as LAGGING.
const LAG_LIMIT: Duration = Duration::from_secs(2);
/// How many tiles that mean looks back (an exponential mean of this length).
const LAG_TILES: f64 = 32.0;

/// The alerts of one slide so far.
#[derive(Default)]
pub(crate) struct AlertState {
    sequence: u64,
    run: Option<FocusRun>,
    /// Boxes of the focus alerts given: a run that touches one belongs to it.
    lost: Option<Rect>,
    lag_ns: f64,
    lagging: bool,
    refused: u64,
    refused_box: Option<Rect>,
}

struct FocusRun {
    tiles: u64,
    area: Rect,
    since_sequence: u64,
    since_frame: u64,
    blurriest: f64,
}

fn tile_box(record: &TileResult) -> Rect {
    let (width, height) = (i64::from(record.width), i64::from(record.height));
    Rect { x0: record.x, y0: record.y, x1: record.x + width, y1: record.y + height }
}

impl AlertState {
    /// Alerts given so far.
    pub(crate) fn count(&self) -> u64 {
        self.sequence
    }

    fn alert(&mut self, code: i32, area: Option<Rect>, strength: f64, threshold: f64, time_ns: i64) -> Alert {
        let area = area.unwrap_or(Rect { x0: 0, y0: 0, x1: 0, y1: 0 });
        let alert = Alert {
            sequence: self.sequence,
            code,
            calibrated: 0,
            x: area.x0,
            y: area.y0,
            width: (area.x1 - area.x0) as u64,
            height: (area.y1 - area.y0) as u64,
            since_sequence: 0,
            since_frame_id: 0,
            strength,
            threshold,
            time_ns,
        };
        self.sequence += 1;
        alert
    }

    /// Another engine runs than the one asked for, or none any more: said once per slide and change.
    pub(crate) fn fallback(&mut self, reason: i32, time_ns: i64) -> Alert {
        self.alert(abi::ALERT_ENGINE_FALLBACK, None, f64::from(reason), 0.0, time_ns)
    }

    /// The next result, in the order in which tiles ended.
    pub(crate) fn observe(&mut self, record: &TileResult, paced: bool, time_ns: i64) -> [Option<Alert>; 2] {
        if record.status != abi::TILE_DONE {
            return [None, None];
        }
        let lag = if paced { self.lag(record, time_ns) } else { None };
        [self.focus(record, time_ns), lag]
    }

    fn focus(&mut self, record: &TileResult, time_ns: i64) -> Option<Alert> {
        if record.flags_raised & abi::FLAG_OUT_OF_FOCUS == 0 {
            self.run = None;
            return None;
        }
        let (area, score) = (tile_box(record), f64::from(record.scores[1]));
        let run = self.run.get_or_insert(FocusRun {
            tiles: 0,
            area,
            since_sequence: record.sequence,
            since_frame: record.first_frame_id,
            blurriest: score,
        });
        run.tiles += 1;
        run.area = run.area.union(&area);
        run.blurriest = run.blurriest.min(score);
        if run.tiles < FOCUS_RUN {
            return None;
        }
        let (area, tiles) = (run.area, run.tiles);
        let (since_sequence, since_frame_id) = (run.since_sequence, run.since_frame);
        let known = self.lost.filter(|lost| touches(lost, &area));
        self.lost = Some(known.map_or(area, |lost| lost.union(&area)));
        if known.is_some() {
            return None;
        }
        let alert = self.alert(abi::ALERT_FOCUS_LOSS, Some(area), tiles as f64, FOCUS_RUN as f64, time_ns);
        Some(Alert { since_sequence, since_frame_id, ..alert })
    }

    /// Only where the host says when frames were captured: a file is played as fast as results come.
    fn lag(&mut self, record: &TileResult, time_ns: i64) -> Option<Alert> {
        self.lag_ns += (record.latency_ns as f64 - self.lag_ns) / LAG_TILES;
        let limit = LAG_LIMIT.as_nanos() as f64;
        if self.lagging {
            // Half the limit ends it, so that it is not said again and again.
            self.lagging = self.lag_ns > limit / 2.0;
            return None;
        }
        self.lagging = self.lag_ns > limit;
        let since = (record.sequence, record.first_frame_id);
        self.lagging.then(|| Alert {
            since_sequence: since.0,
            since_frame_id: since.1,
            ..self.alert(abi::ALERT_LAGGING, None, self.lag_ns, limit, time_ns)
        })
    }

    /// Frames were refused. Said for the first and whenever their number has grown tenfold.
    pub(crate) fn overrun(&mut self, overrun: &Overrun, sequence: u64, time_ns: i64) -> Option<Alert> {
        let before = self.refused;
        self.refused += overrun.frames;
        let area = self.refused_box.map_or(overrun.area, |known| known.union(&overrun.area));
        self.refused_box = Some(area);
        let decade = |n: u64| n.checked_ilog10().map_or(-1, |d| d as i32);
        (decade(self.refused) > decade(before)).then(|| Alert {
            since_sequence: sequence,
            since_frame_id: overrun.first.id,
            ..self.alert(abi::ALERT_OVERRUN, Some(area), self.refused as f64, 0.0, time_ns)
        })
    }
}

/// Whether two boxes overlap or lie side by side.
fn touches(a: &Rect, b: &Rect) -> bool {
    a.x0 <= b.x1 && b.x0 <= a.x1 && a.y0 <= b.y1 && b.y0 <= a.y1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::frame::FrameTag;

    fn tile(sequence: u64, column: i64, blurry: bool) -> TileResult {
        TileResult {
            sequence,
            x: column * 100,
            width: 100,
            height: 100,
            status: abi::TILE_DONE,
            flags_raised: if blurry { abi::FLAG_OUT_OF_FOCUS } else { 0 },
            first_frame_id: sequence + 50,
            ..Default::default()
        }
    }

    fn codes(state: &mut AlertState, tiles: impl IntoIterator<Item = TileResult>) -> Vec<Alert> {
        tiles.into_iter().flat_map(|t| state.observe(&t, true, 0).into_iter().flatten()).collect()
    }

    #[test]
    fn a_run_is_one_alert_with_its_box_and_its_beginning() {
        let mut state = AlertState::default();
        let alerts = codes(&mut state, (0..20).map(|i| tile(i, i as i64, (3..12).contains(&i))));
        assert_eq!(alerts.len(), 1);
        let a = &alerts[0];
        assert_eq!((a.code, a.since_sequence, a.since_frame_id), (abi::ALERT_FOCUS_LOSS, 3, 53));
        assert_eq!((a.x, a.width), (300, 500));
        // The next row's run touches that box; one far away does not.
        assert!(codes(&mut state, (20..30).map(|i| tile(i, 4, true))).is_empty());
        codes(&mut state, [tile(30, 0, false)]);
        assert_eq!(codes(&mut state, (31..40).map(|i| tile(i, 90, true))).len(), 1);
    }

    #[test]
    fn scattered_blurry_tiles_are_no_alert() {
        let alerts = codes(&mut AlertState::default(), (0..100).map(|i| tile(i, i as i64, i % 5 != 0)));
        assert!(alerts.is_empty());
    }

    #[test]
    fn lagging_is_said_once_and_only_of_paced_slides() {
        let slow = |i| TileResult { latency_ns: 5_000_000_000, ..tile(i, 0, false) };
        let mut state = AlertState::default();
        let alerts = codes(&mut state, (0..100).map(slow));
        assert_eq!(alerts.iter().map(|a| a.code).collect::<Vec<_>>(), [abi::ALERT_LAGGING]);
        let mut state = AlertState::default();
        assert!((0..100).all(|i| state.observe(&slow(i), false, 0).iter().all(Option::is_none)));
    }

    #[test]
    fn refused_frames_are_said_by_decades() {
        let mut state = AlertState::default();
        let area = Rect { x0: 0, y0: 0, x1: 9, y1: 9 };
        let one = Overrun { area, first: FrameTag { id: 7, ..Default::default() }, frames: 1 };
        let said: Vec<f64> = (0..120).filter_map(|i| state.overrun(&one, i, 0)).map(|a| a.strength).collect();
        assert_eq!(said, [1.0, 10.0, 100.0]);
    }
}
