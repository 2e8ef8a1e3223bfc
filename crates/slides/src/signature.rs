//! Selects the reader for a file or a folder.

use std::path::Path;

use crate::source::{SlideSource, SourceError};
use crate::{directory, picture, tiff};

/// Opens a file or a directory by its content, not by its name.
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

/// The kind of file by its first bytes.
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
    coverslip_files::open(path)
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
