//! What is known of the host: its runtimes and slides, and on which threads it calls.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{ThreadId, current};
use std::time::{Duration, Instant};

use crate::report;
use crate::rules;

/// How long results may wait while frames come, by default, seconds.
const PATIENCE_S: u64 = 30;
/// What the command gives to the host's process: another such time.
const PATIENCE: &str = "COVERSLIP_VALIDATE_POLL_WITHIN";

/// A slide, as its host has used it.
pub(crate) struct SlideUse {
    submitting: Option<ThreadId>,
    pub(crate) finished: bool,
    pub(crate) cancelled: bool,
    calls: u64,
    frames: u64,
    results: u64,
    last_poll: Instant,
    longest: Duration,
    wait_said: bool,
}

#[derive(Default)]
struct State {
    slides: HashMap<u64, SlideUse>,
    /// Handles of what has ended.
    ended: HashSet<u64>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which callback of the library runs on this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callback {
    Log,
    Progress,
}

thread_local! {
    static INSIDE: Cell<Option<Callback>> = const { Cell::new(None) };
}

/// Runs a callback of the host's, and knows it while it runs.
pub(crate) fn inside<R>(callback: Callback, run: impl FnOnce() -> R) -> R {
    let before = INSIDE.replace(Some(callback));
    let result = run();
    INSIDE.set(before);
    result
}

/// A call has come.
pub(crate) fn begin_call(call: &str, control: bool) {
    static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);
    if *PROCESS != std::process::id() {
        report::broken(rules::FORKED, call, "the call comes from a child made by fork()");
    }
    match INSIDE.get() {
        Some(Callback::Log) => report::broken(rules::LOG_CALLS_LIBRARY, call, "called from the log callback"),
        Some(Callback::Progress) if control => {
            report::broken(rules::CONTROL_IN_CALLBACK, call, "called from the progress callback");
        }
        _ => (),
    }
}

pub(crate) fn slide_begun(slide: u64) {
    let fresh = SlideUse {
        submitting: None,
        finished: false,
        cancelled: false,
        calls: 0,
        frames: 0,
        results: 0,
        last_poll: Instant::now(),
        longest: Duration::ZERO,
        wait_said: false,
    };
    state().slides.insert(slide, fresh);
}

/// Does something with what is known of a slide.
pub(crate) fn with_slide<R>(slide: u64, run: impl FnOnce(&mut SlideUse) -> R) -> Option<R> {
    state().slides.get_mut(&slide).map(run)
}

pub(crate) fn slide_ended(slide: u64) {
    let mut state = state();
    state.ended.insert(slide);
    if let Some(SlideUse { calls, frames, results, longest, .. }) = state.slides.remove(&slide) {
        report::slide(calls, frames, results, longest.as_millis() as u64);
    }
}

pub(crate) fn runtime_ended(runtime: u64) {
    state().ended.insert(runtime);
}

pub(crate) fn has_ended(handle: u64) -> bool {
    state().ended.contains(&handle)
}

impl SlideUse {
    pub(crate) fn called(&mut self) {
        self.calls += 1;
    }

    pub(crate) fn took(&mut self, results: u64) {
        self.results += results;
        self.last_poll = Instant::now();
        self.wait_said = false;
    }

    /// How long nobody has polled, if it is too long and was not said yet.
    pub(crate) fn waits(&mut self) -> Option<Duration> {
        static LIMIT: LazyLock<Duration> = LazyLock::new(|| {
            let given = std::env::var(PATIENCE).ok().and_then(|text| text.parse().ok());
            Duration::from_secs(given.unwrap_or(PATIENCE_S))
        });
        let waited = self.last_poll.elapsed();
        self.longest = self.longest.max(waited);
        (waited > *LIMIT && !std::mem::replace(&mut self.wait_said, waited > *LIMIT)).then_some(waited)
    }
}

/// A frame is being submitted; the end of it ends this.
pub(crate) struct Submitting(u64, bool);

impl Submitting {
    pub(crate) fn begin(slide: u64, call: &str) -> Submitting {
        let me = current().id();
        let other = with_slide(slide, |known| {
            known.frames += 1;
            let other = known.submitting.filter(|thread| *thread != me);
            if other.is_none() {
                known.submitting = Some(me);
            }
            other
        });
        if let Some(Some(other)) = other {
            let what = format!("{me:?} submits while {other:?} does");
            report::broken(rules::ONE_SUBMIT_THREAD, call, &what);
            return Submitting(slide, false);
        }
        Submitting(slide, true)
    }
}

impl Drop for Submitting {
    fn drop(&mut self) {
        if self.1 {
            with_slide(self.0, |known| known.submitting = None);
        }
    }
}
