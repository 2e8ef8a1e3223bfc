//! One acquisition: takes frames until it is closed, then drains until every tile that it opened has its result.
//!
//! The assembler is the submit thread's (others take it only to close the slide or to look at timeouts), the docket the
//! judge's, the outbox whoever polls. Between them tiles move by value; what they all may ask is in atomics.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{Alert, Feature, TileResult};
use crossbeam_channel::{Sender, bounded};

use crate::error::{Result, error};
use crate::fault;
use crate::gate::{Gate, WaitEnd};
use crate::judge::Docket;
use crate::judge::alerts::Scene;
use crate::judge::flags::Rules;
use crate::outbox::Outbox;
use crate::pipeline::queues::{Notice, Pipes, Work};
use crate::tiles::assembler::{Assembler, AssemblyRules, IntakeCounters, Overrun, is_busy};
use crate::tiles::frame::{Frame, FrameHeader, FrameLimits};
use crate::tiles::grid::{Grid, Place, Rect};
use crate::tiles::slot::{Outcome, Slot, SlotShape};

/// What is fixed when a slide begins.
pub(crate) struct SlideConfig {
    pub(crate) grid: Grid,
    pub(crate) shape: SlotShape,
    pub(crate) slots: usize,
    pub(crate) max_tiles: usize,
    pub(crate) max_unpolled: usize,
    pub(crate) limits: FrameLimits,
    pub(crate) rules: AssemblyRules,
    pub(crate) result_deadline: Option<Duration>,
    pub(crate) alpha: f64,
    /// Results carry embeddings.
    pub(crate) embeddings: bool,
    /// Tiles without tissue go on to the model too.
    pub(crate) analyse_background: bool,
    pub(crate) judged_by: Rules,
    /// The profile does not know the scanner: nothing is calibrated, and an alert says so.
    pub(crate) unknown_scanner: bool,
    /// A tile's side on the slide, mm.
    pub(crate) tile_mm: f64,
    /// One of so many tiles is run twice, for UNSTABLE; 0: none.
    pub(crate) stability_interval: u32,
    pub(crate) engine_epoch: u64,
    /// sha256 over the runtime's and the slide's configuration.
    pub(crate) digest: [u8; 32],
    pub(crate) memory_bytes: u64,
}

impl SlideConfig {
    /// What the alerts need to know.
    pub(crate) fn scene(&self) -> Scene<'_> {
        Scene { rules: &self.judged_by, grid: &self.grid, max_tiles: self.max_tiles, tile_mm: self.tile_mm }
    }
}

/// Results so far, by status; `[0]` is unused.
#[derive(Default)]
pub(crate) struct Tally(pub(crate) [AtomicU64; 8]);

impl Tally {
    /// The counts, with their sum in `[0]`.
    pub(crate) fn read(&self) -> [u64; 8] {
        let mut counts: [u64; 8] = std::array::from_fn(|status| self.0[status].load(Ordering::Acquire));
        counts[0] = counts[1..].iter().sum();
        counts
    }
}

/// See the module's text.
pub(crate) struct Slide {
    pub(crate) config: SlideConfig,
    pub(crate) gate: Gate,
    pub(crate) outbox: Outbox,
    pub(crate) counters: Arc<IntakeCounters>,
    pub(crate) tally: Tally,
    pub(crate) submit_ns: AtomicU64,
    begun: Instant,
    /// The queues hold slides: a strong reference back would keep both alive for ever.
    pipes: Weak<Pipes>,
    assembler: Mutex<Assembler>,
    docket: Mutex<Docket>,
    free: Sender<Box<Slot>>,
    closed: AtomicBool,
    cancelled: AtomicBool,
    poisoned: AtomicBool,
    ended: AtomicBool,
    /// What can be said of the slide as a whole has been said: 0 no, 1 about to be, 2 yes.
    concluded: AtomicU8,
    /// The judge has been asked to look and has not begun: asking again adds nothing.
    look_pending: AtomicBool,
    /// Frames come with the time of their capture.
    paced: AtomicBool,
}

impl Slide {
    /// Reserves everything a slide needs.
    pub(crate) fn begin(config: SlideConfig, pipes: Weak<Pipes>) -> Result<Arc<Slide>> {
        let (free, slots) = bounded(config.slots);
        for id in 0..config.slots {
            let slot = Slot::new(id as u32, config.shape)?;
            // The channel was made for exactly these.
            let _ = free.try_send(slot);
        }
        let embedding = if config.embeddings { config.shape.embedding } else { 0 };
        let outbox = Outbox::new(config.max_unpolled, config.shape.features, embedding)?;
        let counters = Arc::new(IntakeCounters::default());
        let assembler =
            Assembler::new(config.grid, config.rules, config.max_tiles, config.slots, slots, counters.clone())?;
        Ok(Arc::new(Slide {
            gate: Gate::default(),
            outbox,
            counters,
            tally: Tally::default(),
            submit_ns: AtomicU64::new(0),
            begun: Instant::now(),
            pipes,
            assembler: Mutex::new(assembler),
            docket: Mutex::new(Docket::new(config.slots, &config.scene())?),
            free,
            closed: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            concluded: AtomicU8::new(0),
            look_pending: AtomicBool::new(false),
            paced: AtomicBool::new(false),
            config,
        }))
    }

