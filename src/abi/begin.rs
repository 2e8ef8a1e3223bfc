//! `coverslip_slide_desc` → [`SlideConfig`]: the slide's geometry, and how much memory it needs.

use std::time::Duration;

use coverslip_bundle::Manifest;
use coverslip_numerics::Draw;
use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::SlideDesc;
use sha2::{Digest, Sha256};

use super::marshal::{read_struct, read_text, require_text};
use super::range::{in_range, or_default};
use super::unsupported;
use crate::error::{Result, error};
use crate::intake::Ledger;
use crate::intake::assembler::AssemblyRules;
use crate::intake::frame::FrameLimits;
use crate::intake::grid::{Grid, Rect, TILE_PIXELS};
use crate::intake::slot::SlotShape;
use crate::judge::alerts::AlertState;
use crate::judge::flags::{Calibrated, Rules};
use crate::outbox::Outbox;
use crate::runtime::Runtime;
use crate::slide::{SlideConfig, slots_needed};

const DEFAULT_MAX_TILES: u64 = 262_144;
const MOST_TILES: u64 = 1 << 24;
const DEFAULT_UNPOLLED: u32 = 65_536;
const MOST_UNPOLLED: u32 = 1 << 24;
/// The widest and the highest frame, in pixels.
const MOST_FRAME: u32 = 1 << 20;
const DEFAULT_COVERAGE: f64 = 0.5;
const DEFAULT_ALPHA: f64 = 0.01;
/// One of so many tiles is run twice.
const DEFAULT_STABILITY: u32 = 64;

/// # Safety
/// `desc` and what it points to are as the contract says.
pub(super) unsafe fn config(desc: *const SlideDesc, runtime: &Runtime) -> Result<SlideConfig> {
    // SAFETY: the caller's promise.
    let desc = unsafe { read_struct(desc, "coverslip_slide_desc") }?;
    // SAFETY: strings are null or NUL-terminated, by the contract.
    let (scanner, identity) = unsafe {
        let scanner = require_text(desc.scanner_id, "slide_desc.scanner_id")?;
        let slide = require_text(desc.slide_id, "slide_desc.slide_id")?;
        let identity = format!("{scanner:?} {slide:?} {:?}", read_text(desc.color_name, "slide_desc.color_name")?);
        (scanner, identity)
    };
    check_ranges(&desc)?;
    let grid = grid(&desc, &runtime.manifest)?;
    let limits = FrameLimits { width: desc.max_frame_width, height: desc.max_frame_height };
    let spread = (desc.spread_width, desc.spread_height);
    let slots = slots_needed(&grid, limits, spread, runtime.tiles_on_the_way())?;
    let embeddings = desc.flags & abi::SLIDE_EMBEDDINGS != 0;
    let alpha = if desc.alpha == 0.0 { DEFAULT_ALPHA } else { desc.alpha };
    let judged_by = judged_by(runtime, &scanner, alpha, &identity);
    let shape = shape(&grid, &runtime.manifest, embeddings || judged_by.calibrated().is_some());
    let max_tiles = max_tiles(&desc, &grid)?;
    let max_unpolled = u64::from(or_default(desc.max_unpolled, DEFAULT_UNPOLLED));
    let given = if embeddings { shape.embedding as u64 } else { 0 };
    let memory_bytes = slots as u64 * shape.bytes()
        + Ledger::bytes(max_tiles)
        + Outbox::bytes(max_unpolled, shape.features as u64, given);
    let rules = AssemblyRules {
        timeout: milliseconds(desc.assembly_timeout_ms),
        min_coverage: if desc.min_coverage == 0.0 { DEFAULT_COVERAGE } else { desc.min_coverage } as f32,
    };
    let mut config = SlideConfig {
        grid,
        shape,
        slots,
        max_tiles: max_tiles as usize,
        max_unpolled: max_unpolled as usize,
        limits,
        rules,
        result_deadline: milliseconds(desc.result_deadline_ms),
        alpha,
        embeddings,
        analyse_background: desc.flags & abi::SLIDE_ANALYSE_BACKGROUND != 0,
        unknown_scanner: runtime.profile.is_some() && judged_by.calibrated().is_none(),
        judged_by,
        tile_mm: runtime.manifest.side as f64 * runtime.manifest.mpp / 1000.0,
        stability_interval: match desc.stability_interval {
            abi::STABILITY_NEVER => 0,
            interval => or_default(interval, DEFAULT_STABILITY),
        },
        engine_epoch: runtime.shared.duty.epoch(),
        digest: [0; 32],
        memory_bytes,
    };
    config.memory_bytes += AlertState::bytes(&config.scene());
    config.digest = digest(runtime, &config, &identity, desc.color_state);
    Ok(config)
}

fn check_ranges(desc: &SlideDesc) -> Result<()> {
    for (name, mpp) in [("slide_desc.mpp_x", desc.mpp_x), ("slide_desc.mpp_y", desc.mpp_y)] {
        // A NaN is in no range.
        in_range(name, mpp, 0.01..=100.0)?;
    }
    in_range("slide_desc.color_state", desc.color_state, abi::COLOR_UNKNOWN..=abi::COLOR_VENDOR)?;
    in_range("slide_desc.max_frame_width", desc.max_frame_width, 1..=MOST_FRAME)?;
    in_range("slide_desc.max_frame_height", desc.max_frame_height, 1..=MOST_FRAME)?;
    in_range("slide_desc.max_tiles", u64::from(desc.max_tiles), 0..=MOST_TILES)?;
    in_range("slide_desc.max_unpolled", desc.max_unpolled, 0..=MOST_UNPOLLED)?;
    in_range("slide_desc.min_coverage", desc.min_coverage, 0.0..=1.0)?;
    in_range("slide_desc.alpha", desc.alpha, 0.0..=0.5)?;
    let known = abi::SLIDE_EMBEDDINGS
        | abi::SLIDE_ANALYSE_BACKGROUND
        | abi::SLIDE_NOT_SCANNED_VALUE
        | abi::SLIDE_ALPHA_IS_VALIDITY;
    in_range("unknown bits of slide_desc.flags", desc.flags & !known, 0..=0)?;
    unsupported::in_slide_desc(desc)?;
    if (desc.extent_width == 0) != (desc.extent_height == 0) {
        return Err(error!(
            INVALID_ARGUMENT,
            "expected an extent with both sides, or both 0 (unknown), found {} x {}",
            desc.extent_width,
            desc.extent_height
        ));
    }
    Ok(())
}

