//! The crate's one error type: a stable kind for programs and a message for people.

use std::fmt;

/// The kind of an error, for programs to branch on. The names are part of the format's contract and do not change
/// within `coverslip.bundle/1`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BundleErrorKind {
    /// A required file or tensor does not exist.
    Missing,
    /// A file is shorter than the manifest or its own header says.
    Truncated,
    /// A file has the right size but the wrong sha256.
    DigestMismatch,
    /// A signature is missing where one is required, is wrong, or is by none of the trusted keys.
    SignatureInvalid,
    /// This version does not read the manifest's `format`.
    UnsupportedVersion,
    /// This version does not support the model, SAE or file layout; the message names it.
    Unsupported,
    /// Contradictory or malformed content.
    Invalid,
    /// A weight is NaN or infinite.
    NotFinite,
    /// A size exceeds the documented limits (see [`crate::limits`]).
    TooLarge,
    /// There is not enough memory now.
    OutOfMemory,
    /// The operating system refused an operation on a file.
    Io,
}

impl BundleErrorKind {
    /// The kind's stable name, for logs and tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "Missing",
            Self::Truncated => "Truncated",
            Self::DigestMismatch => "DigestMismatch",
            Self::SignatureInvalid => "SignatureInvalid",
            Self::UnsupportedVersion => "UnsupportedVersion",
            Self::Unsupported => "Unsupported",
            Self::Invalid => "Invalid",
            Self::NotFinite => "NotFinite",
            Self::TooLarge => "TooLarge",
            Self::OutOfMemory => "OutOfMemory",
            Self::Io => "Io",
        }
    }
}

/// Why a bundle could not be opened, composed or written. Its `Display` says what was expected, what was
/// found and what to do.
#[derive(Clone, Debug)]
pub struct BundleError {
    kind: BundleErrorKind,
    message: String,
}

impl BundleError {
    pub fn new(kind: BundleErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The kind, for programs.
    pub fn kind(&self) -> BundleErrorKind {
        self.kind
    }

    /// The message, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Puts `context`, the place of the error, before the message, unless the message begins with it: whoever found the
    /// error may have known the file already.
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        let context = context.to_string();
        if !self.message.strip_prefix(&context).is_some_and(|rest| rest.starts_with([':', ' '])) {
            self.message = format!("{context}: {}", self.message);
        }
        self
    }

    /// Turns a failed operation on the file `what` into `Missing`, `Truncated`, `Invalid`, `OutOfMemory` or `Io`.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => BundleErrorKind::Missing,
            std::io::ErrorKind::UnexpectedEof => BundleErrorKind::Truncated,
            // What is there is no file; `coverslip_files::open` says what it is.
            std::io::ErrorKind::IsADirectory | std::io::ErrorKind::InvalidInput => BundleErrorKind::Invalid,
            std::io::ErrorKind::OutOfMemory => BundleErrorKind::OutOfMemory,
            _ => BundleErrorKind::Io,
        };
        Self::new(kind, format!("{what}: {error}"))
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BundleError {}

/// For errors whose text names the file already, as those of `coverslip-files` do.
impl From<std::io::Error> for BundleError {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::InvalidInput => BundleErrorKind::Invalid,
            _ => BundleErrorKind::Io,
        };
        Self::new(kind, error.to_string())
    }
}

/// Shorthand for `Err(BundleError::new(kind, format!(…)))`.
#[macro_export]
macro_rules! fail {
    ($kind:ident, $($arg:tt)*) => {
        return Err($crate::BundleError::new(
            $crate::BundleErrorKind::$kind,
            format!($($arg)*),
        ))
    };
}
pub(crate) use fail;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_once() {
        let within = |message: &str, place: &str| BundleError::new(BundleErrorKind::Invalid, message).within(place);
        assert_eq!(within("it is damaged", "a.onnx").message(), "a.onnx: it is damaged");
        assert_eq!(within("a.onnx: it is damaged", "a.onnx").message(), "a.onnx: it is damaged");
        assert_eq!(within("a.onnx has 3 bytes", "a.onnx").message(), "a.onnx has 3 bytes");
        assert_eq!(within("a.onnx: it is damaged", "a").message(), "a: a.onnx: it is damaged");
    }
}
