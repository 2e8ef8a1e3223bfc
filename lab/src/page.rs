//! A page for a terminal of 80 columns: labels on the left, text on the right.

use std::fmt::Write;

const WIDTH: usize = 80;
const LABEL: usize = 15;

/// Labelled rows, wrapped at word boundaries.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    /// The text.
    pub(crate) fn finish(self) -> String {
        self.0
    }

    pub(crate) fn row(&mut self, label: &str, text: &str) {
        let mut label = label;
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && LABEL + line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(label, &line);
                (label, line) = ("", String::new());
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.line(label, &line);
        }
    }

    pub(crate) fn line(&mut self, label: &str, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{label:LABEL$}{line}");
    }

    pub(crate) fn gap(&mut self) {
        self.0.push('\n');
    }
}
