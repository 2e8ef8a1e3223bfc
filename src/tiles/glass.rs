//! The slide's glass, as departing tiles show it: the white that light is judged against in a tile that shows none.
//!
//! Tiles depart in the order that the host's frames decide, on the thread that submits them, so that what a tile is judged
//! against depends on the frames alone, never on which lane was quicker. (Where partial tiles time out or make room,
//! it depends on those times too.) A few blocks of a tile are looked at: a thirtieth of its pixels or less.

use super::slot::{Slot, White};

/// Blocks across and down that are looked at, and their side in pixels.
const ACROSS: usize = 6;
const BLOCK: usize = 8;
/// Blocks that must be glass for a tile to show some.
const FEWEST: usize = 3;
/// Glass is neutral: its darkest channel is at least this share of its brightest, ...
const NEUTRAL: f32 = 0.912;
/// ... and even: its blocks are within this share of the brightest.
const EVEN: f32 = 0.95;
/// What is darker (0..255) is no glass that light could be judged against.
const DARKEST: f32 = 128.0;
/// Glass that is darker than this share of what was seen is something else: ink, dirt, or a lamp that fails.
const LIKE_BEFORE: f32 = 0.8;
/// How much a tile's glass counts among that of the tiles before it.
const SHARE: f32 = 0.125;

/// What is known of it.
pub(crate) struct Glass {
    /// By the host; then what tiles show does not count.
    stated: bool,
    white: Option<White>,
}

impl Glass {
    /// `stated`: by the host.
    pub(crate) fn new(stated: Option<White>) -> Glass {
        Glass { stated: stated.is_some(), white: stated }
    }

    pub(crate) fn white(&self) -> Option<White> {
        self.white
    }

    /// Looks at a tile that departs.
    pub(super) fn look(&mut self, tile: &Slot) {
        // What never arrived is not white yet, and grey is not neutral glass but any grey.
        if self.stated || tile.missing() > 0 || tile.is_grey {
            return;
        }
        let (width, height, pixels) = tile.native();
        self.add(shown(pixels, width, height));
    }

    fn add(&mut self, shown: Option<White>) {
        let Some(shown) = shown else { return };
        self.white = match self.white {
            // The first, or glass beside which what was taken for it was none.
            None => Some(shown),
            Some(known) if brightest(known) < LIKE_BEFORE * brightest(shown) => Some(shown),
            Some(known) if brightest(shown) < LIKE_BEFORE * brightest(known) => Some(known),
            Some(known) => Some(std::array::from_fn(|i| known[i] + SHARE * (shown[i] - known[i]))),
        };
    }
}

fn brightest(white: White) -> f32 {
    white[0].max(white[1]).max(white[2])
}

/// The glass that a tile of packed RGB shows: the mean of its brightest neutral blocks.
fn shown(pixels: &[u8], width: usize, height: usize) -> Option<White> {
    if width < BLOCK || height < BLOCK {
        return None;
    }
    let mut neutral = [[0.0f32; 3]; ACROSS * ACROSS];
    let mut count = 0;
    for place in 0..ACROSS * ACROSS {
        let along = |index: usize, side: usize| index * (side - BLOCK) / (ACROSS - 1);
        let mean = block(pixels, width, along(place % ACROSS, width), along(place / ACROSS, height));
        let darkest = mean[0].min(mean[1]).min(mean[2]);
        if darkest >= NEUTRAL * brightest(mean) && brightest(mean) >= DARKEST {
            neutral[count] = mean;
            count += 1;
        }
    }
    let most = neutral[..count].iter().fold(0.0f32, |most, &mean| most.max(brightest(mean)));
    let (mut sum, mut even) = ([0.0f32; 3], 0usize);
    for mean in neutral[..count].iter().filter(|&&mean| brightest(mean) >= EVEN * most) {
        (0..3).for_each(|channel| sum[channel] += mean[channel]);
        even += 1;
    }
    (even >= FEWEST).then(|| sum.map(|sum| sum / even as f32))
}

/// The mean of a block of pixels.
fn block(pixels: &[u8], width: usize, x: usize, y: usize) -> White {
    // At most 8 bytes in each: no sum overflows.
    let mut columns = [0u16; 3 * BLOCK];
    for row in y..y + BLOCK {
        let bytes = &pixels[3 * (row * width + x)..][..3 * BLOCK];
        columns.iter_mut().zip(bytes).for_each(|(sum, &byte)| *sum += u16::from(byte));
    }
    let mut sum = [0u32; 3];
    columns.iter().enumerate().for_each(|(at, &column)| sum[at % 3] += u32::from(column));
    sum.map(|sum| sum as f32 / (BLOCK * BLOCK) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 224;

    fn tile(pixel: impl Fn(usize, usize) -> [u8; 3]) -> Option<White> {
        let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| pixel(i % SIDE, i / SIDE)).collect();
        shown(&rgb, SIDE, SIDE)
    }

    #[test]
    fn a_tile_shows_glass_where_it_has_some() {
        assert_eq!(tile(|_, _| [243, 241, 240]), Some([243.0, 241.0, 240.0]));
        assert_eq!(tile(|x, _| if x < 60 { [240, 238, 236] } else { [150, 90, 140] }), Some([240.0, 238.0, 236.0]));
        for dense in [[150, 90, 140], [25, 25, 25], [120, 120, 120], [230, 200, 225]] {
            assert_eq!(tile(|_, _| dense), None, "{dense:?}");
        }
        assert_eq!(shown(&[255; 12], 2, 2), None);
    }

    #[test]
    fn glass_is_remembered_and_neither_dirt_nor_a_failing_lamp_is_taken_for_it() {
        let mut glass = Glass::new(None);
        assert_eq!(glass.white(), None);
        let mut add = |level: Option<f32>| {
            glass.add(level.map(|level| [level; 3]));
            glass.white().map(|white| white[0])
        };
        assert_eq!(add(Some(150.0)), Some(150.0), "dirt at first");
        assert_eq!(add(Some(240.0)), Some(240.0));
        assert_eq!((add(None), add(Some(140.0))), (Some(240.0), Some(240.0)));
        assert_eq!(add(Some(232.0)), Some(239.0));
        let mut stated = Glass::new(Some([200.0; 3]));
        stated.add(None);
        assert_eq!(stated.white(), Some([200.0; 3]));
    }
}
