//! The slide's grid: places of tiles, boxes in the acquisition plane.

use coverslip_base::error::{Result, error};

/// Coordinates beyond this are a defect of the host, not a slide (at 0.1 µm/px it is 1.7 km).
pub(crate) const COORDINATE_LIMIT: i64 = 1 << 34;
/// The narrowest and the widest tile, in pixels of the acquisition plane.
pub(crate) const TILE_PIXELS: std::ops::RangeInclusive<u32> = 16..=8192;

/// A half-open box: `x0 <= x < x1`, `y0 <= y < y1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) x0: i64,
    pub(crate) y0: i64,
    pub(crate) x1: i64,
    pub(crate) y1: i64,
}

impl Rect {
    /// The box of `width` × `height` pixels at (`x`, `y`), within [`COORDINATE_LIMIT`].
    pub(crate) fn checked(x: i64, y: i64, width: u64, height: u64) -> Result<Rect> {
        let limit = COORDINATE_LIMIT;
        let fits = |start: i64, length: u64| {
            (-limit..=limit).contains(&start) && length <= limit as u64 && start + length as i64 <= limit
        };
        if fits(x, width) && fits(y, height) {
            return Ok(Rect { x0: x, y0: y, x1: x + width as i64, y1: y + height as i64 });
        }
        Err(error!(
            INVALID_ARGUMENT,
            "expected a box within ±{limit} pixels, found {width} x {height} at ({x}, {y}): check the stage coordinates"
        ))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.x0 >= self.x1 || self.y0 >= self.y1
    }

    pub(crate) fn area(&self) -> u64 {
        if self.is_empty() { 0 } else { (self.x1 - self.x0) as u64 * (self.y1 - self.y0) as u64 }
    }

    pub(crate) fn intersection(&self, other: &Rect) -> Rect {
        Rect {
            x0: self.x0.max(other.x0),
            y0: self.y0.max(other.y0),
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
        }
    }

    /// The smallest box around both.
    pub(crate) fn union(&self, other: &Rect) -> Rect {
        Rect {
            x0: self.x0.min(other.x0),
            y0: self.y0.min(other.y0),
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
        }
    }
}

/// One tile in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) column: i32,
    pub(crate) row: i32,
    pub(crate) pass: u16,
}

/// The tiles of a slide: their size, where tile (0, 0) begins, and how far the slide goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) origin: (i64, i64),
    pub(crate) tile_width: u32,
    pub(crate) tile_height: u32,
    /// None: unknown, the slide has no edge.
    pub(crate) extent: Option<Rect>,
}

/// A range of columns and rows, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) columns: (i32, i32),
    pub(crate) rows: (i32, i32),
}

impl Span {
    /// Every (column, row), row by row.
    pub(crate) fn places(self) -> impl Iterator<Item = (i32, i32)> {
        (self.rows.0..=self.rows.1).flat_map(move |row| (self.columns.0..=self.columns.1).map(move |c| (c, row)))
    }

    pub(crate) fn count(self) -> u64 {
        let length = |(a, b): (i32, i32)| (i64::from(b) - i64::from(a) + 1) as u64;
        length(self.columns) * length(self.rows)
    }
}

impl Grid {
    /// The tiles that a box touches; the box is not empty and within [`COORDINATE_LIMIT`].
    pub(crate) fn span(&self, area: &Rect) -> Span {
        // TILE_PIXELS bounds the quotient far below i32::MAX.
        let column = |x: i64| (x - self.origin.0).div_euclid(i64::from(self.tile_width)) as i32;
        let row = |y: i64| (y - self.origin.1).div_euclid(i64::from(self.tile_height)) as i32;
        Span { columns: (column(area.x0), column(area.x1 - 1)), rows: (row(area.y0), row(area.y1 - 1)) }
    }

    /// The whole square of a tile, including what lies beyond the slide's edge.
    pub(crate) fn tile(&self, column: i32, row: i32) -> Rect {
        let x0 = self.origin.0 + i64::from(column) * i64::from(self.tile_width);
        let y0 = self.origin.1 + i64::from(row) * i64::from(self.tile_height);
        Rect { x0, y0, x1: x0 + i64::from(self.tile_width), y1: y0 + i64::from(self.tile_height) }
    }

    /// The part of a box that lies on the slide.
    pub(crate) fn clip(&self, area: &Rect) -> Rect {
        self.extent.map_or(*area, |extent| extent.intersection(area))
    }

    /// How many tiles a box of this size can touch, wherever it lies.
    pub(crate) fn most_tiles(&self, width: u64, height: u64) -> u64 {
        let along = |length: u64, tile: u32, slide: Option<u64>| {
            // An unaligned box of n tiles' length touches n + 1.
            let most = length.div_ceil(u64::from(tile)) + 1;
            slide.map_or(most, |slide| most.min(slide.div_ceil(u64::from(tile))))
        };
        let columns = along(width, self.tile_width, self.extent.map(|e| (e.x1 - e.x0) as u64));
        let rows = along(height, self.tile_height, self.extent.map(|e| (e.y1 - e.y0) as u64));
        columns.saturating_mul(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { origin: (-5, 0), tile_width: 16, tile_height: 20, extent: None };

    #[test]
    fn negative_coordinates_round_down() {
        let span = GRID.span(&Rect { x0: -6, y0: -1, x1: 12, y1: 20 });
        assert_eq!(span, Span { columns: (-1, 1), rows: (-1, 0) });
        assert_eq!(span.count(), 6);
        assert_eq!(GRID.tile(-1, -1), Rect { x0: -21, y0: -20, x1: -5, y1: 0 });
    }

    #[test]
    fn most_tiles_covers_every_alignment() {
        for x in 0..16 {
            let span = GRID.span(&Rect { x0: x, y0: 0, x1: x + 40, y1: 20 });
            assert!(span.count() <= GRID.most_tiles(40, 20));
        }
    }

    #[test]
    fn boxes_out_of_range_are_refused() {
        assert!(Rect::checked(i64::MAX, 0, 1, 1).is_err());
        assert!(Rect::checked(0, i64::MIN, 1, 1).is_err());
        assert!(Rect::checked(0, 0, u64::MAX, 1).is_err());
        assert!(Rect::checked(-COORDINATE_LIMIT, 0, 7, 7).is_ok());
    }
}
