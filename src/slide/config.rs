//! What is fixed when a slide begins.

use std::time::Duration;

use coverslip_numerics::Draw;
use coverslip_pixels::tone::ToneSpec;
use coverslip_plugin_abi::SCORE_COUNT;
use coverslip_profile::Perturbation;

use crate::tiles::assembler::AssemblyRules;
use crate::tiles::frame::FrameLimits;
use crate::tiles::grid::{Grid, Place};
use crate::tiles::slot::SlotShape;

#[derive(Clone)]
pub(crate) struct SlideConfig {
    pub(crate) grid: Grid,
    pub(crate) shape: SlotShape,
    pub(crate) slots: usize,
    pub(crate) max_tiles: usize,
    pub(crate) max_unpolled: usize,
    pub(crate) limits: FrameLimits,
    pub(crate) rules: AssemblyRules,
    /// How levels become channels.
    pub(crate) tone: ToneSpec,
    pub(crate) result_deadline: Option<Duration>,
    pub(crate) alpha: f64,
    /// The level that each check runs at, by flag bit; 0 where it is not calibrated.
    pub(crate) flag_alpha: [f64; SCORE_COUNT],
    /// Results carry embeddings.
    pub(crate) embeddings: bool,
    /// Tiles without tissue go to the model too.
    pub(crate) analyse_background: bool,
    /// The profile does not know the scanner: nothing is calibrated, and an alert says so.
    pub(crate) unknown_scanner: bool,
    /// A tile's side on the slide, mm.
    pub(crate) tile_mm: f64,
    /// None: no tile is run twice, and UNSTABLE is not checked.
    pub(crate) stability: Option<Stability>,
    pub(crate) engine_epoch: u64,
    /// sha256 of the runtime's and the slide's configuration.
    pub(crate) digest: [u8; 32],
    pub(crate) memory_bytes: u64,
}

/// Which tiles are run twice, and how their colours differ the second time.
#[derive(Clone)]
pub(crate) struct Stability {
    /// One tile of so many.
    pub(crate) interval: u64,
    /// The slide's seed.
    pub(crate) draw: Draw,
    pub(crate) perturbation: Perturbation,
}

impl Stability {
    /// The perturbation of a tile that is run twice, chosen by a draw of its place.
    pub(crate) fn of(&self, place: Place) -> Option<&Perturbation> {
        let draw = self.draw.of(place.column as u64).of(place.row as u64).of(u64::from(place.pass));
        (draw.below(self.interval) == 0).then_some(&self.perturbation)
    }
}
