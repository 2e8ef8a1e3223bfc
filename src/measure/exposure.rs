//! Exposure: clipped pixels and the bright level of a tile, over all of its pixels, glass too.
//!
//! Measured before the background gate, so that overexposed tissue cannot pass as glass.

use coverslip_pixels::avx2;
use coverslip_profile::{Measurements, measurement as at};

use super::banding::BandingMeter;
use super::blocks::{Blocks, strips};

/// A channel at or above this level (0..255) is clipped. JPEG takes some of 255 to 254.
const CLIPPED_FROM: u8 = 254;
/// A pixel without a channel above this level (0..255) is black: a tenth of the range.
const BLACK_UP_TO: u8 = 25;
/// The share of the covered area that is brighter than the white point.
const BRIGHTER_THAN_WHITE: f64 = 0.01;

/// What the light of a tile was like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exposure {
    /// Share (0..1) of the covered pixels with any channel at or above [`CLIPPED_FROM`].
    pub(crate) over: f32,
    /// Share (0..1) of the covered pixels with all channels at or below [`BLACK_UP_TO`].
    pub(crate) under: f32,
    /// The robust bright level per channel, whole levels 0..255: the 99th percentile of block means.
    pub(crate) white_point: [f32; 3],
}

impl Exposure {
    /// Writes it into a tile's measurements.
    pub(crate) fn write(&self, m: &mut Measurements) {
        (m[at::CLIPPED], m[at::BLACK]) = (self.over, self.under);
        m[at::WHITE_POINT..][..3].copy_from_slice(&self.white_point);
    }

    /// Reads it back; None when it was not measured.
    pub(crate) fn read(m: &Measurements) -> Option<Exposure> {
        let white_point = [m[at::WHITE_POINT], m[at::WHITE_POINT + 1], m[at::WHITE_POINT + 2]];
        (!m[at::CLIPPED].is_nan()).then_some(Exposure { over: m[at::CLIPPED], under: m[at::BLACK], white_point })
    }
}

/// Measures a tile of packed RGB, of which `uncovered_pixels` never arrived and are white (255). Leaves the tile's
/// grid in `blocks` and its row and column sums in `banding`.
pub(crate) fn measure(
    rgb: &[u8],
    width: usize,
    height: usize,
    uncovered_pixels: usize,
    blocks: &mut Blocks,
    banding: &mut BandingMeter,
) -> Exposure {
    let mut counts = Counts::default();
    blocks.start(width);
    banding.start(width);
    avx2::run(Strips { rgb, size: [width, height], blocks, banding, counts: &mut counts });
    let covered = (width * height).saturating_sub(uncovered_pixels).max(1) as f32;
    Exposure {
        over: counts.clipped.saturating_sub(uncovered_pixels) as f32 / covered,
        under: counts.black as f32 / covered,
        white_point: white_point(blocks, uncovered_pixels),
    }
}

/// The one look at all pixels.
struct Strips<'t> {
    rgb: &'t [u8],
    size: [usize; 2],
    blocks: &'t mut Blocks,
    banding: &'t mut BandingMeter,
    counts: &'t mut Counts,
}

impl avx2::Task for Strips<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // By strips, so that the second look at a pixel finds it in the cache.
        for rows in strips(self.rgb, self.size[0], self.size[1]) {
            self.blocks.push(rows);
            self.banding.add(rows, self.blocks.columns());
            self.counts.add(rows);
        }
    }
}

/// Pixels at the ends of the range.
#[derive(Debug, Default)]
struct Counts {
    clipped: usize,
    black: usize,
}

/// Bytes looked at together: whole pixels and whole 16-byte vectors.
const LANES: usize = 48;
/// Bytes of AVX2's registers. Of more at a time the compiler keeps the extremes in memory, and each step waits for the one
/// before.
const REGISTER: usize = 32;

