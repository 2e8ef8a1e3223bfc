//! The fence: no panic crosses into the host, and none prints.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use coverslip_plugin_abi as abi;

use super::float::HostMode;
use super::structs::write_error;
use crate::error::{Result, error};
use crate::thread::NAME_PREFIX;

thread_local! {
    /// This host thread is inside the library.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of a table function, in the library's own floating-point mode. Its error, or a panic as INTERNAL, goes
/// into the host's error struct.
pub(super) fn fenced(error: *mut abi::Error, body: impl FnOnce() -> Result<()>) -> i32 {
    let _host_mode = HostMode::set_aside();
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(outer);
    let refusal = match result {
        Ok(Ok(())) => return abi::OK,
        Ok(Err(refusal)) => refusal,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            error!(INTERNAL, "a defect in the library was caught: {text}; end this slide and report it")
        }
    };
    // SAFETY: by the contract `error` is null or a caller-owned struct of the size that it states.
    unsafe { write_error(error, &refusal) };
    refusal.code
}

/// Keeps Rust's panic message off the host's stderr. Other threads keep their own hook: a Rust host that links the
/// library statically has some.
pub(super) fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let ours = thread.name().is_some_and(|name| name.starts_with(NAME_PREFIX) || name.starts_with("rten-"));
            // try_with: a thread that is ending has no thread-locals.
            if !ours && !INSIDE.try_with(Cell::get).unwrap_or(true) {
                others(info);
            }
        }));
    });
}
