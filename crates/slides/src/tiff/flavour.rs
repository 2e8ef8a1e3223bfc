//! The program that wrote a TIFF, by its own marks.

use super::container::Container;
use super::image::Image;

const SOFTWARE: u16 = 305;
const XMP: u16 = 700;

/// Who wrote the file, as far as it matters for reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Aperio,
    Ome,
    Philips,
    /// Akoya's QPTIFF.
    Qptiff,
    Plain,
}

impl Flavour {
    /// By the first image.
    ///
    /// # Errors
    /// Where its texts cannot be read.
    pub(super) fn of(file: &Container, first: &Image) -> Result<Flavour, String> {
        let description = first.description.as_deref().unwrap_or_default();
        let software = file.text(&first.directory, SOFTWARE)?.unwrap_or_default();
        Ok(match description {
            text if text.trim_start().starts_with("Aperio") => Flavour::Aperio,
            text if text.contains("<OME") => Flavour::Ome,
            text if software.starts_with("Philips") && text.contains("<DataObject") => Flavour::Philips,
            text if text.contains("<PerkinElmer-QPI-ImageDescription") => Flavour::Qptiff,
            _ => Flavour::Plain,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Flavour::Aperio => "SVS (Aperio)",
            Flavour::Ome => "OME-TIFF",
            Flavour::Philips => "Philips TIFF",
            Flavour::Qptiff => "QPTIFF (Akoya)",
            Flavour::Plain => "TIFF",
        }
    }
}

/// A scanner's format whose TIFF is only its shell: tiles overlap, or lie in other files, or one JPEG is the whole slide.
///
/// # Errors
/// Where its texts cannot be read.
pub(super) fn foreign(file: &Container, images: &[Image]) -> Result<Option<&'static str>, String> {
    let Some(first) = images.first() else { return Ok(None) };
    let description = first.description.as_deref().unwrap_or_default();
    if description.contains("leica-microsystems.com/scn") {
        return Ok(Some("Leica SCN"));
    }
    if file.text(&first.directory, SOFTWARE)?.is_some_and(|software| software.starts_with("MedScan")) {
        return Ok(Some("Trestle"));
    }
    for image in images.iter().take(8) {
        if file.text(&image.directory, XMP)?.is_some_and(|xml| xml.contains("iScan")) {
            return Ok(Some("Ventana BIF"));
        }
    }
    Ok(None)
}
