//! What a runtime and a slide tell about themselves, in the contract's structs.

use std::sync::atomic::Ordering;
use std::time::Instant;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{AbiStruct, FeatureInfo, RuntimeInfo, RuntimeStats, SlideSummary};

use super::marshal::put_text;
use crate::error::{Result, error};
use crate::judge::alerts::Verdict;
use crate::judge::flags::levels;
use crate::runtime::Runtime;
use crate::slide::Slide;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const COMMIT: &str = env!("COVERSLIP_COMMIT");

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
    info.configuration_digest = runtime.digest;
    put_text(&mut info.bundle_name, &manifest.name);
    put_text(&mut info.plugin_version, VERSION);
    put_text(&mut info.plugin_commit, COMMIT);
    put_text(&mut info.engine_version, &about.version);
    put_text(&mut info.driver_version, &about.driver);
    put_text(&mut info.gpu_uuid, &about.gpu_uuid);
    info.plan_digest = about.plan_digest;
    info.precision = about.precision;
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
    if let Some(known) = sae.labels.iter().find(|label| label.index == index as usize) {
        put_text(&mut info.label, &known.label);
        put_text(&mut info.cell_type, &known.cell_type);
        put_text(&mut info.dataset, &known.dataset);
        info.correlation = known.correlation.unwrap_or(f64::NAN);
        info.tiles = known.tiles.unwrap_or(0);
    } else if let Some(original) = runtime.original_features.as_ref().and_then(|map| map.get(index as usize)) {
        put_text(&mut info.label, &format!("feature {original} of the SAE before pruning"));
    }
    Ok(info)
}

pub(super) fn stats(runtime: &Runtime) -> RuntimeStats {
    let shared = &runtime.shared;
    let (totals, slides) = shared.totals();
    let nanoseconds = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    RuntimeStats {
        slides_open: slides.iter().filter(|slide| !slide.is_ended()).count() as u32,
        frames_accepted: totals.frames_accepted,
        frames_refused: totals.frames_refused,
        results: totals.results,
        tiles_in_flight: slides.iter().map(|slide| slide.in_flight()).sum(),
        batches: nanoseconds(&shared.times.batches),
        slots: slides.iter().map(|slide| slide.config.slots as u64).sum(),
        slots_free: slides.iter().map(|slide| slide.slots_free() as u64).sum(),
        memory_bytes: slides.iter().map(|slide| slide.config.memory_bytes).sum(),
        submit_ns: totals.submit_ns,
        prep_ns: nanoseconds(&shared.times.prep),
        lane_ns: nanoseconds(&shared.times.lane),
        judge_ns: nanoseconds(&shared.times.judge),
        budget_percent: shared.budget.load(Ordering::Relaxed),
        ..RuntimeStats::init()
    }
}

pub(super) fn summary(runtime: &Runtime, slide: &Slide) -> SlideSummary {
    let mut summary = SlideSummary::init();
    // The state and the results first: what happens in between shows as in flight, never as missing.
    summary.state = slide.state();
    summary.results = slide.tally.read();
    let counter = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Acquire);
    summary.opened = counter(&slide.counters.opened);
    summary.in_flight = summary.opened - summary.results[0];
    summary.cancelled = u32::from(slide.is_cancelled());
    summary.poisoned = u32::from(slide.is_poisoned());
    summary.unpolled = slide.outbox.len() as u64;
    summary.frames_accepted = counter(&slide.counters.frames_accepted);
    summary.frames_refused = counter(&slide.counters.frames_refused);
    summary.pixels_used = counter(&slide.counters.pixels_used);
    summary.pixels_duplicate = counter(&slide.counters.pixels_duplicate);
    summary.pixels_late = counter(&slide.counters.pixels_late);
    summary.pixels_outside = counter(&slide.counters.pixels_outside);
    summary.retired_early = counter(&slide.counters.retired_early);
    summary.elapsed_ns = slide.age_ns(Instant::now()) as u64;
    summary.memory_bytes = slide.config.memory_bytes;
    summary.slots = slide.config.slots as u64;
    summary.alpha = slide.config.alpha;
    summary.configuration_digest = slide.config.digest;
    summary.flag_alpha = levels(&slide.config.judged_by);
    let docket = slide.docket();
    summary.alerts = docket.alerts.count();
    (summary.scanner_verdict, summary.scanner_p_value) = match docket.alerts.scanner() {
        Verdict::Unknown => (abi::SCANNER_UNKNOWN, f64::NAN),
        Verdict::Matches(p) => (abi::SCANNER_MATCHES, p),
        Verdict::Mismatch(p) => (abi::SCANNER_MISMATCHES, p),
    };
    summary.flags_checked = docket.flags_checked;
    summary.flags_raised = docket.flags_raised;
    summary.latency_p50_ns = docket.latencies.quantile(0.5);
    summary.latency_p99_ns = docket.latencies.quantile(0.99);
    drop(docket);
    let of_runtime = info(runtime);
    summary.engine = of_runtime.engine;
    summary.fallback_reason = of_runtime.fallback_reason;
    summary.bundle_digest = of_runtime.bundle_digest;
    summary.profile_digest = of_runtime.profile_digest;
    summary.plugin_version = of_runtime.plugin_version;
    summary.plugin_commit = of_runtime.plugin_commit;
    summary.engine_version = of_runtime.engine_version;
    summary.driver_version = of_runtime.driver_version;
    summary.gpu_uuid = of_runtime.gpu_uuid;
    summary.precision = of_runtime.precision;
    debug_assert_eq!(abi::SCORE_COUNT, summary.flags_raised.len());
    summary
}
