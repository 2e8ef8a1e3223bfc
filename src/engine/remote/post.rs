//! Keeps one worker at work: starts it, connects lanes to it, buries it when it has ended, and starts the next.

use std::time::{Duration, Instant};

use coverslip_base::error::{Error, error};
use coverslip_base::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError, RwLock};
use coverslip_engine::{About, Loss, Tell};
use coverslip_plugin_abi as abi;
use coverslip_wire::batch::read_ready;
use coverslip_wire::control::{Opened, read_loss};
use coverslip_wire::frame::{CONTROL_BUDGET, Kind};
use coverslip_wire::{Broken, Due, Passed, Transport};

use super::control::{Control, REST, SILENCE, SOON, within};
use super::crashes::{Crashes, MOST};
use super::loss::{self, may_have_ended, with_end};
use super::order::Order;
use super::process::{Ended, Environment, Process, environment, unconnected};
use super::way::Way;
use crate::restarts::Restarted;

/// Time for a killed worker to end before it is left behind. One that is in a driver may take for ever.
const GRACE: Duration = Duration::from_millis(200);
/// Time for a worker to end by itself: it keeps what its engine has compiled.
const FAREWELL: Duration = Duration::from_secs(5);
/// A worker that is started again opens within this time, or within so many times what the first took, however much it says
/// meanwhile: its lanes wait for it.
const OPENING: Duration = Duration::from_secs(900);
const OPENINGS: u32 = 4;
/// A GPU's memory may still be held by the worker before: starts, and the pause before the second.
const STARTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// How often a pause looks whether it must end.
const BREATH: Duration = Duration::from_millis(20);
/// So many tiles in a row that each ended workers, and none that did not: the engine is to blame.
const GUILTY_IN_A_ROW: u32 = 8;

pub(super) struct Post {
    pub(super) order: Order,
    environment: Environment,
    /// Lanes run batches together; one that runs a suspect batch again runs alone.
    pub(super) floor: RwLock<()>,
    state: Mutex<State>,
    /// The process of now, also while it is opened and `state` is locked.
    process: Mutex<Option<Arc<Process>>>,
    /// Its number; 0: there is none.
    process_number: AtomicU64,
    ended: AtomicBool,
    /// How long a worker may take to end by itself, in milliseconds.
    farewell: AtomicU64,
    guilty_in_a_row: AtomicU32,
}

#[derive(Default)]
struct State {
    worker: Option<Worker>,
    /// Of the worker of now, or of the last: 1, 2, …
    number: u64,
    /// Why the last one ended.
    reason: i32,
    about: About,
    /// What the first took to open.
    opening: Duration,
    crashes: Crashes,
    /// No worker is started any more, and why.
    lost: Option<Loss>,
    /// The worker that ended last by itself, and how.
    ended: Option<(u64, Ended)>,
    /// Killed, and not ended yet.
    unburied: Vec<Arc<Process>>,
}

impl State {
    /// The loss of this worker, with what the system says of its end.
    fn how_ended(&self, number: u64, loss: Loss) -> Loss {
        match self.ended {
            Some((ended, how)) if ended == number => with_end(loss, how),
            _ => loss,
        }
    }
}

struct Worker {
    process: Arc<Process>,
    control: Control,
}

/// Why a batch has no outputs.
pub(super) enum Trouble {
    /// The worker of this number has ended, or is of no use.
    Died(u64, Loss),
    /// There is no other worker.
    Lost(Loss),
    /// This batch failed.
    Batch(Error),
}

