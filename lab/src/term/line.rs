//! A status line on stderr. On a terminal it is drawn over itself; elsewhere it is printed every ten seconds.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use super::screen::plain;

/// An 80-column terminal shows this much without wrapping.
const COLUMNS: usize = 79;

/// The status line.
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

    /// Shows `text`, unless the last one was shown a moment ago.
    pub(crate) fn show(&mut self, text: &str) {
        // Off a terminal a short task says nothing.
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
            let text: String = plain(text).chars().take(COLUMNS).collect();
            // A line that cannot be shown is no reason to stop.
            let _ = match self.terminal {
                true => write!(stderr(), "\r{text:<COLUMNS$}").and_then(|()| stderr().flush()),
                false => writeln!(stderr(), "{text}"),
            };
        }
    }

    /// Erases the line, so that other lines can follow.
    pub(crate) fn clear(&mut self) {
        if self.terminal && self.drawn.is_some() {
            let _ = write!(stderr(), "\r{:COLUMNS$}\r", "").and_then(|()| stderr().flush());
        }
    }

    /// Prints a line that stays, above the status line.
    pub(crate) fn say(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(stderr(), "{}", plain(text));
    }
}
