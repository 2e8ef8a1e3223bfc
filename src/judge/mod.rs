//! The judge: one loop that gives every tile its result. It owns the dockets of all slides; everybody else sends events
//! and reads what slides publish. It also keeps the time, so that a deadline holds while an engine hangs.

pub(crate) mod alerts;
pub(crate) mod docket;
pub(crate) mod event;
pub(crate) mod flags;
#[cfg(loom)]
#[cfg(test)]
mod models;
pub(crate) mod rules;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use self::docket::Docket;
use self::event::Event;
use crate::slide::registry::Registry;
use crate::slide::state::Slide;
use crate::sync::{Arc, AtomicU64, Ordering};

/// How often deadlines, timeouts and refusals are looked at.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Judge {
    events: Receiver<Event>,
    slides: Arc<Registry>,
    /// By the slides' numbers. A docket stays for as long as anything of its slide is on its way.
    dockets: BTreeMap<u64, Docket>,
    /// The last fallback that was heard of.
    fallback: Option<i32>,
}

impl Judge {
    pub(crate) fn new(events: Receiver<Event>, slides: Arc<Registry>) -> Judge {
        Judge { events, slides, dockets: BTreeMap::new(), fallback: None }
    }

    /// Runs until [`Event::Stop`]; adds the time that it works to `spent`, in nanoseconds.
    pub(crate) fn run(mut self, spent: &AtomicU64) {
        let mut last_tick = Instant::now();
        loop {
            let event = self.events.recv_timeout(TICK);
            let now = Instant::now();
            match event {
                // The slides have been ended. Threads that still wait for one must see it finished: nobody looks later.
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return self.look_at_all(now),
                Ok(event) => self.attend(event, now),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if last_tick.elapsed() >= TICK {
                last_tick = now;
                self.look_at_all(now);
                self.forget_ended();
            }
            spent.fetch_add(now.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
    }

    fn look_at_all(&mut self, now: Instant) {
        self.dockets.values_mut().for_each(|docket| guarded(docket, |docket| docket.look(now)));
    }

    fn attend(&mut self, event: Event, now: Instant) {
        match event {
            Event::Begun(mut docket) => {
                // An engine may have been lost while the slide began. What it has heard is said once.
                if let Some(reason) = self.fallback {
                    guarded(&mut docket, |docket| docket.fallback(reason, now));
                }
                self.dockets.insert(docket.slide().number, *docket);
            }
            Event::Departed(slide, slot, identity) => self.on(&slide, |docket| docket.departed(slot, identity, now)),
            Event::Returned(work) => self.on(&work.slide, |docket| docket.returned(work.slot, now)),
            Event::Look(slide) => {
                slide.standing.begin_look();
                self.on(&slide, |docket| docket.look(now));
            }
            Event::Fallback(reason) => {
                self.fallback = Some(reason);
                for docket in self.dockets.values_mut() {
                    guarded(docket, |docket| docket.fallback(reason, now));
                }
            }
            Event::Stop => {}
        }
    }

    /// Runs one step on a slide's docket. There is none for a slide that is ended while it begins: the next tick looks.
    fn on(&mut self, slide: &Slide, step: impl FnOnce(&mut Docket)) {
        if let Some(docket) = self.dockets.get_mut(&slide.number) {
            guarded(docket, step);
        }
    }

    fn forget_ended(&mut self) {
        for slide in self.slides.forget_ended() {
            self.dockets.remove(&slide.number);
        }
    }
}

/// Runs one step on a docket; a panic in it poisons the slide and leaves the others alone.
fn guarded(docket: &mut Docket, step: impl FnOnce(&mut Docket)) {
    if catch_unwind(AssertUnwindSafe(|| step(&mut *docket))).is_err() {
        docket.slide().standing.poison();
    }
}
