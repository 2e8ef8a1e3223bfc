//! What runs a model under loom.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coverslip_base::sync::thread::{Builder, JoinHandle};

/// Of loom's stacks, in words: its own of 32 KiB are too small for a judge, or for a frame that goes into tiles.
const STACK: usize = 32 << 10;

/// Runs a model with every order of its steps; with a bound, with those in which threads that could go on are interrupted
/// at most so many times. A model that waits for ever, panics or leaves a lock held fails.
pub(crate) fn every_order(bound: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut loom = loom::model::Builder::new();
    loom.preemption_bound = bound;
    loom.max_branches = 100_000;
    // std's, which loom does not see.
    let orders = Arc::new(AtomicU64::new(0));
    let counted = orders.clone();
    loom.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    coverslip_testkit::note(&format!("{} orders, bound {bound:?}", orders.load(Ordering::Relaxed)));
}

/// A thread of a model.
pub(crate) fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().stack_size(STACK).spawn(body).unwrap()
}
