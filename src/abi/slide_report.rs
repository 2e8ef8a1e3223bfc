//! `slide_report_json`: what is known of a slide, as one text.
//!
//! All that can change is copied first. The text is then made twice of the copy: once to count its bytes, once into the
//! host's memory. No memory is asked for, and no thread of the library waits for the length of a report.

use std::ffi::c_char;
use std::fmt;
use std::io;
use std::iter::from_fn;
use std::mem::MaybeUninit;

use coverslip_base::error::{Result, error};
use coverslip_base::sync::Arc;
use coverslip_bundle::signature::KeyId;
use coverslip_bundle::{Digest, Manifest};
use coverslip_engine::{About, Loss};
use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::names::{FLAGS, STATUSES, alert_name, precision_name};
use coverslip_plugin_abi::{Alert, SlideSummary};
use serde::{Serialize, Serializer};

use super::report::{self, COMMIT, VERSION};
use crate::judge::rules::precision_of;
use crate::runtime::Runtime;
use crate::slide::state::Slide;

/// Alerts that are copied at a time.
const AT_A_TIME: usize = 16;
/// The version of the contract.
const ABI: &str = "1.1";
const _: () = assert!(abi::ABI_MAJOR == 1 && abi::ABI_MINOR == 1, "ABI is their text");

type Outcome<S> = std::result::Result<<S as Serializer>::Ok, <S as Serializer>::Error>;

/// Writes the report and its NUL.
///
/// # Safety
/// `buffer` and `needed` are as the contract says.
pub(super) unsafe fn write(
    (runtime, slide): (&Runtime, &Slide),
    buffer: *mut c_char,
    capacity: u64,
    needed: *mut u64,
) -> Result<()> {
    if buffer.is_null() && capacity > 0 {
        return Err(error!(INVALID_ARGUMENT, "expected a buffer of {capacity} bytes, found NULL"));
    }
    let moment = Moment::of(runtime, slide);
    let report = moment.report(runtime, slide);
    let mut size = page(&report, &mut [])? + 1;
    if size as u64 <= capacity {
        // SAFETY: the buffer has at least so many bytes, of which none is read.
        let place = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<MaybeUninit<u8>>(), size) };
        // Shorter than it was counted where the slide has ended meanwhile.
        let length = page(&report, place)?;
        place[length].write(0);
        size = length + 1;
    }
    if !needed.is_null() {
        // SAFETY: the caller's promise.
        unsafe { needed.write(size as u64) };
    }
    if size as u64 > capacity {
        return Err(error!(BUFFER_TOO_SMALL, "expected a buffer of {size} bytes, found {capacity}"));
    }
    Ok(())
}

/// Writes as much of the report as fits; its whole length in bytes.
fn page(report: &Report<'_>, place: &mut [MaybeUninit<u8>]) -> Result<usize> {
    let mut page = Page { place, length: 0 };
    serde_json::to_writer(&mut page, report).map_err(|e| error!(INTERNAL, "the report cannot be written: {e}"))?;
    Ok(page.length)
}

struct Page<'b> {
    place: &'b mut [MaybeUninit<u8>],
    length: usize,
}

impl io::Write for Page<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(place) = self.place.get_mut(self.length..self.length + bytes.len()) {
            place.write_copy_of_slice(bytes);
        }
        self.length += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What can change while the text is made.
struct Moment {
    /// Counted before the summary is made, which counts at least these.
    alerts: usize,
    summary: SlideSummary,
    about: Arc<About>,
    in_worker: bool,
    engine_bytes: u64,
    loss: Option<Loss>,
}

impl Moment {
    fn of(runtime: &Runtime, slide: &Slide) -> Moment {
        let (alerts, duty) = (slide.raised(), &runtime.shared.duty);
        Moment {
            alerts,
            summary: report::summary(runtime, slide),
            about: duty.about(),
            in_worker: duty.process() != 0,
            engine_bytes: duty.memory_bytes(),
            loss: duty.loss(),
        }
    }

