//! Plays a slide: one thread reads frames, one submits them, this one takes the results.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use coverslip_plugin_abi as abi;
use serde::Serialize;

use super::field::FieldOfView;
use super::frames::{Layout, Plan, Planned};
use super::progress::Line;
use super::{Collected, Thumbnail, alert_name};
use crate::host::{HostError, Results, RgbFrame, Runtime, Slide};
use coverslip_slides::{Mpp, Rect, SlideSource, SourceError};

/// Frames that are read ahead.
const AHEAD: usize = 4;
/// Results taken at a time.
const BATCH: usize = 256;

/// What the acquisition thread counted.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Submission {
    pub(crate) frames: u64,
    /// Answers BUSY, also to frames that were taken later.
    pub(crate) busy: u64,
    /// Frames that were held back and taken later.
    pub(crate) taken_late: u64,
    /// Frames that were given up.
    pub(crate) lost: u64,
    /// The longest time in one submit call that does not wait.
    pub(crate) longest_submit_us: u64,
}

/// Everything that is known when the slide is over.
pub(crate) struct Played {
    pub(crate) collected: Collected,
    pub(crate) alerts: Vec<abi::Alert>,
    /// For each alert, how many results had come when it was taken.
    pub(crate) seen_at_alert: Vec<usize>,
    pub(crate) summary: abi::SlideSummary,
    pub(crate) stats: abi::RuntimeStats,
    pub(crate) thumbnail: Thumbnail,
    pub(crate) submission: Submission,
    pub(crate) slide_size: (u32, u32),
    pub(crate) frame_size: (u32, u32),
    pub(crate) planned_frames: usize,
    /// What the model saw in a tile.
    pub(crate) field: FieldOfView,
    pub(crate) seconds: f64,
    /// The first error of the plugin, which ended the submission.
    pub(crate) error: Option<HostError>,
}

impl Played {
    /// Every tile that the library opened has ended in exactly one result, and all of them came here.
    pub(crate) fn conservation(&self) -> Result<(), String> {
        let summary = &self.summary;
        let received = self.collected.tiles.len() as u64;
        let by_status: u64 = summary.results[1..].iter().sum();
        let twice = self.collected.duplicates();
        let whole = summary.opened == summary.results[0]
            && summary.results[0] == by_status
            && by_status == received
            && summary.in_flight == 0
            && summary.unpolled == 0
            && twice == 0;
        if whole {
            return Ok(());
        }
        Err(format!(
            "tiles are not accounted for: expected every opened tile in one result; found {} opened, {} ended \
             ({by_status} by status), {} in flight, {} not polled, {received} received, {twice} of them twice. This is \
             a defect of the library: report it with slide.json",
            summary.opened, summary.results[0], summary.in_flight, summary.unpolled
        ))
    }
}

/// How a slide is played.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Who scans: what a profile knows the scanner by.
    pub(crate) scanner_id: String,
    pub(crate) layout: Layout,
    /// Width and height of a frame, px; None: the source's own tiles, or the layout's default.
    pub(crate) frame_size: Option<u32>,
    /// Tiles per second; None: as fast as the plugin takes them.
    pub(crate) rate: Option<f64>,
    /// Frames that wait for the plugin at most, where there is a rate.
    pub(crate) hold: usize,
    pub(crate) embeddings: bool,
    /// Whether a slide that is coarser than the model is enlarged.
    pub(crate) stretch: bool,
    pub(crate) alpha: f64,
    /// Whether alerts are told while the slide is played.
    pub(crate) tell_alerts: bool,
}

