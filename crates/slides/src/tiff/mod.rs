//! TIFF, BigTIFF, SVS, OME-TIFF and Philips TIFF, read chunk by chunk.
//!
//! Containers and lossless chunks are read here rather than by the `tiff` crate, because a slide must be read as libtiff
//! reads it or refused by name: that crate refuses LZW without an end mark and last strips whose length is that of a
//! whole one, takes a length of 0 for no data, and cannot say that a tile is not there. JPEG is in `crate::jpeg`.

mod allowance;
mod choose;
mod chunk;
mod container;
mod flavour;
mod image;
mod unpack;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::budget;
use super::cache::ChunkCache;
use super::description::{Mpp, SourceInfo};
use super::error::SourceError;
use super::rect::{Rect, paste};
use super::refusal::{Fault, Help, Refusal};
use super::scanned::{Mask, Scanned};
use super::source::{SlideSource, file_name};
use choose::Chosen;
use chunk::Chunk;
use container::Container;
use flavour::Flavour;
use image::{Image, Layout, Unsupported, compression_name};

/// Capacity of the cache of decoded chunks, bytes: a row of 256-pixel tiles of a slide that is 250,000 pixels wide.
const CACHE_BYTES: usize = 192 << 20;

/// What leads to a file that opens.
const CONVERT: &str = "Convert it, for example with `vips tiffsave in.tif out.tif --tile --compression jpeg --bigtiff`";

/// An open file.
pub(super) struct TiffSlide {
    path: PathBuf,
    file: Container,
    layout: Layout,
    info: SourceInfo,
    cache: ChunkCache<Option<Chunk>>,
}

impl TiffSlide {
    /// Opens a file and chooses the slide among its images; `scene` asks for one of several.
    ///
    /// # Errors
    /// Where the file is damaged, or of a kind that this reader does not support.
    pub(super) fn open(path: &Path, scene: Option<u32>) -> Result<TiffSlide, Refusal> {
        let fail = |text: String| Refusal::failed(format!("{}: {text}", path.display()));
        let file = Container::open(path).map_err(fail)?;
        if file.is_ndpi() {
            return Err(foreign(path, "Hamamatsu NDPI"));
        }
        let images = images(&file).map_err(fail)?;
        if let Some(format) = flavour::foreign(&file, &images).map_err(fail)? {
            return Err(foreign(path, format));
        }
        let flavour = Flavour::of(&file, &images[0]).map_err(fail)?;
        let chosen = choose::choose(&file, &images, flavour, scene).map_err(fail)?;
        let layout = Layout::read(&file, &images[chosen.image]).map_err(|why| unsupported(path, flavour, why))?;
        let info = describe(path, &file, &images, &layout, flavour, chosen);
        let cache = ChunkCache::new(CACHE_BYTES, |chunk: &Option<Chunk>| chunk.as_ref().map_or(1, Chunk::bytes));
        Ok(TiffSlide { path: path.into(), file, layout, info, cache })
    }

    fn chunk(&mut self, index: u32) -> Result<Arc<Option<Chunk>>, SourceError> {
        if let Some(chunk) = self.cache.get(index) {
            return Ok(chunk);
        }
        let chunk = chunk::read(&self.file, &self.layout, index);
        let chunk = Arc::new(chunk.map_err(|fault| self.chunk_error(self.layout.chunk_rect(index), &fault))?);
        self.cache.insert(index, chunk.clone());
        Ok(chunk)
    }

    fn chunk_error(&self, rect: Rect, fault: &Fault) -> SourceError {
        let chunk = self.layout.chunk;
        let place = match self.layout.tiled {
            true => format!("tile (column {}, row {})", rect.x / chunk.0, rect.y / chunk.1),
            false => format!("strip {} (from row {})", rect.y / chunk.1, rect.y),
        };
        let advice = match fault {
            Fault::Damaged(_) => "Copy the slide again from where it came",
            Fault::Unread(_) => CONVERT,
        };
        SourceError(format!("{}: {place}: {fault}. {advice}", self.path.display()))
    }
}

