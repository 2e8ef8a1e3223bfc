//! Plays a slide: one thread reads frames, one submits them, this one takes the results.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use coverslip_plugin_abi as abi;
use coverslip_slides::{Rect, Scanned, SlideSource, SourceError, cut_out};

use super::acquisition::Acquisition;
use super::collect::Collected;
use super::frames::Frame;
use super::kept::Kept;
use super::played::Played;
use super::submitter::{Captured, Submitter};
use super::watch::{Progress, Watch};
use crate::host::{HostError, Results, Session, Slide};

/// Frames that are read ahead at most.
const AHEAD: usize = 4;
/// Their pixels at most, bytes; one frame is read ahead whatever its size.
const AHEAD_BYTES: usize = 64 << 20;
/// Results taken at a time.
const BATCH: usize = 256;
/// Values of embeddings taken at a time.
const VALUES: usize = 1 << 24;
/// Embeddings of more values, as of patch tokens, wait for this host in the plugin no further than it needs.
const WIDE: u32 = 1 << 14;
/// Values of such embeddings that may wait.
const WAITING: u32 = 1 << 26;

/// Plays the slide to its end, or until `stop` is set. `see` gets every frame as it is read, on the reading thread; of
/// a frame that was scanned in part, it gets the parts.
///
/// # Errors
/// Where the slide cannot be read, or the plugin refuses it or takes no results. An error in the middle of the slide is
/// in [`Played::error`].
pub(crate) fn play(
    session: &Session,
    acquisition: &Acquisition,
    source: &mut dyn SlideSource,
    see: &mut (dyn FnMut(Rect, &[u8]) + Send),
    watch: &mut dyn Watch,
    stop: &AtomicBool,
) -> Result<Played, Box<dyn Error>> {
    let Acquisition { extent, frames, spread, .. } = acquisition;
    let embeddings = acquisition.flags & abi::SLIDE_EMBEDDINGS != 0;
    let width = if embeddings { session.info.embedding_width } else { 0 };
    let slide = session.runtime.begin(&acquisition.scanner_id, &acquisition.slide_id, |desc| {
        desc.color_state = abi::COLOR_UNKNOWN;
        (desc.mpp_x, desc.mpp_y) = acquisition.mpp;
        (desc.extent_width, desc.extent_height) = (extent.0.into(), extent.1.into());
        (desc.max_frame_width, desc.max_frame_height) = (frames.width, frames.height);
        (desc.spread_width, desc.spread_height) = (spread.0.into(), spread.1.into());
        desc.alpha = acquisition.alpha;
        desc.stain = acquisition.stain;
        desc.flags = acquisition.flags;
        if width > WIDE {
            desc.max_unpolled = (WAITING / width).max(AHEAD as u32);
        }
    })?;
    let at_a_time = (VALUES / width.max(1) as usize).clamp(1, BATCH);
    let results = Results::new(at_a_time, session.info.features_per_tile, width);
    let (frames_out, frames_in) = sync_channel(ahead((frames.width, frames.height)));
    let (used_out, used_in) = channel();
    let started = Instant::now();
    let submitter = Submitter { slide: &slide, stop, pace: acquisition.pace };
    let outcome = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(source, acquisition, see, frames_out, used_in, stop));
        let submitter = scope.spawn(|| submitter.submit_all(frames_in, used_out));
        let received = receive(&slide, (results, &acquisition.kept), frames.list.len(), watch, stop);
        if received.is_err() {
            stop.store(true, Ordering::SeqCst);
        }
        let read = reader.join().map_err(|_| "the thread that reads the slide has failed")?;
        let submitted = submitter.join().map_err(|_| "the thread that submits frames has failed")?;
        // What the file says comes first: it is why the slide was cancelled.
        let unscanned_pixels = read?;
        Ok::<_, Box<dyn Error>>((received?, submitted, unscanned_pixels))
    });
    let ((mut collected, taken), (submission, error), unscanned_pixels) = outcome?;
    let (alerts, seen_at_alert) = taken.into_iter().unzip();
    let seconds = started.elapsed().as_secs_f64();
    let (summary, report, stats) = (slide.summary()?, slide.report()?, session.runtime.stats()?);
    collected.sort();
    Ok(Played {
        collected,
        alerts,
        seen_at_alert,
        summary,
        report,
        stats,
        submission,
        extent: *extent,
        frame_size: (frames.width, frames.height),
        planned_frames: frames.list.len(),
        unscanned_pixels,
        seconds,
        error,
    })
}

