//! What travels with a slide's tiles: what all threads that hold one of them may ask and tell.
//!
//! The assembler is the submit thread's; others take it only to close the slide or to look at timeouts. The outbox is
//! whoever polls. Between them tiles move by value.

use std::time::{Duration, Instant};

use coverslip_pixels::developer::Developer;
use coverslip_pixels::tone::Tone;
use coverslip_plugin_abi::{Alert, Feature, TileResult};
use crossbeam_channel::{Sender, bounded};

use super::config::SlideConfig;
use super::counts::{Counts, Published};
use super::standing::{Phase, Standing};
use crate::gate::Gate;
use crate::outbox::{Outbox, Put, Room, TooSmall};
use crate::tiles::assembler::{Assembler, IntakeCounts, Outlet, Tended};
use crate::tiles::grid::{Place, Rect};
use crate::tiles::slot::{Outcome, Slot};
use crate::tiles::strips::Strips;
use coverslip_base::error::Result;
use coverslip_base::memory::{Boxed, refused, shared, with_room};
use coverslip_base::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError, TryLockError, Weak};

/// One acquisition.
pub(crate) struct Slide {
    /// No other slide of the runtime has it.
    pub(crate) number: u64,
    pub(crate) config: SlideConfig,
    pub(crate) gate: Gate,
    /// By itself: its histogram is half of a slide, and what is moved while a slide begins is the host's stack.
    pub(crate) published: Boxed<Published>,
    outbox: Outbox,
    pub(crate) standing: Standing,
    submit_ns: AtomicU64,
    begun: Instant,
    /// The queues hold slides: a strong reference back would keep both alive for ever.
    downstream: Weak<dyn Downstream>,
    assembler: Mutex<Assembler>,
    free: Sender<Boxed<Slot>>,
}

/// A tile on its way, with the slide it belongs to.
pub(crate) struct Work {
    pub(crate) slide: Arc<Slide>,
    pub(crate) slot: Boxed<Slot>,
}

impl Work {
    /// Gives a tile of a cancelled or poisoned slide its outcome: nothing more is worth doing for it.
    pub(crate) fn end_if_over(&mut self) {
        if let Some(verdict) = self.slide.verdict_when_over() {
            self.slot.outcome = verdict;
        }
    }
}

/// What comes after the assembler. Neither call blocks.
pub(crate) trait Downstream: Send + Sync {
    /// Takes a tile that leaves the assembler.
    fn depart(&self, work: Work);
    /// Asks the judge to look at a slide.
    fn look(&self, slide: Arc<Slide>);
}

impl Slide {
    /// Reserves everything a slide needs, but for its docket. `tone`: the one of `config`, tabled.
    pub(crate) fn begin(
        number: u64,
        config: SlideConfig,
        tone: Arc<Tone>,
        downstream: Weak<dyn Downstream>,
    ) -> Result<Arc<Slide>> {
        // Of the channel for each slot a stamp beside it, and its two ends.
        let channel = config.slots * (size_of::<Boxed<Slot>>() + size_of::<usize>()) + 1024;
        let (free, slots) = with_room("the free slots", channel, || bounded(config.slots))?;
        for id in 0..config.slots {
            let slot = Slot::new(id as u32, config.shape)?;
            // The channel was made for exactly these.
            let _ = free.try_send(slot);
        }
        let embedding = if config.embeddings { config.shape.embedding } else { 0 };
        let outbox = Outbox::new(config.max_unpolled, config.shape.features, embedding)?;
        let developer = Developer::new(tone, config.shape.width as usize).map_err(refused)?;
        let developing = (developer, Strips::new(config.limits.width)?);
        let assembler = Assembler::new(config.grid, config.rules, config.max_tiles, config.slots, slots, developing)?;
        shared(Slide {
            number,
            gate: Gate::default(),
            published: Boxed::new(Published::default())?,
            outbox,
            standing: Standing::default(),
            submit_ns: AtomicU64::new(0),
            begun: Instant::now(),
            downstream,
            assembler: Mutex::new(assembler),
            free,
            config,
        })
    }

    // -- the assembler ------------------------------------------------------------------------------------------------

    pub(super) fn assembler(&self) -> MutexGuard<'_, Assembler> {
        self.assembler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No more frames; partial tiles leave as they are.
    pub(crate) fn close(self: &Arc<Self>) {
        let mut assembler = self.assembler();
        if self.standing.close() {
            assembler.retire_all(&mut Exit(self));
        }
    }