impl Counts {
    /// Counts in packed RGB.
    ///
    /// The brightest channel of the pixel at byte `j` is the greatest of bytes `j`, `j + 1`, `j + 2`: computed at every
    /// byte, which vectorises, and used at every third.
    #[inline(always)]
    fn add(&mut self, rgb: &[u8]) {
        // Most glass is between the ends: nothing to count.
        let (lowest, highest) = extremes(rgb);
        if lowest > BLACK_UP_TO && highest < CLIPPED_FROM {
            return;
        }
        // Two bytes are read beyond a block: the last pixels are counted one by one.
        let blocks = rgb.len().saturating_sub(2) / LANES;
        let mut at = 0;
        while at < blocks {
            // Counters of 8 bits hold 255 blocks.
            let run = (blocks - at).min(255);
            let (mut clipped, mut black) = ([0u8; LANES], [0u8; LANES]);
            for block in at..at + run {
                let bytes: &[u8; LANES + 2] = rgb[block * LANES..][..LANES + 2].try_into().expect("50 bytes");
                for j in 0..LANES {
                    let brightest = bytes[j].max(bytes[j + 1]).max(bytes[j + 2]);
                    clipped[j] += u8::from(brightest >= CLIPPED_FROM);
                    black[j] += u8::from(brightest <= BLACK_UP_TO);
                }
            }
            self.clipped += clipped.iter().step_by(3).map(|&n| usize::from(n)).sum::<usize>();
            self.black += black.iter().step_by(3).map(|&n| usize::from(n)).sum::<usize>();
            at += run;
        }
        for pixel in rgb[blocks * LANES..].chunks_exact(3) {
            let brightest = pixel[0].max(pixel[1]).max(pixel[2]);
            self.clipped += usize::from(brightest >= CLIPPED_FROM);
            self.black += usize::from(brightest <= BLACK_UP_TO);
        }
    }
}

/// The lowest and the highest byte; (255, 0) of none.
#[inline(always)]
fn extremes(bytes: &[u8]) -> (u8, u8) {
    let (mut lowest, mut highest) = ([255u8; REGISTER], [0u8; REGISTER]);
    let (whole, rest) = bytes.as_chunks::<REGISTER>();
    for block in whole {
        for lane in 0..REGISTER {
            lowest[lane] = lowest[lane].min(block[lane]);
            highest[lane] = highest[lane].max(block[lane]);
        }
    }
    let lowest = lowest.iter().chain(rest).fold(255, |a, &b| a.min(b));
    let highest = highest.iter().chain(rest).fold(0, |a, &b| a.max(b));
    (lowest, highest)
}

/// Per channel, the level that [`BRIGHTER_THAN_WHITE`] of the covered area exceeds, the uncovered area (255) taken off
/// first.
fn white_point(blocks: &Blocks, uncovered_pixels: usize) -> [f32; 3] {
    let mut histograms = [[0u32; 256]; 3];
    let mut area = 0;
    for (mean, pixels) in blocks.iter() {
        for (histogram, level) in histograms.iter_mut().zip(mean) {
            histogram[level as usize & 0xff] += u32::from(pixels);
        }
        area += usize::from(pixels);
    }
    let covered = area.saturating_sub(uncovered_pixels);
    let above = (uncovered_pixels.min(area)) as f64 + covered as f64 * BRIGHTER_THAN_WHITE;
    histograms.map(|histogram| {
        let mut seen = 0.0;
        let level = (0..256).rev().find(|&level| {
            seen += f64::from(histogram[level]);
            seen > above
        });
        level.unwrap_or(0) as f32
    })
}

#[cfg(test)]
mod tests {
    use coverslip_pixels::avx2::Task;

    use super::super::banding::Banding;
    use super::*;

