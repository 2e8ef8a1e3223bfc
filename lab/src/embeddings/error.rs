//! An embedding file that cannot be used: what was expected, what was found, what to do.

use std::fmt;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingError(pub String);

impl EmbeddingError {
    /// An error that begins with the file's name.
    pub(super) fn at(path: &Path, error: &dyn fmt::Display) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for EmbeddingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for EmbeddingError {}

pub type Result<T> = std::result::Result<T, EmbeddingError>;