/// Tiles of round(side · model mpp / slide mpp) pixels, from the extent's corner on.
fn grid(desc: &SlideDesc, manifest: &Manifest) -> Result<Grid> {
    let pixels = |axis: &str, mpp: f64| {
        let exact = manifest.side as f64 * manifest.mpp / mpp;
        let rounded = exact.round() as u32;
        if TILE_PIXELS.contains(&rounded) {
            return Ok(rounded);
        }
        Err(error!(
            INVALID_ARGUMENT,
            "at {mpp} µm/px in {axis} a tile of {} µm is {exact:.1} pixels, expected {} to {}: check mpp_{axis}",
            manifest.side as f64 * manifest.mpp,
            TILE_PIXELS.start(),
            TILE_PIXELS.end()
        ))
    };
    let corner = Rect::checked(desc.extent_x, desc.extent_y, desc.extent_width, desc.extent_height)?;
    let known = desc.extent_width > 0;
    Ok(Grid {
        origin: (desc.extent_x, desc.extent_y),
        tile_width: pixels("x", desc.mpp_x)?,
        tile_height: pixels("y", desc.mpp_y)?,
        extent: known.then_some(corner),
    })
}

fn shape(grid: &Grid, manifest: &Manifest, embeddings: bool) -> SlotShape {
    let widths = manifest.taps.iter().map(|tap| manifest.tap_width(tap));
    SlotShape {
        width: grid.tile_width,
        height: grid.tile_height,
        side: manifest.side as u32,
        features: manifest.sae.features_per_tile(),
        embedding: if embeddings { widths.sum() } else { 0 },
    }
}

/// The tiles that the ledger is made for.
fn max_tiles(desc: &SlideDesc, grid: &Grid) -> Result<u64> {
    let asked = u64::from(desc.max_tiles);
    let Some(extent) = grid.extent else {
        return Ok(if asked == 0 { DEFAULT_MAX_TILES } else { asked });
    };
    let tiles = grid.span(&extent).count();
    let most = if asked == 0 { MOST_TILES } else { asked };
    if tiles > most {
        return Err(error!(
            LIMIT_REACHED,
            "the extent of {} x {} pixels has {tiles} tiles, expected at most {most}: raise max_tiles or check mpp",
            desc.extent_width,
            desc.extent_height
        ));
    }
    Ok(tiles)
}

fn milliseconds(ms: u32) -> Option<Duration> {
    (ms != 0).then(|| Duration::from_millis(u64::from(ms)))
}

/// What tiles are judged by: the profile, where there is one and it knows the scanner, and the bundle.
fn judged_by(runtime: &Runtime, scanner: &str, alpha: f64, identity: &str) -> Rules {
    let manifest = &runtime.manifest;
    let calibrated = runtime.profile.clone().and_then(|profile| {
        let judged = profile.taps.get(profile.judged_tap).map(|tap| tap.name.clone());
        let before = manifest.taps.iter().take_while(|tap| Some(&tap.name) != judged.as_ref());
        let start: usize = before.map(|tap| manifest.tap_width(tap)).sum();
        let width = profile.taps.get(profile.judged_tap).map_or(0, |tap| tap.width);
        // The draws that break ties are the slide's own, and the same when it is scanned again.
        let seed =
            Sha256::digest(identity.as_bytes()).iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte));
        Calibrated::new(profile, scanner, start..start + width, alpha, Draw::new(seed))
    });
    Rules::with(reconstruction_limit(manifest, alpha), calibrated)
}

/// FEATURES_UNRELIABLE without a profile: the bundle's lowest stated quantile that is raised on at most α of its reference tiles, or the
/// highest it has.
fn reconstruction_limit(manifest: &Manifest, alpha: f64) -> Option<f32> {
    if manifest.sae.features() == 0 {
        return None;
    }
    let stated = manifest.sae.reference.error_quantiles.iter();
    let mut levels: Vec<(f64, f64)> =
        stated.filter_map(|(level, &value)| level.parse().ok().map(|level| (level, value))).collect();
    levels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let fitting = levels.iter().find(|(level, _)| *level >= 1.0 - alpha - 1e-9).or(levels.last());
    fitting.map(|&(_, value)| value as f32)
}

fn digest(runtime: &Runtime, config: &SlideConfig, identity: &str, color_state: i32) -> [u8; 32] {
    let SlideConfig { grid, shape, slots, max_tiles, max_unpolled, limits, rules, result_deadline, alpha, .. } = config;
    let (stability, background) = (config.stability_interval, config.analyse_background);
    let text = format!(
        "{:?} {identity} {color_state} {grid:?} {shape:?} {slots} {max_tiles} {max_unpolled} {limits:?} {rules:?} \
         {result_deadline:?} {alpha} {stability} {background}",
        runtime.digest
    );
    Sha256::digest(text.as_bytes()).into()
}
