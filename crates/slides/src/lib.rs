//! Slides to play: one trait, and a reader for each kind of input.

mod cache;
mod directory;
pub mod generated;
mod jpeg;
mod mpp;
pub use mpp::RANGE as MPP_RANGE;
mod picture;
pub mod simulated;
#[cfg(test)]
mod tests;
mod tiff;

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

/// Opens a file or a directory by what it is, not by its name.
pub fn open(path: &Path) -> Result<Box<dyn SlideSource>, SourceError> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        SourceError(format!("{}: expected a slide (a file or a directory of tiles), found: {error}", path.display()))
    })?;
    if metadata.is_dir() {
        return Ok(Box::new(directory::TileDirectory::open(path)?));
    }
    match signature(path)? {
        Signature::Tiff => Ok(Box::new(tiff::TiffSlide::open(path)?)),
        Signature::Png | Signature::Jpeg => Ok(Box::new(picture::Picture::open(path)?)),
        Signature::Known(name, advice) => Err(SourceError(format!(
            "{}: expected TIFF, SVS, OME-TIFF, PNG or JPEG; found {name}, which is not read. {advice}",
            path.display()
        ))),
        Signature::Unknown(bytes) => Err(SourceError(format!(
            "{}: expected TIFF, SVS, OME-TIFF, PNG or JPEG; found a file that begins with {bytes:02x?}. Convert it \
             to a tiled TIFF, for example with `vips tiffsave in out.tif --tile --compression jpeg --bigtiff`",
            path.display()
        ))),
    }
}

/// What a file's first bytes say.
enum Signature {
    Tiff,
    Png,
    Jpeg,
    Known(&'static str, &'static str),
    Unknown(Vec<u8>),
}

fn signature(path: &Path) -> Result<Signature, SourceError> {
    use std::io::Read;
    let mut head = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(12).read_to_end(&mut head))
        .map_err(|error| SourceError(format!("{}: could not be read: {error}", path.display())))?;
    const CONVERT: &str = "Convert it to a tiled TIFF with `vips tiffsave` or bfconvert";
    Ok(match head.as_slice() {
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Signature::Tiff,
        [0x89, b'P', b'N', b'G', ..] => Signature::Png,
        [0xff, 0xd8, 0xff, ..] => Signature::Jpeg,
        [_, _, _, _, b'j', b'P', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => Signature::Known("JPEG 2000", CONVERT),
        [b'P', b'K', ..] => Signature::Known("a zip archive", "Unpack it and give the slide inside"),
        [b'G', b'I', b'F', ..] => Signature::Known("GIF", CONVERT),
        [b'B', b'M', ..] => Signature::Known("BMP", CONVERT),
        [b'R', b'I', b'F', b'F', ..] => Signature::Known("WebP or another RIFF file", CONVERT),
        [] => Signature::Known("an empty file", "Copy the slide again"),
        other => Signature::Unknown(other.iter().copied().take(4).collect()),
    })
}

/// Copies the part of `source` (a rectangle of RGB pixels at `place`) that lies in `rect` into `out`.
fn paste(source: &[u8], place: Rect, rect: Rect, out: &mut [u8]) {
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
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