/// Plays the slide to its end, or to where `stop` is set.
pub(crate) fn play(
    settings: &Settings,
    runtime: &Runtime<'_>,
    info: &abi::RuntimeInfo,
    source: &mut dyn SlideSource,
    mpp: &Mpp,
    stop: &AtomicBool,
) -> Result<Played, Box<dyn Error>> {
    let (width, height) = (source.info().width, source.info().height);
    let size = settings.frame_size.map(|size| (size, size)).or(source.info().natural_tile);
    let plan = Plan::new(settings.layout, size, width, height);
    let field = FieldOfView::new(info.side, info.mpp, mpp, settings.stretch)?;
    let tile = field.tile;
    let name = source.info().name.clone();
    let slide = runtime.begin(&settings.scanner_id, &name, |desc| {
        desc.color_state = abi::COLOR_UNKNOWN;
        (desc.mpp_x, desc.mpp_y) = (mpp.x, mpp.y);
        (desc.extent_width, desc.extent_height) = (width.into(), height.into());
        (desc.max_frame_width, desc.max_frame_height) = (plan.width, plan.height);
        // A line of frames opens a whole row of tiles before the next line closes it.
        (desc.spread_width, desc.spread_height) = (width.into(), plan.height.into());
        desc.alpha = settings.alpha;
        desc.flags = if settings.embeddings { abi::SLIDE_EMBEDDINGS } else { 0 };
    })?;
    let mut thumbnail = Thumbnail::new(width, height);
    let (frames_out, frames_in) = sync_channel(AHEAD);
    let (used_out, used_in) = channel();
    let started = Instant::now();
    let acquisition = Acquisition { slide: &slide, stop, settings, tile_pixels: f64::from(tile.0) * f64::from(tile.1) };
    let outcome = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_frames(source, &plan, &mut thumbnail, frames_out, used_in, stop));
        let submitter = scope.spawn(|| acquisition.submit_all(frames_in, used_out));
        let received = receive(&slide, settings, info, stop, &plan);
        if received.is_err() {
            stop.store(true, Ordering::SeqCst);
        }
        let read = reader.join().map_err(|_| "the thread that reads the slide has failed")?;
        let submitted = submitter.join().map_err(|_| "the thread that submits frames has failed")?;
        // What the file says comes first: it is why the slide was cancelled.
        read?;
        Ok::<_, Box<dyn Error>>((received?, submitted))
    });
    let ((mut collected, taken), (submission, error)) = outcome?;
    let (alerts, seen_at_alert) = taken.into_iter().unzip();
    let seconds = started.elapsed().as_secs_f64();
    let (summary, stats) = (slide.summary()?, runtime.stats()?);
    collected.sort();
    Ok(Played {
        collected,
        alerts,
        seen_at_alert,
        summary,
        stats,
        thumbnail,
        submission,
        slide_size: (width, height),
        frame_size: (plan.width, plan.height),
        planned_frames: plan.frames.len(),
        field,
        seconds,
        error,
    })
}

/// A frame on its way to the plugin.
struct Captured {
    planned: Planned,
    id: u64,
    pixels: Vec<u8>,
}

fn read_frames(
    source: &mut dyn SlideSource,
    plan: &Plan,
    thumbnail: &mut Thumbnail,
    out: SyncSender<Result<Captured, ()>>,
    used: Receiver<Vec<u8>>,
    stop: &AtomicBool,
) -> Result<(), SourceError> {
    for (index, planned) in plan.frames.iter().enumerate() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let mut pixels = used.try_recv().unwrap_or_default();
        if let Err(error) = source.read(planned.rect, &mut pixels) {
            // Tells the acquisition to cancel; nobody listens any more if it has ended.
            let _ = out.send(Err(()));
            return Err(error);
        }
        thumbnail.add(planned.rect, &pixels);
        if out.send(Ok(Captured { planned: *planned, id: index as u64 + 1, pixels })).is_err() {
            break;
        }
    }
    Ok(())
}

/// The acquisition thread's side.
struct Acquisition<'a> {
    slide: &'a Slide<'a>,
    stop: &'a AtomicBool,
    settings: &'a Settings,
    tile_pixels: f64,
}

