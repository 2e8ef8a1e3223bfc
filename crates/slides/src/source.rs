//! The trait of every slide.

use std::path::Path;

use super::description::SourceInfo;
use super::error::SourceError;
use super::rect::Rect;
use super::scanned::Scanned;

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
