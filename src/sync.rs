//! The locks and atomics through which threads hand state to each other: std's, or under `cfg(loom)` those of loom, which
//! runs a test once for every order that the threads' steps can have. `mod models` of a file has its tests of this kind.
//!
//! `Arc` stays std's, because loom's holds no trait object: a model sees what a lock or an atomic hands over, and not who
//! frees it. The queues are crossbeam's, which loom cannot look into: to a model a send or a receipt is one step.

pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, PoisonError, TryLockError, Weak};

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, RwLock};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(loom)]
#[cfg(test)]
pub(crate) use loom::thread;

/// Runs a model with every order of its steps; with a bound, with those in which threads that could go on are interrupted
/// at most so many times. A model that waits for ever, panics or leaves a lock held fails.
#[cfg(loom)]
#[cfg(test)]
pub(crate) fn every_order(bound: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut loom = loom::model::Builder::new();
    loom.preemption_bound = bound;
    loom.max_branches = 100_000;
    // std's, which loom does not see.
    let orders = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = orders.clone();
    loom.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    coverslip_testkit::note(&format!("{} orders, bound {bound:?}", orders.load(Ordering::Relaxed)));
}
