//! FOCUS_LOSS: a run of tissue tiles out of focus, within one strip. Single tiles are folds and thick tissue. Where tiles lie
//! across the border of two strips, tiles of both end in turn, so each strip has a run of its own.
//!
//! Without a profile a run of five. With one, the run is as long as it must be for false alarms per slide to stay within
//! α: with tiles flagged in runs of geometric lengths (the next tile of a run is flagged with probability q), a slide of
//! N tiles has about N·f·q^(L−1) runs of L or more, f the rate at which runs begin. q and f are those of the runs that
//! have ended on this slide, begun with the weight of ten tiles at q = 0.5, so that neither a slide whose tissue is
//! patchy nor one without a single blurry tile changes the level.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::TileResult;
use coverslip_profile::Check;

use super::super::rules::{Calibrated, FOCUS_RUN, SHORTEST_FOCUS_RUN};
use super::finding::{Finding, Known, Since, tile_box};
use super::scene::Scene;
use crate::tiles::grid::Rect;

/// Strips whose tiles end among each other's. A tile that is left over from an earlier one begins it anew.
const OPEN_STRIPS: usize = 4;
const LATEST: usize = OPEN_STRIPS - 1;

pub(super) struct FocusRule {
    level: Option<Level>,
    /// The strips that tiles came from, the latest at [`LATEST`].
    strips: [Strip; OPEN_STRIPS],
    known: Known,
    tiles: u64,
    /// Runs that have ended, and their tiles.
    ended: (u64, u64),
}

/// What calibrates it.
struct Level {
    /// False alarms per slide.
    alpha: f64,
    /// Of a tile.
    tile: f64,
    /// Tiles that the slide can have.
    tiles: f64,
}

#[derive(Default)]
struct Strip {
    /// None: no strip yet.
    id: Option<u64>,
    run: Option<Run>,
}

struct Run {
    tiles: u64,
    area: Rect,
    since: Since,
}

impl FocusRule {
    pub(super) fn new(scene: &Scene<'_>) -> FocusRule {
        let level = |known: &Calibrated| {
            let tile = known.level(Check::OutOfFocus)?;
            Some(Level { alpha: known.alpha, tile, tiles: scene.max_tiles as f64 })
        };
        FocusRule {
            level: scene.calibrated.and_then(level),
            strips: Default::default(),
            known: Known::default(),
            tiles: 0,
            ended: (0, 0),
        }
    }

    pub(super) fn observe(&mut self, record: &TileResult) -> Option<Finding> {
        let unjudged = record.flags_checked & abi::FLAG_OUT_OF_FOCUS == 0;
        let blurry = record.flags_raised & abi::FLAG_OUT_OF_FOCUS != 0;
        if self.level.is_some() && unjudged && !blurry {
            return None; // too little tissue to judge: neither sharp nor blurry
        }
        self.tiles += 1;
        self.meet(record.group_id);
        if !blurry {
            let run = self.strips[LATEST].run.take();
            self.end(run);
            return None;
        }
        let needed = self.needed();
        let area = tile_box(record);
        let run = self.strips[LATEST].run.get_or_insert(Run { tiles: 0, area, since: Since::of(record) });
        run.tiles += 1;
        run.area = run.area.union(&area);
        if run.tiles < needed || !self.known.is_new(&run.area) {
            return None;
        }
        Some(Finding {
            code: abi::ALERT_FOCUS_LOSS,
            calibrated: self.level.is_some(),
            area: Some(run.area),
            since: run.since,
            strength: run.tiles as f64,
            threshold: needed as f64,
        })
    }

    /// A tile of a strip, which is the latest now. A new one takes the place of that which had none for longest, whose run
    /// has ended.
    fn meet(&mut self, id: u64) {
        let known = self.strips.iter().position(|strip| strip.id == Some(id));
        if known.is_none() {
            let oldest = std::mem::replace(&mut self.strips[0], Strip { id: Some(id), run: None });
            self.end(oldest.run);
        }
        self.strips[known.unwrap_or(0)..].rotate_left(1);
    }

    fn end(&mut self, run: Option<Run>) {
        if let Some(run) = run {
            self.ended = (self.ended.0 + 1, self.ended.1 + run.tiles);
        }
    }