impl Post {
    /// Starts the first worker.
    pub(super) fn open(order: Order, tell: &Tell<'_>) -> Result<(Post, Opened), Loss> {
        let post = Post {
            order,
            environment: environment(),
            floor: RwLock::new(()),
            state: Mutex::default(),
            process: Mutex::default(),
            process_number: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            farewell: AtomicU64::new(FAREWELL.as_millis() as u64),
            guilty_in_a_row: AtomicU32::new(0),
        };
        let begun = Instant::now();
        let (worker, opened) = post.start(&mut Vec::new(), None, tell)?;
        let mut state = post.lock();
        state.opening = begun.elapsed();
        post.set_process_number(worker.process.number().into());
        (state.worker, state.number, state.about) = (Some(worker), 1, opened.about.clone());
        drop(state);
        Ok((post, opened))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker's process; 0: there is none now.
    pub(super) fn process_number(&self) -> u64 {
        self.process_number.load(Ordering::Relaxed)
    }

    fn set_process_number(&self, number: u64) {
        self.process_number.store(number, Ordering::Relaxed);
    }

    fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Starts a worker, which opens the engine until it is due.
    fn start(&self, unburied: &mut Vec<Arc<Process>>, due: Due, tell: &Tell<'_>) -> Result<(Worker, Opened), Loss> {
        let no_worker = |error| Loss { reason: abi::REASON_NO_WORKER, error };
        let (process, link) = Process::start(&self.order.program, &self.environment).map_err(no_worker)?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process.clone());
        if self.is_ended() {
            process.kill();
        }
        let mut worker = Worker { process, control: Control::new(link, &self.order.log) };
        match self.admit(&mut worker.control, due, tell) {
            Ok(opened) => Ok((worker, opened)),
            Err(loss) => {
                let ended = ended_by_itself(&worker.process, &loss);
                bury(worker.process, unburied);
                Err(match ended {
                    Some(how) => with_end(loss, how),
                    None => loss,
                })
            }
        }
    }

    fn admit(&self, control: &mut Control, due: Due, tell: &Tell<'_>) -> Result<Opened, Loss> {
        control.greet(&self.order.program)?;
        self.fitting(control.open(&self.order.open, self.order.timeout, due, tell)?)
    }

    /// Every worker must run the same engine.
    fn fitting(&self, opened: Opened) -> Result<Opened, Loss> {
        let asked = self.order.open.engine.kind;
        if opened.about.kind != asked {
            let error = error!(INTERNAL, "the worker runs engine {}, not {asked}", opened.about.kind);
            return Err(Loss { reason: abi::REASON_WORKER_PROTOCOL, error });
        }
        Ok(opened)
    }

    /// Ends all workers that run, for a runtime whose lanes do not return.
    pub(super) fn abort(&self) {
        self.ended.store(true, Ordering::Release);
        if let Some(process) = &*self.process.lock().unwrap_or_else(PoisonError::into_inner) {
            process.kill();
        }
    }

    /// There is so much time for the end.
    pub(super) fn hurry(&self, time: Duration) {
        let farewell = time.saturating_sub(2 * GRACE).min(FAREWELL);
        self.farewell.store(farewell.as_millis() as u64, Ordering::Relaxed);
    }

