//! A PNG or JPEG image as a slide. It is decoded as a whole, because these formats cannot be read in parts.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder, Limits};

use super::alpha;
use super::budget::{self, LARGEST_PICTURE, guarded, list, zeroes};
use super::description::SourceInfo;
use super::error::SourceError;
use super::jpeg::{self, Components, Room};
use super::rect::{Rect, paste};
use super::refusal::Fault;
use super::scanned::{Mask, Scanned};
use super::source::{SlideSource, file_name};

/// Deflate makes at most this many bytes of one.
const MOST_INFLATED: u64 = 1032;
/// What the PNG decoder may take beside the pixels: a row, texts, a colour profile that may be inflated.
const BESIDE_PIXELS: u64 = 64 << 20;
/// What is taken of a JPEG. Grey becomes three bytes a pixel.
const JPEG_ROOM: Room = Room { width: 1 << 16, height: 1 << 16, bytes: LARGEST_PICTURE };

/// The format of a picture, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
}

/// Decoded pixels.
pub(super) struct Pixels {
    pub(super) width: u32,
    pub(super) height: u32,
    /// RGB; white where nothing was scanned.
    pub(super) rgb: Vec<u8>,
    /// Which pixels were scanned; None: all.
    pub(super) scanned: Option<Vec<bool>>,
}

/// A decoded image.
pub(super) struct Picture {
    info: SourceInfo,
    pixels: Pixels,
}

impl Picture {
    pub(super) fn open(path: &Path, format: Format) -> Result<Picture, SourceError> {
        let pixels = decode(path, format)?;
        let info = SourceInfo {
            path: Some(path.display().to_string()),
            bytes: std::fs::metadata(path).ok().map(|metadata| metadata.len()),
            mpp_missing: Some("PNG and JPEG images do not state it".into()),
            ..SourceInfo::plain(file_name(path), "image".into(), pixels.width, pixels.height)
        };
        Ok(Picture { info, pixels })
    }
}

impl SlideSource for Picture {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError> {
        budget::blank(&self.info.name, rect, 0, out).map_err(SourceError)?;
        let mut mask = Mask::all(rect);
        self.pixels.put(0, 0, rect, out, &mut mask);
        mask.finish(&self.info.name).map_err(SourceError)
    }
}

impl Pixels {
    pub(super) fn bytes(&self) -> usize {
        self.rgb.len() + self.scanned.as_ref().map_or(0, Vec::len)
    }

    /// Copies what of the picture, whose corner is at `x` and `y`, is inside `rect`.
    pub(super) fn put(&self, x: u32, y: u32, rect: Rect, out: &mut [u8], mask: &mut Mask) {
        let place = Rect { x, y, width: self.width, height: self.height };
        paste(&self.rgb, place, rect, out);
        self.scanned.iter().for_each(|scanned| mask.exclude_by(place, scanned));
    }
}

fn refused(path: &Path, fault: &Fault) -> SourceError {
    let path = path.display();
    SourceError(match fault {
        Fault::Damaged(why) => format!(
            "{path}: expected a whole PNG or JPEG image, found a damaged, truncated or unsupported one ({why}). Copy it \
             again, or convert it to an 8-bit RGB PNG"
        ),
        Fault::Unread(why) => {
            format!(
                "{path}: {why}. Convert it to an 8-bit RGB PNG, for example with `vips colourspace in.jpg out.png srgb`"
            )
        }
    })
}

fn deep(path: &Path, found: &str) -> SourceError {
    SourceError(format!(
        "{}: expected 8 bits per channel, found {found}. Convert it, for example with `vips colourspace in out.png srgb`",
        path.display()
    ))
}

/// The size of an image, from its header, which meets the budget of its pixels here: whoever asks makes room for them
/// before the image is decoded. A JPEG is walked, so that a cut one is named here.
pub(super) fn dimensions(path: &Path, format: Format) -> Result<(u32, u32), SourceError> {
    match format {
        Format::Png => guarded("the PNG decoder", || expect_pixels(path, &png(path)?)).map_err(Fault::from),
        Format::Jpeg => read(path).map_err(Fault::from).and_then(|data| jpeg::dimensions(&data, JPEG_ROOM)),
    }
    .map_err(|fault| refused(path, &fault))
}

