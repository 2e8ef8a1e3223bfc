//! What a stranger wrote, shown as text. Control characters move the cursor, rename the window and draw false lines, so
//! none reaches the terminal: names, labels, licences and errors come from files.

use std::borrow::Cow;
use std::io::{self, StdoutLock, Write};

/// Standard output. Line feeds pass, every other control is written out.
pub(crate) fn screen() -> Screen<StdoutLock<'static>> {
    Screen(io::stdout().lock())
}

/// Longest sentence, characters, and how many of them are its beginning: names in a file may have any length, and what to
/// do stands at the end.
const LONGEST: usize = 1000;
const BEGINNING: usize = 600;

/// A sentence that may quote a stranger: without controls, and with its middle left out where it is too long to be read.
pub(crate) fn sentence(text: &str) -> String {
    let text = plain(text);
    let length = text.chars().count();
    if length <= LONGEST {
        return text.into_owned();
    }
    let left_out = format!(" [{} characters are left out] ", length - LONGEST);
    let beginning = text.chars().take(BEGINNING);
    beginning.chain(left_out.chars()).chain(text.chars().skip(length - LONGEST + BEGINNING)).collect()
}

/// Text without controls, for one line.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(moves) { Cow::Owned(written_out(text, moves)) } else { Cow::Borrowed(text) }
}

/// Whether a terminal acts on a character, or shows others in another order.
fn moves(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

fn written_out(text: &str, which: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if which(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A writer that shows what it gets as text. Its errors say that it is the screen that failed: a command's files have
/// their names before it says so.
pub(crate) struct Screen<W: Write>(W);

fn unshown(error: io::Error) -> io::Error {
    let text = format!(
        "standard output: could not be written: {error}. Files that were complete before are in their place; give it a place \
         with room that is not closed"
    );
    io::Error::new(error.kind(), text)
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for chunk in bytes.utf8_chunks() {
            let shown = written_out(chunk.valid(), |c| c != '\n' && moves(c));
            self.0.write_all(shown.as_bytes()).map_err(unshown)?;
            for byte in chunk.invalid() {
                write!(self.0, "\\x{byte:02x}").map_err(unshown)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(unshown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_keeps_its_beginning_and_its_end() {
        let short = format!("expected a, found {}; do this", "ä".repeat(900));
        assert_eq!(sentence(&short), short);
        let long = format!("expected a, found {}; do this", "ä".repeat(100_000));
        let shown = sentence(&long);
        assert!(shown.starts_with("expected a, found ä") && shown.ends_with("ä; do this"), "{shown}");
        assert!(shown.contains(" [99027 characters are left out] ") && shown.chars().count() < 1100, "{shown}");
    }

    #[test]
    fn controls_are_written_out() {
        let text = "µ \u{1b}]0;title\u{7}\u{9b}2J\r\u{202e}abc\nnext";
        let mut out = Screen(Vec::new());
        write!(out, "{text}").unwrap();
        out.write_all(b"\x9b").unwrap();
        let shown = String::from_utf8(out.0).unwrap();
        assert_eq!(shown, "µ \\u{1b}]0;title\\u{7}\\u{9b}2J\\r\\u{202e}abc\nnext\\x9b");
        assert_eq!(plain("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(plain("µm, 1 × 2"), "µm, 1 × 2");
    }

    #[test]
    fn a_full_screen_is_named() {
        let mut room = [0; 4];
        let refused = write!(Screen(&mut room[..]), "more than four").unwrap_err().to_string();
        assert!(refused.starts_with("standard output: could not be written: "), "{refused}");
        assert!(refused.contains("Files that were complete before are in their place; give it"), "{refused}");
    }
}
