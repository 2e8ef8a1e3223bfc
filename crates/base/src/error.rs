//! The one error type of the plugin: a code of the contract and a text, without any allocation, so that `submit` can
//! refuse a frame on the acquisition thread.

use std::fmt;

use coverslip_bundle::{BundleError, BundleErrorKind};

/// What every fallible function of the plugin returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal or a failure, to be written into `coverslip_error`.
#[derive(Clone)]
pub struct Error {
    /// A code of the contract (`coverslip_plugin_abi::BUSY`, …), never OK.
    pub code: i32,
    /// The operating system's code, or 0.
    pub native: i64,
    message: Message,
}

/// Bytes of `coverslip_error.message`, including its NUL.
const MESSAGE_SIZE: usize = 512;

/// Text stored in place, cut after a word where it does not fit.
#[derive(Clone)]
struct Message {
    bytes: [u8; MESSAGE_SIZE - 1],
    length: usize,
}

impl fmt::Write for Message {
    /// Fails where the text does not fit: what comes after it is left out.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - self.length;
        let end = text.floor_char_boundary(room);
        self.bytes[self.length..self.length + end].copy_from_slice(&text.as_bytes()[..end]);
        self.length += end;
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The mark of text that was cut.
const CUT: &str = "…";

/// What fits of `text` in `room` bytes, and what to put after it: nothing, or the mark of a cut. Cut after a word, unless
/// a word takes most of the room.
pub fn cut_to_fit(text: &str, room: usize) -> (&str, &'static str) {
    if text.len() <= room {
        return (text, "");
    }
    let most = &text[..text.floor_char_boundary(room.saturating_sub(CUT.len()))];
    let words = most.rfind(char::is_whitespace).map_or(0, |end| most[..end].trim_end().len());
    (if words > room / 2 { &most[..words] } else { most }, if room < CUT.len() { "" } else { CUT })
}

impl Error {
    /// With a code that is not OK.
    pub fn new(code: i32, text: fmt::Arguments<'_>) -> Self {
        let mut message = Message { bytes: [0; MESSAGE_SIZE - 1], length: 0 };
        if fmt::write(&mut message, text).is_err() {
            message.mark_cut();
        }
        Error { code, native: 0, message }
    }

    /// With the operating system's code.
    pub fn with_native(mut self, native: i64) -> Self {
        self.native = native;
        self
    }

    /// What it says.
    pub fn text(&self) -> &str {
        self.message.text()
    }
}

impl Message {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }

    /// Leaves out the word that was cut, and says that there was more.
    fn mark_cut(&mut self) {
        let (kept, mark) = cut_to_fit(self.text(), self.length.saturating_sub(1));
        let end = kept.len();
        self.bytes[end..end + mark.len()].copy_from_slice(mark.as_bytes());
        self.length = end + mark.len();
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}: {}", self.code, self.text())
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($code:ident, $($text:tt)*) => {
        $crate::error::Error::new($crate::codes::$code, format_args!($($text)*))
    };
}
/// `error!(BUSY, "expected {} …", x)`: an [`Error`] with a code of `coverslip_plugin_abi`.
#[doc(inline)]
pub use __error as error;

/// The contract's code for what the bundle crate says.
pub fn from_bundle(e: BundleError) -> Error {
    use BundleErrorKind as Kind;
    match e.kind() {
        Kind::DigestMismatch => error!(DIGEST_MISMATCH, "{e}"),
        Kind::SignatureInvalid => error!(SIGNATURE_INVALID, "{e}"),
        Kind::UnsupportedVersion | Kind::Unsupported => error!(BUNDLE_UNSUPPORTED, "{e}"),
        Kind::OutOfMemory => error!(OUT_OF_MEMORY, "{e}"),
        Kind::Io => error!(IO, "{e}"),
        _ => error!(BUNDLE_INVALID, "{e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{cut_to_fit, error};

    #[test]
    fn long_text_is_cut_after_a_word() {
        let long = "word µm ".repeat(100);
        let e = error!(BUSY, "expected {long} and more");
        assert!(e.text().len() > 500 && e.text().len() <= 511, "{}", e.text());
        assert!(e.text().ends_with("word…") || e.text().ends_with("µm…"), "{}", e.text());
        let whole = "x".repeat(511);
        assert_eq!(error!(BUSY, "{whole}").text(), whole);
    }

    #[test]
    fn text_without_words_is_cut_at_a_character() {
        let e = error!(BUSY, "x{}", "µ".repeat(400));
        assert!(e.text().len() >= 505 && e.text().ends_with("µ…"), "{}", e.text());
        assert_eq!((cut_to_fit("µµ", 4), cut_to_fit("µµ", 3), cut_to_fit("µµ", 2)), (("µµ", ""), ("", "…"), ("", "")));
        assert_eq!(cut_to_fit("one two three", 12), ("one two", "…"));
    }
}
