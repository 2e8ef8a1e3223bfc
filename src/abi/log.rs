//! The host's log callback, as the closure that a runtime's log writes to.

use std::ffi::{CStr, c_void};
use std::sync::{PoisonError, RwLock};

use coverslip_plugin_abi::LogFn;

use super::float::in_host_mode;
use coverslip_base::log::{Log, Sink};

/// The host's callback and the pointer that it wants back.
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

impl Callback {
    fn call(self, level: i32, line: &CStr) {
        // SAFETY: the host promised a callback that may be called from any thread while runtimes are open; the line is
        // NUL-terminated and lives through the call.
        in_host_mode(|| unsafe { (self.function)(self.user, level, line.as_ptr()) });
    }
}

/// The host that called coverslip_get_api last; runtimes that open take it over.
static HOST: RwLock<Option<Callback>> = RwLock::new(None);

/// Remembers the host's callback.
pub(super) fn set_host(function: Option<LogFn>, user: *mut c_void) {
    let callback = function.map(|function| Callback { function, user });
    *HOST.write().unwrap_or_else(PoisonError::into_inner) = callback;
}

/// The log of a runtime that opens now.
pub(super) fn of_host() -> Log {
    let callback = *HOST.read().unwrap_or_else(PoisonError::into_inner);
    Log::new(callback.map(|callback| -> Sink { Box::new(move |level, line| callback.call(level, line)) }))
}
