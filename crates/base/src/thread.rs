//! The plugin's own threads: they have names, a priority below the host's, and run on the processors that the host
//! allows. A thread with nothing to do sleeps until something comes or is due.

use std::sync::Barrier;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};
#[cfg(unix)]
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::error::{Result, error};
use crate::memory::with_room;
use crate::sync::{Arc, AtomicU64, Ordering};

/// The niceness of workers, if their host is not nicer: acquisition comes first.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Where threads may run, and how urgently.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Logical processors; empty: all of the process.
    pub cpus: Vec<u32>,
    /// At the host's priority, not below it.
    pub normal_priority: bool,
}

/// Bytes of a thread's stack. The standard library would take the host's RUST_MIN_STACK for it, of any size.
pub const STACK: usize = 2 << 20;
/// What the standard library allocates for a thread, beside its stack.
const SPAWN_BYTES: usize = 16 << 10;

/// What a channel allocates for a thread that waits, at most: a context once, and its place in the list.
const WAIT_BYTES: usize = 16 << 10;
/// How long a thread sleeps that has no memory to wait.
const WITHOUT_MEMORY: Duration = Duration::from_millis(10);

/// The prefix of the names of all the plugin's threads. Linux shows at most 15 bytes of a name.
pub const NAME_PREFIX: &str = "coverslip-";

/// Starts a thread with this placement, and waits until it runs: before that the standard library allocates on it and
/// cannot be refused.
pub fn spawn(name: String, placement: &Arc<Placement>, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let placement = placement.clone();
    let name = format!("{NAME_PREFIX}{name}");
    let _quiet = Quiet::begin();
    let start = || {
        let begun = Arc::new(Barrier::new(2));
        let here = begun.clone();
        let thread = std::thread::Builder::new().name(name).stack_size(STACK).spawn(move || {
            here.wait();
            drop(here);
            settle(&placement);
            run();
        })?;
        begun.wait();
        Ok(thread)
    };
    with_room("a thread", SPAWN_BYTES, start)?.map_err(|e: std::io::Error| {
        error!(
            OUT_OF_MEMORY,
            "the system starts no more threads: {e}; lower max_threads, or raise the limit of threads"
        )
        .with_native(i64::from(e.raw_os_error().unwrap_or(0)))
    })
}

/// Refuses where the system does not start `count` more threads at once. They end before this returns.
pub fn expect_room(count: usize) -> Result<()> {
    let (hold, held) = bounded::<()>(0);
    let placement = Arc::new(Placement { cpus: Vec::new(), normal_priority: true });
    let mut threads = Vec::with_capacity(count);
    let started = (0..count).try_for_each(|_| {
        let held = held.clone();
        // Until the sender is dropped.
        threads.push(spawn("room".into(), &placement, move || {
            let _ = held.recv();
        })?);
        Ok(())
    });
    drop(hold);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    started
}

/// While it lives, signals are blocked on the calling thread. A thread starts with the mask of the one that starts it, and
/// hands it on to those that it starts itself (rten's, TensorRT's): a signal to the process never reaches one of them,
/// and one that the host takes by sigwait or signalfd ends no process.
///
/// The signals of a thread's own faults stay open. One that comes blocked ends the process at once, without the host's
/// crash handler, and a sandbox answers system calls in SIGSYS's.
#[cfg(unix)]
struct Quiet(Option<SigSet>);

#[cfg(unix)]
impl Quiet {
    const FAULTS: [Signal; 6] =
        [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGSYS];

    fn begin() -> Quiet {
        let mut blocked = SigSet::all();
        Quiet::FAULTS.into_iter().for_each(|signal| blocked.remove(signal));
        Quiet(blocked.thread_swap_mask(SigmaskHow::SIG_SETMASK).ok())
    }
}

#[cfg(unix)]
impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            // It was this thread's mask a moment ago.
            let _ = before.thread_set_mask();
        }
    }
}

#[cfg(not(unix))]
struct Quiet;

#[cfg(not(unix))]
impl Quiet {
    fn begin() -> Quiet {
        Quiet
    }
}

/// Gives the calling thread its place. On Linux threads that it starts (rten's) inherit that; on Windows they are given
/// it one by one. A container may forbid both, and neither is worth failing for.
#[cfg(target_os = "linux")]
pub fn settle(placement: &Placement) {
    if !placement.normal_priority {
        // A thread of real time has no niceness, and a thread has the policy of the one that starts it.
        crate::policy::leave_real_time();
        // On Linux a process id of 0 means the calling thread.
        let host = rustix::process::getpriority_process(None).unwrap_or(0);
        let _ = rustix::process::setpriority_process(None, host.max(NICE));
    }
    if !placement.cpus.is_empty() {
        let mut set = rustix::thread::CpuSet::new();
        placement.cpus.iter().for_each(|&cpu| set.set(cpu as usize));
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
}

/// Gives the calling thread its place. Threads that it starts do not inherit that.
#[cfg(windows)]
pub fn settle(placement: &Placement) {
    if !placement.normal_priority {
        crate::windows::place::give_way();
    }
    if !placement.cpus.is_empty() {
        crate::windows::place::run_on(&placement.cpus);
    }
}

/// Here threads run where and as the system lets them.
#[cfg(not(any(target_os = "linux", windows)))]
pub fn settle(_: &Placement) {}

/// How often threads that waited for work have woken.
#[derive(Default)]
pub struct Wakes(AtomicU64);

impl Wakes {
    /// The next item of a queue; sleeps until there is one, at most until `due`.
    pub fn next<T>(&self, queue: &Receiver<T>, due: Option<Instant>) -> Result<T, RecvTimeoutError> {
        loop {
            match queue.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if due.is_some_and(|due| due <= Instant::now()) => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(TryRecvError::Empty) => {}
            }
            let slept = with_room("a wait", WAIT_BYTES, || match due {
                Some(due) => queue.recv_deadline(due),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            });
            self.0.fetch_add(1, Ordering::Relaxed);
            match slept {
                Ok(item) => return item,
                // The channel has no memory in which to note who waits.
                Err(_) => std::thread::sleep(WITHOUT_MEMORY),
            }
        }
    }

    /// Wakes so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
