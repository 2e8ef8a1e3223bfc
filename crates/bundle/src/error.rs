//! The one error type of this crate: a stable kind for programs, a message for people.

use std::fmt;

/// What went wrong, as a program may branch on it. The names are part of the format's contract and do
/// not change within `coverslip.bundle/1`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BundleErrorKind {
    /// A file or a tensor that must be there is not.
    Missing,
    /// A file is shorter than the manifest or its own header says.
    Truncated,
    /// A file has the right size and the wrong sha256.
    DigestMismatch,
    /// The manifest's `format` is not one that this version reads.
    UnsupportedVersion,
    /// A model, SAE or file layout that this version does not do; the message names it.
    Unsupported,
    /// Contradictory or malformed content.
    Invalid,
    /// A weight is NaN or infinite.
    NotFinite,
    /// A size beyond the documented limits (see [`crate::limits`]).
    TooLarge,
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
            Self::UnsupportedVersion => "UnsupportedVersion",
            Self::Unsupported => "Unsupported",
            Self::Invalid => "Invalid",
            Self::NotFinite => "NotFinite",
            Self::TooLarge => "TooLarge",
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
    /// An error of `kind` with a message for people.
    pub fn new(kind: BundleErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What went wrong, for programs.
    pub fn kind(&self) -> BundleErrorKind {
        self.kind
    }

    /// What went wrong, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same error with `context` before its message: where it happened.
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The error of an operation on the file `what`: `Missing`, `Truncated` or `Io`.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => BundleErrorKind::Missing,
            std::io::ErrorKind::UnexpectedEof => BundleErrorKind::Truncated,
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

/// Of an error whose text names the file: those of `coverslip-files`.
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
