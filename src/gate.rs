//! Where host threads wait for a slide: for results, for room, for its end. One place, so that one interrupt reaches
//! them all.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a wait ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    TimedOut,
    Interrupted,
}

#[derive(Default)]
struct Waiting {
    threads: usize,
    /// Counts what was notified.
    changes: u64,
    /// Counts the interrupts that met a waiting thread.
    interrupts: u64,
    /// An interrupt met no thread: the next wait takes it.
    pending: bool,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Gate {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that `ready` closures look at has changed. Not for the submit thread.
    pub(crate) fn notify(&self) {
        let mut waiting = self.lock();
        waiting.changes += 1;
        if waiting.threads > 0 {
            self.changed.notify_all();
        }
    }

    /// Ends the waits of now, or the next one where there is none.
    pub(crate) fn interrupt(&self) {
        let mut waiting = self.lock();
        if waiting.threads == 0 {
            waiting.pending = true;
        } else {
            waiting.interrupts += 1;
            self.changed.notify_all();
        }
    }

    /// Waits until `ready` gives something; None: without end. `ready` runs outside the gate's lock: it may take long
    /// without holding up the judge.
    pub(crate) fn wait<T>(
        &self,
        timeout: Option<Duration>,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitEnd> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let visit = Visit::begin(self)?;
        loop {
            let seen = self.lock().changes;
            if let Some(value) = ready() {
                return Ok(value);
            }
            visit.wait_for_change(seen, end)?;
        }
    }
}

/// A thread in [`Gate::wait`]; counted until it leaves, also by a panic.
struct Visit<'g> {
    gate: &'g Gate,
    interrupts: u64,
}

impl Visit<'_> {
    fn begin(gate: &Gate) -> Result<Visit<'_>, WaitEnd> {
        let mut waiting = gate.lock();
        if std::mem::take(&mut waiting.pending) {
            return Err(WaitEnd::Interrupted);
        }
        waiting.threads += 1;
        Ok(Visit { gate, interrupts: waiting.interrupts })
    }

    fn wait_for_change(&self, seen: u64, end: Option<Instant>) -> Result<(), WaitEnd> {
        let mut waiting = self.gate.lock();
        loop {
            if waiting.interrupts != self.interrupts {
                return Err(WaitEnd::Interrupted);
            }
            // A day stands for "without end": the loop comes back to it.
            let left = end.map_or(Duration::from_secs(86_400), |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(WaitEnd::TimedOut);
            }
            if waiting.changes != seen {
                return Ok(());
            }
            waiting = self.gate.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.gate.lock().threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_interrupt_ends_the_next_wait_and_only_that() {
        let gate = Gate::default();
        gate.interrupt();
        assert_eq!(gate.wait(None, || None::<()>), Err(WaitEnd::Interrupted));
        assert_eq!(gate.wait(Some(Duration::ZERO), || None::<()>), Err(WaitEnd::TimedOut));
        assert_eq!(gate.wait(None, || Some(7)), Ok(7));
    }
}