    /// All that a look at a tile's pixels leaves.
    fn seen(rgb: &[u8], size: [usize; 2], run: impl FnOnce(Strips<'_>)) -> (String, Option<Banding>) {
        let (mut blocks, mut banding, mut counts) = (Blocks::default(), BandingMeter::default(), Counts::default());
        blocks.start(size[0]);
        banding.start(size[0]);
        run(Strips { rgb, size, blocks: &mut blocks, banding: &mut banding, counts: &mut counts });
        (format!("{blocks:?} {counts:?}"), banding.lines())
    }

    #[test]
    fn with_and_without_avx2_it_is_the_same() {
        for size in [[1, 1], [9, 7], [33, 17], [224, 224], [241, 239], [3000, 20]] {
            let rgb: Vec<u8> = (0..3 * size[0] * size[1]).map(|i| (i * i / 7 % 256) as u8).collect();
            let plain = seen(&rgb, size, |strips| strips.run());
            assert_eq!(plain, seen(&rgb, size, |strips| avx2::run(strips)), "{size:?}");
        }
    }

    /// A tile whose left part, `share` of the width, is `left`, and the rest `right`.
    fn split(width: usize, height: usize, share: f32, left: [u8; 3], right: [u8; 3]) -> Vec<u8> {
        let edge = (width as f32 * share) as usize;
        (0..width * height).flat_map(|i| if i % width < edge { left } else { right }).collect()
    }

    fn of(rgb: &[u8], width: usize, height: usize, uncovered: usize) -> Exposure {
        measure(rgb, width, height, uncovered, &mut Blocks::default(), &mut BandingMeter::default())
    }

    #[test]
    fn counts_equal_the_naive_loop_at_every_length() {
        let noise: Vec<u8> = (0..3 * 20_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 22) as u8).collect();
        // Levels 20..27 and 252..255 only, so that both ends of the range are met often.
        let ends: Vec<u8> = noise.iter().map(|&v| if v < 240 { 20 + v % 8 } else { 252 + v % 4 }).collect();
        for pixels in (0..70).chain([1_000, 4_095, 16 * 255, 16 * 255 + 1, 20_000]) {
            let mut counts = Counts::default();
            counts.add(&ends[..3 * pixels]);
            let brightest = ends[..3 * pixels].chunks_exact(3).map(|p| p[0].max(p[1]).max(p[2]));
            assert_eq!(counts.clipped, brightest.clone().filter(|&v| v >= 254).count(), "{pixels} pixels");
            assert_eq!(counts.black, brightest.filter(|&v| v <= 25).count(), "{pixels} pixels");
        }
    }

    #[test]
    fn one_pixel_at_an_end_is_counted_wherever_it_is() {
        for at in 0..70 {
            for (colour, want) in [([254, 90, 90], (1, 0)), ([90, 90, 255], (1, 0)), ([25, 25, 25], (0, 1))] {
                let mut rgb = [90u8; 3 * 70];
                rgb[3 * at..3 * at + 3].copy_from_slice(&colour);
                let mut counts = Counts::default();
                counts.add(&rgb);
                assert_eq!((counts.clipped, counts.black), want, "{colour:?} at pixel {at}");
            }
        }
    }

    #[test]
    fn glass_gives_its_own_level_as_white_point() {
        let glass = of(&split(224, 224, 0.5, [241, 239, 230], [150, 90, 140]), 224, 224, 0);
        assert_eq!((glass.over, glass.under, glass.white_point), (0.0, 0.0, [241.0, 239.0, 230.0]));
    }

    #[test]
    fn pixels_that_never_arrived_do_not_count() {
        let half = of(&split(448, 448, 0.5, [255; 3], [220, 200, 210]), 448, 448, 448 * 224);
        assert_eq!((half.over, half.white_point), (0.0, [220.0, 200.0, 210.0]));
        // The same pixels, if they did arrive, are clipped.
        let clipped = of(&split(448, 448, 0.5, [255; 3], [220, 200, 210]), 448, 448, 0);
        assert_eq!((clipped.over, clipped.white_point), (0.5, [255.0; 3]));
    }

    #[test]
    fn too_little_light_shows_in_the_white_point_and_none_in_the_black() {
        let dim = of(&split(224, 224, 0.5, [110, 108, 109], [70, 40, 65]), 224, 224, 0);
        assert_eq!((dim.under, dim.white_point), (0.0, [110.0, 108.0, 109.0]));
        let none = of(&vec![3; 3 * 224 * 224], 224, 224, 0);
        assert_eq!((none.under, none.white_point), (1.0, [3.0; 3]));
    }

    #[test]
    fn nothing_covered_and_no_pixels_are_not_an_error() {
        let empty = of(&[255; 3 * 64], 8, 8, 64);
        assert_eq!((empty.over, empty.under), (0.0, 0.0));
        of(&[], 0, 0, 0);
    }
}