/// How many frames of this size are read ahead.
fn ahead((width, height): (u32, u32)) -> usize {
    let frame = Rect { x: 0, y: 0, width, height };
    (AHEAD_BYTES / frame.bytes().max(1)).clamp(1, AHEAD)
}

/// The largest of the buffers that were used. The others go: a frame that was scanned in parts comes back as many of them,
/// and only one is needed for the next.
fn largest(used: &Receiver<Vec<u8>>) -> Vec<u8> {
    used.try_iter().max_by_key(Vec::capacity).unwrap_or_default()
}

/// The reading thread. Gives the number of pixels that were never scanned, which the plugin never sees.
fn read(
    source: &mut dyn SlideSource,
    acquisition: &Acquisition,
    see: &mut (dyn FnMut(Rect, &[u8]) + Send),
    out: SyncSender<Result<Captured, ()>>,
    used: Receiver<Vec<u8>>,
    stop: &AtomicBool,
) -> Result<u64, SourceError> {
    let (mut id, mut unscanned) = (0, 0);
    // False: nobody listens.
    let mut hand_over = |frame: Frame, pixels: Vec<u8>| {
        see(frame.rect, &pixels);
        id += 1;
        out.send(Ok(Captured { frame, id, pixels })).is_ok()
    };
    for &frame in &acquisition.frames.list {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let mut pixels = largest(&used);
        let going_on = match source.read(frame.rect, &mut pixels) {
            Ok(Scanned::All) => hand_over(frame, pixels),
            Ok(Scanned::Parts(parts)) => {
                let parts: Vec<Frame> = parts.iter().map(|&part| frame.part(part)).collect();
                unscanned += frame.fresh - parts.iter().map(|part| part.fresh).sum::<u64>().min(frame.fresh);
                parts.into_iter().all(|part| hand_over(part, cut_out(&pixels, frame.rect, part.rect)))
            }
            Err(error) => {
                // Makes the submitter cancel the slide. It no longer listens if it has ended.
                let _ = out.send(Err(()));
                return Err(error);
            }
        };
        if !going_on {
            break;
        }
    }
    Ok(unscanned)
}

/// Takes results and alerts until the slide is over. Each alert comes with the number of results before it.
fn receive(
    slide: &Slide<'_>,
    (mut results, kept): (Results, &Kept),
    all_frames: usize,
    watch: &mut dyn Watch,
    stop: &AtomicBool,
) -> Result<(Collected, Vec<(abi::Alert, usize)>), HostError> {
    let (mut collected, mut alerts) = (Collected::default(), Vec::new());
    let mut stopping = false;
    loop {
        let more = slide.wait(&mut results, Duration::from_millis(100))?;
        collected.take(&results, kept);
        for alert in slide.alerts()? {
            watch.alert(&alert);
            alerts.push((alert, collected.tiles.len()));
        }
        if !more {
            watch.end();
            return Ok((collected, alerts));
        }
        if stop.load(Ordering::SeqCst) && !stopping {
            stopping = true;
            slide.cancel()?;
            slide.interrupt()?;
        }
        let summary = slide.summary()?;
        watch.progress(&Progress {
            frames: summary.frames_accepted as usize,
            all_frames,
            tiles: collected.tiles.len(),
            in_flight: summary.in_flight,
            alerts: alerts.len(),
            stopping,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_ahead_by_their_bytes() {
        assert_eq!(ahead((512, 512)), AHEAD);
        assert_eq!(ahead((4000, 2000)), 2);
        assert_eq!(ahead((4096, 4096)), 1);
        assert_eq!(ahead((u32::MAX, u32::MAX)), 1, "one at least");
        assert_eq!(ahead((0, 0)), AHEAD);
    }

    #[test]
    fn buffers_of_parts_do_not_pile_up() {
        let (used, waiting) = channel();
        for bytes in [3, 500, 20] {
            used.send(Vec::with_capacity(bytes)).unwrap();
        }
        assert!(largest(&waiting).capacity() >= 500);
        assert!(waiting.try_recv().is_err(), "the smaller ones are gone");
        assert_eq!(largest(&waiting).capacity(), 0);
    }
}
