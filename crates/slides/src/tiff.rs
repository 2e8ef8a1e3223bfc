//! TIFF, BigTIFF, SVS and OME-TIFF: the largest image of the file, read chunk by chunk.
//!
//! JPEG chunks are decoded here, not by the `tiff` crate, for two reasons. A truncated stream must be an error, not
//! grey pixels. And only the TIFF states whether a JPEG's components are RGB.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tiff::ColorType;
use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{Tag, Type, ValueBuffer};

use super::cache::ChunkCache;
use super::jpeg::{self, Components};
use super::mpp::{Flavour, TiffHints};
use super::source::{Rect, SlideSource, SourceError, SourceInfo, file_name, paste};

/// Largest decoded chunk and largest value in a directory, bytes.
const LARGEST_CHUNK: usize = 256 << 20;
/// Capacity of the cache of decoded chunks, bytes: a row of 256-pixel tiles of a slide that is 250,000 pixels wide.
const CACHE_BYTES: usize = 192 << 20;
/// Most images of a file among which the largest is sought.
const MOST_IMAGES: usize = 4096;

type TiffDecoder = Decoder<BufReader<File>>;

/// The storage of the chosen image's pixels.
struct Layout {
    width: u32,
    height: u32,
    chunk: (u32, u32),
    across: u32,
    planar: bool,
    tiled: bool,
    compression: u16,
    color: ColorType,
    tables: Option<Vec<u8>>,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
}

/// An open file.
pub(super) struct TiffSlide {
    path: PathBuf,
    decoder: TiffDecoder,
    file_bytes: u64,
    layout: Layout,
    info: SourceInfo,
    cache: ChunkCache,
}

impl TiffSlide {
    pub(super) fn open(path: &Path) -> Result<TiffSlide, SourceError> {
        let fail = |text: String| SourceError(format!("{}: {text}", path.display()));
        let file = coverslip_files::open(path).map_err(|error| fail(format!("could not be read: {error}")))?;
        let file_bytes = file.metadata().map_err(|error| fail(format!("could not be read: {error}")))?.len();
        let mut decoder = Decoder::new(BufReader::new(file)).map_err(|error| fail(directory_error(&error)))?;
        let mut limits = Limits::default();
        limits.decoding_buffer_size = LARGEST_CHUNK;
        limits.intermediate_buffer_size = LARGEST_CHUNK;
        decoder = decoder.with_limits(limits);
        let hints_of_first = hints(&mut decoder);
        seek_to_largest(&mut decoder).map_err(|error| fail(directory_error(&error)))?;
        let layout = read_layout(&mut decoder).map_err(|error| fail(directory_error(&error)))?;
        check(&layout).map_err(fail)?;
        // An OME-TIFF has its description in the first image, whichever image is the largest.
        let mut own = hints(&mut decoder);
        if own.description.is_none() {
            own.description = hints_of_first.description;
        }
        let info = describe(path, file_bytes, &layout, &own);
        let cache = ChunkCache::new(CACHE_BYTES);
        Ok(TiffSlide { path: path.into(), decoder, file_bytes, layout, info, cache })
    }

    /// The RGB pixels of chunk `index` (of the first plane), with the size that `chunk_rect` returns.
    fn chunk(&mut self, index: u32) -> Result<Arc<Vec<u8>>, SourceError> {
        if let Some(chunk) = self.cache.get(index) {
            return Ok(chunk);
        }
        let rect = self.layout.chunk_rect(index);
        let pixels = if self.layout.planar {
            let planes = self.layout.offsets.len() as u32 / 3;
            let mut pixels = vec![0; rect.bytes()];
            for plane in 0..3 {
                let samples = self.samples(index + plane * planes, rect, 1)?;
                for (pixel, &sample) in pixels.chunks_exact_mut(3).zip(&samples) {
                    pixel[plane as usize] = sample;
                }
            }
            pixels
        } else {
            self.samples(index, rect, 3)?
        };
        let pixels = Arc::new(pixels);
        self.cache.insert(index, pixels.clone());
        Ok(pixels)
    }