    /// Sends on what has timed out. None where a frame is being copied: nobody waits for that.
    pub(crate) fn tend_assembly(self: &Arc<Self>, now: Instant) -> Option<Tended> {
        let mut assembler = match self.assembler.try_lock() {
            Ok(assembler) => assembler,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // No frame is copied any more.
            Err(TryLockError::WouldBlock) if self.standing.is_closed() => self.assembler(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(assembler.tend(now, &mut Exit(self)))
    }

    /// Offers every refused tile that still owes a result to `settle`, until it returns false.
    pub(crate) fn sweep_refused(&self, settle: &mut dyn FnMut(Place, Rect) -> bool) {
        self.assembler().sweep_refused(settle);
    }

    /// Takes a slot back: it is free again.
    pub(crate) fn release(&self, mut slot: Boxed<Slot>) {
        slot.vacate();
        let _ = self.free.try_send(slot);
    }

    pub(crate) fn slots_free(&self) -> usize {
        self.free.len()
    }

    // -- results ------------------------------------------------------------------------------------------------------

    /// Counts a result and puts it into the outbox; false when that is full. Called by the judge alone.
    pub(crate) fn put(&self, record: TileResult, features: &[Feature], embedding: &[f32]) -> bool {
        if !self.outbox.has_room() {
            return false;
        }
        // First: a result that can be polled has been counted.
        self.published.add_result(&record);
        self.outbox.put(record, features, embedding);
        true
    }

    /// Hands an alert to the host.
    pub(crate) fn announce(&self, alert: Alert) {
        self.published.add_alert();
        self.outbox.alert(alert);
    }

    /// Takes the oldest results, as many as fit.
    pub(crate) fn take(&self, room: Room, each: &mut Put<'_>) -> std::result::Result<usize, TooSmall> {
        self.outbox.take(room, each, |taken| self.published.add_polled(taken as u64))
    }

    /// Takes the oldest alerts, at most `room`.
    pub(crate) fn take_alerts(&self, room: usize, each: impl FnMut(Alert)) -> usize {
        self.outbox.take_alerts(room, each)
    }

    /// How many of the slide's first alerts are listed, taken or not.
    pub(crate) fn raised(&self) -> usize {
        self.outbox.raised()
    }

    /// Copies listed alerts from the one at `from` on; returns their number.
    pub(crate) fn copy_raised(&self, from: usize, room: &mut [Alert]) -> usize {
        self.outbox.copy_raised(from, room)
    }

    /// Every result there will ever be has been taken.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.standing.is_finished() && self.outbox.is_empty()
    }

    /// Drops what was not taken, and what still comes.
    pub(super) fn discard_results(&self) {
        self.outbox.close();
    }

    // -- the judge ----------------------------------------------------------------------------------------------------

    /// Asks the judge to look at this slide.
    pub(crate) fn nudge(self: &Arc<Self>) {
        if self.standing.ask_for_look()
            && let Some(downstream) = self.downstream.upgrade()
        {
            downstream.look(self.clone());
        }
    }

    /// A defect was caught in the slide's work: the judge closes the slide and fails its tiles.
    pub(crate) fn poison(self: &Arc<Self>) {
        self.standing.poison();
        self.nudge();
    }

    /// After a poll: results may have waited for room, with their slots or, once the slide is closed, without.
    pub(crate) fn nudge_when_parked(self: &Arc<Self>) {
        if self.standing.is_closed() || self.slots_free() < self.config.slots {
            self.nudge();
        }
    }

    // -- what anyone may ask ------------------------------------------------------------------------------------------

    /// Phase and counts of one moment. The phase is read first: of a slide that is finished no count changes.
    pub(crate) fn snapshot(&self) -> (Phase, Counts) {
        (self.standing.phase(), self.published.snapshot())
    }

    /// How the tiles of a poisoned or cancelled slide end.
    pub(crate) fn verdict_when_over(&self) -> Option<Outcome> {
        if self.standing.is_poisoned() {
            Some(Outcome::Failed)
        } else {
            self.standing.is_cancelled().then_some(Outcome::Cancelled)
        }
    }

    pub(crate) fn age_ns(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.begun).as_nanos() as i64
    }

    /// Time spent in submit functions.
    pub(crate) fn submit_ns(&self) -> u64 {
        self.submit_ns.load(Ordering::Relaxed)
    }

    pub(super) fn add_submit_time(&self, spent: Duration) {
        self.submit_ns.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// Where a slide's tiles and counts go when they leave the assembler.
pub(super) struct Exit<'s>(pub(super) &'s Arc<Slide>);

impl Outlet for Exit<'_> {
    fn publish(&mut self, counts: &IntakeCounts) {
        self.0.published.set_intake(counts);
    }

    fn depart(&mut self, slot: Boxed<Slot>) {
        match self.0.downstream.upgrade() {
            Some(downstream) => downstream.depart(Work { slide: self.0.clone(), slot }),
            // The runtime has been closed.
            None => self.0.standing.poison(),
        }
    }
}
