//! How a scanner cuts a slide into frames.

use coverslip_slides::Rect;

/// Most frames of a slide: a plane of 250,000 px each way in tiles of 128 px. Each takes 32 bytes before the first is
/// captured.
const MOST_FRAMES: u64 = 4 << 20;

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
        let frame_height = frame_height.min(height);
        let overlap = |side: u32| if layout == Layout::Fields { side / 10 } else { 0 };
        let across = Starts::new(width, frame_width, overlap(frame_width));
        let down = Starts::new(height, frame_height, overlap(frame_height));
        let count = u64::from(across.count) * u64::from(down.count);
        if count > MOST_FRAMES {
            return Err(format!(
                "expected a slide of at most {MOST_FRAMES} frames, found {width} x {height} px, which is {count} of \
                 {frame_width} x {frame_height} px; take larger frames, or cut the slide into parts"
            ));
        }
        let (columns, rows): (Vec<u32>, Vec<u32>) = (across.collect(), down.collect());
        let mut frames = Vec::new();
        let no_memory =
            |_| format!("no memory for the {count} frames of {width} x {height} px; cut the slide into parts");
        frames.try_reserve_exact(count as usize).map_err(no_memory)?;
        let mut bottom = 0;
        for (row, &y) in rows.iter().enumerate() {
            let frame_height = frame_height.min(height - y);
            let fresh_rows = y + frame_height - bottom;
            bottom = y + frame_height;
            let mut right = 0;
            let mut line: Vec<Frame> = Vec::with_capacity(columns.len());
            for &x in &columns {
                let frame_width = frame_width.min(width - x);
                let fresh = u64::from(x + frame_width - right) * u64::from(fresh_rows);
                right = x + frame_width;
                let rect = Rect { x, y, width: frame_width, height: frame_height };
                line.push(Frame { rect, group: row as u64 + 1, fresh });
            }
            if layout == Layout::Fields && row % 2 == 1 {
                line.reverse();
            }
            frames.extend(line);
        }
        Ok(Frames { list: frames, width: frame_width, height: frame_height })
    }
}

/// Where frames begin so that they cover an extent, each with some pixels of the one before.
struct Starts {
    count: u32,
    step: u32,
}

impl Starts {
    fn new(extent: u32, side: u32, overlap: u32) -> Starts {
        let step = (side - overlap).max(1);
        Starts { count: (extent - overlap.min(extent)).div_ceil(step).max(1), step }
    }

    fn collect(&self) -> Vec<u32> {
        (0..self.count).map(|index| index * self.step).collect()
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