    /// Tiles that a run needs now.
    fn needed(&self) -> u64 {
        let Some(level) = &self.level else { return FOCUS_RUN };
        let (runs, blurry) = (self.ended.0 as f64, self.ended.1 as f64);
        let q = ((blurry - runs + 5.0) / (blurry + 10.0)).clamp(0.05, 0.95);
        let starts = level.tile.max((runs + 1.0) / (self.tiles as f64 + 1.0 / level.tile));
        let length = 1.0 + ((level.alpha / (level.tiles * starts)).ln() / q.ln()).max(0.0);
        (length.ceil() as u64).max(SHORTEST_FOCUS_RUN)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::tile;
    use super::*;

    fn rule(level: Option<Level>) -> FocusRule {
        FocusRule { level, strips: Default::default(), known: Known::default(), tiles: 0, ended: (0, 0) }
    }

    fn level() -> Option<Level> {
        Some(Level { alpha: 0.01, tile: 0.01, tiles: 10_000.0 })
    }

    fn of(sequence: u64, column: i64, blurry: bool) -> TileResult {
        let flags_raised = if blurry { abi::FLAG_OUT_OF_FOCUS } else { 0 };
        TileResult { flags_raised, flags_checked: abi::FLAG_OUT_OF_FOCUS, ..tile(sequence, column) }
    }

    fn found(rule: &mut FocusRule, tiles: impl IntoIterator<Item = TileResult>) -> Vec<Finding> {
        tiles.into_iter().filter_map(|t| rule.observe(&t)).collect()
    }

    #[test]
    fn a_run_is_one_alert_with_its_box_and_its_beginning() {
        let mut rule = rule(None);
        let alerts = found(&mut rule, (0..20).map(|i| of(i, i as i64, (3..12).contains(&i))));
        assert_eq!(alerts.len(), 1);
        let a = &alerts[0];
        assert_eq!((a.code, a.since, a.calibrated), (abi::ALERT_FOCUS_LOSS, Since { sequence: 3, frame: 53 }, false));
        assert_eq!(a.area, Some(Rect { x0: 300, y0: 0, x1: 800, y1: 100 }));
        // The next row's run touches that box; one far away does not.
        assert!(found(&mut rule, (20..30).map(|i| of(i, 4, true))).is_empty());
        found(&mut rule, [of(30, 0, false)]);
        assert_eq!(found(&mut rule, (31..40).map(|i| of(i, 90, true))).len(), 1);
    }

    #[test]
    fn scattered_blurry_tiles_are_no_alert_and_a_strip_ends_a_run() {
        assert!(found(&mut rule(None), (0..100).map(|i| of(i, i as i64, i % 5 != 0))).is_empty());
        let strips = (0..100).map(|i| TileResult { group_id: i / 4, ..of(i, i as i64, true) });
        assert!(found(&mut rule(None), strips).is_empty());
    }

    #[test]
    fn tiles_of_two_strips_that_end_in_turn_leave_each_its_run() {
        let of_strip = |i: u64, blurry| TileResult { group_id: 1 + i % 2, ..of(i, (i / 2) as i64, blurry) };
        // One strip is blurred, and the other sharp.
        let found = found(&mut rule(None), (0..20).map(|i| of_strip(i, i % 2 == 0)));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].strength, found[0].since.sequence), (FOCUS_RUN as f64, 0));
    }

    #[test]
    fn a_strip_that_is_over_counts_its_run() {
        let mut rule = rule(None);
        let strips = 3 * OPEN_STRIPS as u64;
        found(&mut rule, (0..2 * strips).map(|i| TileResult { group_id: i / 2, ..of(i, i as i64, true) }));
        let over = strips - OPEN_STRIPS as u64;
        assert_eq!(rule.ended, (over, 2 * over));
    }

    #[test]
    fn patchy_tissue_asks_for_longer_runs() {
        let (mut clean, mut patchy) = (rule(level()), rule(level()));
        found(&mut clean, (0..2000).map(|i| of(i, i as i64, false)));
        found(&mut patchy, (0..2000).map(|i| of(i, i as i64, i % 100 < 5)));
        assert!(clean.needed() < 18 && patchy.needed() > 30, "{} {}", clean.needed(), patchy.needed());
        let late: Vec<Finding> = found(&mut clean, (2000..2040).map(|i| of(i, i as i64, true)));
        assert_eq!(late.len(), 1);
        assert!(late[0].calibrated && late[0].strength < 18.0 && late[0].since.sequence == 2000);
    }

    #[test]
    fn tiles_without_enough_tissue_neither_end_a_run_nor_prolong_it() {
        let mut rule = rule(level());
        let needed = rule.needed();
        let blank = TileResult { flags_checked: 0, ..tile(1, 1) };
        let tiles = (0..needed).flat_map(|i| [of(2 * i, i as i64, true), blank]);
        assert_eq!(found(&mut rule, tiles).len(), 1);
    }
}