impl Acquisition<'_> {
    /// Submits every frame, then finishes the slide; the second value is the error that ended it early.
    fn submit_all(
        &self,
        frames: Receiver<Result<Captured, ()>>,
        used: Sender<Vec<u8>>,
    ) -> (Submission, Option<HostError>) {
        let mut counts = Submission::default();
        let error = self.submit_frames(frames, used, &mut counts).err();
        // After an error, as after Ctrl-C, what is left ends as cancelled, and everything is still accounted for.
        if error.is_some() || self.stopped() {
            let _ = self.slide.cancel();
        }
        let mut finished = self.slide.finish(Duration::from_millis(500));
        while let Ok(false) = finished {
            if self.stopped() {
                let _ = self.slide.cancel();
            }
            finished = self.slide.finish(Duration::from_millis(500));
        }
        let error = if self.stopped() { None } else { error };
        (counts, error.or(finished.err()))
    }

    fn submit_frames(
        &self,
        frames: Receiver<Result<Captured, ()>>,
        used: Sender<Vec<u8>>,
        counts: &mut Submission,
    ) -> Result<(), HostError> {
        let started = Instant::now();
        let mut covered = 0;
        let mut held: VecDeque<Captured> = VecDeque::new();
        for frame in frames {
            let Ok(frame) = frame else {
                self.stop.store(true, Ordering::SeqCst);
                return Ok(());
            };
            let Some(rate) = self.settings.rate else {
                if !self.submit_patiently(&frame, counts)? {
                    return Ok(());
                }
                let _ = used.send(frame.pixels);
                continue;
            };
            covered += frame.planned.fresh;
            let due = started + Duration::from_secs_f64(covered as f64 / self.tile_pixels / rate);
            if !self.sleep_until(due) {
                return Ok(());
            }
            // A held frame first: its line is the older one.
            if let Some(oldest) = held.front()
                && self.submit_once(oldest, counts)?
            {
                counts.taken_late += 1;
                let _ = used.send(held.pop_front().map(|frame| frame.pixels).unwrap_or_default());
            }
            if self.submit_once(&frame, counts)? {
                let _ = used.send(frame.pixels);
                continue;
            }
            held.push_back(frame);
            while held.len() > self.settings.hold {
                counts.lost += 1;
                held.pop_front();
            }
        }
        for frame in held {
            if !self.submit_patiently(&frame, counts)? {
                return Ok(());
            }
            counts.taken_late += 1;
        }
        Ok(())
    }

    /// As a scanner that cannot wait; false: BUSY.
    fn submit_once(&self, frame: &Captured, counts: &mut Submission) -> Result<bool, HostError> {
        let begun = Instant::now();
        let outcome = self.slide.submit(&raw(frame, self.settings.rate.is_some()), None);
        counts.longest_submit_us = counts.longest_submit_us.max(begun.elapsed().as_micros() as u64);
        match outcome {
            Ok(()) => {
                counts.frames += 1;
                Ok(true)
            }
            Err(error) if error.code == abi::BUSY => {
                counts.busy += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// As a host that may wait; false: the scan was stopped.
    fn submit_patiently(&self, frame: &Captured, counts: &mut Submission) -> Result<bool, HostError> {
        loop {
            if self.stopped() {
                return Ok(false);
            }
            // Long: a wait that runs out is a refused frame, which a host that may wait has no reason to report.
            match self.slide.submit(&raw(frame, self.settings.rate.is_some()), Some(Duration::from_secs(600))) {
                Ok(()) => {
                    counts.frames += 1;
                    return Ok(true);
                }
                Err(error) if error.code == abi::BUSY => counts.busy += 1,
                Err(error) if error.code == abi::INTERRUPTED => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn sleep_until(&self, due: Instant) -> bool {
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if self.stopped() {
                return false;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        !self.stopped()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// A file played at full speed has no time of capture: results cannot come later than the acquisition.
fn raw(frame: &Captured, paced: bool) -> RgbFrame<'_> {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let Rect { x, y, width, height } = frame.planned.rect;
    RgbFrame {
        x: x.into(),
        y: y.into(),
        width,
        height,
        pixels: &frame.pixels,
        frame_id: frame.id,
        group_id: frame.planned.group,
        capture_time_ns: if paced { now().map_or(0, |time| time.as_nanos() as i64) } else { 0 },
    }
}

/// Takes results and alerts until the slide is over, and shows how it goes.
fn receive(
    slide: &Slide<'_>,
    settings: &Settings,
    info: &abi::RuntimeInfo,
    stop: &AtomicBool,
    plan: &Plan,
) -> Result<(Collected, Vec<(abi::Alert, usize)>), HostError> {
    let mut results =
        Results::new(BATCH, info.features_per_tile, if settings.embeddings { info.embedding_width } else { 0 });
    let (mut collected, mut alerts) = (Collected::default(), Vec::new());
    let mut line = Line::new();
    let started = Instant::now();
    let mut stopping = false;
    loop {
        let more = slide.wait(&mut results, Duration::from_millis(100))?;
        collected.take(&results);
        for alert in slide.alerts()? {
            if settings.tell_alerts {
                line.say(&alert_line(&alert));
            }
            alerts.push((alert, collected.tiles.len()));
        }
        if !more {
            line.clear();
            return Ok((collected, alerts));
        }
        if stop.load(Ordering::SeqCst) && !stopping {
            stopping = true;
            slide.cancel()?;
            slide.interrupt()?;
        }
        let summary = slide.summary()?;
        let frames = summary.frames_accepted as usize * 100 / plan.frames.len().max(1);
        line.show(&format!(
            "{frames:3} % | {:6} tiles | {:6.1} tiles/s | queue {:5} | alerts {} | {}",
            collected.tiles.len(),
            collected.tiles.len() as f64 / started.elapsed().as_secs_f64().max(1e-3),
            summary.in_flight,
            alerts.len(),
            if stopping { "stopping" } else { "Ctrl-C stops" },
        ));
    }
}

/// An alert in one line: what, where, how strong.
pub(crate) fn alert_line(alert: &abi::Alert) -> String {
    let place = match alert.width {
        0 => "whole slide".to_owned(),
        width => format!("x {}..{} y {}..{}", alert.x, alert.x + width as i64, alert.y, alert.y + alert.height as i64),
    };
    let strength = match alert.code {
        abi::ALERT_LAGGING => format!(", {:.1} s against {:.1} s", alert.strength * 1e-9, alert.threshold * 1e-9),
        abi::ALERT_ENGINE_FALLBACK => String::new(),
        _ => format!(", {} against {}", short(alert.strength), short(alert.threshold)),
    };
    format!("alert {}: {place}{strength}", alert_name(alert.code))
}

/// Three decimals at most, none where there are none.
fn short(value: f64) -> String {
    format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}
