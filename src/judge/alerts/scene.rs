//! What the alerts need to know of a slide.

use super::super::rules::Calibrated;
use crate::tiles::grid::Grid;

pub(crate) struct Scene<'a> {
    /// None: general rules alone.
    pub(crate) calibrated: Option<&'a Calibrated>,
    pub(crate) grid: &'a Grid,
    pub(crate) max_tiles: usize,
    /// A tile's side, mm.
    pub(crate) tile_mm: f64,
}
