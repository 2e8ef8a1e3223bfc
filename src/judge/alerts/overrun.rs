//! OVERRUN: frames were refused. Raised for the first one and each time their number has grown tenfold.

use coverslip_plugin_abi as abi;

use super::finding::{Finding, Since};
use crate::tiles::assembler::Overrun;
use crate::tiles::grid::Rect;

#[derive(Default)]
pub(super) struct OverrunRule {
    refused: u64,
    area: Option<Rect>,
}

impl OverrunRule {
    pub(super) fn observe(&mut self, overrun: &Overrun, sequence: u64) -> Option<Finding> {
        let before = self.refused;
        self.refused += overrun.frames;
        let area = self.area.map_or(overrun.area, |known| known.union(&overrun.area));
        self.area = Some(area);
        let decade = |n: u64| n.checked_ilog10().map_or(-1, |d| d as i32);
        (decade(self.refused) > decade(before)).then_some(Finding {
            code: abi::ALERT_OVERRUN,
            calibrated: false,
            area: Some(area),
            since: Since { sequence, frame: overrun.first.id },
            strength: self.refused as f64,
            threshold: 0.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::frame::FrameTag;

    #[test]
    fn refused_frames_are_said_by_decades() {
        let mut rule = OverrunRule::default();
        let area = Rect { x0: 0, y0: 0, x1: 9, y1: 9 };
        let one = Overrun { area, first: FrameTag { id: 7, ..Default::default() }, frames: 1 };
        let said: Vec<f64> = (0..120).filter_map(|i| rule.observe(&one, i)).map(|a| a.strength).collect();
        assert_eq!(said, [1.0, 10.0, 100.0]);
    }
}
