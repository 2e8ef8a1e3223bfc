//! The trait of every slide, and its errors.

use std::fmt;
use std::path::Path;

use super::description::SourceInfo;
use super::rect::Rect;
use super::scanned::Scanned;

/// Why a slide could not be opened or read: what was expected, what was found, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError(pub String);

impl fmt::Display for SourceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for SourceError {}

/// A slide whose level 0 can be read in parts with bounded memory.
pub trait SlideSource: Send {
    /// The slide's description.
    fn info(&self) -> &SourceInfo;

    /// Fills `out` with the RGB pixels of `rect`, row by row without gaps, and says which of them were scanned; the
    /// others are white. `rect` must be inside the slide.
    ///
    /// # Errors
    /// Where the file is damaged or cut; the part of it is named.
    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError>;
}

/// A file's name for messages and reports.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
