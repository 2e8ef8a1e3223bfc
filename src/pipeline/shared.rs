//! What the threads of a runtime share.

use super::queues::Queues;
use crate::engine::duty::Duty;
use crate::restarts::Restarts;
use crate::slide::registry::Registry;
use coverslip_base::log::Log;
use coverslip_base::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};
use coverslip_base::thread::Wakes;

/// Nanoseconds spent, by part.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) prep: AtomicU64,
    pub(crate) lane: AtomicU64,
    pub(crate) judge: AtomicU64,
}

pub(crate) struct Shared {
    pub(crate) queues: Arc<Queues>,
    pub(crate) slides: Arc<Registry>,
    pub(crate) duty: Duty,
    /// Pixels of the model's input, wide and high.
    pub(crate) side: usize,
    pub(crate) log: Arc<Log>,
    pub(crate) restarts: Arc<Restarts>,
    pub(crate) times: Times,
    pub(crate) wakes: Wakes,
    /// Batches that were run.
    pub(crate) batches: AtomicU64,
    /// Percent of the lanes' time.
    pub(crate) budget: AtomicU32,
    /// Whose turn it is on a device that lanes share, while a budget is set.
    pub(crate) turn: Mutex<()>,
    stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn new(slides: Registry, duty: Duty, side: usize, log: Arc<Log>, restarts: Arc<Restarts>) -> Shared {
        Shared {
            queues: Arc::new(Queues::new()),
            slides: Arc::new(slides),
            duty,
            side,
            log,
            restarts,
            times: Times::default(),
            wakes: Wakes::default(),
            batches: AtomicU64::new(0),
            budget: AtomicU32::new(100),
            turn: Mutex::new(()),
            stopping: AtomicBool::new(false),
        }
    }

    /// The runtime is being closed.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
