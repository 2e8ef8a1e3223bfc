//! A slide of small tiles, for tests.

use std::sync::OnceLock;

use coverslip_pixels::tone::{Tone, ToneSpec};
use coverslip_plugin_abi as abi;

use super::config::SlideConfig;
use super::state::{Downstream, Slide};
use crate::tiles::assembler::AssemblyRules;
use crate::tiles::content::NotScanned;
use crate::tiles::frame::{FrameBytes, FrameHeader, FrameLimits, Memory};
use crate::tiles::grid::Grid;
use crate::tiles::slot::SlotShape;
use coverslip_base::error::Result;
use coverslip_base::sync::{Arc, Weak};

/// Pixels of a tile, wide and high.
const TILE: u32 = 16;

/// A slide with so many slots, and room for so many results.
pub(crate) fn slide(slots: usize, max_unpolled: usize, downstream: Weak<dyn Downstream>) -> Arc<Slide> {
    let config = SlideConfig {
        grid: Grid { origin: (0, 0), tile_width: TILE, tile_height: TILE, extent: None },
        shape: SlotShape { width: TILE, height: TILE, side: TILE, features: 0, embedding: 0 },
        slots,
        max_tiles: 100,
        max_unpolled,
        limits: FrameLimits { width: 2 * TILE, height: 2 * TILE },
        rules: AssemblyRules { timeout: None, min_coverage: 0.5, not_scanned: NotScanned::default(), white: None },
        tone: ToneSpec::default(),
        result_deadline: None,
        alpha: 0.01,
        flag_alpha: [0.0; abi::SCORE_COUNT],
        embeddings: false,
        analyse_background: false,
        unknown_scanner: false,
        tile_mm: 0.1,
        stability: None,
        engine_epoch: 1,
        digest: [0; 32],
        memory_bytes: 0,
    };
    // A model begins thousands of slides: their tone is tabled once.
    static TONE: OnceLock<Arc<Tone>> = OnceLock::new();
    let tone = TONE.get_or_init(|| Arc::new(Tone::new(&ToneSpec::default()).expect("memory")));
    Slide::begin(0, config, tone.clone(), downstream).expect("memory")
}

/// Submits `columns` × `rows` whole tiles, at most 2 × 2, from the tile column `column` on.
pub(crate) fn submit(slide: &Arc<Slide>, column: u32, (columns, rows): (u32, u32)) -> Result<()> {
    let (width, height) = (columns * TILE, rows * TILE);
    // Not on the stack: loom's are small.
    static PIXELS: [u8; (3 * 4 * TILE * TILE) as usize] = [7; (3 * 4 * TILE * TILE) as usize];
    let header = FrameHeader {
        format: abi::PFNC_RGB8,
        bit_depth: 8,
        planes: 1,
        x: i64::from(column * TILE),
        y: 0,
        width,
        height,
        memory: [Memory { stride: u64::from(3 * width), size: PIXELS.len() as u64 }; 3],
        ..FrameHeader::default()
    };
    slide.submit(&header, FrameBytes { planes: [&PIXELS; 3], mask: &[] })
}