    /// The samples of one stored chunk, `wanted` per pixel, cropped to the size of `rect`.
    fn samples(&mut self, stored: u32, rect: Rect, wanted: usize) -> Result<Vec<u8>, SourceError> {
        let (offset, length) = (self.layout.offsets[stored as usize], self.layout.lengths[stored as usize]);
        if length == 0 {
            // Scanners omit tiles of glass, which they did not scan.
            return Ok(vec![255; rect.width as usize * rect.height as usize * wanted]);
        }
        if offset.checked_add(length).is_none_or(|end| end > self.file_bytes) {
            return Err(self.chunk_error(
                rect,
                &format!(
                    "expected {length} bytes at byte {offset}, found the end of the file at byte {}: the file is \
                     truncated",
                    self.file_bytes
                ),
            ));
        }
        let decoded = match self.layout.compression {
            7 => self.jpeg_samples(offset, length, rect, wanted),
            _ => self.plain_samples(stored, rect, wanted),
        };
        decoded.map_err(|reason| self.chunk_error(rect, &reason))
    }

    fn jpeg_samples(&mut self, offset: u64, length: u64, rect: Rect, wanted: usize) -> Result<Vec<u8>, String> {
        if length > LARGEST_CHUNK as u64 {
            return Err(format!("expected at most {LARGEST_CHUNK} compressed bytes, found {length}"));
        }
        let mut stream = vec![0; length as usize];
        let file = self.decoder.inner();
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut stream))
            .map_err(|error| format!("could not be read: {error}"))?;
        let components = match (wanted, self.layout.color) {
            (1, _) => Components::Single,
            (_, ColorType::YCbCr(_)) => Components::YCbCr,
            _ => Components::Rgb,
        };
        let decoded = jpeg::decode(&stream, self.layout.tables.as_deref(), components)?;
        if decoded.width < rect.width || decoded.height < rect.height {
            return Err(format!(
                "expected a JPEG of at least {} x {} pixels, found {} x {}",
                rect.width, rect.height, decoded.width, decoded.height
            ));
        }
        Ok(crop(decoded.samples, decoded.width as usize * wanted, rect.width as usize * wanted, rect.height as usize))
    }

    fn plain_samples(&mut self, stored: u32, rect: Rect, wanted: usize) -> Result<Vec<u8>, String> {
        let samples = match self.decoder.read_chunk(stored) {
            Ok(DecodingResult::U8(samples)) => samples,
            Ok(_) => return Err("expected 8-bit samples, found other ones".into()),
            Err(error) => return Err(format!("its data is damaged or truncated ({error})")),
        };
        let pixels = rect.width as usize * rect.height as usize;
        match samples.len() {
            length if length == pixels * wanted => Ok(samples),
            // RGBA: a slide's alpha channel has no information about the specimen.
            length if wanted == 3 && length == pixels * 4 => {
                Ok(samples.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect())
            }
            // The `tiff` crate leaves the padding at the bottom of tiles in planes after the first.
            length if wanted == 1 && length > pixels => {
                let mut samples = samples;
                samples.truncate(pixels);
                Ok(samples)
            }
            length => Err(format!("expected {pixels} pixels of {wanted} samples, found {length} samples")),
        }
    }

    fn chunk_error(&self, rect: Rect, reason: &str) -> SourceError {
        let chunk = self.layout.chunk;
        let place = match self.layout.tiled {
            true => format!("tile (column {}, row {})", rect.x / chunk.0, rect.y / chunk.1),
            false => format!("strip {} (from row {})", rect.y / chunk.1, rect.y),
        };
        SourceError(format!("{}: {place}: {reason}. Copy the slide again from where it came", self.path.display()))
    }
}

impl SlideSource for TiffSlide {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<(), SourceError> {
        out.resize(rect.bytes(), 0);
        let (width, height) = self.layout.chunk;
        for row in rect.y / height..=(rect.y + rect.height - 1) / height {
            for column in rect.x / width..=(rect.x + rect.width - 1) / width {
                let index = row * self.layout.across + column;
                let pixels = self.chunk(index)?;
                paste(&pixels, self.layout.chunk_rect(index), rect, out);
            }
        }
        Ok(())
    }
}

impl Layout {
    /// The rectangle of the image that chunk `index` of the first plane covers.
    fn chunk_rect(&self, index: u32) -> Rect {
        let (x, y) = (index % self.across * self.chunk.0, index / self.across * self.chunk.1);
        Rect { x, y, width: self.chunk.0.min(self.width - x), height: self.chunk.1.min(self.height - y) }
    }
}

