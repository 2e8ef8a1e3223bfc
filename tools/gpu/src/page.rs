//! Tables of the page.

use std::fmt::Display;

use crate::outcome::{Outcome, Stop};

/// A table of what was tried and what came of it. A row that fails lets the others go on.
pub(crate) struct Rows {
    failed: Vec<String>,
}

impl Rows {
    /// Prints the head.
    pub(crate) fn begin(what: &str, found: &str) -> Rows {
        println!("| {what} | {found} |\n|---|---|");
        Rows { failed: Vec::new() }
    }

    pub(crate) fn say(&self, what: impl Display, found: impl Display) {
        println!("| {} | {} |", cell(what), cell(found));
    }

    /// What came of one try.
    pub(crate) fn row<T: Display>(&mut self, what: impl Display, found: Result<T, impl Into<Stop>>) {
        match found.map_err(Into::into) {
            Ok(found) => self.say(what, found),
            Err(Stop::LeftOut(why)) => self.say(what, format_args!("left out: {why}")),
            Err(Stop::Failed(why)) => {
                self.say(&what, format_args!("**failed**: {why}"));
                self.failed.push(what.to_string());
            }
        }
    }

    /// # Errors
    /// Where a row failed.
    pub(crate) fn end(self) -> Outcome {
        println!();
        if self.failed.is_empty() { Ok(()) } else { Err(Stop::Failed(self.failed.join("; "))) }
    }
}

/// Text as a table's cell takes it.
pub(crate) fn cell(text: impl Display) -> String {
    text.to_string().replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// 1234567 as 1.2 MB.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        b if b < 1e6 => format!("{:.0} kB", b / 1e3),
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.2} GB", b / 1e9),
    }
}
