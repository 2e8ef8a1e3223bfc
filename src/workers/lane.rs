//! One lane: gathers a batch, runs the graph, writes what it says into the slots.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coverslip_plugin_abi::LOG_ERROR;
use crossbeam_channel::RecvTimeoutError;

use super::{Job, Work};
use crate::batch::{self, Next, Policy};
use crate::engine::{Lane, TileOutput};
use crate::error::{Result, error};
use crate::fault;
use crate::intake::slot::Outcome;
use crate::runtime::Shared;

/// How long the first tile of a batch waits for others.
const LINGER: Duration = Duration::from_millis(2);
/// How often a lane that holds back for the budget looks whether it is to stop.
const BREATH: Duration = Duration::from_millis(20);

/// The loop of one lane.
pub(crate) fn run(shared: &Shared) {
    let policy = Policy { max: shared.engine.about().max_batch, linger: LINGER };
    let mut lane: Option<Box<dyn Lane>> = None;
    let mut outputs: Vec<TileOutput> = Vec::new();
    loop {
        let (works, stop) = gather(shared, policy);
        if !works.is_empty() {
            let start = Instant::now();
            run_batch(shared, &mut lane, works, &mut outputs);
            let spent = start.elapsed();
            shared.times.lane.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
            shared.times.batches.fetch_add(1, Ordering::Relaxed);
            hold_back(shared, spent);
        }
        if stop {
            return;
        }
    }
}

/// The next batch, and whether it is the last.
fn gather(shared: &Shared, policy: Policy) -> (Vec<Work>, bool) {
    let queue = &shared.pipes.ready.1;
    let Ok(Job::Tile(first)) = queue.recv() else { return (Vec::new(), true) };
    let (mut works, start) = (vec![first], Instant::now());
    while let Next::Wait(longest) = batch::next(policy, works.len(), start.elapsed()) {
        match queue.recv_timeout(longest) {
            Ok(Job::Tile(work)) => works.push(work),
            Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return (works, true),
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    (works, false)
}

fn run_batch(shared: &Shared, lane: &mut Option<Box<dyn Lane>>, mut works: Vec<Work>, outputs: &mut Vec<TileOutput>) {
    works.iter_mut().for_each(Work::end_if_over);
    let (mut live, over): (Vec<Work>, Vec<Work>) =
        works.into_iter().partition(|work| work.slot.outcome == Outcome::Pending);
    over.into_iter().for_each(|work| shared.pipes.to_judge(work));
    if live.is_empty() {
        return;
    }
    outputs.resize_with(live.len(), TileOutput::default);
    let result = catch_unwind(AssertUnwindSafe(|| infer(shared, lane, &live, outputs)));
    match result {
        Ok(Ok(())) => {
            for (work, output) in live.iter_mut().zip(outputs) {
                record(work, output);
            }
        }
        Ok(Err(e)) => {
            shared.log.write(LOG_ERROR, format_args!("a batch of {} tiles failed: {}", live.len(), e.text()));
            live.iter_mut().for_each(|work| work.slot.outcome = Outcome::Failed);
        }
        Err(_) => {
            // The runner may be in any state: the next batch makes a new one.
            *lane = None;
            for work in &mut live {
                work.slot.outcome = Outcome::Failed;
                work.slide.poison();
            }
        }
    }
    live.into_iter().for_each(|work| shared.pipes.to_judge(work));
}

fn infer(shared: &Shared, lane: &mut Option<Box<dyn Lane>>, works: &[Work], outputs: &mut [TileOutput]) -> Result<()> {
    if fault::point("lane") {
        return Err(error!(INTERNAL, "armed fault at lane"));
    }
    let runner = match lane {
        Some(runner) => runner,
        None => lane.insert(shared.engine.lane()?),
    };
    let tiles: Vec<&[u8]> = works.iter().map(|work| work.slot.input()).collect();
    runner.run(&tiles, outputs)
}

/// Copies a tile's output into its slot, whose vectors were reserved for it.
fn record(work: &mut Work, output: &TileOutput) {
    let slot = &mut work.slot;
    slot.features.extend_from_slice(&output.features);
    if work.slide.config.embeddings {
        slot.embedding.extend_from_slice(&output.embedding);
    }
    slot.evidence.active_count = output.active_count;
    slot.evidence.reconstruction_error = Some(output.reconstruction_error);
    slot.outcome = Outcome::Done;
}

/// Sleeps so that this lane runs at most its budget's share of the time.
fn hold_back(shared: &Shared, spent: Duration) {
    let start = Instant::now();
    loop {
        let percent = shared.budget.load(Ordering::Relaxed).clamp(1, 100);
        let pause = spent * (100 - percent) / percent;
        let left = pause.saturating_sub(start.elapsed());
        if left.is_zero() || shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(left.min(BREATH));
    }
}
