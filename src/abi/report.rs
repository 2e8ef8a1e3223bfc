//! `coverslip_runtime_info`, `_runtime_stats`, `_feature_info` and `_slide_summary`.

use std::time::Instant;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{AbiStruct, FeatureInfo, RuntimeInfo, RuntimeStats, SlideSummary};

use super::text::{put_args, put_text};
use crate::judge::rules::precision_of;
use crate::runtime::Runtime;
use crate::slide::counts::{NoveltyVerdict, ScannerVerdict};
use crate::slide::standing::Phase;
use crate::slide::state::Slide;
use coverslip_base::error::{Result, error};
use coverslip_base::sync::{AtomicU64, Ordering};

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(super) const COMMIT: &str = env!("COVERSLIP_COMMIT");

pub(super) fn info(runtime: &Runtime) -> RuntimeInfo {
    let mut info = RuntimeInfo::init();
    let (manifest, about) = (&runtime.manifest, runtime.shared.duty.about());
    info.engine = about.kind;
    info.lanes = about.lanes as u32;
    info.max_batch = about.max_batch as u32;
    info.side = manifest.side as u32;
    info.mpp = manifest.mpp;
    info.tap_count = manifest.taps.len() as u32;
    for (width, tap) in info.tap_widths.iter_mut().zip(&manifest.taps) {
        *width = manifest.tap_width(tap) as u32;
    }
    info.embedding_width = manifest.taps.iter().map(|tap| manifest.tap_width(tap) as u32).sum();
    info.feature_count = manifest.sae.features() as u32;
    info.features_per_tile = manifest.sae.features_per_tile() as u32;
    info.self_check_error = runtime.self_check_error;
    info.bundle_digest = runtime.bundle_digest.0;
    info.profile_digest = runtime.profile_digest;
    info.bundle_key_id = runtime.bundle_key.map_or(0, |key| key.0);
    info.profile_key_id = runtime.profile_key.map_or(0, |key| key.0);
    info.configuration_digest = runtime.digest;
    put_text(&mut info.bundle_name, &manifest.name);
    put_text(&mut info.plugin_version, VERSION);
    put_text(&mut info.plugin_commit, COMMIT);
    put_text(&mut info.engine_version, &about.version);
    put_text(&mut info.driver_version, &about.driver);
    put_text(&mut info.gpu_uuid, &about.gpu_uuid);
    info.plan_digest = about.plan_digest;
    info.precision = about.precision;
    info.worker_process_id = runtime.shared.duty.process();
    info.worker_restarts = runtime.shared.restarts.count();
    info.engine_memory_bytes = runtime.shared.duty.memory_bytes();
    info.cpu_precision = runtime.config.engine.cpu_precision;
    info.profile_precision = runtime.profile.as_ref().map_or(0, |(profile, _)| precision_of(profile));
    put_text(&mut info.cpu_kernels, &about.cpu_kernels);
    if let Some(loss) = runtime.shared.duty.loss() {
        info.fallback_reason = loss.reason;
        put_text(&mut info.fallback_message, loss.error.text());
    }
    info
}

pub(super) fn feature(runtime: &Runtime, index: u32) -> Result<FeatureInfo> {
    let sae = &runtime.manifest.sae;
    if index as usize >= sae.features() {
        return Err(error!(INVALID_ARGUMENT, "expected a feature below {}, found {index}", sae.features()));
    }
    let mut info = FeatureInfo::init();
    (info.index, info.correlation) = (index, f64::NAN);
    (info.partial_correlation, info.p_value) = (f64::NAN, f64::NAN);
    if let Some(known) = sae.labels.iter().find(|label| label.index == index as usize) {
        put_text(&mut info.label, &known.label);
        put_text(&mut info.cell_type, &known.cell_type);
        put_text(&mut info.dataset, &known.dataset);
        info.correlation = known.correlation.unwrap_or(f64::NAN);
        info.tiles = known.tiles.unwrap_or(0);
        if let Some(test) = &known.tested {
            info.partial_correlation = test.partial_correlation.unwrap_or(f64::NAN);
            (info.p_value, info.groups) = (test.p_value, test.groups);
        }
    } else if let Some(original) = runtime.original_features.as_ref().and_then(|map| map.get(index as usize)) {
        put_args(&mut info.label, format_args!("feature {original} of the SAE before pruning"));
    }
    Ok(info)
}

