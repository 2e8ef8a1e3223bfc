//! Log lines on their way to the host. The library prints nothing itself: `abi` builds the closure that takes a line.
//! A line is made in place: it can be said that memory has run out.

use std::any::Any;
use std::ffi::CStr;
use std::fmt::{Arguments, Write};

use crate::sync::{PoisonError, RwLock};

use coverslip_files::fence::panic_text;
use coverslip_plugin_abi::LOG_ERROR;

/// Takes one line at `COVERSLIP_LOG_*`; called from any thread.
pub type Sink = Box<dyn Fn(i32, &CStr) + Send + Sync>;

/// Where a runtime's lines go. Without a sink, and once the runtime is closed, nowhere.
pub struct Log(RwLock<Option<Sink>>);

impl Log {
    /// Lines go to `sink`, if there is one.
    pub fn new(sink: Option<Sink>) -> Log {
        Log(RwLock::new(sink))
    }

    /// Gives the host one line at `COVERSLIP_LOG_*`.
    pub fn write(&self, level: i32, text: Arguments<'_>) {
        // Held through the call: `silence` waits for lines that are being given.
        let sink = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sink) = sink.as_ref() else { return };
        let mut line = Line { bytes: [0; LINE_SIZE], length: 0 };
        // Where it fails the line is shorter.
        let _ = line.write_fmt(text);
        if let Ok(line) = CStr::from_bytes_until_nul(&line.bytes) {
            sink(level, line);
        }
    }

    /// Says that a panic was caught in `place`.
    pub fn defect(&self, place: &str, panic: &(dyn Any + Send)) {
        let text = panic_text(panic);
        self.write(
            LOG_ERROR,
            format_args!("a defect was caught in {place}: {text}; its slide's tiles fail: report it"),
        );
    }

    /// Stops all lines: the host may free what its callback needs, even while a lane that hung is left behind.
    pub fn silence(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Bytes of a line, with its NUL.
const LINE_SIZE: usize = 2048;

/// A line whose control characters are spaces, cut at a character where it is too long.
struct Line {
    bytes: [u8; LINE_SIZE],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = LINE_SIZE - 1 - self.length;
        let fits = text.floor_char_boundary(room);
        for byte in text.bytes().take(fits) {
            self.bytes[self.length] = if byte.is_ascii_control() { b' ' } else { byte };
            self.length += 1;
        }
        if fits < text.len() { Err(std::fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_line_arrives_as_one_and_none_after_silence() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let log = Log::new(Some(Box::new(move |level, line| sink.lock().unwrap().push((level, line.to_owned())))));
        log.write(2, format_args!("a\0b\n\x1b[2J{}", 7));
        log.write(1, format_args!("{}", "µ".repeat(2000)));
        log.silence();
        log.write(2, format_args!("too late"));
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0], (2, c"a b  [2J7".to_owned()));
        assert_eq!((seen.len(), seen[1].1.to_str().map(|line| line.chars().count())), (2, Ok(1023)));
    }
}
