//! Log lines, through the host's callback only.

use std::ffi::c_void;
use std::fmt::{Arguments, Write};
use std::sync::{PoisonError, RwLock};

use coverslip_plugin_abi::LogFn;

/// The host's callback and what it wants to get.
#[derive(Clone, Copy)]
struct Callback {
    function: LogFn,
    user: *mut c_void,
}

// SAFETY: the contract says that the callback is called from any thread, with `user` as it was given; this only carries
// the two.
unsafe impl Send for Callback {}
// SAFETY: as above; it has no state of its own.
unsafe impl Sync for Callback {}

/// Where a runtime's lines go. Without a callback, and once the runtime is closed, nowhere.
pub(crate) struct LogSink(RwLock<Option<Callback>>);

/// The host that called coverslip_get_api last; runtimes that open take it over.
static HOST: RwLock<Option<Callback>> = RwLock::new(None);

/// Remembers the host's callback.
pub(super) fn set_host(function: Option<LogFn>, user: *mut c_void) {
    let callback = function.map(|function| Callback { function, user });
    *HOST.write().unwrap_or_else(PoisonError::into_inner) = callback;
}

/// The sink for a runtime that opens now.
pub(super) fn of_host() -> LogSink {
    LogSink(RwLock::new(*HOST.read().unwrap_or_else(PoisonError::into_inner)))
}

impl LogSink {
    /// Gives the host one line at `COVERSLIP_LOG_*`.
    pub(crate) fn write(&self, level: i32, text: Arguments<'_>) {
        // Held through the call: `silence` waits for lines that are being given.
        let callback = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Callback { function, user }) = *callback else { return };
        let mut line = String::new();
        // Writing into a String fails only if a Display does; then the line is shorter.
        let _ = line.write_fmt(text);
        line.retain(|c| c != '\0');
        line.push('\0');
        // SAFETY: the host promised a callback that may be called from any thread while runtimes are open; the line is
        // NUL-terminated and lives through the call.
        unsafe { function(user, level, line.as_ptr().cast()) };
    }

    /// From here on nothing is given: the host may free what its callback needs, also when a lane was left behind.
    pub(crate) fn silence(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
