//! One image of a TIFF: its size, its storage, and whether this reader supports that.

use super::container::{Container, Directory, Found, damaged};
use crate::budget::{self, LARGEST_CHUNK};
use crate::description::Size;
use crate::rect::Rect;

/// The tags that are read.
mod tag {
    pub(super) const SUBFILE_TYPE: u16 = 254;
    pub(super) const WIDTH: u16 = 256;
    pub(super) const HEIGHT: u16 = 257;
    pub(super) const BITS: u16 = 258;
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const PHOTOMETRIC: u16 = 262;
    pub(super) const FILL_ORDER: u16 = 266;
    pub(super) const DESCRIPTION: u16 = 270;
    pub(super) const STRIP_OFFSETS: u16 = 273;
    pub(super) const SAMPLES: u16 = 277;
    pub(super) const ROWS_PER_STRIP: u16 = 278;
    pub(super) const STRIP_LENGTHS: u16 = 279;
    pub(super) const X_RESOLUTION: u16 = 282;
    pub(super) const Y_RESOLUTION: u16 = 283;
    pub(super) const PLANAR: u16 = 284;
    pub(super) const RESOLUTION_UNIT: u16 = 296;
    pub(super) const PREDICTOR: u16 = 317;
    pub(super) const TILE_WIDTH: u16 = 322;
    pub(super) const TILE_HEIGHT: u16 = 323;
    pub(super) const TILE_OFFSETS: u16 = 324;
    pub(super) const TILE_LENGTHS: u16 = 325;
    pub(super) const EXTRA_SAMPLES: u16 = 338;
    pub(super) const SAMPLE_FORMAT: u16 = 339;
    pub(super) const JPEG_TABLES: u16 = 347;
}

/// Images that are not the slide at its full size, by the bits of NewSubfileType.
const REDUCED: u64 = 1;
const MASK: u64 = 4;

/// Most tiles or strips of an image, over all its planes: tiles of 256 px on a plane of a million pixels each way.
const MOST_CHUNKS: u64 = 1 << 24;
/// Most values of a list of which each pixel's samples have one.
const MOST_SAMPLES: u64 = 1 << 16;
/// Most bytes of JPEGTables. All that a JPEG can have are below 3000.
const MOST_TABLES: u64 = 1 << 16;

/// What the container says of an image without looking at its pixels.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) directory: Directory,
    /// Its place in the file's chain, from 0; parts of another image have that image's.
    pub(super) index: usize,
    /// Whether it is a part of the image at `index`.
    pub(super) part: bool,
    pub(super) size: Size,
    pub(super) tiled: bool,
    /// Whether its samples are RGB or YCbCr.
    pub(super) colored: bool,
    subfile_type: u64,
    pub(super) description: Option<String>,
}

impl Image {
    /// Of a directory; None: it has no size.
    ///
    /// # Errors
    /// Where its text cannot be read.
    pub(super) fn new(file: &Container, found: Found) -> Result<Option<Image>, String> {
        let Found { directory, index, part } = found;
        let number = |tag| file.number(&directory, tag).ok().flatten();
        let side = |tag| number(tag).and_then(|side| u32::try_from(side).ok()).filter(|&side| side > 0);
        let Some((width, height)) = side(tag::WIDTH).zip(side(tag::HEIGHT)) else { return Ok(None) };
        let tiled = directory.has(tag::TILE_OFFSETS) || directory.has(tag::TILE_WIDTH);
        let subfile_type = number(tag::SUBFILE_TYPE).unwrap_or(0);
        let colored = matches!(number(tag::PHOTOMETRIC), Some(2 | 6));
        let description = file.text(&directory, tag::DESCRIPTION)?;
        let size = Size { width, height };
        Ok(Some(Image { directory, index, part, size, tiled, colored, subfile_type, description }))
    }

    pub(super) fn is_reduced(&self) -> bool {
        self.subfile_type & REDUCED != 0
    }

    pub(super) fn is_mask(&self) -> bool {
        self.subfile_type & MASK != 0
    }

    /// Whether Aperio marks it as a macro picture: reduced, and page of something.
    pub(super) fn is_aperio_macro(&self) -> bool {
        self.subfile_type == 9
    }

    /// Pixels per unit in x and y, and the unit: 1 is none, 2 inch, 3 centimetre.
    pub(super) fn resolution(&self, file: &Container) -> (Option<(f64, f64)>, u16) {
        let x = file.real(&self.directory, tag::X_RESOLUTION);
        let y = file.real(&self.directory, tag::Y_RESOLUTION);
        let unit = file.number(&self.directory, tag::RESOLUTION_UNIT).ok().flatten();
        (x.zip(y.or(x)), unit.and_then(|unit| u16::try_from(unit).ok()).unwrap_or(2))
    }
}

/// What the samples of a pixel mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    Rgb,
    /// In a JPEG alone.
    YCbCr,
}

/// The fourth sample of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpha {
    None,
    /// Something that is not opacity.
    Other,
    /// Colours are as scanned.
    Straight,
    /// Colours are multiplied by it.
    Premultiplied,
}

