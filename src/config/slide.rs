//! `coverslip_slide_desc`, checked, with every default filled in: the slide's geometry, what its tiles are judged by,
//! and how much memory it needs.

use std::sync::Arc;
use std::time::Duration;

use coverslip_bundle::Manifest;
use coverslip_numerics::Draw;
use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::SlideDesc;
use coverslip_profile::Profile;

use super::digest::Hashed;
use super::range::{in_range, or_default};
use super::request::SlideRequest;
use super::{digest, memory, tone};
use crate::judge::flags::levels;
use crate::judge::history::Histories;
use crate::judge::rules::{Calibrated, Rules, reconstruction_limit};
use crate::slide::config::{SlideConfig, Stability};
use crate::tiles::assembler::AssemblyRules;
use crate::tiles::frame::FrameLimits;
use crate::tiles::grid::{Grid, Rect, TILE_PIXELS};
use crate::tiles::slot::SlotShape;
use coverslip_base::error::{Result, error};

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

/// Where the slide is to run.
pub(crate) struct Site<'r> {
    pub(crate) manifest: &'r Manifest,
    pub(crate) profile: Option<&'r (Arc<Profile>, Arc<Histories>)>,
    pub(crate) runtime_digest: [u8; 32],
    /// Tiles between the assembler and the outbox that keep every worker busy.
    pub(crate) on_the_way: usize,
    pub(crate) engine_epoch: u64,
}

/// What a slide is begun with.
pub(crate) struct SlidePlan {
    pub(crate) config: SlideConfig,
    pub(crate) rules: Rules,
}

impl SlidePlan {
    pub(crate) fn new(request: &SlideRequest<'_>, site: &Site<'_>) -> Result<SlidePlan> {
        let (desc, manifest) = (request.desc, site.manifest);
        check_ranges(desc)?;
        let grid = grid(desc, manifest)?;
        let limits = FrameLimits { width: desc.max_frame_width, height: desc.max_frame_height };
        let alpha = or_default(desc.alpha, DEFAULT_ALPHA);
        let rules = Rules {
            reconstruction_error: reconstruction_limit(manifest, alpha),
            he: desc.stain == abi::STAIN_HE,
            calibrated: site.profile.and_then(|profile| calibrated(request, manifest, profile, alpha)),
        };
        let embeddings = desc.flags & abi::SLIDE_EMBEDDINGS != 0;
        let interval = stability_interval(desc);
        let mut config = SlideConfig {
            shape: shape(&grid, manifest, embeddings || rules.calibrated.is_some()),
            slots: memory::slots(&grid, limits, (desc.spread_width, desc.spread_height), site.on_the_way)?,
            max_tiles: max_tiles(desc, &grid)? as usize,
            max_unpolled: or_default(desc.max_unpolled, DEFAULT_UNPOLLED) as usize,
            limits,
            rules: AssemblyRules {
                timeout: milliseconds(desc.assembly_timeout_ms),
                min_coverage: or_default(desc.min_coverage, DEFAULT_COVERAGE) as f32,
                not_scanned: tone::not_scanned(desc)?,
                white: white(desc)?,
            },
            tone: tone::spec(desc, request.tone_table)?,
            result_deadline: milliseconds(desc.result_deadline_ms),
            alpha,
            flag_alpha: levels(&rules),
            embeddings,
            analyse_background: desc.flags & abi::SLIDE_ANALYSE_BACKGROUND != 0,
            unknown_scanner: site.profile.is_some() && rules.calibrated.is_none(),
            tile_mm: manifest.side as f64 * manifest.mpp / 1000.0,
            stability: rules.calibrated.as_ref().and_then(|known| stability(known, interval)),
            engine_epoch: site.engine_epoch,
            digest: [0; 32],
            memory_bytes: 0,
            grid,
        };
        config.memory_bytes = memory::bytes(&config, &rules);
        config.digest = digest::of_slide(&config, request, interval, &site.runtime_digest);
        Ok(SlidePlan { config, rules })
    }
}

fn check_ranges(desc: &SlideDesc) -> Result<()> {
    in_range("slide_desc.mpp_x", desc.mpp_x, 0.01..=100.0)?;
    in_range("slide_desc.mpp_y", desc.mpp_y, 0.01..=100.0)?;
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
    in_range("slide_desc.stain", desc.stain, abi::STAIN_UNKNOWN..=abi::STAIN_OTHER)?;
    in_range("slide_desc.reserved", desc.reserved, 0..=0)?;
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
    let Some(extent) = grid.extent else { return Ok(or_default(asked, DEFAULT_MAX_TILES)) };
    let tiles = grid.span(&extent).count();
    let most = or_default(asked, MOST_TILES);
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

/// The slide's glass, where the host states it.
fn white(desc: &SlideDesc) -> Result<Option<[f32; 3]>> {
    if desc.white_reference == [0.0; 3] {
        return Ok(None);
    }
    for level in desc.white_reference {
        in_range("slide_desc.white_reference", level, f64::MIN_POSITIVE..=255.0)?;
    }
    Ok(Some(desc.white_reference.map(|level| level as f32)))
}

fn milliseconds(ms: u32) -> Option<Duration> {
    (ms != 0).then(|| Duration::from_millis(u64::from(ms)))
}

/// The profile, where it knows the scanner.
fn calibrated(
    request: &SlideRequest<'_>,
    manifest: &Manifest,
    (profile, histories): &(Arc<Profile>, Arc<Histories>),
    alpha: f64,
) -> Option<Calibrated> {
    let judged = profile.taps.get(profile.judged_tap);
    let name = judged.map(|tap| &tap.name);
    let before = manifest.taps.iter().take_while(|tap| Some(&tap.name) != name);
    let start: usize = before.map(|tap| manifest.tap_width(tap)).sum();
    let tap = start..start + judged.map_or(0, |tap| tap.width);
    Calibrated::new((profile.clone(), histories.clone()), request.scanner, tap, alpha, Draw::new(seed(request)))
}

/// The draws that break ties are the slide's own, and the same when it is scanned again.
fn seed(request: &SlideRequest<'_>) -> u64 {
    // Quoted as Rust quotes text: another form would change the draws of every slide.
    let mut name = Hashed::default();
    name.add(format_args!("{:?} {:?} {:?}", request.scanner, request.slide, request.color_name));
    name.sha256().iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

/// One of so many tiles is run twice; 0: none.
fn stability_interval(desc: &SlideDesc) -> u32 {
    match desc.stability_interval {
        abi::STABILITY_NEVER => 0,
        interval => or_default(interval, DEFAULT_STABILITY),
    }
}

fn stability(known: &Calibrated, interval: u32) -> Option<Stability> {
    let perturbation = known.profile.perturbation.filter(|_| interval > 0)?;
    Some(Stability { interval: u64::from(interval), draw: known.draw, perturbation })
}
