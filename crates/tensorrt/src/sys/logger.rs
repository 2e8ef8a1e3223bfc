//! `ILogger`: receives TensorRT's log.
//!
//! TensorRT keeps the first logger it is given for the whole process and warns about any other. So each loaded library
//! has one that lives as long as the process; only its sink can change.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::abi::{Raw, text};
use super::callback::{Interface, PlainTable, Table, fence};
use super::codes::Severity;

/// A listener. TensorRT's threads call it, several at a time; a panic in it is swallowed.
pub(super) type LogSink = Arc<dyn Fn(Severity, &str) + Send + Sync>;

/// How many errors and warnings are remembered, so that an error can report what led to it.
const REMEMBERED: usize = 64;

/// A line of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogLine {
    /// Its severity.
    pub severity: Severity,
    /// TensorRT's text.
    pub text: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.severity, self.text)
    }
}

/// The object that TensorRT holds.
#[repr(C)]
pub(super) struct Logger {
    /// First word: the virtual table.
    table: *const c_void,
    /// Lines of this severity and worse go to the sink.
    level: AtomicI32,
    state: Mutex<State>,
}

// SAFETY: the table is static and never written; the rest is behind an atomic and a lock.
unsafe impl Send for Logger {}
// SAFETY: as above.
unsafe impl Sync for Logger {}

#[derive(Default)]
struct State {
    sink: Option<LogSink>,
    /// The latest errors and warnings.
    recent: VecDeque<LogLine>,
    /// Number of errors and warnings so far.
    count: u64,
}

/// A position in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

impl Logger {
    /// A logger for one library: `plain` for TensorRT 10, whose `ILogger` has no version.
    pub(super) fn new(plain: bool) -> Self {
        let table = if plain { PLAIN_TABLE.first_slot() } else { TABLE.first_slot() };
        Self { table, level: AtomicI32::new(Severity::WARNING.0), state: Mutex::default() }
    }

    /// The pointer that TensorRT takes. The logger must never move or end: it is part of a leaked library.
    pub(super) fn raw(&'static self) -> Raw {
        (&raw const *self).cast_mut().cast()
    }

    /// Passes lines of `level` and worse to `sink` from now on.
    pub(super) fn set_sink(&self, level: Severity, sink: LogSink) {
        self.level.store(level.0, Ordering::Relaxed);
        self.state().sink = Some(sink);
    }

    /// The current position.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.state().count)
    }

    /// Errors and warnings after `mark`, at most the latest [`REMEMBERED`]. Lines that another thread causes are among
    /// them.
    pub(super) fn since(&self, mark: Mark) -> Vec<LogLine> {
        let state = self.state();
        let new = usize::try_from(state.count - mark.0).unwrap_or(REMEMBERED).min(state.recent.len());
        state.recent.iter().skip(state.recent.len() - new).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a line is remembered, and whether it is passed on.
    fn wants(&self, severity: Severity) -> (bool, bool) {
        (severity.at_least(Severity::WARNING), severity.0 <= self.level.load(Ordering::Relaxed))
    }

    fn take(&self, severity: Severity, line: &str) {
        let (remember, pass) = self.wants(severity);
        let mut state = self.state();
        if remember {
            if state.recent.len() == REMEMBERED {
                state.recent.pop_front();
            }
            state.recent.push_back(LogLine { severity, text: line.to_owned() });
            state.count += 1;
        }
        let sink = state.sink.clone().filter(|_| pass);
        // The sink may call back into the library, which logs.
        drop(state);
        if let Some(sink) = sink {
            sink(severity, line);
        }
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger").field("level", &Severity(self.level.load(Ordering::Relaxed))).finish_non_exhaustive()
    }
}

impl Interface for Logger {
    const NAME: &'static CStr = c"ILogger";
}

/// `void log(Severity, char const*)`.
type Log = unsafe extern "C" fn(Raw, i32, *const c_char);

static TABLE: Table<Log> = Table::new::<Logger>(log);
static PLAIN_TABLE: PlainTable<Log> = PlainTable::new(log);

unsafe extern "C" fn log(this: Raw, severity: i32, line: *const c_char) {
    fence((), || {
        // SAFETY: TensorRT passes the logger it was given, which lives as long as the process.
        let logger = unsafe { &*this.cast_const().cast::<Logger>() };
        // A build writes thousands of unwanted lines: they are not even copied.
        if logger.wants(Severity(severity)) != (false, false) {
            // SAFETY: the text ends with a zero byte.
            let line = unsafe { text(line) };
            logger.take(Severity(severity), line.as_deref().unwrap_or_default());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger() -> &'static Logger {
        Box::leak(Box::new(Logger::new(false)))
    }

    fn say(logger: &'static Logger, severity: Severity, line: &CStr) {
        // SAFETY: `ILogger::log` is the interface's first method.
        unsafe {
            crate::sys::abi::call!(
                logger.raw(),
                2 + crate::sys::abi::DESTRUCTOR_SLOTS,
                (severity.0 => i32, line.as_ptr() => *const c_char)
            );
        }
    }

    #[test]
    fn lines_reach_the_sink_from_its_level_up() {
        let logger = logger();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        logger.set_sink(Severity::INFO, Arc::new(move |s, t: &str| sink.lock().unwrap().push((s, t.to_owned()))));
        say(logger, Severity::VERBOSE, c"chatter");
        say(logger, Severity::INFO, c"news");
        say(logger, Severity::ERROR, c"trouble \xff");
        let expected = [(Severity::INFO, "news".to_owned()), (Severity::ERROR, "trouble \u{fffd}".to_owned())];
        assert_eq!(*seen.lock().unwrap(), expected);
    }

    #[test]
    fn trouble_is_remembered_from_a_mark_on_and_within_bounds() {
        let logger = logger();
        say(logger, Severity::ERROR, c"before");
        let mark = logger.mark();
        assert!(logger.since(mark).is_empty());
        say(logger, Severity::INFO, c"news");
        say(logger, Severity::WARNING, c"after");
        assert_eq!(logger.since(mark), [LogLine { severity: Severity::WARNING, text: "after".to_owned() }]);
        for _ in 0..1000 {
            say(logger, Severity::ERROR, c"again");
        }
        assert_eq!(logger.since(mark).len(), REMEMBERED);
    }

    #[test]
    fn a_sink_that_panics_or_calls_back_is_survived() {
        let logger = logger();
        logger.set_sink(Severity::ERROR, Arc::new(|_, _| panic!("in the sink")));
        say(logger, Severity::ERROR, c"one");
        logger.set_sink(Severity::ERROR, Arc::new(move |_, _| assert!(logger.since(logger.mark()).is_empty())));
        say(logger, Severity::ERROR, c"two");
    }
}