    fn report<'m>(&'m self, runtime: &'m Runtime, slide: &'m Slide) -> Report<'m> {
        Report {
            format: "coverslip-slide-report/1",
            bundle: Bundle::of(runtime),
            profile: runtime.profile.as_ref().map(|(profile, _)| Profile {
                digest: Digest(runtime.profile_digest),
                key: runtime.profile_key.map(AsText),
                precision: Some(precision_of(profile)).filter(|&precision| precision != 0).map(precision_name),
            }),
            versions: self.versions(),
            summary: Summary::of(&self.summary),
            flags: Flags(&self.summary),
            alerts: Alerts { slide, count: self.alerts },
        }
    }

    fn versions(&self) -> Versions<'_> {
        let (about, summary) = (&*self.about, &self.summary);
        Versions {
            abi: ABI,
            plugin: VERSION,
            plugin_commit: COMMIT,
            engine: if about.kind == abi::ENGINE_TENSORRT { "TensorRT" } else { "CPU" },
            engine_version: &about.version,
            engine_lanes: about.lanes,
            engine_max_batch: about.max_batch,
            engine_in_worker: self.in_worker,
            engine_memory_bytes: self.engine_bytes,
            driver: &about.driver,
            gpu_uuid: &about.gpu_uuid,
            precision: precision_name(about.precision),
            cpu_kernels: &about.cpu_kernels,
            plan_digest: (about.plan_digest != [0; 32]).then_some(Digest(about.plan_digest)),
            fallback_reason: self.loss.as_ref().map_or(abi::REASON_NONE, |loss| loss.reason),
            fallback_message: self.loss.as_ref().map_or("", |loss| loss.error.text()),
            configuration_digest: Digest(summary.configuration_digest),
        }
    }
}

#[derive(Serialize)]
struct Report<'m> {
    format: &'static str,
    bundle: Bundle<'m>,
    profile: Option<Profile>,
    versions: Versions<'m>,
    summary: Summary<'m>,
    flags: Flags<'m>,
    alerts: Alerts<'m>,
}

/// Text that is made while it is written.
struct AsText<T>(T);

impl<T: fmt::Display> Serialize for AsText<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Outcome<S> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct Bundle<'m> {
    name: &'m str,
    digest: Digest,
    key: Option<AsText<KeyId>>,
    side: usize,
    mpp: f64,
    tap_widths: TapWidths<'m>,
    embedding_width: usize,
    feature_count: usize,
    features_per_tile: usize,
    self_check_error: f64,
}

impl Bundle<'_> {
    fn of(runtime: &Runtime) -> Bundle<'_> {
        let manifest = &*runtime.manifest;
        Bundle {
            name: &manifest.name,
            digest: runtime.bundle_digest,
            key: runtime.bundle_key.map(AsText),
            side: manifest.side,
            mpp: manifest.mpp,
            tap_widths: TapWidths(manifest),
            embedding_width: TapWidths(manifest).each().sum(),
            feature_count: manifest.sae.features(),
            features_per_tile: manifest.sae.features_per_tile(),
            self_check_error: runtime.self_check_error,
        }
    }
}

struct TapWidths<'m>(&'m Manifest);

impl TapWidths<'_> {
    fn each(&self) -> impl Iterator<Item = usize> {
        self.0.taps.iter().map(|tap| self.0.tap_width(tap))
    }
}

impl Serialize for TapWidths<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Outcome<S> {
        serializer.collect_seq(self.each())
    }
}

#[derive(Serialize)]
struct Profile {
    digest: Digest,
    key: Option<AsText<KeyId>>,
    precision: Option<&'static str>,
}

#[derive(Serialize)]
struct Versions<'m> {
    abi: &'static str,
    plugin: &'static str,
    plugin_commit: &'static str,
    engine: &'static str,
    engine_version: &'m str,
    engine_lanes: usize,
    engine_max_batch: usize,
    engine_in_worker: bool,
    engine_memory_bytes: u64,
    driver: &'m str,
    gpu_uuid: &'m str,
    precision: &'static str,
    cpu_kernels: &'m str,
    plan_digest: Option<Digest>,
    fallback_reason: i32,
    fallback_message: &'m str,
    configuration_digest: Digest,
}

#[derive(Serialize)]
struct Summary<'m> {
    state: &'static str,
    cancelled: bool,
    poisoned: bool,
    opened: u64,
    in_flight: u64,
    unpolled: u64,
    results: u64,
    by_status: ByStatus<'m>,
    frames_accepted: u64,
    frames_refused: u64,
    pixels_used: u64,
    pixels_duplicate: u64,
    pixels_late: u64,
    pixels_outside: u64,
    pixels_not_scanned: u64,
    retired_early: u64,
    channel_refused: &'m [u64; 4],
    tiles_retried: u64,
    worker_restarts: u64,
    alerts: u64,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    elapsed_s: f64,
    memory_bytes: u64,
    slots: u64,
    alpha: f64,
    white_point: &'m [f64; 3],
    scanner: Verdict,
    novelty: Verdict,
}