/// Seeks to the slide, the largest image. Pyramid levels, thumbnails, labels and macro pictures are in the same file.
fn seek_to_largest(decoder: &mut TiffDecoder) -> tiff::TiffResult<()> {
    let area = |decoder: &mut TiffDecoder| {
        decoder.dimensions().map(|(width, height)| u64::from(width) * u64::from(height)).unwrap_or(0)
    };
    let (mut best, mut best_area) = (0, area(decoder));
    let mut index = 0;
    while decoder.more_images() && index < MOST_IMAGES {
        index += 1;
        // A later image that cannot be read is not the slide; if the file is truncated, reading the slide reports it.
        if decoder.seek_to_image(index).is_err() {
            break;
        }
        let is_color = matches!(decoder.colortype(), Ok(ColorType::RGB(_) | ColorType::RGBA(_) | ColorType::YCbCr(_)));
        if is_color && area(decoder) > best_area {
            (best, best_area) = (index, area(decoder));
        }
    }
    decoder.seek_to_image(best)
}

fn read_layout(decoder: &mut TiffDecoder) -> tiff::TiffResult<Layout> {
    let (width, height) = decoder.dimensions()?;
    let tiled = decoder.get_chunk_type() == ChunkType::Tile;
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    let chunk = if tiled { (chunk_width, chunk_height) } else { (width, chunk_height.min(height)) };
    let (offsets, lengths) = match tiled {
        true => (Tag::TileOffsets, Tag::TileByteCounts),
        false => (Tag::StripOffsets, Tag::StripByteCounts),
    };
    Ok(Layout {
        width,
        height,
        chunk,
        across: width.div_ceil(chunk.0),
        planar: decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration)? == Some(2),
        tiled,
        compression: decoder.find_tag_unsigned::<u16>(Tag::Compression)?.unwrap_or(1),
        color: decoder.colortype()?,
        tables: decoder.find_tag(Tag::JPEGTables)?.map(|value| value.into_u8_vec()).transpose()?,
        offsets: decoder.get_tag_u64_vec(offsets)?,
        lengths: decoder.get_tag_u64_vec(lengths)?,
    })
}

/// Refuses, by name, storage that this reader does not support.
fn check(layout: &Layout) -> Result<(), String> {
    const CONVERT: &str = "Convert it, for example with `vips tiffsave in out.tif --tile --compression jpeg --bigtiff`";
    match layout.compression {
        1 | 5 | 7 | 8 | 32773 | 32946 => {}
        other => {
            return Err(format!(
                "expected JPEG, deflate, LZW or no compression; found {}, which is not read. {CONVERT}",
                compression_name(other)
            ));
        }
    }
    match layout.color {
        ColorType::RGB(8) | ColorType::RGBA(8) => {}
        ColorType::YCbCr(8) if layout.compression == 7 && !layout.planar => {}
        other => {
            return Err(format!(
                "expected RGB with 8 bits per channel, found {}, which is not read. {CONVERT}",
                color_name(other)
            ));
        }
    }
    let bytes = u64::from(layout.chunk.0) * u64::from(layout.chunk.1) * 3;
    if bytes > LARGEST_CHUNK as u64 {
        return Err(format!(
            "expected tiles or strips of at most {} MB, found some of {} MB. {CONVERT}",
            LARGEST_CHUNK >> 20,
            bytes >> 20
        ));
    }
    let chunks = u64::from(layout.across) * u64::from(layout.height.div_ceil(layout.chunk.1));
    let stored = chunks * if layout.planar { 3 } else { 1 };
    if layout.offsets.len() as u64 != stored || layout.lengths.len() as u64 != stored {
        return Err(format!(
            "expected {stored} tiles or strips, found {}: the file's directory is damaged. Copy the slide again",
            layout.offsets.len()
        ));
    }
    Ok(())
}

fn hints(decoder: &mut TiffDecoder) -> TiffHints {
    let resolution = |decoder: &mut TiffDecoder, tag| {
        let value = decoder.find_tag(tag).ok()??;
        match value {
            tiff::decoder::ifd::Value::Rational(pixels, unit) => Some(f64::from(pixels) / f64::from(unit)),
            other => other.into_f64().ok(),
        }
    };
    let x = resolution(decoder, Tag::XResolution);
    let y = resolution(decoder, Tag::YResolution);
    TiffHints {
        description: description(decoder),
        resolution: x.zip(y.or(x)),
        resolution_unit: decoder.find_tag_unsigned(Tag::ResolutionUnit).ok().flatten().unwrap_or(2),
    }
}

