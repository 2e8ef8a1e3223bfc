//! The memory budget of a slide: how many slots it needs, and what all of it takes.

use coverslip_pixels::developer::Developer;
use coverslip_pixels::tone::Tone;

use crate::judge::alerts::AlertState;
use crate::judge::docket::scene;
use crate::judge::rules::Rules;
use crate::outbox::Outbox;
use crate::slide::config::SlideConfig;
use crate::slide::registry::{LEAST_SLOTS, MAX_SLOTS};
use crate::tiles::frame::FrameLimits;
use crate::tiles::grid::Grid;
use crate::tiles::ledger::Ledger;
use crate::tiles::strips::Strips;
use coverslip_base::error::{Result, error};

/// Slots for the largest frame, for the box in which tiles may be partial, and for the tiles on their way.
pub(super) fn slots(grid: &Grid, limits: FrameLimits, spread: (u64, u64), on_the_way: usize) -> Result<usize> {
    let frame = grid.most_tiles(u64::from(limits.width), u64::from(limits.height));
    let partial = if spread.0 == 0 || spread.1 == 0 { frame } else { grid.most_tiles(spread.0, spread.1) };
    let slots = frame.saturating_add(partial).saturating_add(on_the_way.max(LEAST_SLOTS) as u64);
    if slots > MAX_SLOTS as u64 {
        return Err(error!(
            OUT_OF_MEMORY,
            "frames of {} x {} and a spread of {} x {} need {slots} slots, expected at most {MAX_SLOTS}: announce \
             smaller frames or a smaller spread",
            limits.width,
            limits.height,
            spread.0,
            spread.1
        ));
    }
    Ok(slots as usize)
}

/// Bytes that a slide reserves at most.
pub(super) fn bytes(config: &SlideConfig, rules: &Rules) -> u64 {
    let embedding = if config.embeddings { config.shape.embedding as u64 } else { 0 };
    config.slots as u64 * config.shape.bytes()
        + Ledger::bytes(config.max_tiles as u64)
        + Tone::bytes(&config.tone)
        + Developer::bytes(u64::from(config.shape.width))
        + Strips::bytes(config.limits.width)
        + Outbox::bytes(config.max_unpolled as u64, config.shape.features as u64, embedding)
        + AlertState::bytes(&scene(config, rules))
}
