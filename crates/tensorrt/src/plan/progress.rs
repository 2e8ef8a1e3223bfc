//! The progress of a build as one number, and its cancellation.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys::ProgressMonitor;

/// The progress of a build, and the switch that stops it. Shared by the thread that builds and those that watch.
#[derive(Debug, Default)]
pub struct Progress {
    cancelled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The current phase, in the library's words.
    phase: String,
    /// Phases that have begun and not finished, outermost first.
    open: Vec<Phase>,
    /// The largest value so far.
    fraction: f64,
}

/// A phase of TensorRT's. Phases nest: a child is part of one step of its parent.
#[derive(Debug)]
struct Phase {
    name: String,
    parent: Option<String>,
    steps: u32,
    done: u32,
}

impl Progress {
    /// No progress yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The part of the build that is done, from 0 to 1. It never decreases. It counts steps, which differ in duration.
    pub fn fraction(&self) -> f64 {
        self.state().fraction
    }

    /// The current phase, in the library's words.
    pub fn phase(&self) -> String {
        self.state().phase.clone()
    }

    /// Stops the build at its next step.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether [`Progress::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(super) fn begin(&self, phase: &str) {
        *self.state() = State { phase: phase.to_owned(), ..State::default() };
    }

    pub(super) fn finish(&self) {
        self.state().fraction = 1.0;
    }

    pub(super) fn monitor(self: &Arc<Self>) -> Monitor {
        Monitor(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn update(&mut self) {
        self.fraction = done(&self.open, None).max(self.fraction);
    }
}

/// The part of the phases below `parent` that is done, by their steps. A phase begins after its parent. Of concurrent
/// phases the furthest counts.
fn done(open: &[Phase], parent: Option<&str>) -> f64 {
    let below = open.iter().enumerate().filter(|(_, phase)| phase.parent.as_deref() == parent);
    let share = |(at, phase): (usize, &Phase)| {
        let inner = done(&open[at + 1..], Some(&phase.name));
        ((f64::from(phase.done) + inner) / f64::from(phase.steps.max(1))).min(1.0)
    };
    below.map(share).fold(0.0, f64::max)
}

/// Keeps a [`Progress`] up to date.
pub(super) struct Monitor(Arc<Progress>);

impl ProgressMonitor for Monitor {
    fn phase_start(&self, phase: &str, parent: Option<&str>, steps: u32) {
        let mut state = self.0.state();
        state.phase = phase.to_owned();
        state.open.push(Phase { name: phase.to_owned(), parent: parent.map(str::to_owned), steps, done: 0 });
    }

    fn step_complete(&self, phase: &str, step: u32) -> ControlFlow<()> {
        let mut state = self.0.state();
        if let Some(open) = state.open.iter_mut().rev().find(|open| open.name == phase) {
            open.done = open.done.max(step + 1);
        }
        state.update();
        if self.0.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn phase_finish(&self, phase: &str) {
        let mut state = self.0.state();
        if let Some(at) = state.open.iter().rposition(|open| open.name == phase) {
            let done = &mut state.open[at];
            done.done = done.steps;
            state.update();
            state.open.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_phases_are_one_fraction() {
        let progress = Progress::new();
        progress.begin("parsing the model");
        assert_eq!((progress.phase().as_str(), progress.fraction()), ("parsing the model", 0.0));
        let monitor = progress.monitor();
        monitor.phase_start("build", None, 4);
        monitor.phase_start("tactics", Some("build"), 10);
        assert!(monitor.step_complete("tactics", 4).is_continue());
        assert_eq!((progress.phase().as_str(), progress.fraction()), ("tactics", 0.125), "half of a quarter");
        monitor.phase_start("timing", Some("tactics"), 2);
        let _ = monitor.step_complete("timing", 0);
        assert_eq!(progress.fraction(), 0.1375);
        monitor.phase_finish("timing");
        monitor.phase_finish("tactics");
        let _ = monitor.step_complete("build", 0);
        assert_eq!(progress.fraction(), 0.25);
        // A concurrent phase that is less far: the number does not decrease.
        monitor.phase_start("other", None, 100);
        let _ = monitor.step_complete("other", 0);
        assert_eq!(progress.fraction(), 0.25);
        monitor.phase_finish("build");
        progress.finish();
        assert_eq!(progress.fraction(), 1.0);
    }

    #[test]
    fn what_a_library_may_say_does_no_harm() {
        let progress = Progress::new();
        let monitor = progress.monitor();
        let _ = monitor.step_complete("never begun", 3);
        monitor.phase_finish("never begun");
        monitor.phase_start("itself", Some("itself"), 0);
        monitor.phase_start("itself", Some("itself"), 0);
        let _ = monitor.step_complete("itself", u32::MAX - 1);
        monitor.phase_start("build", None, 2);
        let _ = monitor.step_complete("build", 7);
        assert_eq!(progress.fraction(), 1.0);
    }

    #[test]
    fn a_cancel_reaches_the_next_step() {
        let progress = Progress::new();
        let monitor = progress.monitor();
        monitor.phase_start("build", None, 2);
        assert!(monitor.step_complete("build", 0).is_continue());
        progress.cancel();
        assert!(monitor.step_complete("build", 1).is_break());
    }
}