/// The description as text. Some programs write Latin-1, in which a micro sign is one byte.
fn description(decoder: &mut TiffDecoder) -> Option<String> {
    if let Ok(text) = decoder.get_tag_ascii_string(Tag::ImageDescription) {
        return Some(text);
    }
    let mut buffer = ValueBuffer::empty(Type::BYTE);
    decoder.image_ifd().find_tag_buf(Tag::ImageDescription, &mut buffer).ok()??;
    let bytes = buffer.as_bytes();
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    Some(text.trim_end_matches('\0').to_owned())
}

fn describe(path: &Path, file_bytes: u64, layout: &Layout, hints: &TiffHints) -> SourceInfo {
    let format = match hints.flavour() {
        Flavour::Aperio => "SVS (Aperio)",
        Flavour::Ome => "OME-TIFF",
        Flavour::Plain => "TIFF",
    };
    let chunks = match layout.tiled {
        true => format!("tiles of {} x {}", layout.chunk.0, layout.chunk.1),
        false => format!("strips of {} rows", layout.chunk.1),
    };
    let mpp = hints.mpp();
    SourceInfo {
        name: file_name(path),
        kind: format!("{format}, {chunks}, {}", compression_name(layout.compression)),
        path: Some(path.display().to_string()),
        bytes: Some(file_bytes),
        width: layout.width,
        height: layout.height,
        mpp_missing: mpp.as_ref().err().cloned(),
        mpp: mpp.ok(),
        natural_tile: None,
        truth: None,
    }
}

fn crop(samples: Vec<u8>, stored_row: usize, row: usize, rows: usize) -> Vec<u8> {
    if stored_row == row {
        let mut samples = samples;
        samples.truncate(row * rows);
        return samples;
    }
    samples.chunks_exact(stored_row).take(rows).flat_map(|line| &line[..row]).copied().collect()
}

fn compression_name(code: u16) -> String {
    match code {
        1 => "no compression".into(),
        2..=4 => "fax compression".into(),
        5 => "LZW".into(),
        6 => "old-style JPEG (compression 6)".into(),
        7 => "JPEG".into(),
        8 | 32946 => "deflate".into(),
        32773 => "PackBits".into(),
        33003 | 33005 => format!("Aperio's JPEG 2000 (compression {code})"),
        34712 => "JPEG 2000 (compression 34712)".into(),
        34887 => "LERC (compression 34887)".into(),
        34892 => "lossy JPEG of DNG (compression 34892)".into(),
        50000 => "Zstandard (compression 50000)".into(),
        50001 => "WebP (compression 50001)".into(),
        50002 | 52546 => format!("JPEG XL (compression {code})"),
        other => format!("compression {other}"),
    }
}

fn color_name(color: ColorType) -> String {
    match color {
        ColorType::Gray(bits) => format!("one grey channel of {bits} bits (fluorescence?)"),
        ColorType::RGB(bits) => format!("RGB with {bits} bits per channel"),
        ColorType::RGBA(bits) => format!("RGBA with {bits} bits per channel"),
        ColorType::CMYK(_) | ColorType::CMYKA(_) => "CMYK".into(),
        ColorType::YCbCr(bits) => format!("YCbCr of {bits} bits without JPEG or in planes"),
        ColorType::Palette(_) => "a palette".into(),
        ColorType::Multiband { num_samples, bit_depth } => format!("{num_samples} channels of {bit_depth} bits"),
        other => format!("{other:?}"),
    }
}

fn directory_error(error: &tiff::TiffError) -> String {
    match error {
        tiff::TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "expected a whole TIFF, found the end of the file inside its directory: the file is truncated. Copy the \
             slide again from where it came"
                .into()
        }
        tiff::TiffError::UnsupportedError(reason) => format!(
            "expected RGB with 8 bits per channel, found something else ({reason}), which is not read. Convert it, \
             for example with `vips tiffsave in out.tif --tile --compression jpeg --bigtiff`"
        ),
        other => {
            format!("expected a TIFF, found a damaged directory ({other}). Copy the slide again from where it came")
        }
    }
}
