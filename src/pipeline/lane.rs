//! One lane: gathers a batch, runs the graph, writes its outputs into the slots.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use coverslip_plugin_abi::{LOG_ERROR, REASON_DEVICE_LOST};
use crossbeam_channel::{RecvTimeoutError, Sender};

use super::queues::Job;
use super::shared::Shared;
use super::twice::Twice;
use crate::engine::duty::OnDuty;
use crate::judge::event::Event;
use crate::slide::state::Work;
use crate::tiles::slot::Outcome;
use coverslip_base::error::{Result, error};
use coverslip_base::fault;
use coverslip_base::memory::{grow, reserve};
use coverslip_base::sync::{Ordering, PoisonError};
use coverslip_engine::{Failure, Lane, Loss, TileOutput};

/// How long the first tile of a batch waits for others.
const LINGER: Duration = Duration::from_millis(2);
/// How often a lane that pauses for the budget checks whether it must stop.
const BREATH: Duration = Duration::from_millis(20);

/// The loop of one lane. `place` is its number among the lanes; those beyond the engine's number wait. `started` hears
/// whether the lane can run.
pub(crate) fn run(shared: &Shared, place: usize, started: Sender<Result<()>>) {
    let mut bench = Bench { runner: None, works: Vec::with_capacity(1), outputs: Vec::new() };
    let begun = bench.begin(shared, place);
    let fails = begun.is_err();
    let _ = started.send(begun);
    drop(started);
    if fails {
        return;
    }
    while let Some(about) = shared.duty.wait_turn(place) {
        let stop = bench.gather(shared, about.max_batch);
        if !bench.works.is_empty() {
            // A share of a shared device's time can only be kept when one batch runs at a time.
            let alone = about.shared_device && shared.budget.load(Ordering::Relaxed) < 100;
            let _turn = alone.then(|| shared.turn.lock().unwrap_or_else(PoisonError::into_inner));
            let start = Instant::now();
            bench.run_batch(shared);
            let spent = start.elapsed();
            shared.times.lane.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
            shared.batches.fetch_add(1, Ordering::Relaxed);
            hold_back(shared, spent);
        }
        if stop {
            return;
        }
    }
}

/// A lane's runner and its memory, kept between batches.
struct Bench {
    runner: Option<Runner>,
    works: Vec<Work>,
    outputs: Vec<TileOutput>,
}

/// An engine's runner, and the engine's epoch.
struct Runner {
    lane: Box<dyn Lane>,
    epoch: u64,
    twice: Twice,
}

impl Runner {
    fn new(on_duty: &OnDuty) -> Result<Runner, Failure> {
        Ok(Runner { lane: on_duty.engine.lane()?, epoch: on_duty.epoch, twice: Twice::default() })
    }
}

impl Bench {
    /// On the CPU a runner has a thread of its own, and in a worker memory, which the system may refuse: it is made before
    /// there is a slide. A runner on a GPU in this process takes what was made at open.
    fn begin(&mut self, shared: &Shared, place: usize) -> Result<()> {
        let about = shared.duty.about();
        if place < about.lanes
            && let Ok(on_duty) = shared.duty.current()
            && (!about.shared_device || on_duty.engine.process() != 0)
        {
            self.runner = Some(Runner::new(&on_duty)?);
        }
        Ok(())
    }

