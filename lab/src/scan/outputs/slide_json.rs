//! slide.json: what was scanned, with what, how it went and where it came from.

use coverslip_bundle::Digest;
use coverslip_plugin_abi as abi;
use serde_json::{Value, json};

use super::scanned::Scanned;
use crate::host::{Session, take_log};
use crate::play::Played;

/// The content of slide.json: the library's report, and what only the host knows; also takes what the library has logged.
pub(in crate::scan) fn value(scanned: &Scanned, session: &Session) -> Value {
    let (played, info) = (&scanned.played, &session.info);
    let log: Vec<Value> = take_log().into_iter().map(|(level, line)| json!({ "level": level, "text": line })).collect();
    let features: Vec<Value> = scanned
        .strongest
        .iter()
        .map(|feature| json!({ "index": feature.index, "label": feature.label, "standard_deviation": feature.deviation }))
        .collect();
    let mut value = played.report.clone();
    let library = session.runtime.library().path().display().to_string();
    let host = concat!("coverslip-lab ", env!("CARGO_PKG_VERSION"));
    extend(&mut value["bundle"], json!({ "path": session.bundle.display().to_string() }));
    extend(&mut value["profile"], json!(scanned.profile));
    let profile = Digest(played.summary.profile_digest);
    extend(&mut value["versions"], json!({ "host": host, "library": library, "profile_digest": profile }));
    let own = json!({
        "format": "coverslip-slide/1",
        "slide": scanned.source,
        "mpp": scanned.mpp,
        "grid": grid(scanned, info),
        "scan": scan(scanned, session.threads),
        "timings": timings(played, session.opening.as_secs_f64()),
        "strongest_features": features,
        "log": log,
        "error": played.error.as_ref().map(ToString::to_string),
    });
    extend(&mut value, own);
    value
}

/// Adds the members of one object to another.
fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

fn grid(scanned: &Scanned, info: &abi::RuntimeInfo) -> Value {
    let ((width, height), field) = (scanned.played.extent, &scanned.field);
    let tile = field.tile;
    json!({
        "model_side": info.side,
        "model_mpp": info.mpp,
        "tile_width": tile.0,
        "tile_height": tile.1,
        "tile_um": field.micrometres,
        "effective_mpp": field.effective_mpp,
        "stretched": field.stretched,
        "columns": width.div_ceil(tile.0),
        "rows": height.div_ceil(tile.1),
    })
}

fn scan(scanned: &Scanned, threads: u32) -> Value {
    let (settings, played) = (&scanned.settings, &scanned.played);
    json!({
        "frames": settings.layout.name(),
        "frame_width": played.frame_size.0,
        "frame_height": played.frame_size.1,
        "planned_frames": played.planned_frames,
        "unscanned_pixels": played.unscanned_pixels,
        "rate_tiles_per_s": settings.rate,
        "frames_held_at_most": settings.rate.map(|_| settings.hold),
        "threads": threads,
        "alpha": settings.alpha,
        "submission": played.submission,
    })
}

fn timings(played: &Played, open_seconds: f64) -> Value {
    let (summary, stats) = (&played.summary, &played.stats);
    let seconds = |nanoseconds: u64| nanoseconds as f64 * 1e-9;
    json!({
        "runtime_open_s": open_seconds,
        "slide_s": played.seconds,
        "tiles_per_s": summary.opened as f64 / played.seconds,
        "analysed_per_s": summary.results[1] as f64 / played.seconds,
        "latency_p50_ms": summary.latency_p50_ns as f64 * 1e-6,
        "latency_p99_ms": summary.latency_p99_ns as f64 * 1e-6,
        "submit_s": seconds(stats.submit_ns),
        "prep_s": seconds(stats.prep_ns),
        "lanes_s": seconds(stats.lane_ns),
        "judge_s": seconds(stats.judge_ns),
        "batches": stats.batches,
    })
}
