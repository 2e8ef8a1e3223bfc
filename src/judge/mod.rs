//! The judge: one loop that gives every tile its result. It owns the dockets of all slides; everybody else sends events
//! and reads what slides publish. It also keeps the time, so that a deadline holds while an engine hangs.

pub(crate) mod alerts;
pub(crate) mod docket;
pub(crate) mod event;
pub(crate) mod flags;
pub(crate) mod history;
#[cfg(loom)]
#[cfg(test)]
mod models;
pub(crate) mod rules;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use self::docket::Docket;
use self::event::Event;
use crate::restarts::Restarts;
use crate::slide::registry::{MAX_HELD_SLIDES, Registry};
use crate::slide::state::Slide;
use coverslip_base::log::Log;
use coverslip_base::memory::Boxed;
use coverslip_base::sync::{Arc, AtomicU64, Ordering};
use coverslip_base::thread::Wakes;

/// The first and the longest pause before the judge asks again whether anybody still holds a slide that is over.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

pub(crate) struct Judge {
    events: Receiver<Event>,
    slides: Arc<Registry>,
    /// With the slides' numbers. A docket stays for as long as anything of its slide is on its way.
    dockets: Vec<(u64, Boxed<Docket>)>,
    /// The last fallback that was heard of.
    fallback: Option<i32>,
    /// When slides that are over are asked for again, and the pause before that. None: none of them is held.
    leaving: Option<(Instant, Duration)>,
    log: Arc<Log>,
    restarts: Arc<Restarts>,
}

impl Judge {
    pub(crate) fn new(events: Receiver<Event>, slides: Arc<Registry>, log: Arc<Log>, restarts: Arc<Restarts>) -> Judge {
        // There is room for all of them: nothing is asked of the system when a slide begins.
        let dockets = Vec::with_capacity(MAX_HELD_SLIDES);
        Judge { events, slides, dockets, fallback: None, leaving: None, log, restarts }
    }

    /// Runs until [`Event::Stop`]; adds the time that it works to `spent`, in nanoseconds. Between events it sleeps until
    /// a deadline is due, and for ever where there is none.
    pub(crate) fn run(mut self, spent: &AtomicU64, wakes: &Wakes) {
        loop {
            let event = wakes.next(&self.events, self.due());
            let now = Instant::now();
            match event {
                // The slides have been ended. Threads that still wait for one must see it finished: nobody looks later.
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return self.look_at_all(now),
                Ok(event) => self.attend(event, now),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.look_where_due(now);
            self.forget_ended(now);
            spent.fetch_add(now.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// When something is to be done although nothing happens.
    fn due(&self) -> Option<Instant> {
        let dockets = self.dockets.iter().filter_map(|(_, docket)| docket.due());
        dockets.chain(self.leaving.map(|(at, _)| at)).min()
    }

    fn look_where_due(&mut self, now: Instant) {
        for (_, docket) in &mut self.dockets {
            if docket.due().is_some_and(|due| due <= now) {
                guarded(&self.log, docket, now, |docket| docket.look(now));
            }
        }
    }

    fn look_at_all(&mut self, now: Instant) {
        for (_, docket) in &mut self.dockets {
            guarded(&self.log, docket, now, |docket| docket.look(now));
        }
    }

    fn attend(&mut self, event: Event, now: Instant) {
        match event {
            Event::Begun(mut docket) => {
                // An engine may have been lost while the slide began. What it has heard is said once.
                if let Some(reason) = self.fallback {
                    guarded(&self.log, &mut docket, now, |docket| docket.fallback(reason, now));
                }
                // It may have been ended while it began: the look that this asked for found no docket.
                guarded(&self.log, &mut docket, now, |docket| docket.look(now));
                self.dockets.push((docket.slide().number, docket));
            }
            Event::Departed(slide, slot, identity) => {
                self.on(&slide, now, |docket| docket.departed(slot, identity, now));
            }
            Event::Returned(work) => self.on(&work.slide, now, |docket| docket.returned(work.slot, now)),
            Event::Look(slide) => {
                slide.standing.begin_look();
                self.on(&slide, now, |docket| docket.look(now));
            }
            Event::Fallback(reason) => {
                self.fallback = Some(reason);
                for (_, docket) in &mut self.dockets {
                    guarded(&self.log, docket, now, |docket| docket.fallback(reason, now));
                }
            }
            Event::Restarted => {
                let Some(restarted) = self.restarts.take() else { return };
                for (_, docket) in &mut self.dockets {
                    guarded(&self.log, docket, now, |docket| docket.restarted(&restarted, now));
                }
            }
            Event::Stop => {}
        }
    }

    /// Runs one step on a slide's docket. There is none for a slide that is ended while it begins.
    fn on(&mut self, slide: &Slide, now: Instant, step: impl FnOnce(&mut Docket)) {
        if let Some((_, docket)) = self.dockets.iter_mut().find(|(number, _)| *number == slide.number) {
            guarded(&self.log, docket, now, step);
        }
        if slide.standing.is_over() {
            // Who holds this one may let go at once, whatever holds another: the pauses begin anew.
            self.leaving = None;
        }
    }

    /// Lets go of the slides that are over. Who holds one meanwhile, a lane that hangs or a call that is about to return,
    /// does not say when it lets go: the judge asks again, each time after twice the pause.
    fn forget_ended(&mut self, now: Instant) {
        let one_is_over = |dockets: &[(u64, Boxed<Docket>)]| dockets.iter().any(|(_, d)| d.slide().standing.is_over());
        if !one_is_over(&self.dockets) {
            return self.leaving = None;
        }
        while let Some(slide) = self.slides.forget_one() {
            self.dockets.retain(|(number, _)| *number != slide.number);
        }
        self.leaving = match self.leaving {
            _ if !one_is_over(&self.dockets) => None,
            Some((at, pause)) if now < at => Some((at, pause)),
            Some((_, pause)) => Some((now + pause, (2 * pause).min(PAUSES.1))),
            None => Some((now + PAUSES.0, 2 * PAUSES.0)),
        };
    }
}

/// Runs one step on a docket; a panic in it poisons the slide and leaves the others alone.
fn guarded(log: &Log, docket: &mut Docket, now: Instant, step: impl FnOnce(&mut Docket)) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| step(&mut *docket))) {
        log.defect("the judge", &*panic);
        docket.slide().standing.poison();
        docket.look_soon(now);
    }
}