    /// Gathers the next batch, of at most `most` tiles. Whether it is the last.
    fn gather(&mut self, shared: &Shared, most: usize) -> bool {
        let queue = &shared.queues.ready.1;
        let Ok(Job::Tile(first)) = shared.wakes.next(queue, None) else { return true };
        self.works.push(first);
        // Without memory for a larger batch it is a small one.
        let _ = grow(&mut self.works, most);
        let deadline = Instant::now() + LINGER;
        while self.works.len() < most.min(self.works.capacity()) {
            match shared.wakes.next(queue, Some(deadline)) {
                Ok(Job::Tile(work)) => self.works.push(work),
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        false
    }

    fn run_batch(&mut self, shared: &Shared) {
        let Bench { runner, works, outputs } = self;
        works.iter_mut().for_each(Work::end_if_over);
        let over = works.extract_if(.., |work| work.slot.outcome != Outcome::Pending);
        over.for_each(|work| shared.queues.give_back(work));
        while !works.is_empty() {
            // An engine that took over may take smaller batches.
            let most = shared.duty.about().max_batch.max(1).min(works.len());
            let ran = run_part(shared, runner, &mut works[..most], outputs);
            // Before the tiles come back: the last of them ends the slide.
            if shared.restarts.must_be_told() {
                shared.queues.tell(Event::Restarted);
            }
            if ran {
                works.drain(..most).for_each(|work| shared.queues.give_back(work));
            }
        }
    }
}

/// Runs one batch and gives each tile its outcome. Returns false when the engine was lost and another must try.
fn run_part(shared: &Shared, runner: &mut Option<Runner>, live: &mut [Work], outputs: &mut Vec<TileOutput>) -> bool {
    let on_duty = match shared.duty.current() {
        Ok(on_duty) => on_duty,
        Err(_) => {
            live.iter_mut().for_each(|work| work.slot.outcome = Outcome::Failed);
            return true;
        }
    };
    match catch_unwind(AssertUnwindSafe(|| infer(&on_duty, runner, live, outputs))) {
        Ok(Ok(second)) => {
            let broken = outputs.iter().filter(|output| !output.failed && !output.is_finite()).count();
            if broken > 0 {
                shared.log.write(LOG_ERROR, format_args!("the engine gave NaN or infinity for {broken} tiles"));
            }
            for (work, output) in live.iter_mut().zip(outputs.iter()) {
                record(work, output, on_duty.epoch);
            }
            match second {
                None => {}
                Some(Failure::Batch(e)) => {
                    shared.log.write(LOG_ERROR, format_args!("tiles could not be run a second time: {}", e.text()));
                }
                Some(Failure::Lost(loss)) => {
                    *runner = None;
                    engine_lost(shared, on_duty.epoch, loss);
                }
            }
        }
        Ok(Err(Failure::Batch(e))) => {
            shared.log.write(LOG_ERROR, format_args!("a batch of {} tiles failed: {}", live.len(), e.text()));
            live.iter_mut().for_each(|work| work.slot.outcome = Outcome::Failed);
        }
        Ok(Err(Failure::Lost(loss))) => {
            // The runner is dropped on the thread that used it.
            *runner = None;
            engine_lost(shared, on_duty.epoch, loss);
            return false;
        }
        Err(panic) => {
            shared.log.defect("a lane", &*panic);
            // The runner's state is unknown: the next batch makes a new one.
            *runner = None;
            for work in live {
                work.slot.outcome = Outcome::Failed;
                work.slide.poison();
            }
        }
    }
    true
}

/// Runs the tiles, and some of them twice. A second run that fails costs no tile: its failure is returned.
fn infer(
    on_duty: &OnDuty,
    runner: &mut Option<Runner>,
    works: &mut [Work],
    outputs: &mut Vec<TileOutput>,
) -> Result<Option<Failure>, Failure> {
    if fault::point("lane") {
        return Err(error!(INTERNAL, "armed fault at lane").into());
    }
    if fault::point("device") {
        let error = error!(ENGINE_UNAVAILABLE, "armed fault at device");
        return Err(Failure::Lost(Loss { reason: REASON_DEVICE_LOST, error }));
    }
    let fits = runner.as_ref().is_some_and(|runner| runner.epoch == on_duty.epoch);
    if !fits {
        *runner = None;
    }
    let runner = match runner {
        Some(runner) => runner,
        None => runner.insert(Runner::new(on_duty)?),
    };
    grow(outputs, works.len())?;
    outputs.resize_with(works.len(), TileOutput::default);
    outputs.iter_mut().for_each(|output| (output.failed, output.retried) = (false, false));
    let mut tiles: Vec<&[u8]> = reserve(works.len())?;
    tiles.extend(works.iter().map(|work| work.slot.input()));
    runner.lane.run(&tiles, outputs)?;
    if fault::point("nan") {
        outputs.iter_mut().for_each(|output| output.reconstruction_error = f32::NAN);
    }
    Ok(runner.twice.run(&mut *runner.lane, works, outputs).err())
}

/// Puts the spare engine on duty, or none, and tells the host once.
fn engine_lost(shared: &Shared, epoch: u64, loss: Loss) {
    let Loss { reason, error } = loss.clone();
    if !shared.duty.lose(epoch, loss) {
        return;
    }
    let current = shared.duty.current();
    let next = match &current {
        Ok(on_duty) => &*on_duty.engine.about().version,
        Err(_) => "no engine",
    };
    let text = error.text();
    shared.log.write(LOG_ERROR, format_args!("the engine was lost, {next} runs from here on: {text}"));
    shared.queues.tell(Event::Fallback(reason));
}

/// Copies a tile's output into its slot, whose vectors have room for it. A tile with a NaN fails, because a NaN could
/// pass any check.
fn record(work: &mut Work, output: &TileOutput, epoch: u64) {
    let slot = &mut work.slot;
    slot.evidence.epoch = Some(epoch);
    slot.evidence.retried = output.retried;
    if output.failed {
        slot.outcome = Outcome::Failed;
        return;
    }
    slot.features.extend_from_slice(&output.features);
    if work.slide.config.shape.embedding > 0 {
        slot.embedding.extend_from_slice(&output.embedding);
    }
    slot.evidence.active_count = output.active_count;
    // Without an SAE nothing was reconstructed.
    slot.evidence.reconstruction_error = (work.slide.config.shape.features > 0).then_some(output.reconstruction_error);
    slot.outcome = if output.is_finite() { Outcome::Done } else { Outcome::Failed };
}

/// Sleeps so that this lane runs for at most the budget's share of the time.
fn hold_back(shared: &Shared, spent: Duration) {
    let start = Instant::now();
    loop {
        let percent = shared.budget.load(Ordering::Relaxed).clamp(1, 100);
        let pause = spent * (100 - percent) / percent;
        let left = pause.saturating_sub(start.elapsed());
        if left.is_zero() || shared.is_stopping() {
            return;
        }
        std::thread::sleep(left.min(BREATH));
    }
}