/// Why an image is not read: what was expected and found, and whether another image format would help.
pub(super) enum Unsupported {
    Damaged(String),
    /// A compression that this crate does not decode.
    Compression(u16),
    Color(String),
    TooLarge(String),
}

/// The storage of an image's pixels.
pub(super) struct Layout {
    pub(super) size: Size,
    /// Width and height of a tile or strip.
    pub(super) chunk: (u32, u32),
    pub(super) across: u32,
    pub(super) planar: bool,
    pub(super) tiled: bool,
    pub(super) compression: u16,
    /// Whether each sample is stored as the difference from its neighbour.
    pub(super) differences: bool,
    /// Whether the bits of each byte are stored in reverse.
    pub(super) reversed: bool,
    pub(super) color: Color,
    pub(super) alpha: Alpha,
    /// Samples of a pixel in a chunk.
    pub(super) samples: usize,
    pub(super) tables: Option<Vec<u8>>,
    pub(super) offsets: Vec<u64>,
    /// As the file states them; empty: it does not, or all are 0.
    pub(super) lengths: Vec<u64>,
    /// The offsets in order, where there are no lengths.
    pub(super) starts: Vec<u64>,
}

impl Layout {
    /// Reads an image's storage and refuses, by name, what this reader does not support.
    pub(super) fn read(file: &Container, image: &Image) -> Result<Layout, Unsupported> {
        let directory = &image.directory;
        let number = |tag| file.number(directory, tag).map_err(Unsupported::Damaged);
        let compression = number(tag::COMPRESSION)?.unwrap_or(1) as u16;
        let planar = number(tag::PLANAR)? == Some(2);
        let stored = number(tag::SAMPLES)?.unwrap_or(1);
        let (color, alpha) = color(file, image, compression, planar, stored)?;
        if !matches!(compression, 1 | 5 | 7 | 8 | 32773 | 32946) {
            return Err(Unsupported::Compression(compression));
        }
        let Size { width, height } = image.size;
        let side = |value: Option<u64>, most: u32| value.map_or(most, |value| value.min(u64::from(u32::MAX)) as u32);
        let chunk = match image.tiled {
            true => (side(number(tag::TILE_WIDTH)?, 0), side(number(tag::TILE_HEIGHT)?, 0)),
            false => (width, side(number(tag::ROWS_PER_STRIP)?, height).min(height)),
        };
        if chunk.0 == 0 || chunk.1 == 0 {
            return Err(Unsupported::Damaged(damaged("tiles or strips without a size")));
        }
        let samples = if planar { 1 } else { stored as usize };
        let bytes = (u64::from(chunk.0) * u64::from(chunk.1)).saturating_mul(samples.max(3) as u64);
        if bytes > LARGEST_CHUNK {
            return Err(Unsupported::TooLarge(format!(
                "expected tiles or strips of at most {} MB, found some of {} MB",
                LARGEST_CHUNK >> 20,
                bytes >> 20
            )));
        }
        let planes = if planar { stored } else { 1 };
        let (offsets, lengths) = places(file, image, chunk, planes)?;
        let mut starts = Vec::new();
        if lengths.is_empty() {
            starts = budget::list(offsets.len()).map_err(Unsupported::Damaged)?;
            starts.extend_from_slice(&offsets);
            starts.sort_unstable();
        }
        Ok(Layout {
            size: image.size,
            chunk,
            across: width.div_ceil(chunk.0),
            planar,
            tiled: image.tiled,
            compression,
            differences: number(tag::PREDICTOR)? == Some(2) && compression != 7,
            reversed: number(tag::FILL_ORDER)? == Some(2) && compression != 7,
            color,
            alpha,
            samples,
            tables: file.blob(directory, tag::JPEG_TABLES, MOST_TABLES).map_err(Unsupported::Damaged)?,
            offsets,
            lengths,
            starts,
        })
    }

    /// Tiles or strips of the image, of one plane.
    pub(super) fn chunks(&self) -> u64 {
        u64::from(self.across) * u64::from(self.size.height.div_ceil(self.chunk.1))
    }

    /// The rectangle of the image that chunk `index` of the first plane covers.
    pub(super) fn chunk_rect(&self, index: u32) -> Rect {
        let (x, y) = (index % self.across * self.chunk.0, index / self.across * self.chunk.1);
        Rect { x, y, width: self.chunk.0.min(self.size.width - x), height: self.chunk.1.min(self.size.height - y) }
    }

    /// Width and height of a chunk as it is stored: tiles are whole, the last strip is not.
    pub(super) fn stored(&self, rect: Rect) -> (u32, u32) {
        if self.tiled { self.chunk } else { (rect.width, rect.height) }
    }
}

