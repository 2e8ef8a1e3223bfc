//! What is known of an open slide: which reader, which image, which resolution, what there is beside it.

use serde::Serialize;

/// Micrometres per pixel, and their source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mpp {
    pub x: f64,
    pub y: f64,
    /// The tag or option that states them.
    pub source: String,
}

/// What decoded the pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reader {
    /// "coverslip" or "OpenSlide".
    pub name: String,
    pub version: String,
}

impl Reader {
    /// The readers of this crate.
    pub(crate) fn own() -> Reader {
        Reader { name: "coverslip".into(), version: env!("CARGO_PKG_VERSION").into() }
    }
}

/// The size of an image of the file, px.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

/// An image of the file that is never scanned: a label, a macro picture, a thumbnail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Associated {
    /// By its role, never by a text of the file, which may name a patient.
    pub role: String,
    #[serde(flatten)]
    pub size: Size,
}

/// One of several specimens or fields of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scene {
    /// In the order of the file, from 1. Names in a file may be those of patients.
    pub number: u32,
    #[serde(flatten)]
    pub size: Size,
    /// Whether it is this one that is read.
    pub chosen: bool,
}

/// A slide's description, as far as its file states it. No text of the file is in it: labels, barcodes and
/// descriptions may name a patient.
#[derive(Debug, Clone, Serialize)]
pub struct SourceInfo {
    /// Name of the file or of the generated slide.
    pub name: String,
    /// For instance "SVS (Aperio), tiles of 240 x 240, JPEG".
    pub kind: String,
    pub path: Option<String>,
    pub bytes: Option<u64>,
    pub reader: Reader,
    /// Which of the file's images is read, where it has several; how those of a directory lie.
    pub image: Option<String>,
    pub width: u32,
    pub height: u32,
    pub mpp: Option<Mpp>,
    /// Why `mpp` is not known, if it is not.
    pub mpp_missing: Option<String>,
    /// The image that is read and its smaller copies, the largest first.
    pub levels: Vec<Size>,
    /// More than one only where the file has several specimens.
    pub scenes: Vec<Scene>,
    pub associated: Vec<Associated>,
    /// What else of the file is not read, a sentence each.
    pub left_out: Vec<String>,
    /// Tiles that are not in the file, and all tiles of the image.
    pub missing_tiles: Option<(u64, u64)>,
    /// Size of a scanner tile, if the input has tiles, as a directory of images does.
    pub natural_tile: Option<(u32, u32)>,
    /// The known faults of a generated slide.
    pub truth: Option<serde_json::Value>,
}

impl SourceInfo {
    /// Of an image without resolution, read by this crate, of which nothing else is known.
    pub(crate) fn plain(name: String, kind: String, width: u32, height: u32) -> SourceInfo {
        SourceInfo {
            name,
            kind,
            path: None,
            bytes: None,
            reader: Reader::own(),
            image: None,
            width,
            height,
            mpp: None,
            mpp_missing: None,
            levels: vec![Size { width, height }],
            scenes: Vec::new(),
            associated: Vec::new(),
            left_out: Vec::new(),
            missing_tiles: None,
            natural_tile: None,
            truth: None,
        }
    }

    /// Scenes that are not read, associated images and the rest, a few words each.
    pub fn beside(&self) -> Vec<String> {
        let size = |size: &Size| format!("{} x {} px", size.width, size.height);
        let others = self.scenes.iter().filter(|scene| !scene.chosen);
        let scenes = others.map(|scene| format!("scene {} ({})", scene.number, size(&scene.size)));
        let associated = self.associated.iter().map(|image| format!("{} ({})", image.role, size(&image.size)));
        scenes.chain(associated).chain(self.left_out.iter().cloned()).collect()
    }
}
