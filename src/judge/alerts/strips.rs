//! BANDING: a strip with more banded tiles than chance leaves. Needs strip ids (`group_id`).
//!
//! With tiles flagged at level a, k or more of a strip's n happen with the binomial tail P(X ≥ k). Neighbours are alike,
//! so the tail is held against a ten-thousandth of α: at a = 1 % and 134 tiles a strip, 11 flagged ones.

use coverslip_numerics::binomial_tail;
use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::TileResult;

use super::super::rules::STRIP_STRICTER;
use super::finding::{Finding, Known, Since, tile_box};
use crate::tiles::grid::Rect;

/// Strips that are remembered, because a strip's last tiles come while the next ones begin.
const OPEN_STRIPS: usize = 8;

pub(super) struct StripRule {
    /// Of a tile.
    level: f64,
    alpha: f64,
    strips: [Strip; OPEN_STRIPS],
    next: usize,
    known: Known,
}

#[derive(Clone, Copy, Default)]
struct Strip {
    id: u64,
    checked: u64,
    raised: u64,
    since: Since,
    area: Option<Rect>,
    said: bool,
}

impl StripRule {
    pub(super) fn new(level: f64, alpha: f64) -> StripRule {
        StripRule { level, alpha, strips: [Strip::default(); OPEN_STRIPS], next: 0, known: Known::default() }
    }

    pub(super) fn observe(&mut self, record: &TileResult) -> Option<Finding> {
        if record.group_id == 0 || record.flags_calibrated & abi::FLAG_BANDING == 0 {
            return None;
        }
        let known = self.strips.iter().position(|strip| strip.id == record.group_id);
        let at = known.unwrap_or_else(|| {
            let at = self.next;
            self.next = (self.next + 1) % OPEN_STRIPS;
            self.strips[at] = Strip { id: record.group_id, ..Strip::default() };
            at
        });
        let strip = &mut self.strips[at];
        strip.checked += 1;
        if record.flags_raised & abi::FLAG_BANDING == 0 {
            return None;
        }
        let area = strip.area.map_or(tile_box(record), |area| area.union(&tile_box(record)));
        if strip.raised == 0 {
            strip.since = Since::of(record);
        }
        (strip.area, strip.raised) = (Some(area), strip.raised + 1);
        if strip.said || binomial_tail(strip.checked, strip.raised, self.level) > self.alpha / STRIP_STRICTER {
            return None;
        }
        strip.said = true;
        let (strength, since) = (strip.raised as f64 / strip.checked as f64, strip.since);
        self.known.is_new(&area).then_some(Finding {
            code: abi::ALERT_BANDING,
            calibrated: true,
            area: Some(area),
            since,
            strength,
            threshold: self.level,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::tile;
    use super::*;

    fn of(i: u64, strip: u64, raised: bool) -> TileResult {
        let flags_raised = if raised { abi::FLAG_BANDING } else { 0 };
        TileResult { group_id: strip, flags_calibrated: abi::FLAG_BANDING, flags_raised, ..tile(i, i as i64) }
    }

    #[test]
    fn a_banded_strip_is_said_once_with_its_box() {
        let mut rule = StripRule::new(0.01, 0.01);
        let one_in_fifty = (0..1000).filter_map(|i| rule.observe(&of(i, 1 + i / 100, i % 50 == 0))).count();
        assert_eq!(one_in_fifty, 0);
        let found: Vec<Finding> = (1000..1100).filter_map(|i| rule.observe(&of(i, 77, i >= 1040))).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].code, found[0].since.sequence), (abi::ALERT_BANDING, 1040));
        assert_eq!(found[0].area.map(|area| area.x0), Some(104_000));
        assert!(rule.observe(&of(0, 0, true)).is_none(), "no strip id");
    }
}
