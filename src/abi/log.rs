//! Log lines, through the host's callback only.

use std::ffi::c_void;
use std::fmt::{Arguments, Write};
use std::sync::{Mutex, PoisonError};

use coverslip_plugin_abi::LogFn;

/// Where a runtime's lines go. Without a callback, nowhere.
#[derive(Clone, Copy)]
pub(crate) struct LogSink {
    callback: Option<LogFn>,
    user: *mut c_void,
}

// SAFETY: the contract says that the callback is called from any thread, with `user` as it was given; the sink itself
// only carries the two.
unsafe impl Send for LogSink {}
// SAFETY: as above; a sink has no state of its own.
unsafe impl Sync for LogSink {}

/// The host that called coverslip_get_api last; runtimes that open take it over.
static HOST: Mutex<LogSink> = Mutex::new(LogSink { callback: None, user: std::ptr::null_mut() });

/// Remembers the host's callback.
pub(super) fn set_host(callback: Option<LogFn>, user: *mut c_void) {
    *HOST.lock().unwrap_or_else(PoisonError::into_inner) = LogSink { callback, user };
}

/// The sink for a runtime that opens now.
pub(super) fn of_host() -> LogSink {
    *HOST.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogSink {
    /// Gives the host one line at `COVERSLIP_LOG_*`.
    pub(crate) fn write(&self, level: i32, text: Arguments<'_>) {
        let Some(callback) = self.callback else { return };
        let mut line = String::new();
        // Writing into a String fails only if a Display does; then the line is shorter.
        let _ = line.write_fmt(text);
        line.retain(|c| c != '\0');
        line.push('\0');
        // SAFETY: the host promised a callback that may be called from any thread while runtimes are open; the line is
        // NUL-terminated and lives through the call.
        unsafe { callback(self.user, level, line.as_ptr().cast()) };
    }
}
