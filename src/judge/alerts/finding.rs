//! What a rule has found, and where.

use coverslip_plugin_abi::TileResult;

use crate::tiles::grid::Rect;

/// What a rule has found, before it is numbered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Finding {
    /// `COVERSLIP_ALERT_*`.
    pub(super) code: i32,
    pub(super) calibrated: bool,
    /// None: the whole slide.
    pub(super) area: Option<Rect>,
    pub(super) since: Since,
    pub(super) strength: f64,
    pub(super) threshold: f64,
}

/// The first result that belongs to a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Since {
    pub(super) sequence: u64,
    pub(super) frame: u64,
}

impl Since {
    pub(super) fn of(record: &TileResult) -> Since {
        Since { sequence: record.sequence, frame: record.first_frame_id }
    }
}

pub(super) fn tile_box(record: &TileResult) -> Rect {
    let (width, height) = (i64::from(record.width), i64::from(record.height));
    Rect { x0: record.x, y0: record.y, x1: record.x + width, y1: record.y + height }
}

/// Boxes that an alert was given for. What touches one belongs to it and raises no second alert. After sixteen separate
/// places a rule is silent: the host knows, and alerts of other rules must not drown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known([Option<Rect>; 16]);

impl Known {
    /// Whether `area` is new; adds it.
    pub(super) fn is_new(&mut self, area: &Rect) -> bool {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A done tile of a row of tiles of 100 px.
    pub(in crate::judge::alerts) fn tile(sequence: u64, column: i64) -> TileResult {
        TileResult {
            sequence,
            column: column as i32,
            x: column * 100,
            width: 100,
            height: 100,
            status: coverslip_plugin_abi::TILE_DONE,
            first_frame_id: sequence + 50,
            scores: [f32::NAN; coverslip_plugin_abi::SCORE_COUNT],
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
}
