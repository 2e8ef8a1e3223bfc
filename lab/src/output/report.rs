//! slide.json: what was scanned, with what, how it went and where it came from.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use coverslip_plugin_abi as abi;
use serde_json::{Value, json};

use crate::host::{HostError, Library, Runtime, take_log, text};
use crate::scan::{Args, FLAGS, Played, STATUSES, alert_name};
use coverslip_slides::{Mpp, SourceInfo};

/// Features that get a map in the overview.
pub(super) const MAPS: usize = 8;

/// One of the features that vary most over the slide.
#[derive(Debug, Clone)]
pub(crate) struct StrongFeature {
    pub(super) index: u32,
    pub(super) deviation: f64,
    pub(super) label: String,
}

/// The report, and what the picture needs of it.
pub(crate) struct Report {
    pub(super) source: SourceInfo,
    pub(super) mpp: Mpp,
    pub(super) bundle: String,
    pub(super) embedding_width: u32,
    pub(super) strongest: Vec<StrongFeature>,
    pub(super) value: Value,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "everything that was used in a scan comes together here")]
    pub(crate) fn new(
        args: &Args,
        source: &SourceInfo,
        mpp: &Mpp,
        library: &Library,
        bundle: &Path,
        runtime: &Runtime<'_>,
        info: &abi::RuntimeInfo,
        played: &Played,
        open_seconds: f64,
    ) -> Result<Report, HostError> {
        let mut strongest = Vec::new();
        for (index, deviation) in played.collected.strongest(MAPS) {
            let meaning = runtime.feature_info(index)?;
            strongest.push(StrongFeature { index, deviation, label: text(&meaning.label) });
        }
        let log: Vec<Value> =
            take_log().into_iter().map(|(level, line)| json!({ "level": level, "text": line })).collect();
        let features: Vec<Value> = strongest
            .iter()
            .map(|feature| {
                json!({ "index": feature.index, "label": feature.label, "standard_deviation": feature.deviation })
            })
            .collect();
        let value = json!({
            "format": "coverslip-slide/1",
            "slide": source,
            "mpp": mpp,
            "grid": grid(info, played),
            "scan": scan(args, played),
            "bundle": bundle_value(bundle, info),
            "versions": versions(library, info, &played.summary),
            "summary": summary(&played.summary),
            "flags": flags(&played.summary),
            "alerts": played.alerts.iter().map(alert).collect::<Vec<_>>(),
            "timings": timings(played, open_seconds),
            "strongest_features": features,
            "log": log,
            "error": played.error.as_ref().map(ToString::to_string),
        });
        Ok(Report {
            source: source.clone(),
            mpp: mpp.clone(),
            bundle: text(&info.bundle_name),
            embedding_width: if args.embeddings { info.embedding_width } else { 0 },
            strongest,
            value,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.source.name
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
        serde_json::to_writer_pretty(&mut *out, &self.value)?;
        Ok(writeln!(out)?)
    }
}

fn grid(info: &abi::RuntimeInfo, played: &Played) -> Value {
    let ((width, height), tile) = (played.slide_size, played.field.tile);
    json!({
        "model_side": info.side,
        "model_mpp": info.mpp,
        "tile_width": tile.0,
        "tile_height": tile.1,
        "tile_um": played.field.micrometres,
        "effective_mpp": played.field.effective_mpp,
        "stretched": played.field.stretched,
        "columns": width.div_ceil(tile.0),
        "rows": height.div_ceil(tile.1),
    })
}

fn scan(args: &Args, played: &Played) -> Value {
    json!({
        "frames": args.frames.name(),
        "frame_width": played.frame_size.0,
        "frame_height": played.frame_size.1,
        "planned_frames": played.planned_frames,
        "rate_tiles_per_s": args.rate,
        "frames_held_at_most": args.rate.map(|_| args.hold),
        "threads": args.threads,
        "alpha": args.alpha,
        "submission": played.submission,
    })
}

fn bundle_value(path: &Path, info: &abi::RuntimeInfo) -> Value {
    json!({
        "path": path.display().to_string(),
        "name": text(&info.bundle_name),
        "digest": hex(&info.bundle_digest),
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
        "precision": match info.precision {
            abi::PRECISION_FLOAT16 => "float16",
            abi::PRECISION_BFLOAT16 => "bfloat16",
            _ => "float32",
        },
        "plan_digest": (info.plan_digest != [0; 32]).then(|| hex(&info.plan_digest)),
        "fallback_reason": summary.fallback_reason,
        "fallback_message": text(&info.fallback_message),
        "profile_digest": hex(&summary.profile_digest),
        "configuration_digest": hex(&summary.configuration_digest),
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
    })
}

/// By flag: on how many tiles it was looked at, and on how many it was raised.
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