impl SlideSource for TiffSlide {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError> {
        budget::blank(&self.path.display(), rect, 255, out).map_err(SourceError)?;
        let mut mask = Mask::all(rect);
        let (width, height) = self.layout.chunk;
        for row in rect.y / height..=(rect.y + rect.height - 1) / height {
            for column in rect.x / width..=(rect.x + rect.width - 1) / width {
                let index = row * self.layout.across + column;
                let place = self.layout.chunk_rect(index);
                match self.chunk(index)?.as_ref() {
                    Some(chunk) => {
                        paste(&chunk.pixels, place, rect, out);
                        chunk.scanned.iter().for_each(|scanned| mask.exclude_by(place, scanned));
                    }
                    None => mask.exclude(place),
                }
            }
        }
        mask.finish(&self.path.display()).map_err(SourceError)
    }
}

/// The images of the chain, each followed by its parts.
fn images(file: &Container) -> Result<Vec<Image>, String> {
    let mut images = Vec::new();
    for found in file.directories()? {
        images.extend(Image::new(file, found)?);
    }
    if images.is_empty() {
        return Err(container::damaged("no image has a size"));
    }
    Ok(images)
}

fn foreign(path: &Path, format: &'static str) -> Refusal {
    Refusal::unread(path, "TIFF, SVS or OME-TIFF", format, Help::OpenSlide)
}

/// Names what this reader does not support, and what leads to a file that opens.
fn unsupported(path: &Path, flavour: Flavour, why: Unsupported) -> Refusal {
    // libtiff, by which vips reads, does not decode some compressions.
    const BY_TIFFFILE: &str = "Convert it, for example with `python3 -c \"import tifffile as t; t.imwrite('out.tif', \
                               t.imread('in.tif'), tile=(256, 256), photometric='rgb', compression='jpeg')\"` after \
                               `pip install tifffile imagecodecs`";
    const COLORS: &str = "Convert it, for example with `vips colourspace in.tif rgb.v srgb && vips tiffsave rgb.v out.tif --tile \
                          --compression jpeg --bigtiff`";
    let (expected, found, help) = match why {
        Unsupported::Damaged(text) => return Refusal::failed(format!("{}: {text}", path.display())),
        Unsupported::TooLarge(text) => return Refusal::failed(format!("{}: {text}. {CONVERT}", path.display())),
        Unsupported::Compression(code) => {
            let help = match code {
                // OpenSlide decodes it in Aperio's own files alone.
                33003 | 33005 if flavour == Flavour::Aperio => Help::OpenSlide,
                34712 | 50002 | 52546 => Help::Either(BY_TIFFFILE),
                _ => Help::Either(CONVERT),
            };
            ("JPEG, deflate, LZW or no compression", compression_name(code), help)
        }
        Unsupported::Color(found) => ("RGB with 8 bits per channel", found, Help::Advice(COLORS)),
    };
    Refusal::unread(path, expected, &found, help)
}

fn describe(
    path: &Path,
    file: &Container,
    images: &[Image],
    layout: &Layout,
    flavour: Flavour,
    chosen: Chosen,
) -> SourceInfo {
    let image = &images[chosen.image];
    let chunks = match layout.tiled {
        true => format!("tiles of {} x {}", layout.chunk.0, layout.chunk.1),
        false => format!("strips of {} rows", layout.chunk.1),
    };
    let kind = format!("{}, {chunks}, {}", flavour.name(), compression_name(layout.compression));
    let all = layout.chunks();
    let missing = (0..all as usize).filter(|&index| !chunk::is_there(layout, index)).count() as u64;
    let of = images.iter().map(|image| image.index).max().unwrap_or(0) + 1;
    let mpp: Result<Mpp, String> = chosen.mpp;
    SourceInfo {
        path: Some(path.display().to_string()),
        bytes: Some(file.bytes()),
        image: (of > 1).then(|| format!("image {} of {of}", image.index + 1)),
        mpp_missing: mpp.as_ref().err().cloned(),
        mpp: mpp.ok(),
        levels: chosen.levels,
        scenes: chosen.scenes,
        associated: chosen.associated,
        left_out: chosen.left_out,
        missing_tiles: (missing > 0).then_some((missing, all)),
        ..SourceInfo::plain(file_name(path), kind, layout.size.width, layout.size.height)
    }
}
