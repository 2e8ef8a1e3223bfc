//! The locks and atomics through which threads hand state to each other: std's, or under `cfg(loom)` those of loom, which
//! runs a test once for every order that the threads' steps can have. `mod models` of a file has its tests of this kind.
//!
//! `Arc` stays std's, because loom's holds no trait object: a model sees what a lock or an atomic hands over, and not who
//! frees it. The queues are crossbeam's, which loom cannot look into: to a model a send or a receipt is one step.

pub use std::sync::atomic::Ordering;
pub use std::sync::{Arc, PoisonError, TryLockError, Weak};

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
#[cfg(not(loom))]
pub use std::sync::{Condvar, Mutex, MutexGuard, RwLock};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
#[cfg(loom)]
pub use loom::sync::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(loom)]
pub use loom::thread;
