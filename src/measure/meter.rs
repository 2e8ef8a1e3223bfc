//! Everything that is measured on a tile's native pixels, in one pass and one array.

use coverslip_profile::{MEASUREMENTS, Measurements, measurement as at};

use super::banding::BandingMeter;
use super::blocks::Blocks;
use super::exposure;
use super::stain;
use super::tissue::tissue_fraction;
use coverslip_base::error::Result;
use coverslip_base::memory::grow;

/// Each worker has one, because it keeps its memory.
#[derive(Debug, Default)]
pub(crate) struct PixelMeter {
    blocks: Blocks,
    banding: BandingMeter,
    distances: Vec<[f32; 3]>,
}

impl PixelMeter {
    /// Room for tiles of this size: measuring one allocates nothing.
    pub(crate) fn fit(&mut self, width: usize, height: usize) -> Result<()> {
        self.blocks.fit(width, height)?;
        self.banding.fit(width, height)?;
        grow(&mut self.distances, Blocks::count(width, height))
    }

    /// Measures packed RGB, of which `uncovered_pixels` never arrived and are white: all but the sharpness, which is
    /// measured on the model's input.
    pub(crate) fn measure(&mut self, rgb: &[u8], width: usize, height: usize, uncovered_pixels: usize) -> Measurements {
        let Self { blocks, banding, distances } = self;
        let mut m = [f32::NAN; MEASUREMENTS];
        let exposure = exposure::measure(rgb, width, height, uncovered_pixels, blocks, banding);
        exposure.write(&mut m);
        m[at::TISSUE] = tissue_fraction(blocks, uncovered_pixels, exposure.white_point);
        let stain = stain::measure(blocks, exposure.white_point, distances);
        m[at::DENSITY_MEAN..][..3].copy_from_slice(&stain.mean);
        m[at::DENSITY_SPREAD..][..3].copy_from_slice(&stain.spread);
        (m[at::FOREIGN], m[at::FOREIGN_SHARE]) = (stain.foreign, stain.foreign_share);
        // The edge of what never arrived is a stripe too.
        if let Some(lines) = banding.lines().filter(|_| uncovered_pixels == 0) {
            (m[at::BANDING_ROWS], m[at::BANDING_COLUMNS]) = (lines.rows, lines.columns);
            m[at::BANDING_PERIOD] = lines.period;
        }
        m
    }
}