    /// Lets the worker end.
    pub(super) fn close(&self) {
        self.ended.store(true, Ordering::Release);
        let mut state = self.lock();
        self.set_process_number(0);
        if let Some(mut worker) = state.worker.take() {
            let asked = worker.control.link.send(Kind::Close, &[], within(SOON));
            let farewell = Duration::from_millis(self.farewell.load(Ordering::Relaxed));
            if asked.is_err() || !worker.process.ended_within(farewell) {
                self.order.log.write(
                    abi::LOG_WARN,
                    format_args!("the worker does not end, and is killed: what its engine has compiled may be lost"),
                );
                bury(worker.process, &mut state.unburied);
            }
        }
        // What has still not ended is left behind.
        state.unburied.retain(|process| !process.ended_within(Duration::ZERO));
        state.unburied.clear();
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    // -- for lanes ------------------------------------------------------------------------------------------------

    /// A way to a lane of the worker of now, which is started if there is none.
    pub(super) fn connect(&self) -> Result<Way, Trouble> {
        let mut state = self.lock();
        self.man(&mut state)?;
        let (mut way, theirs) = self.way(&mut state)?;
        let number = state.number;
        let died = |e| Trouble::Died(number, loss::broken(e, "took a lane"));
        let Some(Worker { process, control }) = &mut state.worker else { return Err(Trouble::Lost(self.closing())) };
        process.pass(&mut control.link, &theirs, within(SOON)).map_err(died)?;
        process.watch(&mut way.link);
        drop(state);
        // The worker's end is the worker's alone: its end must end the wait.
        drop(theirs);
        let mut payload = Vec::new();
        let due = within(self.order.timeout.unwrap_or(SILENCE).max(SOON));
        let answered = way.receive(&mut payload, CONTROL_BUDGET, due).map_err(died)?;
        match (answered, read_loss(&payload)) {
            (Kind::Ready, _) => {
                way.settle(read_ready(&payload).map_err(|malformed| died(malformed.into()))?, &self.order.log);
                Ok(way)
            }
            (Kind::Failed, Ok(loss)) => Err(Trouble::Batch(loss.error)),
            (Kind::Lost, Ok(loss)) => Err(Trouble::Died(number, loss)),
            _ => Err(died(Broken::System(0))),
        }
    }

    /// A way to the worker of now, and what it is given of it. What the system does not have it may have in a moment.
    fn way(&self, state: &mut State) -> Result<(Way, Passed), Trouble> {
        let bytes = state.about.max_batch.saturating_mul(self.order.shape.tile);
        let mut start = 1;
        loop {
            let error = match Way::new(state.number, bytes, &self.order.log) {
                Ok(made) => return Ok(made),
                Err(broken) => unconnected(&broken),
            };
            if start == STARTS || self.is_ended() {
                let loss = Loss { reason: abi::REASON_NO_WORKER, error };
                self.give_up(state, loss.clone());
                return Err(Trouble::Lost(loss));
            }
            self.order.log.write(abi::LOG_WARN, format_args!("{} ({start} of {STARTS})", error.text()));
            self.rest(PAUSE * start);
            start += 1;
        }
    }

    /// No worker is started any more.
    fn give_up(&self, state: &mut State, loss: Loss) {
        state.lost = Some(loss);
        self.set_process_number(0);
        if let Some(worker) = state.worker.take() {
            bury(worker.process, &mut state.unburied);
        }
    }

    /// Starts the next worker, if there is none.
    fn man(&self, state: &mut State) -> Result<(), Trouble> {
        if let Some(loss) = &state.lost {
            return Err(Trouble::Lost(loss.clone()));
        }
        if state.worker.is_some() {
            return Ok(());
        }
        let mut pause = state.crashes.pause(Instant::now());
        let longest = self.order.timeout.map(|_| OPENING.max(state.opening.saturating_mul(OPENINGS)));
        let mut found = Err(self.closing());
        for start in 1..=STARTS {
            self.rest(pause);
            if self.is_ended() {
                break;
            }
            found = self.start(&mut state.unburied, longest.and_then(within), &|_, _| Ok(()));
            match &found {
                Ok(_) => break,
                Err(loss) => self.order.log.write(
                    abi::LOG_WARN,
                    format_args!("a worker could not be started ({start} of {STARTS}): {}", loss.error.text()),
                ),
            }
            pause = PAUSE * start;
        }
        let before = (&state.about.version, state.about.precision, &state.about.gpu_uuid, state.about.max_batch);
        let found = found.and_then(|(worker, Opened { about, .. })| {
            match (&about.version, about.precision, &about.gpu_uuid, about.max_batch) == before {
                true => Ok(worker),
                false => Err(Loss {
                    reason: abi::REASON_WORKER_PROTOCOL,
                    error: error!(ENGINE_UNAVAILABLE, "the next worker runs another engine: {}", about.version),
                }),
            }
        });
        let worker = found.map_err(|loss| {
            state.lost = Some(loss.clone());
            Trouble::Lost(loss)
        })?;
        self.set_process_number(worker.process.number().into());
        (state.worker, state.number) = (Some(worker), state.number + 1);
        let within_a_minute = state.crashes.recent(Instant::now());
        self.order.restarts.add(Restarted { reason: state.reason, count: 1, within_a_minute, most: MOST });
        Ok(())
    }

    /// Sleeps, unless the runtime ends.
    fn rest(&self, pause: Duration) {
        let due = Instant::now() + pause;
        while !self.is_ended() && Instant::now() < due {
            std::thread::sleep(BREATH.min(due.saturating_duration_since(Instant::now())));
        }
    }

    fn closing(&self) -> Loss {
        Loss { reason: abi::REASON_NONE, error: error!(ENGINE_UNAVAILABLE, "the runtime is being closed") }
    }

    /// Whether this worker is the one of now.
    pub(super) fn is_at_work(&self, number: u64) -> bool {
        let state = self.lock();
        state.number == number && state.worker.is_some()
    }

    /// Gives the host the lines that this worker has said since.
    ///
    /// # Errors
    /// It is of no use any more.
    pub(super) fn hear(&self, number: u64) -> Result<(), Broken> {
        let mut state = self.lock();
        let State { worker, number: now, about, .. } = &mut *state;
        match worker {
            Some(worker) if *now == number => worker.control.hear(about.lanes, within(REST)),
            // Its lanes see that it has gone.
            _ => Ok(()),
        }
    }

    /// The worker of this number is of no use any more. The lane that sees it first kills it. `counts`: its end does, until
    /// a tile is found to be to blame. The loss says then how the worker ended, as far as the system knows.
    pub(super) fn bury(&self, number: u64, mut loss: Loss, counts: bool) -> Loss {
        let mut state = self.lock();
        if counts {
            // Before another lane starts the next.
            state.crashes.add(number, Instant::now());
        }
        if state.number != number || state.worker.is_none() {
            return state.how_ended(number, loss);
        }
        let Some(Worker { process, mut control }) = state.worker.take() else { return loss };
        self.set_process_number(0);
        state.reason = loss.reason;
        if let Some(how) = ended_by_itself(&process, &loss) {
            state.ended = Some((number, how));
            loss = with_end(loss, how);
        }
        bury(process, &mut state.unburied);
        // What it said last, now that it says no more. Nobody waits for the rest of a line.
        let _ = control.hear(state.about.lanes, within(Duration::ZERO));
        let text = loss.error.text();
        self.order.log.write(abi::LOG_ERROR, format_args!("the worker is started again: {text}"));
        loss
    }

    /// What a recovery has come to: a tile is to blame for the ends of these workers, or nobody knows why. The first of them
    /// has been counted, and may have been forgiven since: another lane was running the tile.
    pub(super) fn settle(&self, workers: &[u64], guilty: bool, last: &Loss) {
        let (mut state, now) = (self.lock(), Instant::now());
        if guilty {
            return state.crashes.forgive(workers);
        }
        workers.iter().skip(1).for_each(|worker| state.crashes.add(*worker, now));
        if state.crashes.recent(now) < MOST || state.lost.is_some() {
            return;
        }
        let error = error!(
            ENGINE_UNAVAILABLE,
            "the worker ended {MOST} times within a minute, the last time so: {}",
            last.error.text()
        );
        self.give_up(&mut state, Loss { reason: last.reason, error });
    }

    /// A batch ran.
    pub(super) fn succeeded(&self) {
        self.guilty_in_a_row.store(0, Ordering::Relaxed);
    }

    /// One more tile is guilty. Whether that can be believed.
    pub(super) fn convict(&self) -> bool {
        self.guilty_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 < GUILTY_IN_A_ROW
    }
}

/// How a worker has ended that nobody has killed. Its connection ends before it does.
fn ended_by_itself(process: &Process, loss: &Loss) -> Option<Ended> {
    if may_have_ended(loss) && process.ended_within(GRACE) { process.ended() } else { None }
}

/// Kills a worker. One that does not end is left for later, or left behind where there is no memory to keep it in mind.
fn bury(process: Arc<Process>, unburied: &mut Vec<Arc<Process>>) {
    unburied.retain(|process| !process.ended_within(Duration::ZERO));
    process.kill();
    if !process.ended_within(GRACE) && unburied.try_reserve(1).is_ok() {
        unburied.push(process);
    }
}
