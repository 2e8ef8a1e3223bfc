//! slide.json: what was scanned, with what, how it went and where it came from.

use std::path::Path;

use coverslip_bundle::Digest;
use coverslip_plugin_abi as abi;
use serde_json::{Value, json};

use super::scanned::Scanned;
use crate::host::{FLAGS, Library, STATUSES, Session, alert_name, precision_name, take_log, text};
use crate::play::Played;

/// The content of slide.json; also takes what the library has logged.
pub(in crate::scan) fn value(scanned: &Scanned, session: &Session) -> Value {
    let (played, info) = (&scanned.played, &session.info);
    let log: Vec<Value> = take_log().into_iter().map(|(level, line)| json!({ "level": level, "text": line })).collect();
    let features: Vec<Value> = scanned
        .strongest
        .iter()
        .map(|feature| json!({ "index": feature.index, "label": feature.label, "standard_deviation": feature.deviation }))
        .collect();
    json!({
        "format": "coverslip-slide/1",
        "slide": scanned.source,
        "mpp": scanned.mpp,
        "grid": grid(scanned, info),
        "scan": scan(scanned, session.threads),
        "bundle": bundle(&session.bundle, info),
        "profile": scanned.profile,
        "versions": versions(session.runtime.library(), info, &played.summary),
        "summary": summary(&played.summary),
        "flags": flags(&played.summary),
        "alerts": played.alerts.iter().map(alert).collect::<Vec<_>>(),
        "timings": timings(played, session.opening.as_secs_f64()),
        "strongest_features": features,
        "log": log,
        "error": played.error.as_ref().map(ToString::to_string),
    })
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

fn bundle(path: &Path, info: &abi::RuntimeInfo) -> Value {
    json!({
        "path": path.display().to_string(),
        "name": text(&info.bundle_name),
        "digest": Digest(info.bundle_digest),
        "tap_widths": info.tap_widths.iter().take(info.tap_count as usize).collect::<Vec<_>>(),
        "embedding_width": info.embedding_width,
        "feature_count": info.feature_count,
        "features_per_tile": info.features_per_tile,
        "self_check_error": info.self_check_error,
    })
}

fn versions(library: &Library, info: &abi::RuntimeInfo, summary: &abi::SlideSummary) -> Value {
    let (major, minor) = library.abi_version();
    json!({
        "host": concat!("coverslip-lab ", env!("CARGO_PKG_VERSION")),
        "library": library.path().display().to_string(),
        "abi": format!("{major}.{minor}"),
        "plugin": text(&summary.plugin_version),
        "plugin_commit": text(&summary.plugin_commit),
        "engine": if summary.engine == abi::ENGINE_TENSORRT { "TensorRT" } else { "CPU" },
        "engine_version": text(&summary.engine_version),
        "driver": text(&summary.driver_version),
        "gpu_uuid": text(&summary.gpu_uuid),
        "precision": precision_name(info.precision),
        "cpu_kernels": text(&summary.cpu_kernels),
        "plan_digest": (info.plan_digest != [0; 32]).then_some(Digest(info.plan_digest)),
        "fallback_reason": summary.fallback_reason,
        "fallback_message": text(&info.fallback_message),
        "profile_digest": Digest(summary.profile_digest),
        "configuration_digest": Digest(summary.configuration_digest),
    })
}

fn summary(summary: &abi::SlideSummary) -> Value {
    let by_status: serde_json::Map<String, Value> =
        STATUSES.iter().zip(&summary.results[1..]).map(|(name, count)| ((*name).into(), json!(count))).collect();
    json!({
        "cancelled": summary.cancelled != 0,
        "poisoned": summary.poisoned != 0,
        "opened": summary.opened,
        "in_flight": summary.in_flight,
        "results": summary.results[0],
        "by_status": by_status,
        "frames_accepted": summary.frames_accepted,
        "frames_refused": summary.frames_refused,
        "pixels_used": summary.pixels_used,
        "pixels_duplicate": summary.pixels_duplicate,
        "pixels_late": summary.pixels_late,
        "pixels_outside": summary.pixels_outside,
        "retired_early": summary.retired_early,
        "alerts": summary.alerts,
        "memory_bytes": summary.memory_bytes,
        "slots": summary.slots,
        "alpha": summary.alpha,
        "white_point": summary.white_point,
        "scanner": verdict(summary.scanner_verdict, summary.scanner_p_value, ["unknown", "matches", "mismatches"], KNOWN_ONLY),
        "novelty": verdict(summary.novelty_verdict, summary.novelty_p_value, ["unknown", "known", "none of these"], ANY),
    })
}

/// What the verdicts of a slide are about.
const KNOWN_ONLY: &str = "along the directions in which the profile's scanners differ: another scanner may match";
const ANY: &str = "whether the slide looks like slides of any scanner of the profile";

/// A verdict on the slide as a whole, by its code.
fn verdict(code: i32, p: f64, names: [&str; 3], about: &str) -> Value {
    let name = usize::try_from(code).ok().and_then(|code| names.get(code).copied()).unwrap_or("unknown");
    json!({ "verdict": name, "p": Some(p).filter(|p| p.is_finite()), "about": about })
}

/// For each flag, the tiles on which it was checked and those on which it was raised.
fn flags(summary: &abi::SlideSummary) -> Value {
    let one = |bit: usize| json!({ "checked": summary.flags_checked[bit], "raised": summary.flags_raised[bit] });
    FLAGS.iter().enumerate().map(|(bit, name)| ((*name).to_owned(), one(bit))).collect::<serde_json::Map<_, _>>().into()
}

fn alert(alert: &abi::Alert) -> Value {
    json!({
        "what": alert_name(alert.code),
        "calibrated": alert.calibrated != 0,
        "box": if alert.width == 0 { Value::Null } else {
            json!({ "x": alert.x, "y": alert.y, "width": alert.width, "height": alert.height })
        },
        "since_sequence": alert.since_sequence,
        "since_frame_id": alert.since_frame_id,
        "strength": alert.strength,
        "threshold": alert.threshold,
        "time_s": alert.time_ns as f64 * 1e-9,
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
