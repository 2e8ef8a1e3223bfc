//! LAGGING: results come later than frames are captured. Only where the host says when frames were captured: a file is
//! played as fast as results come.
//!
//! One stall is not lagging. A computer that sleeps, a process that is stopped or a clock that jumps makes every tile late
//! that is on its way, be it by an hour, and none of those that come after. So a tile counts for twice the limit at
//! most, and the alert waits until tiles have been late for a while of the capture, by the times at which their last
//! pixels came.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::TileResult;

use super::super::rules::{LAGGING_ABOVE_NS, LAGGING_FOR_NS};
use super::finding::{Finding, Since};

/// How many tiles that mean looks back (an exponential mean of this length).
const TILES: f64 = 32.0;

#[derive(Default)]
pub(super) struct LagRule {
    mean_ns: f64,
    /// The same with no tile counted for more than twice the limit.
    bounded_ns: f64,
    /// The first tile of those that lag, and when its last pixel came.
    began: Option<(Since, i64)>,
    said: bool,
}

impl LagRule {
    /// `time_ns` is when the result came.
    pub(super) fn observe(&mut self, record: &TileResult, time_ns: i64) -> Option<Finding> {
        let (latency, limit) = (record.latency_ns as f64, LAGGING_ABOVE_NS);
        self.mean_ns += (latency - self.mean_ns) / TILES;
        self.bounded_ns += (latency.min(2.0 * limit) - self.bounded_ns) / TILES;
        // Half the limit ends it, so that it is not said again and again.
        if self.bounded_ns <= limit / 2.0 {
            (self.began, self.said) = (None, false);
        }
        // A tile that is not late itself says nothing, although those before it were.
        if self.said || self.bounded_ns <= limit || latency <= limit {
            return None;
        }
        let arrived = time_ns.saturating_sub_unsigned(record.latency_ns);
        let (since, first) = *self.began.get_or_insert((Since::of(record), arrived));
        self.said = arrived.saturating_sub(first) >= LAGGING_FOR_NS;
        self.said.then_some(Finding {
            code: abi::ALERT_LAGGING,
            calibrated: false,
            area: None,
            since,
            strength: self.mean_ns,
            threshold: limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::tile;
    use super::*;

    const MS: i64 = 1_000_000;

    /// Tiles that arrive 100 ms apart from `from` on, each with this latency. How often lagging is said.
    fn said(rule: &mut LagRule, from: i64, tiles: i64, latency: i64) -> usize {
        let of = |i: i64| {
            let record = TileResult { latency_ns: latency as u64, ..tile(0, 0) };
            (record, from + i * 100 * MS + latency)
        };
        (0..tiles).map(of).filter_map(|(record, time)| rule.observe(&record, time)).count()
    }

    #[test]
    fn lagging_is_said_once_until_it_has_ended() {
        let mut rule = LagRule::default();
        assert_eq!(said(&mut rule, 0, 100, 5000 * MS), 1);
        assert_eq!(said(&mut rule, 10_000 * MS, 200, MS), 0);
        assert_eq!(said(&mut rule, 30_000 * MS, 100, 5000 * MS), 1);
    }

    /// 200 tiles are on their way when the computer sleeps for an hour, within 2 s of the capture.
    #[test]
    fn one_stall_is_not_lagging() {
        let mut rule = LagRule::default();
        let hour = 3_600_000 * MS;
        assert_eq!(said(&mut rule, 0, 300, 100 * MS), 0);
        let stalled = |i: i64| TileResult { latency_ns: (hour - i * 5 * MS) as u64, ..tile(0, 0) };
        let begin = 30_000 * MS;
        let found = (0..200).filter(|&i| rule.observe(&stalled(i), begin + hour).is_some()).count();
        assert_eq!(found, 0, "while it wakes");
        assert_eq!(said(&mut rule, begin + hour, 300, 100 * MS), 0, "afterwards");
        assert_eq!(said(&mut rule, begin + hour + 30_000 * MS, 100, 3000 * MS), 1, "and it still hears of lagging");
    }

    #[test]
    fn a_clock_that_goes_back_is_no_lagging() {
        let mut rule = LagRule::default();
        assert_eq!(said(&mut rule, 3_600_000 * MS, 50, 100 * MS) + said(&mut rule, -500_000 * MS, 50, 0), 0);
        assert_eq!(said(&mut rule, i64::MIN + MS, 1, 5000 * MS), 0);
    }
}
