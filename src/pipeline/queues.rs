//! The bounded queues between assembler, workers and judge. No send ever waits or fails: each queue has room for all
//! that can be in it at once.
//!
//! What can be in the judge's queue at once:
//!
//! - of each slot one departure and one return. A slot departs when its tile leaves the assembler, returns once, and
//!   departs again only after the judge has taken that return and released it;
//! - of each slide one begin, sent once, and one look: `Standing::ask_for_look` lets the next one through only when the
//!   judge has taken the last;
//! - one fallback for each engine that is lost: the one that runs and its spare;
//! - one word of restarted workers: `Restarts::must_be_told` lets the next one through only when the judge has taken the
//!   last;
//! - one stop.
//!
//! Slots and slides are bounded by the registry, the ended ones that still have tiles on their way among them.
//!
//! A tile is in one place at a time, so a worker's queue holds at most all slots, and one stop for each of its workers.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::judge::event::Event;
use crate::slide::registry::{MAX_HELD_SLIDES, MAX_SLOTS};
use crate::slide::state::{Downstream, Slide, Work};
use crate::tiles::slot::Outcome;

/// Threads of one kind, at most.
pub(crate) const MAX_WORKERS: usize = 256;
/// Engines that can be lost, each once: the one that runs, and its spare.
const MAX_LOSSES: usize = 2;

/// What prep workers and lanes take from their queues.
pub(crate) enum Job {
    Tile(Work),
    /// One for each worker, at the end.
    Stop,
}

pub(crate) struct Queues {
    pub(crate) prep: (Sender<Job>, Receiver<Job>),
    pub(crate) ready: (Sender<Job>, Receiver<Job>),
    pub(crate) judge: (Sender<Event>, Receiver<Event>),
}

/// Of a worker's queue.
const JOBS: usize = MAX_SLOTS + MAX_WORKERS;
/// Of the judge's queue.
const EVENTS: usize = 2 * MAX_SLOTS + 2 * MAX_HELD_SLIDES + MAX_LOSSES + 2;

impl Queues {
    /// Bytes that the queues take: each place has a stamp.
    pub(crate) const BYTES: usize =
        2 * JOBS * (size_of::<Job>() + size_of::<usize>()) + EVENTS * (size_of::<Event>() + size_of::<usize>()) + 4096;

    pub(crate) fn new() -> Queues {
        Queues { prep: bounded(JOBS), ready: bounded(JOBS), judge: bounded(EVENTS) }
    }

    /// Tells the judge. There is room, as the module's text counts; false would be a defect.
    pub(crate) fn tell(&self, event: Event) -> bool {
        let told = self.judge.0.try_send(event).is_ok();
        debug_assert!(told, "the judge's queue has room for every event");
        told
    }

    /// Gives a tile with its outcome to the judge.
    pub(crate) fn give_back(&self, work: Work) {
        let slide = work.slide.clone();
        if !self.tell(Event::Returned(work)) {
            slide.standing.poison();
        }
    }

    /// Gives a tile to the lanes.
    pub(crate) fn make_ready(&self, work: Work) {
        self.pass_on(&self.ready.0, work);
    }

    /// Sends a tile to a worker's queue; where that fails, as failed to the judge.
    fn pass_on(&self, queue: &Sender<Job>, work: Work) {
        if let Err(refused) = queue.try_send(Job::Tile(work))
            && let Job::Tile(mut work) = refused.into_inner()
        {
            work.slot.outcome = Outcome::Failed;
            self.give_back(work);
        }
    }
}

impl Downstream for Queues {
    fn depart(&self, mut work: Work) {
        if !self.tell(Event::Departed(work.slide.clone(), work.slot.id, work.slot.identity)) {
            work.slide.standing.poison();
        }
        work.end_if_over();
        if work.slot.outcome == Outcome::Pending {
            self.pass_on(&self.prep.0, work);
        } else {
            self.give_back(work);
        }
    }

    fn look(&self, slide: Arc<Slide>) {
        self.tell(Event::Look(slide));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The count of the module's text, so that a kind of event that is added makes somebody count again.
    #[test]
    fn the_judges_queue_has_room_for_all_events_at_once() {
        let bound = |event: &Event| match event {
            Event::Departed(..) | Event::Returned(_) => MAX_SLOTS,
            Event::Begun(_) | Event::Look(_) => MAX_HELD_SLIDES,
            Event::Fallback(_) => MAX_LOSSES,
            Event::Restarted | Event::Stop => 1,
        };
        assert_eq!((bound(&Event::Fallback(0)), bound(&Event::Stop)), (2, 1));
        let all = 2 * MAX_SLOTS + 2 * MAX_HELD_SLIDES + MAX_LOSSES + 2;
        let queues = Queues::new();
        assert_eq!(queues.judge.0.capacity(), Some(all));
        for _ in 0..all {
            assert!(queues.tell(Event::Stop));
        }
    }
}
