//! Fault injection: named points where a test makes the plugin panic, fail or hang. It exists in builds with debug
//! assertions; in a release build `point` does nothing.

#[cfg(debug_assertions)]
pub use armed::{Fault, arm, disarm};

#[cfg(debug_assertions)]
thread_local! {
    static FOREIGN: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// While it lives, this thread is in a library that allocates without being able to refuse, and for which there was room.
pub struct Foreign(());

impl Foreign {
    /// From here on.
    pub fn enter() -> Foreign {
        #[cfg(debug_assertions)]
        FOREIGN.set(FOREIGN.get() + 1);
        Foreign(())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        FOREIGN.set(FOREIGN.get() - 1);
    }
}

/// Whether what this thread allocates now is the plugin's own. For an allocator that makes it fail.
#[cfg(debug_assertions)]
pub fn is_foreign() -> bool {
    FOREIGN.try_with(std::cell::Cell::get).unwrap_or(1) > 0
}

/// A place where a fault can be armed. Returns true when the caller must fail in its own way.
#[inline]
pub fn point(_name: &str) -> bool {
    #[cfg(debug_assertions)]
    return armed::reached(_name);
    #[cfg(not(debug_assertions))]
    false
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// What happens at an armed point.
    #[derive(Clone, Copy, Debug)]
    pub enum Fault {
        /// A panic.
        Panic,
        /// The caller fails in its own way.
        Fail,
        /// The thread sleeps for this long.
        Hang(Duration),
    }

    static ARMED: Mutex<Vec<(&'static str, Fault, usize)>> = Mutex::new(Vec::new());
    /// A point that is not armed costs one load, because `submit` passes some.
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    /// Arms the point `name` for the next `times` times that any thread of the process reaches it.
    pub fn arm(name: &'static str, fault: Fault, times: usize) {
        let mut armed = ARMED.lock().unwrap_or_else(|e| e.into_inner());
        armed.push((name, fault, times));
        COUNT.store(armed.len(), Ordering::SeqCst);
    }

    /// Disarms every point.
    pub fn disarm() {
        let mut armed = ARMED.lock().unwrap_or_else(|e| e.into_inner());
        armed.clear();
        COUNT.store(0, Ordering::SeqCst);
    }

    pub(super) fn reached(name: &str) -> bool {
        if COUNT.load(Ordering::Relaxed) == 0 {
            return false;
        }
        match take(name) {
            None => false,
            Some(Fault::Fail) => true,
            Some(Fault::Panic) => panic!("armed fault at {name}"),
            Some(Fault::Hang(time)) => {
                std::thread::sleep(time);
                false
            }
        }
    }

    fn take(name: &str) -> Option<Fault> {
        let mut armed = ARMED.lock().unwrap_or_else(|e| e.into_inner());
        let place = armed.iter().position(|(n, _, _)| *n == name)?;
        armed[place].2 -= 1;
        let fault = armed[place].1;
        if armed[place].2 == 0 {
            armed.remove(place);
            COUNT.store(armed.len(), Ordering::SeqCst);
        }
        Some(fault)
    }
}
