//! What every slide is: the trait, its facts, rectangles and errors.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// A slide that could not be opened or read: what was expected, what was found, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError(pub String);

impl fmt::Display for SourceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for SourceError {}

/// Micrometres per pixel, and who says so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mpp {
    pub x: f64,
    pub y: f64,
    /// The tag or option that it was read from.
    pub source: String,
}

/// What a slide is, as far as its file tells.
#[derive(Debug, Clone, Serialize)]
pub struct SourceInfo {
    /// The file's name, or the generated slide's.
    pub name: String,
    /// For instance "SVS (Aperio), tiles of 240 x 240, JPEG".
    pub kind: String,
    pub path: Option<String>,
    pub bytes: Option<u64>,
    pub width: u32,
    pub height: u32,
    pub mpp: Option<Mpp>,
    /// Why `mpp` is not known, where it is not.
    pub mpp_missing: Option<String>,
    /// The size of a scanner tile, where the input has one: a directory's images.
    pub natural_tile: Option<(u32, u32)>,
    /// What is known to be wrong with a generated slide.
    pub truth: Option<serde_json::Value>,
}

/// A rectangle of a slide, in level-0 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    /// Bytes of the rectangle's pixels in RGB.
    pub fn bytes(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }
}

/// A slide whose level 0 can be read in pieces, in bounded memory.
pub trait SlideSource: Send {
    /// What the slide is.
    fn info(&self) -> &SourceInfo;

    /// Fills `out` with the RGB pixels of `rect`, row by row without gaps. `rect` lies inside the slide.
    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<(), SourceError>;
}

/// Copies the part of `source` (a rectangle of RGB pixels at `place`) that lies in `rect` into `out`.
pub(crate) fn paste(source: &[u8], place: Rect, rect: Rect, out: &mut [u8]) {
    let left = place.x.max(rect.x);
    let right = (place.x + place.width).min(rect.x + rect.width);
    let top = place.y.max(rect.y);
    let bottom = (place.y + place.height).min(rect.y + rect.height);
    if left >= right {
        return;
    }
    let bytes = (right - left) as usize * 3;
    for y in top..bottom {
        let from = ((y - place.y) as usize * place.width as usize + (left - place.x) as usize) * 3;
        let to = ((y - rect.y) as usize * rect.width as usize + (left - rect.x) as usize) * 3;
        out[to..to + bytes].copy_from_slice(&source[from..from + bytes]);
    }
}

/// A file's name for messages and reports.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
