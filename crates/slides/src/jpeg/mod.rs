//! JPEG: a picture, or a tile of a TIFF with the colour space that the TIFF states.

mod components;
mod stream;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::budget::{guarded, zeroes};
use super::refusal::Fault;
pub(super) use components::Components;
pub(super) use stream::Room;
use stream::{Header, Stream};

/// A decoded image: its size and its samples, 3 per pixel or 1.
pub(super) struct DecodedJpeg {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: Components,
    pub(super) samples: Vec<u8>,
}

/// Width and height, by the header alone.
///
/// # Errors
/// As [`decode`], as far as the headers show it.
pub(super) fn dimensions(data: &[u8], room: Room) -> Result<(u32, u32), Fault> {
    let header = Stream::read(data, None, room)?.header;
    Ok((header.width, header.height))
}

/// Decodes a stream. `tables` is a TIFF's JPEGTables, which abbreviated streams need; `components` is what the TIFF
/// says of them, where there is a TIFF.
///
/// # Errors
/// Where the stream is damaged, ends early, is larger than `room` or of a kind that is not read. A lenient decoder would
/// fill what is missing with grey.
pub(super) fn decode(
    data: &[u8],
    tables: Option<&[u8]>,
    components: Option<Components>,
    room: Room,
) -> Result<DecodedJpeg, Fault> {
    let Stream { header, bytes } = Stream::read(data, tables, room)?;
    let components = meaning(&header, components)?;
    let channels = if components == Components::Single { 1 } else { 3 };
    let samples = guarded("the JPEG decoder", || samples(&bytes, components, (header.pixels() * channels) as usize))?;
    Ok(DecodedJpeg { width: header.width, height: header.height, components, samples })
}

/// What the components are: the stream's own word where the TIFF says RGB, because Bio-Formats writes YCbCr with a JFIF
/// marker under that tag.
fn meaning(header: &Header, stated: Option<Components>) -> Result<Components, Fault> {
    let expected = match stated {
        Some(Components::Single) => 1,
        Some(_) => 3,
        None => header.components,
    };
    let found = header.components;
    if !matches!(expected, 1 | 3) {
        let cmyk = if found == 4 { " (CMYK?)" } else { "" };
        return Err(Fault::Unread(format!(
            "expected a JPEG of 1 or 3 components, found {found}{cmyk}, which is not read"
        )));
    }
    if found != expected {
        return Err(format!("expected a JPEG of {expected} components, found {found}").into());
    }
    Ok(match (header.components, stated) {
        (1, _) => Components::Single,
        (_, Some(Components::YCbCr)) => Components::YCbCr,
        (_, Some(stated)) => header.declared.unwrap_or(stated),
        (_, None) => header.declared.unwrap_or(Components::YCbCr),
    })
}

fn samples(stream: &[u8], components: Components, bytes: usize) -> Result<Vec<u8>, String> {
    let damaged = |error| format!("its JPEG data is damaged or truncated ({error:?})");
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options);
    decoder.decode_headers().map_err(damaged)?;
    let wanted = match components {
        Components::YCbCr => ColorSpace::RGB,
        // What comes in comes out.
        Components::Rgb => decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr),
        Components::Single => ColorSpace::Luma,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let found = decoder.output_buffer_size().unwrap_or(usize::MAX);
    if found != bytes {
        return Err(format!("expected {bytes} samples, found a JPEG of {found}"));
    }
    let mut samples = zeroes(bytes)?;
    decoder.decode_into(&mut samples).map_err(damaged)?;
    Ok(samples)
}
