//! A page for a terminal of 80 columns: labels on the left, text on the right.

use std::fmt::Write;

use super::screen::plain;

const WIDTH: usize = 80;
const LABEL: usize = 15;

/// Labelled rows, wrapped at word boundaries.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn finish(self) -> String {
        self.0
    }

    pub(crate) fn row(&mut self, label: &str, text: &str) {
        let mut label = label;
        for line in wrapped(text, WIDTH - LABEL) {
            self.line(label, &line);
            label = "";
        }
    }

    pub(crate) fn line(&mut self, label: &str, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{:LABEL$}{}", plain(label), plain(line));
    }

    pub(crate) fn gap(&mut self) {
        self.0.push('\n');
    }
}

/// A paragraph as wide as the page, with its line ends.
pub(crate) fn paragraph(text: &str) -> String {
    wrapped(text, WIDTH).into_iter().map(|line| line + "\n").collect()
}

/// Text in lines of at most `columns`, where the words are short enough.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace().map(plain) {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= columns => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => lines.push(word.into_owned()),
        }
    }
    lines
}

/// A name in at most `columns`; `…` stands for what is left out.
pub(crate) fn shortened(name: &str, columns: usize) -> String {
    if name.chars().count() <= columns {
        return name.to_owned();
    }
    name.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_a_name_is_marked() {
        assert_eq!((shortened("plasma", 6).as_str(), shortened("plasmä cells", 6).as_str()), ("plasma", "plasm…"));
    }
}
