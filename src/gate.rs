//! Where host threads wait for a slide: for results, for free slots, for its end. There is one place, so that one
//! interrupt reaches all waiters.

use std::time::{Duration, Instant};

use coverslip_base::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Why a wait ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    TimedOut,
    Interrupted,
}

#[derive(Default)]
struct Waiting {
    /// Threads that sleep until something changes.
    sleepers: usize,
    /// Counts the notifications.
    changes: u64,
    /// Counts the interrupts.
    interrupts: u64,
    /// An interrupt has ended no wait yet: the next returns at once.
    pending: bool,
}

#[derive(Default)]
pub(crate) struct Gate {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells waiters that something which `ready` closures look at has changed. Not for the submit thread.
    pub(crate) fn notify(&self) {
        let mut waiting = self.lock();
        waiting.changes += 1;
        if waiting.sleepers > 0 {
            self.changed.notify_all();
        }
    }

    /// Ends all current waits that have nothing to give; if that ends none, the next wait returns at once.
    pub(crate) fn interrupt(&self) {
        let mut waiting = self.lock();
        waiting.interrupts += 1;
        // A thread that is awake may have something to give and never hear of it.
        waiting.pending = waiting.sleepers == 0;
        self.changed.notify_all();
    }

    /// Waits until `ready` gives something. A `timeout` of None waits without end. `ready` runs outside the gate's lock,
    /// so that a slow one does not hold up the judge.
    pub(crate) fn wait<T>(
        &self,
        timeout: Option<Duration>,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitEnd> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let interrupts = self.begin()?;
        loop {
            let seen = self.lock().changes;
            if let Some(value) = ready() {
                return Ok(value);
            }
            self.wait_for_change(seen, interrupts, end)?;
        }
    }

    /// The interrupts before this wait.
    fn begin(&self) -> Result<u64, WaitEnd> {
        let mut waiting = self.lock();
        if std::mem::take(&mut waiting.pending) {
            return Err(WaitEnd::Interrupted);
        }
        Ok(waiting.interrupts)
    }

    fn wait_for_change(&self, seen: u64, interrupts: u64, end: Option<Instant>) -> Result<(), WaitEnd> {
        let mut waiting = self.lock();
        loop {
            if waiting.interrupts != interrupts {
                waiting.pending = false;
                return Err(WaitEnd::Interrupted);
            }
            // A day stands for "without end": the loop waits again.
            let left = end.map_or(Duration::from_secs(86_400), |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(WaitEnd::TimedOut);
            }
            if waiting.changes != seen {
                return Ok(());
            }
            waiting.sleepers += 1;
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
            waiting.sleepers -= 1;
        }
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

    /// A frame that is taken, or a result that comes, at the moment of the interrupt.
    #[test]
    fn an_interrupt_that_comes_while_a_wait_has_something_to_give_ends_the_next() {
        let gate = Gate::default();
        let ready = || {
            gate.interrupt();
            Some(7)
        };
        assert_eq!(gate.wait(None, ready), Ok(7));
        assert_eq!(gate.wait(None, || Some(8)), Err(WaitEnd::Interrupted));
        assert_eq!(gate.wait(None, || Some(9)), Ok(9));
    }
}

#[cfg(loom)]
#[cfg(test)]
mod models {
    use super::*;
    use crate::every_order::every_order;
    use coverslip_base::sync::{Arc, AtomicBool, Ordering, thread};

    /// A gate, and what its waiters wait for.
    #[derive(Default)]
    struct Door {
        gate: Gate,
        open: AtomicBool,
    }

    impl Door {
        fn open(&self) {
            self.open.store(true, Ordering::Release);
            self.gate.notify();
        }

        fn wait(&self) -> Result<(), WaitEnd> {
            self.gate.wait(None, || self.open.load(Ordering::Acquire).then_some(()))
        }
    }

    #[test]
    fn what_becomes_ready_while_a_thread_begins_to_wait_is_seen() {
        every_order(None, || {
            let door = Arc::new(Door::default());
            let opener = thread::spawn({
                let door = door.clone();
                move || door.open()
            });
            assert_eq!(door.wait(), Ok(()));
            opener.join().unwrap();
        });
    }

    #[test]
    fn an_interrupt_ends_a_wait_that_runs_or_the_next() {
        every_order(None, || {
            let gate = Arc::new(Gate::default());
            let other = thread::spawn({
                let gate = gate.clone();
                move || gate.interrupt()
            });
            assert_eq!(gate.wait(None, || None::<()>), Err(WaitEnd::Interrupted));
            other.join().unwrap();
            assert_eq!(gate.wait(Some(Duration::ZERO), || None::<()>), Err(WaitEnd::TimedOut), "it ended one wait");
        });
    }

    #[test]
    fn an_interrupt_beside_a_wait_that_is_satisfied_is_not_lost() {
        every_order(None, || {
            let gate = Arc::new(Gate::default());
            let other = thread::spawn({
                let gate = gate.clone();
                move || gate.interrupt()
            });
            let first = gate.wait(None, || Some(()));
            other.join().unwrap();
            let second = gate.wait(Some(Duration::ZERO), || None::<()>);
            let heard = [first, second].into_iter().filter(|end| *end == Err(WaitEnd::Interrupted)).count();
            assert_eq!(heard, 1);
        });
    }

    /// One takes frames and never sleeps, the other waits for results: whichever calls next hears of it.
    #[test]
    fn an_interrupt_beside_two_threads_ends_a_wait() {
        every_order(Some(3), || {
            let gate = Arc::new(Gate::default());
            let busy = thread::spawn({
                let gate = gate.clone();
                move || [gate.wait(None, || Some(())), gate.wait(None, || Some(()))]
            });
            let waiter = thread::spawn({
                let gate = gate.clone();
                move || gate.wait(Some(Duration::ZERO), || None::<()>)
            });
            gate.interrupt();
            let mut ends = Vec::from(busy.join().unwrap());
            ends.push(waiter.join().unwrap());
            ends.push(gate.wait(Some(Duration::ZERO), || None::<()>));
            assert!(ends.contains(&Err(WaitEnd::Interrupted)));
        });
    }

    #[test]
    fn one_change_reaches_two_waiters() {
        every_order(Some(3), || {
            let door = Arc::new(Door::default());
            let waiters = [(); 2].map(|()| {
                let door = door.clone();
                thread::spawn(move || door.wait())
            });
            door.open();
            waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Ok(())));
            assert_eq!(door.gate.lock().sleepers, 0, "both have left");
        });
    }

    #[test]
    fn a_change_and_an_interrupt_at_once_leave_nobody_waiting() {
        every_order(Some(3), || {
            let door = Arc::new(Door::default());
            let waiter = thread::spawn({
                let door = door.clone();
                move || door.wait()
            });
            let opener = thread::spawn({
                let door = door.clone();
                move || door.open()
            });
            door.gate.interrupt();
            opener.join().unwrap();
            // Either was first.
            let _ = waiter.join().unwrap();
        });
    }
}
