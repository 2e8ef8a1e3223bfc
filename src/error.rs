//! The one error type of the plugin: a code of the contract and a text, without any allocation, so that `submit` can
//! refuse a frame on the acquisition thread.

use std::fmt;

use coverslip_bundle::{BundleError, BundleErrorKind};

/// What every fallible function of the plugin returns.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal or a failure, to be written into `coverslip_error`.
#[derive(Clone)]
pub(crate) struct Error {
    /// A code of the contract (`coverslip_plugin_abi::BUSY`, …), never OK.
    pub(crate) code: i32,
    /// The operating system's code, or 0.
    pub(crate) native: i64,
    message: Message,
}

/// Bytes of `coverslip_error.message`, including its NUL.
const MESSAGE_SIZE: usize = 512;

/// Text stored in place, cut at a character boundary where it does not fit.
#[derive(Clone)]
struct Message {
    bytes: [u8; MESSAGE_SIZE - 1],
    length: usize,
}

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - self.length;
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes[self.length..self.length + end].copy_from_slice(&text.as_bytes()[..end]);
        self.length += end;
        Ok(())
    }
}

impl Error {
    pub(crate) fn new(code: i32, text: fmt::Arguments<'_>) -> Self {
        let mut message = Message { bytes: [0; MESSAGE_SIZE - 1], length: 0 };
        // Message::write_str cannot fail; a Display that does leaves a shorter text.
        let _ = fmt::write(&mut message, text);
        Error { code, native: 0, message }
    }

    pub(crate) fn with_native(mut self, native: i64) -> Self {
        self.native = native;
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.message.bytes[..self.message.length]).unwrap_or("")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}: {}", self.code, self.text())
    }
}

/// `error!(BUSY, "expected {} …", x)`: an [`Error`] with a code of `coverslip_plugin_abi`.
macro_rules! error {
    ($code:ident, $($text:tt)*) => {
        $crate::error::Error::new(coverslip_plugin_abi::$code, format_args!($($text)*))
    };
}
pub(crate) use error;

/// The contract's code for what the bundle crate says.
pub(crate) fn from_bundle(e: BundleError) -> Error {
    use BundleErrorKind as Kind;
    match e.kind() {
        Kind::DigestMismatch => error!(DIGEST_MISMATCH, "{e}"),
        Kind::SignatureInvalid => error!(SIGNATURE_INVALID, "{e}"),
        Kind::UnsupportedVersion | Kind::Unsupported => error!(BUNDLE_UNSUPPORTED, "{e}"),
        Kind::Io => error!(IO, "{e}"),
        _ => error!(BUNDLE_INVALID, "{e}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn long_text_is_cut_at_a_character() {
        let long = "µ".repeat(400);
        let e = error!(BUSY, "x{long}");
        assert_eq!(e.text().len(), 511);
        assert!(e.text().ends_with('µ'));
    }
}
