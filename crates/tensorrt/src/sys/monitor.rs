//! `IProgressMonitor`: follows a build and can stop it.

use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::abi::{Raw, text};
use super::callback::{Interface, Table, fence};

/// Follows a build. Phases nest, and several may run at a time on TensorRT's threads. Their names are for display and
/// change between versions.
pub trait ProgressMonitor: Send + Sync {
    /// A phase of `steps` steps begins, inside `parent` if there is one.
    fn phase_start(&self, _phase: &str, _parent: Option<&str>, _steps: u32) {}

    /// Step `step` of a phase, counted from 0, is done. `Break` stops the build.
    fn step_complete(&self, _phase: &str, _step: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// A phase is over; it may have skipped its last steps.
    fn phase_finish(&self, _phase: &str) {}
}

/// The object that TensorRT holds. A panic in a method stops the build.
#[repr(C)]
pub(super) struct MonitorObject {
    /// First word: the virtual table.
    table: *const c_void,
    cancelled: AtomicBool,
    panicked: AtomicBool,
    monitor: Box<dyn ProgressMonitor>,
}

// SAFETY: the table is static and never written; the other fields are `Sync`.
unsafe impl Send for MonitorObject {}
// SAFETY: as above.
unsafe impl Sync for MonitorObject {}

/// How a build was stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stopped {
    /// The monitor asked for it.
    Cancelled,
    /// The monitor panicked.
    Panicked,
}

impl MonitorObject {
    pub(super) fn new(monitor: Box<dyn ProgressMonitor>) -> Self {
        let (cancelled, panicked) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { table: TABLE.first_slot(), cancelled, panicked, monitor }
    }

    /// The pointer that TensorRT takes; `self` must not move afterwards.
    pub(super) fn raw(&self) -> Raw {
        (&raw const *self).cast_mut().cast()
    }

    /// How this monitor stopped the build since [`MonitorObject::reset`], if it did.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        match (self.panicked.load(Ordering::Acquire), self.cancelled.load(Ordering::Acquire)) {
            (true, _) => Some(Stopped::Panicked),
            (false, true) => Some(Stopped::Cancelled),
            (false, false) => None,
        }
    }

    pub(super) fn reset(&self) {
        self.cancelled.store(false, Ordering::Release);
        self.panicked.store(false, Ordering::Release);
    }

    /// Runs a method of the monitor, unless one has panicked. Returns whether the build goes on.
    fn follow(&self, method: impl FnOnce(&dyn ProgressMonitor) -> ControlFlow<()>) -> bool {
        if self.panicked.load(Ordering::Acquire) {
            return false;
        }
        match fence(None, || Some(method(&*self.monitor))) {
            Some(ControlFlow::Continue(())) => !self.cancelled.load(Ordering::Acquire),
            Some(ControlFlow::Break(())) => {
                self.cancelled.store(true, Ordering::Release);
                false
            }
            None => {
                self.panicked.store(true, Ordering::Release);
                false
            }
        }
    }
}

impl fmt::Debug for MonitorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorObject").field("stopped", &self.stopped()).finish_non_exhaustive()
    }
}

impl Interface for MonitorObject {
    const NAME: &'static CStr = c"IProgressMonitor";
}

/// The interface's own methods, in declaration order.
#[repr(C)]
struct Methods {
    phase_start: unsafe extern "C" fn(Raw, *const c_char, *const c_char, i32),
    step_complete: unsafe extern "C" fn(Raw, *const c_char, i32) -> bool,
    phase_finish: unsafe extern "C" fn(Raw, *const c_char),
}

static TABLE: Table<Methods> = Table::new::<MonitorObject>(Methods { phase_start, step_complete, phase_finish });

/// # Safety
/// `this` is the monitor that TensorRT was given; its configuration keeps it alive.
unsafe fn object<'a>(this: Raw) -> &'a MonitorObject {
    // SAFETY: by the caller's promise.
    unsafe { &*this.cast_const().cast() }
}

unsafe extern "C" fn phase_start(this: Raw, phase: *const c_char, parent: *const c_char, steps: i32) {
    // SAFETY: see `object`; the texts end with a zero byte, the parent may be null.
    let (object, phase, parent) = unsafe { (object(this), text(phase), text(parent)) };
    object.follow(|monitor| {
        monitor.phase_start(&phase.unwrap_or_default(), parent.as_deref(), steps.max(0).unsigned_abs());
        ControlFlow::Continue(())
    });
}

unsafe extern "C" fn step_complete(this: Raw, phase: *const c_char, step: i32) -> bool {
    // SAFETY: see `object`; the text ends with a zero byte.
    let (object, phase) = unsafe { (object(this), text(phase)) };
    object.follow(|monitor| monitor.step_complete(&phase.unwrap_or_default(), step.max(0).unsigned_abs()))
}

unsafe extern "C" fn phase_finish(this: Raw, phase: *const c_char) {
    // SAFETY: see `object`; the text ends with a zero byte.
    let (object, phase) = unsafe { (object(this), text(phase)) };
    object.follow(|monitor| {
        monitor.phase_finish(&phase.unwrap_or_default());
        ControlFlow::Continue(())
    });
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::abi::{DESTRUCTOR_SLOTS, call};
    use super::*;

    const OWN: usize = 2 + DESTRUCTOR_SLOTS;

    #[derive(Clone, Default)]
    struct Book(Arc<Mutex<Vec<String>>>);

    impl ProgressMonitor for Book {
        fn phase_start(&self, phase: &str, parent: Option<&str>, steps: u32) {
            self.0.lock().unwrap().push(format!("start {phase} in {parent:?}, {steps} steps"));
        }

        fn step_complete(&self, phase: &str, step: u32) -> ControlFlow<()> {
            self.0.lock().unwrap().push(format!("{phase} {step}"));
            match step {
                8 => ControlFlow::Break(()),
                9 => panic!("in the monitor"),
                _ => ControlFlow::Continue(()),
            }
        }

        fn phase_finish(&self, phase: &str) {
            self.0.lock().unwrap().push(format!("finish {phase}"));
        }
    }

    fn step(object: &MonitorObject, step: i32) -> bool {
        // SAFETY: `stepComplete` is the interface's second method.
        unsafe { call!(object.raw(), OWN + 1, (c"build".as_ptr() => *const c_char, step => i32) -> bool) }
    }

    #[test]
    fn calls_arrive_as_cpp_makes_them() {
        let book = Book::default();
        let object = MonitorObject::new(Box::new(book.clone()));
        // SAFETY: the interface's first and third method.
        unsafe {
            call!(object.raw(), OWN, (
                c"build".as_ptr() => *const c_char, std::ptr::null() => *const c_char, 3 => i32
            ));
            assert!(step(&object, 0));
            call!(object.raw(), OWN + 2, (c"build".as_ptr() => *const c_char));
        }
        assert_eq!(*book.0.lock().unwrap(), ["start build in None, 3 steps", "build 0", "finish build"]);
        assert_eq!(object.stopped(), None);
    }

    #[test]
    fn a_cancel_holds_until_reset() {
        let object = MonitorObject::new(Box::new(Book::default()));
        assert!(!step(&object, 8));
        assert!(!step(&object, 0), "another thread's phase is stopped too");
        assert_eq!(object.stopped(), Some(Stopped::Cancelled));
        object.reset();
        assert!(step(&object, 0));
    }

    #[test]
    fn a_panic_stops_the_build_and_is_reported() {
        let object = MonitorObject::new(Box::new(Book::default()));
        assert!(!step(&object, 9));
        assert_eq!(object.stopped(), Some(Stopped::Panicked));
        assert!(!step(&object, 0));
    }
}