    fn assembler(&self) -> MutexGuard<'_, Assembler> {
        self.assembler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn docket(&self) -> MutexGuard<'_, Docket> {
        self.docket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // -- frames -------------------------------------------------------------------------------------------

    /// Takes a frame or refuses it at once; a refused one is remembered.
    pub(crate) fn submit(self: &Arc<Self>, header: &FrameHeader, pixels: &[u8]) -> Result<()> {
        self.offer(&header.over(pixels)?, true)
    }

    /// The same, with `timeout` (None: without end) to become free; remembered only when that has passed.
    pub(crate) fn submit_wait(
        self: &Arc<Self>,
        header: &FrameHeader,
        pixels: &[u8],
        timeout: Option<Duration>,
    ) -> Result<()> {
        let frame = header.over(pixels)?;
        let ready = || match self.offer(&frame, false) {
            Err(e) if is_busy(&e) => None,
            result => Some(result),
        };
        match self.gate.wait(timeout, ready) {
            Ok(result) => result,
            Err(WaitEnd::Interrupted) => Err(interrupted()),
            Err(WaitEnd::TimedOut) => self.offer(&frame, true),
        }
    }

    fn offer(self: &Arc<Self>, frame: &Frame<'_>, remember: bool) -> Result<()> {
        let start = Instant::now();
        let mut assembler = self.assembler();
        if self.is_poisoned() {
            return Err(error!(INTERNAL, "the slide is poisoned by an earlier defect: end it and begin another"));
        }
        if self.is_closed() {
            return Err(error!(WRONG_STATE, "a frame after slide_finish or slide_cancel: begin another slide"));
        }
        fault::point("submit");
        if frame.tag.captured_ns != 0 {
            self.paced.store(true, Ordering::Relaxed);
        }
        let mut on = |slot| self.send_on(slot);
        let result = assembler.submit(frame, start, &mut on);
        if remember && result.as_ref().is_err_and(is_busy) {
            assembler.remember_refused(frame, &mut on);
        }
        drop(assembler);
        self.submit_ns.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    /// A tile leaves the assembler.
    fn send_on(self: &Arc<Self>, slot: Box<Slot>) {
        let Some(pipes) = self.pipes.upgrade() else {
            return self.poison(); // the runtime has been closed
        };
        if pipes.judge.0.try_send(Notice::Departed(self.clone(), slot.id, slot.identity)).is_err() {
            self.poison();
        }
        let mut work = Work { slide: self.clone(), slot };
        work.end_if_over();
        if work.slot.outcome == Outcome::Pending {
            pipes.pass_on(&pipes.prep.0, work);
        } else {
            pipes.to_judge(work);
        }
    }

    // -- the end ------------------------------------------------------------------------------------------

    /// No more frames; partial tiles go on as they are.
    pub(crate) fn close(self: &Arc<Self>) {
        let mut assembler = self.assembler();
        if !self.closed.swap(true, Ordering::AcqRel) {
            assembler.retire_all(&mut |slot| self.send_on(slot));
        }
    }

    /// Closes, and waits until every tile has its result.
    pub(crate) fn finish(self: &Arc<Self>, timeout: Option<Duration>) -> Result<()> {
        fault::point("finish");
        self.close();
        self.nudge();
        match self.gate.wait(timeout, || self.is_finished().then_some(())) {
            Ok(()) if self.is_poisoned() => {
                Err(error!(INTERNAL, "the slide is poisoned by a defect: its remaining tiles have failed"))
            }
            Ok(()) => Ok(()),
            Err(WaitEnd::Interrupted) => Err(interrupted()),
            Err(WaitEnd::TimedOut) => Err(error!(
                TIMEOUT,
                "{} tiles are on their way, {} results wait to be polled: poll them and call slide_finish again",
                self.in_flight(),
                self.outbox.len()
            )),
        }
    }

    /// Closes; every tile without a result ends as cancelled.
    pub(crate) fn cancel(self: &Arc<Self>) {
        if !self.is_finished() {
            self.cancelled.store(true, Ordering::Release);
        }
        self.close();
        self.nudge();
    }

    /// Cancels; nobody will poll again.
    pub(crate) fn end(self: &Arc<Self>) {
        self.ended.store(true, Ordering::Release);
        self.cancel();
        self.outbox.clear();
        self.gate.interrupt();
    }

    /// A defect was caught in this slide's work. Only says so: the judge closes the slide and fails its tiles.
    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    /// Asks the judge to look at this slide. Where its queue is full, it looks at the next tick.
    pub(crate) fn nudge(self: &Arc<Self>) {
        let Some(pipes) = self.pipes.upgrade() else { return };
        if !self.look_pending.swap(true, Ordering::AcqRel)
            && pipes.judge.0.try_send(Notice::Look(self.clone())).is_err()
        {
            self.look_pending.store(false, Ordering::Release);
        }
    }

    /// After a poll: results may have been waiting for room, with their slots or, once closed, without.
    pub(crate) fn nudge_when_parked(self: &Arc<Self>) {
        if self.is_closed() || self.slots_free() < self.config.slots {
            self.nudge();
        }
    }

    // -- what the judge does --------------------------------------------------------------------------------

    /// Timeouts and refusals of the assembler; left for the next tick while a frame is being copied.
    pub(crate) fn tend_assembly(self: &Arc<Self>, now: Instant) -> Option<Overrun> {
        if self.is_over() {
            self.close();
        }
        if self.config.rules.timeout.is_none() && !self.counters.overrun.load(Ordering::Acquire) {
            return None;
        }
        let mut assembler = match self.assembler.try_lock() {
            Ok(assembler) => assembler,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        assembler.retire_stale(now, &mut |slot| self.send_on(slot));
        assembler.take_overrun()
    }

    /// The judge looks now; what changes from here on wants another look.
    pub(crate) fn begin_look(&self) {
        self.look_pending.store(false, Ordering::Release);
    }

    /// Offers every refused tile that still owes a result to `settle`.
    pub(crate) fn sweep_refused(&self, settle: &mut dyn FnMut(Place, Rect) -> bool) {
        self.assembler().sweep_refused(settle);
    }

    /// A slot is free again.
    pub(crate) fn release(&self, slot: Box<Slot>) {
        let _ = self.free.try_send(slot);
    }

    /// Counts a result and puts it into the outbox; false when that is full.
    pub(crate) fn put(&self, record: TileResult, features: &[Feature], embedding: &[f32]) -> bool {
        if !self.is_ended() && !self.outbox.put(record, features, embedding) {
            return false;
        }
        self.tally.0[record.status as usize].fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Another engine runs than the one asked for, or none any more: an alert.
    pub(crate) fn note_fallback(&self, reason: i32, now: Instant) {
        let alert = self.docket().alerts.fallback(reason, self.age_ns(now));
        if let Some(alert) = alert {
            self.announce(alert);
        }
    }

    pub(crate) fn announce(&self, alert: Alert) {
        if !self.is_ended() {
            self.outbox.alert(alert);
        }
    }

    // -- what anyone may ask --------------------------------------------------------------------------------

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// No tile of this slide is worth any more work.
    pub(crate) fn is_over(&self) -> bool {
        self.verdict_when_over().is_some()
    }

    /// How the tiles of a poisoned or cancelled slide end.
    pub(crate) fn verdict_when_over(&self) -> Option<Outcome> {
        if self.is_poisoned() { Some(Outcome::Failed) } else { self.is_cancelled().then_some(Outcome::Cancelled) }
    }

    pub(crate) fn is_paced(&self) -> bool {
        self.paced.load(Ordering::Relaxed)
    }

    /// Results first: a tile that is opened in between counts as in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        let results = self.tally.read()[0];
        self.counters.opened.load(Ordering::Acquire) - results
    }

    /// Every tile has its result, and no more come.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_closed() && self.in_flight() == 0
    }

    /// Drained, and the judge has said what there is to say of the slide as a whole.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_drained() && self.concluded.load(Ordering::Acquire) == 2
    }

