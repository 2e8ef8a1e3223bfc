//! The threads between intake and judge. Each takes a tile with its slot, adds what it knows, and hands both on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::slide::state::Slide;
use crate::tiles::slot::{Identity, Outcome, Slot};

/// Slots of all slides together, at most: what the queues are made for.
pub(crate) const MAX_SLOTS: usize = 16_384;

/// A tile on its way, with the slide it belongs to.
pub(crate) struct Work {
    pub(crate) slide: Arc<Slide>,
    pub(crate) slot: Box<Slot>,
}

impl Work {
    /// Gives a tile of a cancelled or poisoned slide its outcome: nothing more is worth doing for it.
    pub(crate) fn end_if_over(&mut self) {
        if let Some(verdict) = self.slide.verdict_when_over() {
            self.slot.outcome = verdict;
        }
    }
}

/// What prep workers and lanes take from their queues.
pub(crate) enum Job {
    Tile(Work),
    /// One for each worker, at the end.
    Stop,
}

/// What the judge takes from its queue.
pub(crate) enum Notice {
    /// A tile has left the assembler.
    Departed(Arc<Slide>, u32, Identity),
    /// A tile comes back with its outcome.
    Returned(Work),
    /// Something about this slide has changed: it was closed or cancelled, or its outbox has room again.
    Look(Arc<Slide>),
    /// Another engine runs from now on, or none: `COVERSLIP_REASON_*`.
    Fallback(i32),
    Stop,
}

/// The bounded queues. None can overflow: a slot is in one place at a time, and each queue holds them all.
pub(crate) struct Pipes {
    pub(crate) prep: (Sender<Job>, Receiver<Job>),
    pub(crate) ready: (Sender<Job>, Receiver<Job>),
    pub(crate) judge: (Sender<Notice>, Receiver<Notice>),
}

impl Pipes {
    pub(crate) fn new() -> Pipes {
        /// Stops and looks, beside one departure and one return per slot.
        const SLACK: usize = 1024;
        Pipes {
            prep: bounded(MAX_SLOTS + SLACK),
            ready: bounded(MAX_SLOTS + SLACK),
            judge: bounded(2 * MAX_SLOTS + SLACK),
        }
    }

    /// Sends a tile to the judge. Never blocks.
    pub(crate) fn to_judge(&self, work: Work) {
        let slide = work.slide.clone();
        if self.judge.0.try_send(Notice::Returned(work)).is_err() {
            slide.poison();
        }
    }

    /// Sends a tile to a worker's queue, or as failed to the judge. Never blocks.
    pub(crate) fn pass_on(&self, queue: &Sender<Job>, work: Work) {
        if let Err(refused) = queue.try_send(Job::Tile(work))
            && let Job::Tile(mut work) = refused.into_inner()
        {
            work.slot.outcome = Outcome::Failed;
            self.to_judge(work);
        }
    }
}

/// Runs one step of a worker on a tile. A panic in it fails the tile and poisons its slide; the worker goes on.
pub(crate) fn fenced(work: &mut Work, step: impl FnOnce(&mut Work)) -> bool {
    let panicked = catch_unwind(AssertUnwindSafe(|| step(work))).is_err();
    if panicked {
        work.slot.outcome = Outcome::Failed;
        work.slide.poison();
    }
    panicked
}
