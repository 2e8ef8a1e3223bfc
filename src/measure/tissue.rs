//! How much of a tile is tissue: what the background gate asks.
//!
//! A block of 8 × 8 native pixels is tissue when it absorbs light or is coloured, both as optical density:
//! against the tile's own white point, so that grey glass is glass; and between its own channels, so that a tile that is
//! tissue from edge to edge, and has no glass to compare with, is tissue. The levels below are
//! general: see `docs/measured/general-rules.md`.

use super::blocks::Blocks;

/// Share of light that the faintest tissue leaves: an optical density of 0.04 in any channel, 10^-0.04.
const FAINTEST: f32 = 0.912;
/// The same between the darkest and the brightest channel of a block: colour. Glass is neutral to 0.02.
const PALEST: f32 = 0.912;

/// Which blocks are tissue, in a tile of this white point.
pub(super) struct TissueTest {
    faint: [f32; 3],
}

impl TissueTest {
    pub(crate) fn new(white_point: [f32; 3]) -> TissueTest {
        TissueTest { faint: white_point.map(|level| level * FAINTEST) }
    }

    /// Whether a block of this mean colour is tissue.
    pub(crate) fn is_tissue(&self, mean: [f32; 3]) -> bool {
        let absorbs = mean[0] < self.faint[0] || mean[1] < self.faint[1] || mean[2] < self.faint[2];
        let (darkest, brightest) = (mean[0].min(mean[1]).min(mean[2]), mean[0].max(mean[1]).max(mean[2]));
        absorbs || darkest < brightest * PALEST
    }
}

/// Share (0..1) of the covered area of a tile that is tissue, from the grid and the white point that
/// [`measure`](super::exposure::measure) leaves. `uncovered_pixels` never arrived and are white (255).
pub(crate) fn tissue_fraction(blocks: &Blocks, uncovered_pixels: usize, white_point: [f32; 3]) -> f32 {
    let gate = TissueTest::new(white_point);
    let (mut tissue, mut area) = (0usize, 0usize);
    for (mean, pixels) in blocks.iter() {
        tissue += usize::from(pixels) * usize::from(gate.is_tissue(mean));
        area += usize::from(pixels);
    }
    let covered = area.saturating_sub(uncovered_pixels).max(1);
    (tissue as f32 / covered as f32).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::exposure::measure;

    const SIDE: usize = 224;

    /// The share of tissue of a tile given by a function of x and y.
    fn fraction(pixel: impl Fn(usize, usize) -> [u8; 3]) -> f32 {
        let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| pixel(i % SIDE, i / SIDE)).collect();
        let mut blocks = Blocks::default();
        let white = measure(&rgb, SIDE, SIDE, 0, &mut blocks, &mut Default::default()).white_point;
        tissue_fraction(&blocks, 0, white)
    }

    /// Repeatable noise of -a..=a.
    fn noise(x: usize, y: usize, a: i32) -> i32 {
        let hash = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca6b);
        (hash.wrapping_mul(0xc2b2_ae35) >> 16) as i32 % (2 * a + 1) - a
    }

    fn noisy(level: [u8; 3], x: usize, y: usize, a: i32) -> [u8; 3] {
        level.map(|v| (i32::from(v) + noise(x, y, a)).clamp(0, 255) as u8)
    }

    #[test]
    fn glass_is_not_tissue_white_grey_tinted_noisy_or_shaded() {
        for glass in [[245; 3], [180; 3], [90; 3], [226, 227, 218], [240, 236, 225], [255; 3]] {
            assert_eq!(fraction(|x, y| noisy(glass, x, y, 8)), 0.0, "{glass:?}");
        }
        // The lamp falls off by 6 % across the tile.
        assert_eq!(fraction(|x, _| [(244 - 14 * x / SIDE) as u8; 3]), 0.0);
    }

    #[test]
    fn tissue_from_edge_to_edge_needs_no_glass_beside_it() {
        for tissue in [[232, 199, 215], [225, 205, 222], [120, 80, 140], [150, 110, 70]] {
            assert_eq!(fraction(|x, y| noisy(tissue, x, y, 6)), 1.0, "{tissue:?}");
        }
    }

    #[test]
    fn tissue_that_is_overexposed_is_still_tissue() {
        let stroma = [215u8, 165, 195].map(|v| (f32::from(v) * 1.3).min(255.0) as u8);
        assert_eq!(stroma[0], 255);
        assert_eq!(fraction(|x, _| if x < 112 { [255; 3] } else { stroma }), 0.5);
    }

    #[test]
    fn a_quarter_of_tissue_is_a_quarter_and_dust_is_below_the_gate() {
        let quarter = fraction(|x, y| if x < 112 && y < 112 { [200, 140, 180] } else { [243, 242, 243] });
        assert_eq!(quarter, 0.25);
        let dust = fraction(|x, y| if x % 100 < 6 && y % 100 < 6 { [90, 90, 90] } else { [243; 3] });
        assert!(dust > 0.0 && dust < 0.05, "{dust}");
    }

    #[test]
    fn the_share_is_of_what_was_covered() {
        let rgb: Vec<u8> = (0..SIDE * SIDE)
            .flat_map(|i| match i % SIDE {
                0..56 => [200, 140, 180],
                56..112 => [240; 3],
                _ => [255; 3],
            })
            .collect();
        let mut blocks = Blocks::default();
        let uncovered = SIDE * SIDE / 2;
        let white = measure(&rgb, SIDE, SIDE, uncovered, &mut blocks, &mut Default::default()).white_point;
        assert_eq!(white, [240.0; 3]);
        assert_eq!(tissue_fraction(&blocks, uncovered, white), 0.5);
    }
}
