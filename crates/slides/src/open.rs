//! Selects the reader for a file or a folder.

use std::path::Path;

use super::error::SourceError;
use super::generated::GeneratedSlide;
use super::refusal::{Help, Refusal};
use super::signature::Signature;
use super::source::SlideSource;
use super::{directory, openslide, picture, tiff};

/// A reader that the user forces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderKind {
    Own,
    OpenSlide,
}

/// What is read of a file, and by which reader.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// None: this crate's, and OpenSlide for what it does not read.
    pub reader: Option<ReaderKind>,
    /// The number of a scene, from 1; None: the largest.
    pub scene: Option<u32>,
}

/// Opens a file or a directory by its content, not by its name; or a generated slide, `generated:7`.
///
/// # Errors
/// Where nothing reads it; says what it is and what helps.
pub fn open(path: &Path, selection: &Selection) -> Result<Box<dyn SlideSource>, SourceError> {
    if let Some(generated) = GeneratedSlide::named(path) {
        return Ok(Box::new(generated?));
    }
    let metadata = std::fs::metadata(path).map_err(|error| {
        SourceError(format!("{}: expected a slide (a file or a directory of tiles), found: {error}", path.display()))
    })?;
    // Opening a pipe or a device would wait for whoever writes to it.
    if !metadata.is_dir() && !metadata.is_file() {
        return Err(SourceError(format!(
            "{}: expected a slide (a file or a directory of tiles), found a pipe, a socket or a device",
            path.display()
        )));
    }
    let own = || match metadata.is_dir() {
        true => Ok(Box::new(directory::TileDirectory::open(path)?) as Box<dyn SlideSource>),
        false => own(path, selection.scene),
    };
    match selection.reader {
        Some(ReaderKind::OpenSlide) => through_openslide(path, selection.scene),
        Some(ReaderKind::Own) => own().map_err(|refusal| SourceError(advised(&refusal))),
        None => own().or_else(|refusal| elsewhere(path, selection.scene, &refusal)),
    }
}

fn own(path: &Path, scene: Option<u32>) -> Result<Box<dyn SlideSource>, Refusal> {
    const EXPECTED: &str = "TIFF, SVS, OME-TIFF, PNG or JPEG";
    let signature = Signature::of(path)
        .map_err(|error| Refusal::failed(format!("{}: could not be read: {error}", path.display())))?;
    let source: Box<dyn SlideSource> = match signature {
        Signature::Tiff => Box::new(tiff::TiffSlide::open(path, scene)?),
        Signature::Png => Box::new(picture::Picture::open(path, picture::Format::Png)?),
        Signature::Jpeg => Box::new(picture::Picture::open(path, picture::Format::Jpeg)?),
        Signature::Known(name, help) => return Err(Refusal::unread(path, EXPECTED, name, help)),
        Signature::Unknown(bytes) => {
            return Err(Refusal {
                text: format!("{}: expected {EXPECTED}; found a file that begins with {bytes:02x?}", path.display()),
                help: Some(Help::Either(
                    "Convert it to a tiled TIFF, for example with `vips tiffsave in out.tif --tile --compression jpeg \
                     --bigtiff`",
                )),
            });
        }
    };
    match scene.filter(|_| source.info().scenes.is_empty()) {
        None | Some(1) => Ok(source),
        Some(number) => {
            Err(Refusal::failed(format!("{}: --scene {number}: expected 1, the file has one scene", path.display())))
        }
    }
}

/// Asks OpenSlide where it may help.
fn elsewhere(path: &Path, scene: Option<u32>, refusal: &Refusal) -> Result<Box<dyn SlideSource>, SourceError> {
    let Some(Help::OpenSlide | Help::Either(_)) = refusal.help else { return Err(SourceError(advised(refusal))) };
    let Ok(library) = openslide::library() else { return Err(SourceError(advised(refusal))) };
    let opened = openslide::OpenSlide::open(&library, path);
    match opened.and_then(|mut slide| slide.expect_pixels().map(|()| slide)) {
        Ok(slide) => only_scene(slide, scene, path),
        Err(error) => Err(SourceError(format!("{}. OpenSlide {}: {error}", advised(refusal), library.version()))),
    }
}

fn through_openslide(path: &Path, scene: Option<u32>) -> Result<Box<dyn SlideSource>, SourceError> {
    let library = openslide::library().map_err(|why| SourceError(format!("--reader openslide: {why}")))?;
    let slide = openslide::OpenSlide::open(&library, path).map_err(|error| {
        SourceError(format!("{}: OpenSlide {} does not read it: {error}", path.display(), library.version()))
    })?;
    only_scene(slide, scene, path)
}

fn only_scene(
    slide: openslide::OpenSlide,
    scene: Option<u32>,
    path: &Path,
) -> Result<Box<dyn SlideSource>, SourceError> {
    match scene {
        None | Some(1) => Ok(Box::new(slide)),
        Some(number) => Err(SourceError(format!(
            "{}: --scene {number}: expected 1, OpenSlide shows all scenes of a file in one plane",
            path.display()
        ))),
    }
}

/// The refusal with what helps.
fn advised(refusal: &Refusal) -> String {
    let text = &refusal.text;
    match refusal.help {
        None => text.clone(),
        Some(Help::Advice(advice)) => format!("{text}. {advice}"),
        Some(Help::Either(advice)) => format!("{text}. {advice}"),
        Some(Help::OpenSlide) if openslide::library().is_ok() => text.clone(),
        Some(Help::OpenSlide) => format!("{text} without OpenSlide. Install it: {}", openslide::INSTALL),
    }
}