    /// Whether the conclusion is still to be drawn; true once.
    pub(crate) fn begin_conclusion(&self) -> bool {
        self.concluded.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It has been drawn.
    pub(crate) fn end_conclusion(&self) {
        self.concluded.store(2, Ordering::Release);
    }

    pub(crate) fn state(&self) -> i32 {
        match (self.is_closed(), self.is_finished()) {
            (false, _) => abi::SLIDE_OPEN,
            (true, false) => abi::SLIDE_DRAINING,
            (true, true) => abi::SLIDE_FINISHED,
        }
    }

    pub(crate) fn slots_free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn age_ns(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.begun).as_nanos() as i64
    }
}

fn interrupted() -> crate::error::Error {
    error!(INTERRUPTED, "slide_interrupt was called")
}

/// Slots for the largest frame, for the box in which tiles may be partial, and for the tiles on their way.
pub(crate) fn slots_needed(grid: &Grid, limits: FrameLimits, spread: (u64, u64), on_the_way: usize) -> Result<usize> {
    let frame = grid.most_tiles(u64::from(limits.width), u64::from(limits.height));
    let partial = if spread.0 == 0 || spread.1 == 0 { frame } else { grid.most_tiles(spread.0, spread.1) };
    let slots = frame.saturating_add(partial).saturating_add(on_the_way as u64);
    let most = crate::pipeline::queues::MAX_SLOTS as u64;
    if slots > most {
        return Err(error!(
            OUT_OF_MEMORY,
            "frames of {} x {} and a spread of {} x {} need {slots} slots, expected at most {most}: announce smaller \
             frames or a smaller spread",
            limits.width,
            limits.height,
            spread.0,
            spread.1
        ));
    }
    Ok(slots as usize)
}