pub(super) fn stats(runtime: &Runtime) -> RuntimeStats {
    let shared = &runtime.shared;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut stats = RuntimeStats::init();
    let totals = shared.slides.totals(|slide| {
        stats.slides_open += u32::from(!slide.standing.is_ended());
        stats.slots += slide.config.slots as u64;
        stats.slots_free += slide.slots_free() as u64;
        stats.memory_bytes += slide.config.memory_bytes;
    });
    stats.frames_accepted = totals.frames_accepted;
    stats.frames_refused = totals.frames_refused;
    stats.results = totals.results;
    stats.tiles_in_flight = totals.in_flight;
    stats.submit_ns = totals.submit_ns;
    stats.batches = read(&shared.batches);
    stats.prep_ns = read(&shared.times.prep);
    stats.lane_ns = read(&shared.times.lane);
    stats.judge_ns = read(&shared.times.judge);
    stats.budget_percent = shared.budget.load(Ordering::Relaxed);
    stats.worker_process_id = shared.duty.process();
    stats.worker_restarts = shared.restarts.count();
    stats.batches_retried = shared.restarts.batches_retried();
    stats.wake_ups = shared.wakes.count();
    stats
}

pub(super) fn summary(runtime: &Runtime, slide: &Slide) -> SlideSummary {
    let mut summary = SlideSummary::init();
    let (phase, counts) = slide.snapshot();
    summary.state = match phase {
        Phase::Open => abi::SLIDE_OPEN,
        Phase::Draining => abi::SLIDE_DRAINING,
        Phase::Finished => abi::SLIDE_FINISHED,
    };
    summary.cancelled = u32::from(slide.standing.is_cancelled());
    summary.poisoned = u32::from(slide.standing.is_poisoned());
    summary.opened = counts.intake.opened;
    summary.in_flight = counts.in_flight();
    summary.results = counts.judged.results;
    summary.unpolled = counts.unpolled();
    summary.frames_accepted = counts.intake.frames_accepted;
    summary.frames_refused = counts.intake.frames_refused;
    summary.pixels_used = counts.intake.pixels_used;
    summary.pixels_duplicate = counts.intake.pixels_duplicate;
    summary.pixels_late = counts.intake.pixels_late;
    summary.pixels_outside = counts.intake.pixels_outside;
    summary.pixels_not_scanned = counts.intake.pixels_not_scanned;
    summary.white_point =
        counts.intake.white.or(slide.config.rules.white).map_or([0.0; 3], |white| white.map(f64::from));
    summary.retired_early = counts.intake.retired_early;
    summary.channel_refused = counts.judged.channel_refused;
    summary.alerts = counts.judged.alerts;
    summary.tiles_retried = counts.judged.retried;
    summary.worker_restarts = counts.judged.restarts;
    (summary.scanner_verdict, summary.scanner_p_value) = match counts.judged.scanner {
        ScannerVerdict::Unknown => (abi::SCANNER_UNKNOWN, f64::NAN),
        ScannerVerdict::Matches(p) => (abi::SCANNER_MATCHES, p),
        ScannerVerdict::Mismatch(p) => (abi::SCANNER_MISMATCHES, p),
    };
    (summary.novelty_verdict, summary.novelty_p_value) = match counts.judged.novelty {
        NoveltyVerdict::Unknown => (abi::NOVELTY_UNKNOWN, f64::NAN),
        NoveltyVerdict::Known(p) => (abi::NOVELTY_KNOWN, p),
        NoveltyVerdict::None(p) => (abi::NOVELTY_NONE, p),
    };
    summary.flags_checked = counts.judged.flags_checked;
    summary.flags_raised = counts.judged.flags_raised;
    summary.latency_p50_ns = counts.judged.latencies.quantile(0.5);
    summary.latency_p99_ns = counts.judged.latencies.quantile(0.99);
    summary.elapsed_ns = slide.age_ns(Instant::now()) as u64;
    summary.memory_bytes = slide.config.memory_bytes;
    summary.slots = slide.config.slots as u64;
    summary.alpha = slide.config.alpha;
    summary.configuration_digest = slide.config.digest;
    summary.flag_alpha = slide.config.flag_alpha;
    put_provenance(&mut summary, &info(runtime));
    summary
}

/// What a slide repeats of its runtime.
fn put_provenance(summary: &mut SlideSummary, runtime: &RuntimeInfo) {
    summary.engine = runtime.engine;
    summary.fallback_reason = runtime.fallback_reason;
    summary.bundle_digest = runtime.bundle_digest;
    summary.profile_digest = runtime.profile_digest;
    summary.plugin_version = runtime.plugin_version;
    summary.plugin_commit = runtime.plugin_commit;
    summary.engine_version = runtime.engine_version;
    summary.driver_version = runtime.driver_version;
    summary.gpu_uuid = runtime.gpu_uuid;
    summary.precision = runtime.precision;
    summary.cpu_kernels = runtime.cpu_kernels;
}
