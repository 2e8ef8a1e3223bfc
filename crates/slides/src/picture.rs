//! A PNG or JPEG image as a slide. It is decoded as a whole, because these formats cannot be read in parts.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::{ImageDecoder, ImageReader, Limits};

use super::source::{Rect, SlideSource, SourceError, SourceInfo, file_name, paste};

/// Largest decoded picture, bytes.
const LARGEST: u64 = 1 << 30;

/// A decoded image.
pub(super) struct Picture {
    info: SourceInfo,
    pixels: Vec<u8>,
}

impl Picture {
    pub(super) fn open(path: &Path) -> Result<Picture, SourceError> {
        let (pixels, width, height) = decode(path)?;
        let info = SourceInfo {
            name: file_name(path),
            kind: "image".into(),
            path: Some(path.display().to_string()),
            bytes: std::fs::metadata(path).ok().map(|metadata| metadata.len()),
            width,
            height,
            mpp: None,
            mpp_missing: Some("PNG and JPEG images do not state it".into()),
            natural_tile: None,
            truth: None,
        };
        Ok(Picture { info, pixels })
    }
}

impl SlideSource for Picture {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<(), SourceError> {
        out.resize(rect.bytes(), 0);
        paste(&self.pixels, Rect { x: 0, y: 0, width: self.info.width, height: self.info.height }, rect, out);
        Ok(())
    }
}

fn reader(path: &Path) -> Result<ImageReader<BufReader<File>>, SourceError> {
    let mut reader = coverslip_files::open(path)
        .map(|file| ImageReader::new(BufReader::new(file)))
        .and_then(ImageReader::with_guessed_format)
        .map_err(|error| SourceError(format!("{}: could not be read: {error}", path.display())))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(LARGEST);
    reader.limits(limits);
    Ok(reader)
}

fn damaged(path: &Path, error: &image::ImageError) -> SourceError {
    SourceError(format!(
        "{}: expected a whole PNG or JPEG image, found a damaged, truncated or unsupported one ({error}). Copy it \
         again, or convert it to an 8-bit RGB PNG",
        path.display()
    ))
}

/// The size of an image, from its header only.
pub(super) fn dimensions(path: &Path) -> Result<(u32, u32), SourceError> {
    reader(path)?.into_dimensions().map_err(|error| damaged(path, &error))
}

/// An image's 8-bit RGB pixels and its size. Grey becomes RGB; transparent pixels are blended with white, the colour of
/// glass.
pub(super) fn decode(path: &Path) -> Result<(Vec<u8>, u32, u32), SourceError> {
    let decoder = reader(path)?.into_decoder().map_err(|error| damaged(path, &error))?;
    let depth = decoder.original_color_type();
    if decoder.color_type().bytes_per_pixel() / decoder.color_type().channel_count() > 1 {
        return Err(SourceError(format!(
            "{}: expected 8 bits per channel, found {depth:?}. Convert it, for example with `vips cast in out.png uchar`",
            path.display()
        )));
    }
    let image = image::DynamicImage::from_decoder(decoder).map_err(|error| damaged(path, &error))?;
    let (width, height) = (image.width(), image.height());
    if !image.color().has_alpha() {
        return Ok((image.into_rgb8().into_raw(), width, height));
    }
    let over_white = |value: u8, alpha: u8| {
        let sum = u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
        ((sum + 127) / 255) as u8
    };
    let rgba = image.into_rgba8().into_raw();
    let rgb = rgba.chunks_exact(4).flat_map(|p| [0, 1, 2].map(|channel| over_white(p[channel], p[3]))).collect();
    Ok((rgb, width, height))
}
