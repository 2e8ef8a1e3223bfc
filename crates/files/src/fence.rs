//! A fence around a library that reads a stranger's bytes. A panic of it is an error of the file, not of the program.
//! Memory that cannot be had aborts instead and is not caught here: callers bound the work first.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// This thread is behind the fence.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What a panic that was caught says.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Runs `work`. A panic becomes a sentence, and nothing of it is printed.
///
/// # Errors
/// A sentence with the panic's text.
pub fn fenced<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    caught(work).map_err(|panic| format!("the library that reads it panics ({panic}): the file is damaged"))
}

/// Runs `work`. Nothing of a panic is printed.
///
/// # Errors
/// The panic's text, fit for a terminal.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |info| {
            // rten's pool hands its panics on to the thread that waits for it.
            let of_pool = std::thread::current().name().is_some_and(|name| name.starts_with("rten-"));
            // try_with: a thread that is ending has no thread-locals.
            if !of_pool && !INSIDE.try_with(Cell::get).unwrap_or(false) {
                others(info);
            }
        }));
    });
    let outer = INSIDE.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(outer);
    done.map_err(|panic| panic_text(&*panic).escape_default().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_sentence() {
        assert_eq!(fenced(|| 7), Ok(7));
        let none: [u8; 0] = [];
        let found = fenced(|| none[std::hint::black_box(3)]).unwrap_err();
        assert!(found.contains("out of bounds"), "{found}");
        let found = fenced(|| panic!("a text that is no String")).unwrap_err();
        assert!(found.contains("(a text that is no String)"), "{found}");
        let found = fenced(|| std::panic::panic_any(7)).unwrap_err();
        assert!(found.contains("(no message)"), "{found}");
        assert!(!INSIDE.get());
    }
}
