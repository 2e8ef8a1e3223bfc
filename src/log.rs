//! Log lines on their way to the host. The library prints nothing itself: `abi` builds the closure that takes a line.

use std::ffi::{CStr, CString};
use std::fmt::{Arguments, Write};

use crate::sync::{PoisonError, RwLock};

/// Takes one line at `COVERSLIP_LOG_*`; called from any thread.
pub(crate) type Sink = Box<dyn Fn(i32, &CStr) + Send + Sync>;

/// Where a runtime's lines go. Without a sink, and once the runtime is closed, nowhere.
pub(crate) struct Log(RwLock<Option<Sink>>);

impl Log {
    pub(crate) fn new(sink: Option<Sink>) -> Log {
        Log(RwLock::new(sink))
    }

    /// Gives the host one line at `COVERSLIP_LOG_*`.
    pub(crate) fn write(&self, level: i32, text: Arguments<'_>) {
        // Held through the call: `silence` waits for lines that are being given.
        let sink = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sink) = sink.as_ref() else { return };
        let mut line = String::new();
        // Writing into a String fails only if a Display does; then the line is shorter.
        let _ = line.write_fmt(text);
        line.retain(|c| c != '\0');
        if let Ok(line) = CString::new(line) {
            sink(level, &line);
        }
    }

    /// Stops all lines: the host may free what its callback needs, even while a lane that hung is left behind.
    pub(crate) fn silence(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_line_arrives_without_zeros_and_none_after_silence() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let log = Log::new(Some(Box::new(move |level, line| sink.lock().unwrap().push((level, line.to_owned())))));
        log.write(2, format_args!("a\0b {}", 7));
        log.silence();
        log.write(2, format_args!("too late"));
        assert_eq!(*seen.lock().unwrap(), [(2, c"ab 7".to_owned())]);
    }
}
