//! Ctrl-C ends a command in order: what was written stays whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls `stop` at Ctrl-C, on a thread of its own.
pub(crate) fn on_interrupt(stop: impl FnMut() + Send + 'static) {
    // Fails only where a handler exists already. Then Ctrl-C ends the process, and only drafts are left behind.
    let _ = ctrlc::set_handler(stop);
}

/// A flag that Ctrl-C sets.
pub(crate) fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    on_interrupt(move || flag.store(true, Ordering::SeqCst));
    stop
}
