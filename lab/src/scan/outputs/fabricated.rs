//! Made-up results of the generated slide, for tests of what is written.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::AbiStruct;

use coverslip_slides::generated::GeneratedSlide;
use coverslip_slides::{Mpp, Rect, SlideSource, SourceInfo};

use super::scanned::{Scanned, StrongFeature};
use super::thumbnail::Thumbnail;
use crate::play::{Collected, FieldOfView, Kept, Played, Settings, Submission};

const SIDE: u32 = 224;
/// Of the made-up slide, px: the upper part of the generated one.
const EXTENT: (u32, u32) = (28 * SIDE, 12 * SIDE);

/// A slide on which every status and some flags occur.
pub(in crate::scan) fn played() -> Played {
    let (width, height) = EXTENT;
    let mut collected = Collected::default();
    let mut summary = abi::SlideSummary::init();
    for row in 0..height / SIDE {
        for column in 0..width / SIDE {
            let tile = tile(column as i32, row as i32);
            let features: Vec<abi::Feature> = match tile.status {
                abi::TILE_DONE => (0..8).map(|k| feature(column, row, k)).collect(),
                _ => Vec::new(),
            };
            summary.opened += 1;
            summary.results[0] += 1;
            summary.results[tile.status as usize] += 1;
            let embedding = if features.is_empty() { &[][..] } else { &[0.5, 1.0, -1.0] };
            collected.push(&tile, &features, (&Kept::All, embedding));
        }
    }
    collected.sort();
    let alert = abi::Alert {
        code: abi::ALERT_FOCUS_LOSS,
        y: 7 * i64::from(SIDE),
        width: width.into(),
        height: u64::from(2 * SIDE),
        strength: 0.8,
        threshold: 0.5,
        ..Default::default()
    };
    Played {
        collected,
        alerts: vec![alert],
        seen_at_alert: vec![1],
        summary,
        report: serde_json::Value::Null,
        stats: abi::RuntimeStats::init(),
        submission: Submission::default(),
        extent: (width, height),
        frame_size: (512, 512),
        planned_frames: 1,
        unscanned_pixels: 0,
        seconds: 4.2,
        error: None,
    }
}

/// The made-up results with all that the outputs need.
pub(super) fn scanned() -> Scanned {
    let played = played();
    let strongest = played.collected.strongest(8).into_iter().map(|(index, deviation)| StrongFeature {
        index,
        deviation,
        label: if index % 2 == 0 { "lymphocytes".into() } else { String::new() },
    });
    let strongest = strongest.collect();
    let mpp = Mpp { x: 0.5, y: 0.5, source: "made up".into() };
    let settings = Settings { embeddings: true, ..Settings::default() };
    Scanned {
        source: SourceInfo { width: EXTENT.0, height: EXTENT.1, ..GeneratedSlide::new().info().clone() },
        field: FieldOfView::new(SIDE, 0.5, &mpp, false).expect("the model's own resolution"),
        mpp,
        bundle: "made-up".into(),
        profile: None,
        settings,
        thumbnail: thumbnail(played.extent.0, played.extent.1),
        strongest,
        played,
    }
}

fn tile(column: i32, row: i32) -> abi::TileResult {
    let status = match (column, row) {
        (27, 0..=4) => abi::TILE_INCOMPLETE + row,
        _ if column % 9 == 0 || row == 0 => abi::TILE_BACKGROUND,
        _ => abi::TILE_DONE,
    };
    let mut flags_raised = if status == abi::TILE_BACKGROUND { abi::FLAG_BACKGROUND } else { 0 };
    if status == abi::TILE_DONE && (row == 7 || row == 8) {
        flags_raised |= abi::FLAG_OUT_OF_FOCUS;
    }
    if status == abi::TILE_DONE && column > 24 {
        flags_raised |= abi::FLAG_FEATURES_UNRELIABLE;
    }
    let checked = abi::FLAG_BACKGROUND | abi::FLAG_OUT_OF_FOCUS | abi::FLAG_FEATURES_UNRELIABLE;
    let flags_checked = if status <= abi::TILE_BACKGROUND { checked } else { 0 };
    let mut scores = [f32::NAN; abi::SCORE_COUNT];
    (scores[0], scores[1]) = (0.9, -12.5);
    let mut p_values = [f32::NAN; abi::SCORE_COUNT];
    p_values[4] = if row == 0 { 0.25 } else { f32::NAN };
    abi::TileResult {
        column,
        row,
        x: i64::from(column) * i64::from(SIDE),
        y: i64::from(row) * i64::from(SIDE),
        width: SIDE,
        height: SIDE,
        status,
        flags_checked,
        flags_raised,
        coverage: 1.0,
        scores,
        p_values,
        reconstruction_error: if status == abi::TILE_DONE { 0.2 } else { f32::NAN },
        active_count: 8,
        ..Default::default()
    }
}

fn feature(column: u32, row: u32, k: u32) -> abi::Feature {
    let wave = ((column as f32 / (3.0 + k as f32)).sin() + (row as f32 / (2.0 + k as f32)).cos()).max(0.01);
    abi::Feature { index: 100 * k + k % 3, value: wave * (8 - k) as f32 }
}

fn thumbnail(width: u32, height: u32) -> Thumbnail {
    let mut thumbnail = Thumbnail::new(width, height);
    let mut pixels = Vec::new();
    // A part of it: the rest stays unscanned.
    let rect = Rect { x: 224, y: 1344, width: 1344, height: 448 };
    GeneratedSlide::new().read(rect, &mut pixels).expect("the generated slide has no file to fail");
    thumbnail.add(rect, &pixels);
    thumbnail
}
