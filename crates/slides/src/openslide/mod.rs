//! Slides that OpenSlide reads: NDPI, MRXS, BIF, SCN, VMS, DICOM, JPEG 2000 and the rest, through its C library, which is
//! found at run time.
//!
//! OpenSlide says what is wrong with a file after each call, and that becomes an error here. A crash inside it, or memory
//! that it does not get, ends the process that it is in: a command has it in one of its own (`apart`).

mod apart;
mod described;
mod library;
mod sys;

use std::path::{Path, PathBuf};

use super::alpha;
use super::budget;
use super::description::{Associated, Mpp, Reader, Size, SourceInfo};
use super::error::SourceError;
use super::mpp::RANGE;
use super::rect::Rect;
use super::scanned::{Mask, Scanned};
use super::source::{SlideSource, file_name};
use apart::Apart;
pub use apart::{read_apart, serve};
use described::Described;
pub use library::{Found, INSTALL, found};
pub(super) use library::{Library, library};
use sys::Slide;

/// An open slide.
pub(super) struct OpenSlide {
    path: PathBuf,
    pixels: Pixels,
    info: SourceInfo,
    words: Vec<u32>,
}

/// Where the library runs.
enum Pixels {
    Here(Slide),
    Apart(Apart),
}

impl Pixels {
    /// Fills `words`, ARGB multiplied by opacity, with a rectangle of level 0.
    fn read(&mut self, rect: Rect, words: &mut Vec<u32>) -> Result<(), String> {
        let Rect { x, y, width, height } = rect;
        match self {
            Pixels::Here(slide) => slide.read(x.into(), y.into(), width.into(), height.into(), words),
            Pixels::Apart(apart) => apart.read(rect, words),
        }
    }
}

impl OpenSlide {
    /// Opens a file.
    ///
    /// # Errors
    /// OpenSlide's own words.
    pub(super) fn open(library: &Library, path: &Path) -> Result<OpenSlide, String> {
        let (pixels, said) = match apart::start(path) {
            Some(started) => started.map(|(apart, said)| (Pixels::Apart(apart), said))?,
            None => {
                let slide = Slide::open(&library.functions, path)?;
                let said = Described::of(&slide)?;
                (Pixels::Here(slide), said)
            }
        };
        let levels = said.levels.iter().copied().map(size).collect::<Option<Vec<Size>>>();
        let levels = levels.filter(|levels| !levels.is_empty()).ok_or("a level without a size below 2^32 px")?;
        let vendor = said.vendor.as_ref().filter(|name| is_word(name));
        let kind = format!("{}, through OpenSlide", vendor.map_or("a slide", String::as_str));
        let mpp = mpp(&said);
        let info = SourceInfo {
            path: Some(path.display().to_string()),
            bytes: std::fs::metadata(path).ok().map(|metadata| metadata.len()),
            reader: Reader { name: "OpenSlide".into(), version: library.version().to_owned() },
            mpp_missing: mpp.is_none().then(|| "OpenSlide finds no openslide.mpp-x and -y in it".into()),
            mpp,
            associated: associated(&said),
            ..SourceInfo::plain(file_name(path), kind, levels[0].width, levels[0].height)
        };
        Ok(OpenSlide { path: path.into(), pixels, info: SourceInfo { levels, ..info }, words: Vec::new() })
    }

    /// Decodes a pixel: OpenSlide opens files whose compression it does not decode.
    ///
    /// # Errors
    /// OpenSlide's own words. The slide gives nothing but these from then on.
    pub(super) fn expect_pixels(&mut self) -> Result<(), String> {
        self.pixels.read(Rect { x: 0, y: 0, width: 1, height: 1 }, &mut self.words)
    }
}

impl SlideSource for OpenSlide {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError> {
        let Rect { x, y, width, height } = rect;
        budget::blank(&self.path.display(), rect, 255, out).map_err(SourceError)?;
        self.pixels.read(rect, &mut self.words).map_err(|error| {
            SourceError(format!(
                "{}: {width} x {height} px at {x}, {y}: OpenSlide {}: {error}. Copy the slide again from where it came",
                self.path.display(),
                self.info.reader.version
            ))
        })?;
        for (word, place) in self.words.iter().zip(out.chunks_exact_mut(3)) {
            let [opacity, mut pixel @ ..] = word.to_be_bytes();
            match opacity {
                255 => {}
                0 => pixel = [255; 3],
                opacity => alpha::divide(&mut pixel, opacity),
            }
            place.copy_from_slice(&pixel);
        }
        let mut mask = Mask::all(rect);
        if self.words.iter().any(|word| word >> 24 == 0) {
            let scanned: Vec<bool> = self.words.iter().map(|word| word >> 24 > 0).collect();
            mask.exclude_by(rect, &scanned);
        }
        mask.finish(&self.path.display()).map_err(SourceError)
    }
}

fn size((width, height): (i64, i64)) -> Option<Size> {
    let side = |side| u32::try_from(side).ok().filter(|&side| side > 0);
    Some(Size { width: side(width)?, height: side(height)? })
}

/// One of OpenSlide's own words, not a text of the file.
fn is_word(name: &str) -> bool {
    name.len() < 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_ ".contains(c))
}

fn mpp(said: &Described) -> Option<Mpp> {
    let number = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok().filter(|mpp| RANGE.contains(mpp));
    let (x, y) = (number(&said.mpp[0])?, number(&said.mpp[1])?);
    Some(Mpp { x, y, source: "OpenSlide, openslide.mpp-x and -y".into() })
}

/// Roles that OpenSlide knows; another name is a text of the file.
fn associated(said: &Described) -> Vec<Associated> {
    let known = |name: &str| ["label", "macro", "thumbnail"].into_iter().find(|role| *role == name);
    let of = |(name, dimensions): &(String, (i64, i64))| {
        Some(Associated { role: known(name).unwrap_or("picture").to_owned(), size: size(*dimensions)? })
    };
    said.associated.iter().filter_map(of).collect()
}