/// Where the tiles or strips are, and how long; no lengths: the file states none, or all are 0. Their number is held
/// against the size of the image before a list is read.
fn places(
    file: &Container,
    image: &Image,
    chunk: (u32, u32),
    planes: u64,
) -> Result<(Vec<u64>, Vec<u64>), Unsupported> {
    let directory = &image.directory;
    // Before TIFF 6 tiles were where strips are; libtiff reads both.
    let (offsets, lengths) = match image.tiled && directory.has(tag::TILE_OFFSETS) {
        true => (tag::TILE_OFFSETS, tag::TILE_LENGTHS),
        false => (tag::STRIP_OFFSETS, tag::STRIP_LENGTHS),
    };
    let Size { width, height } = image.size;
    let chunks = u64::from(width.div_ceil(chunk.0)) * u64::from(height.div_ceil(chunk.1));
    let expected = chunks.saturating_mul(planes);
    let miscounted = |found: u64| {
        Unsupported::Damaged(format!(
            "expected {expected} tiles or strips, found {found}: the file's directory is damaged. Copy the slide again"
        ))
    };
    let found = file.count(directory, offsets).unwrap_or(0);
    if found != expected {
        return Err(miscounted(found));
    }
    if expected > MOST_CHUNKS {
        return Err(Unsupported::TooLarge(format!(
            "expected an image of at most {MOST_CHUNKS} tiles or strips, found one of {expected}"
        )));
    }
    let list = |tag| file.numbers(directory, tag, MOST_CHUNKS).map_err(Unsupported::Damaged);
    let (offsets, mut lengths) = (list(offsets)?.unwrap_or_default(), list(lengths)?.unwrap_or_default());
    if lengths.iter().all(|&length| length == 0) {
        lengths = Vec::new();
    }
    // Without lengths the offsets say where each chunk ends.
    match lengths.len() as u64 {
        0 => Ok((offsets, lengths)),
        count if count == expected => Ok((offsets, lengths)),
        _ => Err(miscounted(found)),
    }
}

fn color(
    file: &Container,
    image: &Image,
    compression: u16,
    planar: bool,
    samples: u64,
) -> Result<(Color, Alpha), Unsupported> {
    let list = |tag| file.numbers(&image.directory, tag, MOST_SAMPLES).map_err(Unsupported::Damaged);
    let bits = list(tag::BITS)?.unwrap_or_else(|| vec![1]);
    let photometric = list(tag::PHOTOMETRIC)?.and_then(|values| values.first().copied());
    let format = list(tag::SAMPLE_FORMAT)?.unwrap_or_default();
    let deepest = bits.iter().copied().max().unwrap_or(1);
    let other = |found: String| Err(Unsupported::Color(found));
    let color = match photometric {
        Some(0 | 1) if samples == 1 => return other(format!("one grey channel of {deepest} bits (fluorescence?)")),
        Some(0 | 1) => return other(format!("{samples} channels of {deepest} bits")),
        Some(3) => return other("a palette".into()),
        Some(5) => return other("CMYK".into()),
        Some(2) => Color::Rgb,
        Some(6) if deepest == 8 && compression == 7 && !planar => Color::YCbCr,
        Some(6) => return other(format!("YCbCr of {deepest} bits without JPEG or in planes")),
        Some(8..=10) => return other("CIE L*a*b*".into()),
        Some(kind) => return other(format!("the photometric interpretation {kind}")),
        None => return other("no photometric interpretation".into()),
    };
    if bits.iter().any(|&bits| bits != 8) || format.iter().any(|&format| format != 1) {
        let numbers = match format.iter().find(|&&format| format != 1) {
            Some(2) => " as signed numbers",
            Some(3) => " as floating-point numbers",
            _ => "",
        };
        return other(format!("RGB with {deepest} bits per channel{numbers}"));
    }
    let alpha = match (samples, list(tag::EXTRA_SAMPLES)?.and_then(|kinds| kinds.first().copied())) {
        (3, _) => Alpha::None,
        (4, Some(1)) => Alpha::Premultiplied,
        (4, Some(2)) => Alpha::Straight,
        (4, _) => Alpha::Other,
        _ => return other(format!("{samples} channels of {deepest} bits")),
    };
    if compression == 7 && !planar && samples != 3 {
        return other(format!("a JPEG of {samples} channels"));
    }
    Ok((color, alpha))
}

/// The name of a compression, for messages and reports.
pub(super) fn compression_name(code: u16) -> String {
    match code {
        1 => "no compression".into(),
        2..=4 => "fax compression".into(),
        5 => "LZW".into(),
        6 => "old-style JPEG (compression 6)".into(),
        7 => "JPEG".into(),
        8 | 32946 => "deflate".into(),
        32773 => "PackBits".into(),
        33003 | 33005 => format!("Aperio's JPEG 2000 (compression {code})"),
        33004 | 34712 => format!("JPEG 2000 (compression {code})"),
        34887 => "LERC (compression 34887)".into(),
        34892 => "lossy JPEG of DNG (compression 34892)".into(),
        34925 => "LZMA (compression 34925)".into(),
        50000 => "Zstandard (compression 50000)".into(),
        50001 => "WebP (compression 50001)".into(),
        50002 | 52546 => format!("JPEG XL (compression {code})"),
        other => format!("compression {other}"),
    }
}
