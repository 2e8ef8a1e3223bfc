//! How a scanner cuts a slide into frames.

use coverslip_slides::Rect;

/// Most frames of a slide: a plane of 250,000 px each way in tiles of 128 px. Each takes 32 bytes before the first is
/// captured.
const MOST_FRAMES: u64 = 4 << 20;
/// Widest and highest frame that is cut of a source's own tiles, px. Memory is taken for several frames at a time, and a
/// small file may state tiles of any size.
const MOST_SIDE: u32 = 4096;

/// The kinds of frames.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A line of tiles from left to right, then the next line.
    Tiles,
    /// Camera fields with 10 % overlap, every other line backwards.
    Fields,
    /// Line-scan strips as wide as the slide.
    Strips,
}

impl Layout {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Layout::Tiles => "tiles",
            Layout::Fields => "fields",
            Layout::Strips => "strips",
        }
    }

    fn default_size(self) -> u32 {
        match self {
            Layout::Tiles => 512,
            Layout::Fields => 2048,
            Layout::Strips => 128,
        }
    }
}

/// A frame to be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) rect: Rect,
    /// The strip or line, from 1.
    pub(super) group: u64,
    /// Pixels that no earlier frame covered.
    pub(super) fresh: u64,
}

impl Frame {
    /// The part of it that was scanned. Of overlapping fields, a share of the fresh pixels goes with each part.
    pub(super) fn part(&self, rect: Rect) -> Frame {
        Frame { rect, fresh: self.fresh * rect.pixels() as u64 / (self.rect.pixels() as u64).max(1), ..*self }
    }
}

/// The frames of a slide, in the order in which they are captured.
#[derive(Debug, Clone)]
pub(super) struct Frames {
    pub(super) list: Vec<Frame>,
    /// Of the largest frame, px.
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Frames {
    /// The frames that cover `width` x `height` pixels. `size` is a tile's or field's width and height, or a strip's
    /// height.
    ///
    /// # Errors
    /// Where they are more than any scanner's: a small file may state any size.
    pub(super) fn new(layout: Layout, size: Option<(u32, u32)>, width: u32, height: u32) -> Result<Frames, String> {
        let (frame_width, frame_height) = size.unwrap_or((layout.default_size(), layout.default_size()));
        let frame_width = if layout == Layout::Strips { width } else { frame_width.min(width) };
        let overlap = |side: u32| if layout == Layout::Fields { side / 10 } else { 0 };
        let spans = |extent: u32, side: u32| Spans::overlapping(extent, side, overlap(side));
        Frames::at(layout, &spans(width, frame_width), &spans(height, frame_height.min(height)))
    }

    /// The frames of a source that has tiles of this size of its own. A tile that is larger than a frame is cut into equal
    /// parts, none of which has pixels of two tiles: such a source keeps few tiles in memory, and each part that it is asked
    /// for of another tile is decoded for it.
    ///
    /// # Errors
    /// As [`Frames::new`].
    pub(super) fn of_tiles(layout: Layout, tile: (u32, u32), width: u32, height: u32) -> Result<Frames, String> {
        match layout {
            Layout::Tiles => Frames::at(layout, &Spans::in_tiles(width, tile.0), &Spans::in_tiles(height, tile.1)),
            Layout::Fields => Frames::new(layout, Some((tile.0.min(MOST_SIDE), tile.1.min(MOST_SIDE))), width, height),
            Layout::Strips => {
                let most = (MOST_SIDE * MOST_SIDE / width.max(1)).max(layout.default_size());
                Frames::new(layout, Some((width, tile.1.min(most))), width, height)
            }
        }
    }

    fn at(layout: Layout, across: &Spans, down: &Spans) -> Result<Frames, String> {
        let count = across.count() * down.count();
        let (width, height) = (across.extent, down.extent);
        if count > MOST_FRAMES {
            return Err(format!(
                "expected a slide of at most {MOST_FRAMES} frames, found {width} x {height} px, which is {count} of \
                 {} x {} px; take larger frames, or cut the slide into parts",
                across.side, down.side
            ));
        }
        let (columns, rows) = (across.list(), down.list());
        let mut frames = Vec::new();
        let no_memory =
            |_| format!("no memory for the {count} frames of {width} x {height} px; cut the slide into parts");
        frames.try_reserve_exact(count as usize).map_err(no_memory)?;
        let mut bottom = 0;
        for (row, &(y, height)) in rows.iter().enumerate() {
            let fresh_rows = y + height - bottom;
            bottom = y + height;
            let mut right = 0;
            let mut line: Vec<Frame> = Vec::with_capacity(columns.len());
            for &(x, width) in &columns {
                let fresh = u64::from(x + width - right) * u64::from(fresh_rows);
                right = x + width;
                line.push(Frame { rect: Rect { x, y, width, height }, group: row as u64 + 1, fresh });
            }
            if layout == Layout::Fields && row % 2 == 1 {
                line.reverse();
            }
            frames.extend(line);
        }
        Ok(Frames { list: frames, width: across.side, height: down.side })
    }
}

/// Where frames lie along an axis so that they cover it.
struct Spans {
    extent: u32,
    /// Pixels after which they begin anew.
    cell: u32,
    /// In a cell.
    per_cell: u32,
    /// Of the longest, px.
    side: u32,
    step: u32,
}

impl Spans {
    /// Each with some pixels of the one before.
    fn overlapping(extent: u32, side: u32, overlap: u32) -> Spans {
        let step = (side - overlap).max(1);
        let count = (extent - overlap.min(extent)).div_ceil(step).max(1);
        Spans { extent, cell: extent.max(1), per_cell: count, side, step }
    }

