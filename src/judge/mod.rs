//! The judge: one thread that gives every tile its result. It also keeps the time, so that a deadline holds while an
//! engine hangs.

pub(crate) mod alerts;
mod docket;
pub(crate) mod flags;
mod latency;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

pub(crate) use docket::Docket;

use crate::pipeline::queues::Notice;
use crate::runtime::Shared;
use crate::slide::state::Slide;

/// How often deadlines, timeouts and refusals are looked at.
const TICK: Duration = Duration::from_millis(10);

/// The judge's loop.
pub(crate) fn run(shared: &Shared) {
    let mut last_tick = Instant::now();
    loop {
        let notice = shared.pipes.judge.1.recv_timeout(TICK);
        let start = Instant::now();
        match notice {
            Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(notice) => attend(shared, notice, start),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if last_tick.elapsed() >= TICK {
            last_tick = start;
            shared.slides().iter().for_each(|slide| guarded(slide, || look(slide, start)));
            shared.forget_ended();
        }
        shared.times.judge.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

/// Runs one step on a slide; a panic in it poisons the slide and leaves the others alone.
fn guarded(slide: &Arc<Slide>, step: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(step)).is_err() {
        slide.poison();
    }
}

fn attend(shared: &Shared, notice: Notice, now: Instant) {
    match notice {
        Notice::Departed(slide, slot, identity) => {
            guarded(&slide, || slide.docket().departed(slot, identity, now));
        }
        Notice::Returned(work) => {
            let slide = work.slide;
            guarded(&slide, || {
                let free = slide.docket().returned(&slide, work.slot, now);
                if let Some(slot) = free {
                    slide.release(slot);
                }
                slide.gate.notify();
            });
        }
        Notice::Look(slide) => guarded(&slide, || {
            slide.begin_look();
            look(&slide, now);
        }),
        Notice::Fallback(reason) => {
            for slide in shared.slides() {
                guarded(&slide, || slide.note_fallback(reason, now));
                slide.gate.notify();
            }
        }
        Notice::Stop => {}
    }
}

/// Ends a slide's conclusion, also when a panic cuts it short: the slide would never be finished.
struct Conclusion<'s>(&'s Slide);

impl Drop for Conclusion<'_> {
    fn drop(&mut self) {
        self.0.end_conclusion();
    }
}

/// Everything about a slide that is not the return of a tile.
fn look(slide: &Arc<Slide>, now: Instant) {
    let overrun = slide.tend_assembly(now);
    let mut docket = slide.docket();
    if let Some(overrun) = overrun {
        docket.note_overrun(slide, &overrun, now);
    }
    docket.decide(slide, now);
    docket.flush(slide, now, &mut |slot| slide.release(slot));
    if slide.is_closed() {
        slide.sweep_refused(&mut |place, area| docket.settle_refused(slide, place, area, now));
        if slide.is_drained() && slide.begin_conclusion() {
            let _ends = Conclusion(slide);
            docket.conclude(slide, now);
        }
    }
    drop(docket);
    slide.gate.notify();
}
