//! The fence: no panic crosses into the host, and none prints.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use coverslip_files::fence::panic_text;
use coverslip_plugin_abi as abi;

use super::float::HostMode;
use super::fork;
use super::structs::write_error;
use super::thread::{Uncancelled, has_room};
use coverslip_base::error::{Error, Result, error};
use coverslip_base::thread::NAME_PREFIX;

thread_local! {
    /// This host thread is inside the library.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of a table function, in the library's own floating-point mode. Its error, or a panic as INTERNAL, goes
/// into the host's error struct. In a child made by fork() it does not run.
pub(super) fn fenced(error: *mut abi::Error, body: impl FnOnce() -> Result<()>) -> i32 {
    if fork::is_child() {
        let refusal = error!(
            WRONG_STATE,
            "this process was made by fork() after its parent had opened a runtime, and has none of the library's \
             threads: call the library in the parent, or start a program of its own with exec"
        );
        return refused(error, &refusal);
    }
    if !has_room() {
        let refusal = error!(
            OUT_OF_MEMORY,
            "no memory for what the library keeps of a thread that calls it for the first time; call again when there is some"
        );
        return refused(error, &refusal);
    }
    let _uncancelled = Uncancelled::begin();
    let _host_mode = HostMode::set_aside();
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(outer);
    match result {
        Ok(Ok(())) => abi::OK,
        Ok(Err(refusal)) => refused(error, &refusal),
        Err(panic) => {
            let text = panic_text(&*panic);
            let refusal = error!(INTERNAL, "a defect in the library was caught: {text}; end this slide and report it");
            refused(error, &refusal)
        }
    }
}

fn refused(error: *mut abi::Error, refusal: &Error) -> i32 {
    // SAFETY: by the contract `error` is null or a caller-owned struct of the size that it states.
    unsafe { write_error(error, refusal) };
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
