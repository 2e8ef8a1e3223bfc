//! Slides, played as a scanner plays them.

use std::time::{Duration, Instant};

use coverslip_plugin_abi::*;

use crate::figure::quantile;
use crate::host::{Picture, TestRuntime, Tile, by_status};
use crate::outcome::{Outcome, failed};

/// Tiles of a row that is compared: more than a batch, and no multiple of one.
pub(crate) const TILES: u32 = 75;

/// The results of a row of tissue tiles with their embeddings, by column.
///
/// # Errors
/// Where a tile is lost or fails.
pub(crate) fn row_of_tiles(runtime: &TestRuntime) -> Outcome<Vec<Tile>> {
    Ok(row_with_alerts(runtime)?.0)
}

/// The row's pixels.
pub(crate) fn row_picture(side: u32) -> Picture {
    Picture::tissue(TILES * side, side, 7)
}

/// The same with the slide's alerts.
///
/// # Errors
/// As [`row_of_tiles`].
pub(crate) fn row_with_alerts(runtime: &TestRuntime) -> Outcome<(Vec<Tile>, Vec<Alert>)> {
    let side = runtime.info().side;
    let slide = runtime.begin_with(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(TILES * side), u64::from(side));
        (desc.max_frame_width, desc.max_frame_height) = (TILES * side, side);
        desc.flags = SLIDE_EMBEDDINGS;
    })?;
    let picture = row_picture(side);
    slide.submit(&picture.frame(0, 0, TILES * side, side))?;
    let mut tiles = slide.results();
    tiles.sort_by_key(|tile| tile.record.column);
    let counts = by_status(&tiles);
    if counts[TILE_DONE as usize] != TILES as usize {
        return failed(format_args!("of {TILES} tiles these ended, by status: {counts:?}"));
    }
    Ok((tiles, slide.alerts()))
}

/// How a slide went.
pub(crate) struct Played {
    /// Tiles per second, from the first frame to the last result.
    pub(crate) rate: f64,
    pub(crate) summary: SlideSummary,
    /// The 99th percentile of the time that `slide_submit_wait` took for one tile's frame, ms.
    pub(crate) submit_p99: f64,
}

/// Tiles that keep a figure's time busy at about this rate.
pub(crate) fn tiles_for(rate: f64, time: Duration, least: u32) -> u32 {
    ((rate * time.as_secs_f64()) as u32).clamp(least, 50_000)
}

/// A row of tissue tiles, one frame each, as fast as the plugin takes them or at a scanner's pace.
///
/// # Errors
/// Where a tile is lost or fails.
pub(crate) fn play(runtime: &TestRuntime, tiles: u32, pace: Option<f64>) -> Outcome<Played> {
    let side = runtime.info().side;
    let picture = Picture::tissue(side * 8, side, 1);
    let slide = runtime.begin_with(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(tiles) * u64::from(side), u64::from(side));
        (desc.max_frame_width, desc.max_frame_height) = (side, side);
    })?;
    let mut waits = Vec::with_capacity(tiles as usize);
    let start = Instant::now();
    for i in 0..tiles {
        if let Some(rate) = pace {
            let due = Duration::from_secs_f64(f64::from(i) / rate);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let mut frame = picture.frame(i % 8 * side, 0, side, side);
        frame.x = i64::from(i) * i64::from(side);
        let began = Instant::now();
        slide.submit_wait(&frame, 60_000)?;
        waits.push(1e3 * began.elapsed().as_secs_f64());
    }
    slide.finish(60_000)?;
    let rate = f64::from(tiles) / start.elapsed().as_secs_f64();
    let summary = slide.summary();
    if summary.results[TILE_DONE as usize] != u64::from(tiles) {
        return failed(format_args!("of {tiles} tiles these ended, by status: {:?}", summary.results));
    }
    Ok(Played { rate, summary, submit_p99: quantile(&mut waits, 0.99) })
}
