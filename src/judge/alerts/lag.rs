//! LAGGING: results come later than frames are captured. Only where the host says when frames were captured: a file is
//! played as fast as results come.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::TileResult;

use super::super::rules::LAGGING_ABOVE_NS;
use super::finding::{Finding, Since};

/// How many tiles that mean looks back (an exponential mean of this length).
const TILES: f64 = 32.0;

#[derive(Default)]
pub(super) struct LagRule {
    mean_ns: f64,
    lagging: bool,
}

impl LagRule {
    pub(super) fn observe(&mut self, record: &TileResult) -> Option<Finding> {
        self.mean_ns += (record.latency_ns as f64 - self.mean_ns) / TILES;
        let limit = LAGGING_ABOVE_NS;
        if self.lagging {
            // Half the limit ends it, so that it is not said again and again.
            self.lagging = self.mean_ns > limit / 2.0;
            return None;
        }
        self.lagging = self.mean_ns > limit;
        self.lagging.then(|| Finding {
            code: abi::ALERT_LAGGING,
            calibrated: false,
            area: None,
            since: Since::of(record),
            strength: self.mean_ns,
            threshold: limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::tile;
    use super::*;

    #[test]
    fn lagging_is_said_once_until_it_has_ended() {
        let of = |latency_ns| TileResult { latency_ns, ..tile(0, 0) };
        let mut rule = LagRule::default();
        assert_eq!((0..100).filter_map(|_| rule.observe(&of(5_000_000_000))).count(), 1);
        assert_eq!((0..200).filter_map(|_| rule.observe(&of(1_000_000))).count(), 0);
        assert_eq!((0..100).filter_map(|_| rule.observe(&of(5_000_000_000))).count(), 1);
    }
}
