//! What the host is told of worker processes: how often they were started again, and why.

use coverslip_base::sync::{AtomicBool, AtomicU64, Mutex, Ordering, PoisonError};

/// Of one runtime. Zeros, where the engine runs in this process.
#[derive(Default)]
pub(crate) struct Restarts {
    restarts: AtomicU64,
    batches_retried: AtomicU64,
    /// What the judge has not been told yet.
    news: Mutex<Option<Restarted>>,
    /// There are news.
    untold: AtomicBool,
    /// An event is on its way to the judge, who takes all that there is then.
    on_the_way: AtomicBool,
}

/// Workers that were started again since the last time that somebody asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Restarted {
    /// Why the last of them: `COVERSLIP_REASON_*`.
    pub(crate) reason: i32,
    pub(crate) count: u64,
    /// Crashes within the last minute that count, this one among them.
    pub(crate) within_a_minute: usize,
    /// How many of those end it.
    pub(crate) most: usize,
}

#[cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code, reason = "no worker is built here"))]
impl Restarts {
    pub(crate) fn count(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn batches_retried(&self) -> u64 {
        self.batches_retried.load(Ordering::Relaxed)
    }

    pub(crate) fn add_retried(&self) {
        self.batches_retried.fetch_add(1, Ordering::Relaxed);
    }

    /// A worker was started again.
    pub(crate) fn add(&self, restarted: Restarted) {
        self.restarts.fetch_add(restarted.count, Ordering::Relaxed);
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let untaken = news.map_or(0, |earlier| earlier.count);
        *news = Some(Restarted { count: restarted.count + untaken, ..restarted });
        drop(news);
        self.untold.store(true, Ordering::Release);
    }

    /// True for the one that must tell the judge: one such event is on its way at most.
    pub(crate) fn must_be_told(&self) -> bool {
        self.untold.load(Ordering::Acquire) && !self.on_the_way.swap(true, Ordering::AcqRel)
    }

    /// The news, for the judge when it has been told.
    pub(crate) fn take(&self) -> Option<Restarted> {
        self.on_the_way.store(false, Ordering::Release);
        self.untold.store(false, Ordering::Release);
        self.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_told_once_and_taken_together() {
        let restarts = Restarts::default();
        assert!(!restarts.must_be_told() && restarts.take().is_none());
        let one = Restarted { reason: 12, count: 1, within_a_minute: 1, most: 3 };
        restarts.add(one);
        assert!(restarts.must_be_told());
        restarts.add(Restarted { reason: 13, within_a_minute: 2, ..one });
        assert!(!restarts.must_be_told(), "the event that is on its way will do");
        assert_eq!(restarts.take(), Some(Restarted { reason: 13, count: 2, within_a_minute: 2, most: 3 }));
        assert_eq!((restarts.take(), restarts.count()), (None, 2));
        assert!(!restarts.must_be_told());
        restarts.add(one);
        assert!(restarts.must_be_told());
    }
}
