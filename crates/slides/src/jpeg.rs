//! One JPEG-compressed chunk of a TIFF: abbreviated streams, and the colours that the TIFF says are inside.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// What the TIFF's PhotometricInterpretation makes of a JPEG's components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Components {
    /// YCbCr, to be converted.
    YCbCr,
    /// RGB as it is (Aperio writes it so), whatever a JPEG without a marker is taken for elsewhere.
    Rgb,
    /// One component: a plane of a planar file.
    Single,
}

/// A decoded chunk: its size and its samples, 3 per pixel (1 for a plane).
pub(super) struct DecodedJpeg {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) samples: Vec<u8>,
}

/// Decodes a chunk; `tables` is the TIFF's JPEGTables, which abbreviated streams rely on.
///
/// The decoder is strict: a lenient one fills the missing part of a truncated chunk with grey.
pub(super) fn decode(chunk: &[u8], tables: Option<&[u8]>, components: Components) -> Result<DecodedJpeg, String> {
    if chunk.len() < 4 || chunk[..2] != [0xff, 0xd8] {
        return Err("expected a JPEG stream, found other bytes".into());
    }
    let joined;
    let stream = match tables {
        // The tables end with an end-of-image marker and the chunk begins with a start marker: neither is needed.
        Some(tables) if tables.len() >= 4 => {
            joined = [&tables[..tables.len() - 2], &chunk[2..]].concat();
            joined.as_slice()
        }
        _ => chunk,
    };
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options);
    decoder.decode_headers().map_err(|error| format!("its JPEG header is damaged ({error:?})"))?;
    let info = decoder.info().ok_or("its JPEG header is missing")?;
    let expected = if components == Components::Single { 1 } else { 3 };
    if usize::from(info.components) != expected {
        return Err(format!("expected a JPEG of {expected} components, found {}", info.components));
    }
    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    let components = match declared(stream) {
        // Bio-Formats writes YCbCr under a tag that says RGB, with the marker of a JFIF file.
        Some(declared) if components == Components::Rgb => declared,
        _ => components,
    };
    let wanted = match components {
        Components::YCbCr => ColorSpace::RGB,
        Components::Rgb => stored,
        Components::Single => ColorSpace::Luma,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let samples = decoder.decode().map_err(|error| format!("its JPEG data is damaged or truncated ({error:?})"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if samples.len() != width as usize * height as usize * expected {
        return Err(format!("expected {width} x {height} pixels, found {} samples", samples.len()));
    }
    Ok(DecodedJpeg { width, height, samples })
}

/// What a stream's own markers say about its colours: JFIF is YCbCr, Adobe's marker names the transform.
fn declared(stream: &[u8]) -> Option<Components> {
    let (mut place, mut found) = (2, None);
    while let Some(&[0xff, marker, high, low]) = stream.get(place..place + 4) {
        let body = stream.get(place + 4..).unwrap_or_default();
        match marker {
            0xda => break,
            0xe0 if body.starts_with(b"JFIF\0") => found = found.or(Some(Components::YCbCr)),
            0xee if body.starts_with(b"Adobe") => {
                return body.get(11).map(|&transform| if transform == 0 { Components::Rgb } else { Components::YCbCr });
            }
            _ => {}
        }
        place += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    found
}
