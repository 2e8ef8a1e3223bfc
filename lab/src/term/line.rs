//! One line on stderr that is drawn over and over; silent but for a line now and then where nobody watches.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// What an 80-column terminal shows without a wrap.
const COLUMNS: usize = 79;

/// The line.
pub(crate) struct Line {
    terminal: bool,
    every: Duration,
    drawn: Option<Instant>,
}

impl Line {
    pub(crate) fn new() -> Line {
        let terminal = stderr().is_terminal();
        Line { terminal, every: Duration::from_millis(if terminal { 100 } else { 10_000 }), drawn: None }
    }

    /// Shows `text`, unless the last one is too young.
    pub(crate) fn show(&mut self, text: &str) {
        // Off a terminal a short scan says nothing at all.
        let due = match self.drawn {
            None if !self.terminal => {
                self.drawn = Some(Instant::now());
                false
            }
            None => true,
            Some(drawn) => drawn.elapsed() >= self.every,
        };
        if due {
            self.drawn = Some(Instant::now());
            let text: String = text.chars().take(COLUMNS).collect();
            // A progress line that cannot be shown is no reason to stop.
            let _ = match self.terminal {
                true => write!(stderr(), "\r{text:<COLUMNS$}").and_then(|()| stderr().flush()),
                false => writeln!(stderr(), "{text}"),
            };
        }
    }

    /// Makes room for other lines.
    pub(crate) fn clear(&mut self) {
        if self.terminal && self.drawn.is_some() {
            let _ = write!(stderr(), "\r{:COLUMNS$}\r", "").and_then(|()| stderr().flush());
        }
    }

    /// A line that stays, above the one that is drawn over.
    pub(crate) fn say(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(stderr(), "{text}");
    }
}