    /// Whole tiles, or equal parts of tiles that are too long.
    fn in_tiles(extent: u32, tile: u32) -> Spans {
        let tile = tile.clamp(1, extent.max(1));
        let side = tile.div_ceil(tile.div_ceil(MOST_SIDE));
        Spans { extent, cell: tile, per_cell: tile.div_ceil(side), side, step: side }
    }

    fn count(&self) -> u64 {
        let (cells, rest) = (self.extent / self.cell, self.extent % self.cell);
        u64::from(cells) * u64::from(self.per_cell) + u64::from(rest.div_ceil(self.step))
    }

    /// Starts and lengths. The last of a cell is shorter where the parts do not fill it.
    fn list(&self) -> Vec<(u32, u32)> {
        let span = |index: u32| {
            let (cell, within) = (index / self.per_cell * self.cell, index % self.per_cell * self.step);
            let end = (self.cell - within).min(self.extent - cell - within);
            (cell + within, self.side.min(end))
        };
        (0..self.count() as u32).map(span).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_covers_every_pixel_once_afresh() {
        for layout in [Layout::Tiles, Layout::Fields, Layout::Strips] {
            for (width, height) in [(2220, 2967), (100, 5000), (513, 512), (1, 1)] {
                for size in [None, Some((240, 240)), Some((1024, 1024))] {
                    let frames = Frames::new(layout, size, width, height).unwrap();
                    let mut covered = vec![false; (width * height) as usize];
                    for frame in &frames.list {
                        let rect = frame.rect;
                        assert!(rect.width <= frames.width && rect.height <= frames.height);
                        assert!(rect.x + rect.width <= width && rect.y + rect.height <= height);
                        for y in rect.y..rect.y + rect.height {
                            covered[(y * width + rect.x) as usize..][..rect.width as usize].fill(true);
                        }
                    }
                    assert!(covered.iter().all(|&c| c), "{layout:?} {width} x {height}");
                    let fresh: u64 = frames.list.iter().map(|frame| frame.fresh).sum();
                    assert_eq!(fresh, u64::from(width) * u64::from(height));
                }
            }
        }
    }

    #[test]
    fn tiles_that_are_larger_than_a_frame_are_cut_and_no_frame_has_pixels_of_two() {
        for (tile, sides) in
            [(512, (512, 1)), (4096, (4096, 1)), (4097, (2049, 2)), (15_900, (3975, 4)), (15_901, (3976, 4))]
        {
            let (width, height) = (3 * tile, 2 * tile);
            let frames = Frames::of_tiles(Layout::Tiles, (tile, tile), width, height).unwrap();
            assert_eq!((frames.width, frames.height), (sides.0, sides.0));
            assert_eq!(frames.list.len(), 6 * sides.1 * sides.1, "{tile}");
            let fresh: u64 = frames.list.iter().map(|frame| frame.fresh).sum();
            assert_eq!(fresh, u64::from(width) * u64::from(height), "every pixel once");
            for Frame { rect, .. } in &frames.list {
                assert!(rect.width <= sides.0 && rect.height <= sides.0);
                assert_eq!(rect.x / tile, (rect.x + rect.width - 1) / tile, "{rect:?} of tiles of {tile}");
                assert_eq!(rect.y / tile, (rect.y + rect.height - 1) / tile, "{rect:?} of tiles of {tile}");
            }
        }
        let pixels = |layout| {
            let frames = Frames::of_tiles(layout, (15_900, 15_900), 47_700, 31_800).unwrap();
            u64::from(frames.width) * u64::from(frames.height)
        };
        for layout in [Layout::Tiles, Layout::Fields, Layout::Strips] {
            assert!(pixels(layout) <= u64::from(MOST_SIDE * MOST_SIDE), "{layout:?}");
        }
        let small = Frames::of_tiles(Layout::Strips, (240, 300), 720, 600).unwrap();
        assert_eq!((small.width, small.height), (720, 300));
    }

    #[test]
    fn fields_overlap_and_turn_round() {
        let frames = Frames::new(Layout::Fields, None, 5700, 3800).unwrap();
        let xs: Vec<u32> = frames.list.iter().map(|frame| frame.rect.x).collect();
        assert_eq!(&xs[..6], [0, 1844, 3688, 3688, 1844, 0]);
        assert_eq!(frames.list[3].rect.y, 1844);
        assert_eq!(frames.list[3].group, 2);
    }

    #[test]
    fn more_frames_than_any_scanners_are_refused_before_they_are_listed() {
        let refused = |layout, size, width, height| Frames::new(layout, size, width, height).unwrap_err();
        for said in [
            refused(Layout::Tiles, None, u32::MAX, u32::MAX),
            refused(Layout::Tiles, Some((1, 1)), u32::MAX, 1),
            refused(Layout::Fields, Some((16, 16)), 250_000, 250_000),
            refused(Layout::Strips, Some((1, 1)), 1, u32::MAX),
        ] {
            assert!(said.contains("at most 4194304 frames") && said.contains("cut the slide"), "{said}");
        }
        assert_eq!(Frames::new(Layout::Tiles, Some((128, 128)), 250_000, 250_000).unwrap().list.len(), 1954 * 1954);
    }
}