impl Summary<'_> {
    fn of(summary: &SlideSummary) -> Summary<'_> {
        Summary {
            state: match summary.state {
                abi::SLIDE_OPEN => "open",
                abi::SLIDE_DRAINING => "draining",
                _ => "finished",
            },
            cancelled: summary.cancelled != 0,
            poisoned: summary.poisoned != 0,
            opened: summary.opened,
            in_flight: summary.in_flight,
            unpolled: summary.unpolled,
            results: summary.results[0],
            by_status: ByStatus(&summary.results),
            frames_accepted: summary.frames_accepted,
            frames_refused: summary.frames_refused,
            pixels_used: summary.pixels_used,
            pixels_duplicate: summary.pixels_duplicate,
            pixels_late: summary.pixels_late,
            pixels_outside: summary.pixels_outside,
            pixels_not_scanned: summary.pixels_not_scanned,
            retired_early: summary.retired_early,
            channel_refused: &summary.channel_refused,
            tiles_retried: summary.tiles_retried,
            worker_restarts: summary.worker_restarts,
            alerts: summary.alerts,
            latency_p50_ms: summary.latency_p50_ns as f64 * 1e-6,
            latency_p99_ms: summary.latency_p99_ns as f64 * 1e-6,
            // To the millisecond: the length of the text changes little.
            elapsed_s: (summary.elapsed_ns / 1_000_000) as f64 / 1e3,
            memory_bytes: summary.memory_bytes,
            slots: summary.slots,
            alpha: summary.alpha,
            white_point: &summary.white_point,
            scanner: Verdict::of_scanner(summary),
            novelty: Verdict::of_novelty(summary),
        }
    }
}

struct ByStatus<'m>(&'m [u64; 8]);

impl Serialize for ByStatus<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Outcome<S> {
        serializer.collect_map(STATUSES.iter().zip(&self.0[1..]))
    }
}

/// A verdict on the slide as a whole.
#[derive(Serialize)]
struct Verdict {
    verdict: &'static str,
    /// NaN, which is written as null, while it is unknown.
    p: f64,
    about: &'static str,
}

impl Verdict {
    fn of_scanner(summary: &SlideSummary) -> Verdict {
        let verdict = match summary.scanner_verdict {
            abi::SCANNER_MATCHES => "matches",
            abi::SCANNER_MISMATCHES => "mismatches",
            _ => "unknown",
        };
        let about = "along the directions in which the profile's scanners differ: another scanner may match";
        Verdict { verdict, p: summary.scanner_p_value, about }
    }

    fn of_novelty(summary: &SlideSummary) -> Verdict {
        let verdict = match summary.novelty_verdict {
            abi::NOVELTY_KNOWN => "known",
            abi::NOVELTY_NONE => "none of these",
            _ => "unknown",
        };
        let about = "whether the slide looks like slides of any scanner of the profile";
        Verdict { verdict, p: summary.novelty_p_value, about }
    }
}

/// By flag: the tiles on which it was checked and those on which it was raised, and its level.
struct Flags<'m>(&'m SlideSummary);

#[derive(Serialize)]
struct Flag {
    checked: u64,
    raised: u64,
    alpha: Option<f64>,
}

impl Serialize for Flags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Outcome<S> {
        let SlideSummary { flags_checked, flags_raised, flag_alpha, .. } = self.0;
        serializer.collect_map(FLAGS.iter().enumerate().map(|(bit, name)| {
            let alpha = Some(flag_alpha[bit]).filter(|&alpha| alpha > 0.0);
            (name, Flag { checked: flags_checked[bit], raised: flags_raised[bit], alpha })
        }))
    }
}

/// The first alerts, taken or not.
struct Alerts<'m> {
    slide: &'m Slide,
    count: usize,
}

impl Serialize for Alerts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Outcome<S> {
        let (mut few, mut from, mut at, mut there) = ([Alert::default(); AT_A_TIME], 0, 0, 0);
        serializer.collect_seq(from_fn(|| {
            if at == there {
                (from, at) = (from + there, 0);
                let room = (self.count - from).min(AT_A_TIME);
                there = self.slide.copy_raised(from, &mut few[..room]);
            }
            at += 1;
            few[..there].get(at - 1).map(Raised::of)
        }))
    }
}

#[derive(Serialize)]
struct Raised {
    sequence: u64,
    what: &'static str,
    calibrated: bool,
    /// None: the slide as a whole.
    #[serde(rename = "box")]
    area: Option<Area>,
    since_sequence: u64,
    since_frame_id: u64,
    strength: f64,
    threshold: f64,
    reason: i32,
    time_s: f64,
}

#[derive(Serialize)]
struct Area {
    x: i64,
    y: i64,
    width: u64,
    height: u64,
}

impl Raised {
    fn of(alert: &Alert) -> Raised {
        let &Alert { x, y, width, height, .. } = alert;
        Raised {
            sequence: alert.sequence,
            what: alert_name(alert.code),
            calibrated: alert.calibrated != 0,
            area: (width > 0).then_some(Area { x, y, width, height }),
            since_sequence: alert.since_sequence,
            since_frame_id: alert.since_frame_id,
            strength: alert.strength,
            threshold: alert.threshold,
            reason: alert.reason,
            time_s: alert.time_ns as f64 * 1e-9,
        }
    }
}
