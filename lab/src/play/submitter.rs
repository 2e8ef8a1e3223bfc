//! The submitting thread: as fast as the plugin takes frames, or at a scanner's pace.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use coverslip_plugin_abi as abi;
use coverslip_slides::Rect;

use super::acquisition::Pace;
use super::frames::Frame;
use super::played::Submission;
use crate::host::{HostError, RgbFrame, Slide};

/// A frame on its way to the plugin, with its pixels.
pub(super) struct Captured {
    pub(super) frame: Frame,
    pub(super) id: u64,
    pub(super) pixels: Vec<u8>,
}

/// The submitting thread.
pub(super) struct Submitter<'a> {
    pub(super) slide: &'a Slide<'a>,
    pub(super) stop: &'a AtomicBool,
    pub(super) pace: Option<Pace>,
}

impl Submitter<'_> {
    /// Submits every frame, then finishes the slide. The second value is the error that ended it early.
    pub(super) fn submit_all(
        &self,
        frames: Receiver<Result<Captured, ()>>,
        used: Sender<Vec<u8>>,
    ) -> (Submission, Option<HostError>) {
        let mut counts = Submission::default();
        let error = self.submit_frames(frames, used, &mut counts).err();
        // After an error, as after Ctrl-C, the tiles that are left end as cancelled, so that all are accounted for.
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
            let Some(pace) = self.pace else {
                if !self.submit_patiently(&frame, counts)? {
                    return Ok(());
                }
                let _ = used.send(frame.pixels);
                continue;
            };
            covered += frame.frame.fresh;
            let due = started + Duration::from_secs_f64(covered as f64 / pace.tile_pixels / pace.tiles_per_s);
            if !self.sleep_until(due) {
                return Ok(());
            }
            // Held frames go first: they are older.
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
            while held.len() > pace.hold {
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

    /// Submits as a scanner that cannot wait. False: the plugin is busy.
    fn submit_once(&self, frame: &Captured, counts: &mut Submission) -> Result<bool, HostError> {
        let begun = Instant::now();
        let outcome = self.slide.submit(&raw(frame, self.pace.is_some()), None);
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

    /// Submits as a host that may wait. False: the scan was stopped.
    fn submit_patiently(&self, frame: &Captured, counts: &mut Submission) -> Result<bool, HostError> {
        loop {
            if self.stopped() {
                return Ok(false);
            }
            // A wait that runs out counts as a refused frame, so the wait is long.
            match self.slide.submit(&raw(frame, self.pace.is_some()), Some(Duration::from_secs(600))) {
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

    /// False: the scan was stopped.
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

/// A file that is played at full speed has no capture times: nothing can lag behind it.
fn raw(frame: &Captured, paced: bool) -> RgbFrame<'_> {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let Rect { x, y, width, height } = frame.frame.rect;
    RgbFrame {
        x: x.into(),
        y: y.into(),
        width,
        height,
        pixels: &frame.pixels,
        frame_id: frame.id,
        group_id: frame.frame.group,
        capture_time_ns: if paced { now().map_or(0, |time| time.as_nanos() as i64) } else { 0 },
    }
}