/// An image's 8-bit RGB pixels. Grey becomes RGB; where a pixel is wholly transparent, nothing was scanned.
pub(super) fn decode(path: &Path, format: Format) -> Result<Pixels, SourceError> {
    match format {
        Format::Png => {
            let decoder = guarded("the PNG decoder", || png(path)).map_err(|why| refused(path, &why.into()))?;
            if decoder.color_type().bytes_per_pixel() / decoder.color_type().channel_count() > 1 {
                return Err(deep(path, &format!("{:?}", decoder.original_color_type())));
            }
            guarded("the PNG decoder", || png_pixels(path, decoder)).map_err(|why| refused(path, &why.into()))
        }
        Format::Jpeg => {
            let data = read(path).map_err(|why| refused(path, &why.into()))?;
            jpeg_pixels(&data).map_err(|fault| refused(path, &fault))
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("could not be read: {error}");
    coverslip_files::read_at_most(path, LARGEST_PICTURE).map_err(unreadable)
}

fn jpeg_pixels(data: &[u8]) -> Result<Pixels, Fault> {
    let decoded = jpeg::decode(data, None, None, JPEG_ROOM)?;
    let rgb = match decoded.components {
        Components::Single => rgb_of(decoded.samples, 1)?,
        Components::YCbCr | Components::Rgb => decoded.samples,
    };
    Ok(Pixels { width: decoded.width, height: decoded.height, rgb, scanned: None })
}

fn png(path: &Path) -> Result<PngDecoder<BufReader<File>>, String> {
    let file = BufReader::new(coverslip_files::open(path).map_err(|error| format!("could not be read: {error}"))?);
    let mut limits = Limits::default();
    limits.max_alloc = Some(BESIDE_PIXELS);
    PngDecoder::with_limits(file, limits).map_err(|error| error.to_string())
}

/// Width and height of a PNG whose pixels are within the budget and can be in its file.
fn expect_pixels(path: &Path, decoder: &PngDecoder<BufReader<File>>) -> Result<(u32, u32), String> {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let needed = pixels.saturating_mul(u64::from(decoder.color_type().channel_count()).max(3));
    let stored = pixels.saturating_mul(u64::from(decoder.original_color_type().bits_per_pixel())) / 8;
    let file = std::fs::metadata(path).map_err(|error| format!("could not be read: {error}"))?.len();
    if needed > LARGEST_PICTURE || stored > file.saturating_mul(MOST_INFLATED) {
        return Err(format!(
            "its header states {width} x {height} px, {} MB, in a file of {file} bytes; expected at most {} MB",
            needed >> 20,
            LARGEST_PICTURE >> 20
        ));
    }
    Ok((width, height))
}

fn png_pixels(path: &Path, decoder: PngDecoder<BufReader<File>>) -> Result<Pixels, String> {
    let (width, height) = expect_pixels(path, &decoder)?;
    let color = decoder.color_type();
    let mut samples = zeroes(decoder.total_bytes() as usize)?;
    decoder.read_image(&mut samples).map_err(|error| error.to_string())?;
    let (rgb, scanned) = match color {
        ColorType::L8 => (rgb_of(samples, 1)?, None),
        ColorType::La8 => {
            let mut scanned = None;
            if samples.chunks_exact(2).any(|pixel| pixel[1] == 0) {
                let mut all: Vec<bool> = list(samples.len() / 2)?;
                all.extend(samples.chunks_exact(2).map(|pixel| pixel[1] > 0));
                scanned = Some(all);
            }
            let mut rgb = rgb_of(samples, 2)?;
            let missing = rgb.chunks_exact_mut(3).zip(scanned.iter().flatten()).filter(|(_, scanned)| !**scanned);
            missing.for_each(|(pixel, _)| pixel.fill(255));
            (rgb, scanned)
        }
        ColorType::Rgba8 => {
            let scanned = alpha::take(&mut samples)?;
            (samples, scanned)
        }
        _ => (samples, None),
    };
    Ok(Pixels { width, height, rgb, scanned })
}

/// RGB of grey samples, of which there is one in every `step` bytes.
fn rgb_of(grey: Vec<u8>, step: usize) -> Result<Vec<u8>, String> {
    let mut rgb = zeroes(grey.len() / step * 3)?;
    rgb.chunks_exact_mut(3).zip(grey.iter().step_by(step)).for_each(|(pixel, &value)| pixel.fill(value));
    Ok(rgb)
}
