//! Tiles as pictures inside the page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coverslip_slides::{self, Rect, Selection, SlideSource};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{ImageEncoder, RgbImage};

use crate::embeddings::names::SCENE;
use crate::findings::features::TopTile;

/// Width and height of a tile in the page, px: sharp on screens of two device pixels per CSS pixel.
const SIDE: u32 = 176;
const QUALITY: u8 = 82;
/// Longest side of a tile, px. Models see some thousand; a file of findings may state any place, and a slide as a whole.
const LONGEST: i64 = 8192;

/// A slide's file, and which of its scenes.
type Scene = (PathBuf, Option<u32>);

/// Finds, reads and keeps pictures of tiles.
pub(super) struct Gallery {
    folder: Option<PathBuf>,
    /// The last slide with its scene, kept open for the next tile of it.
    open: Option<(Scene, Box<dyn SlideSource>)>,
    /// Pictures as data URLs, by slide, scene and place; `None` where there is none.
    pictures: BTreeMap<(String, Option<u32>, [i64; 4]), Option<String>>,
    /// The first image that could not be read, and why.
    missing: Option<String>,
}

impl Gallery {
    /// Images are looked for where the file of embeddings says that they were and, by their names, in `folder`.
    pub(super) fn new(folder: Option<PathBuf>) -> Gallery {
        Gallery { folder, open: None, pictures: BTreeMap::new(), missing: None }
    }

    /// The picture of a tile, as a data URL.
    pub(super) fn picture(&mut self, tile: &TopTile) -> Option<String> {
        let key = (tile.image.clone(), tile.scene, tile.place.unwrap_or_default());
        if let Some(known) = self.pictures.get(&key) {
            return known.clone();
        }
        let picture = self.read(tile).map_err(|error| self.missing.get_or_insert(error)).ok();
        self.pictures.insert(key, picture.clone());
        picture
    }

    /// How many pictures were found, how many are missing, and why the first one is.
    pub(super) fn account(&self) -> (usize, usize, Option<&str>) {
        let there = self.pictures.values().flatten().count();
        (there, self.pictures.len() - there, self.missing.as_deref())
    }

    fn read(&mut self, tile: &TopTile) -> Result<String, String> {
        let path = self.find(&tile.image)?;
        let wanted = (path.clone(), tile.scene);
        if self.open.as_ref().is_none_or(|(open, _)| *open != wanted) {
            let selection = Selection { scene: tile.scene, ..Selection::default() };
            let source = coverslip_slides::open(&path, &selection).map_err(|error| error.to_string())?;
            if tile.scene.is_none() && !source.info().scenes.is_empty() {
                return Err(format!(
                    "{}: expected the scene of the tile, found an embedding file without the column {SCENE}, of an \
                     earlier version: embed again",
                    path.display()
                ));
            }
            self.open = Some((wanted, source));
        }
        let Some((_, source)) = &mut self.open else { return Err("no slide is open".into()) };
        let (width, height) = (i64::from(source.info().width), i64::from(source.info().height));
        let [x, y, w, h] = tile.place.unwrap_or([0, 0, width, height]);
        let (left, top) = (x.clamp(0, width), y.clamp(0, height));
        let (right, bottom) = (x.saturating_add(w).clamp(left, width), y.saturating_add(h).clamp(top, height));
        if right == left || bottom == top {
            return Err(format!("{}: the tile at {x}, {y} lies outside its {width} × {height} px", path.display()));
        }
        if right - left > LONGEST || bottom - top > LONGEST {
            return Err(format!(
                "{}: expected a tile of at most {LONGEST} px each way, found {} × {} px; analyse embeddings of tiles \
                 again",
                path.display(),
                right - left,
                bottom - top
            ));
        }
        let rect = Rect { x: left as u32, y: top as u32, width: (right - left) as u32, height: (bottom - top) as u32 };
        let mut pixels = Vec::new();
        source.read(rect, &mut pixels).map_err(|error| error.to_string())?;
        let image = RgbImage::from_raw(rect.width, rect.height, pixels).ok_or("too few pixels")?;
        encode(&image)
    }

    fn find(&self, image: &str) -> Result<PathBuf, String> {
        let stated = Path::new(image);
        let name = stated.file_name().unwrap_or(stated.as_os_str());
        let moved = self.folder.as_ref().map(|folder| folder.join(name));
        let mut places = moved.into_iter().chain([stated.to_owned()]);
        places
            .find(|path| path.is_file())
            .ok_or_else(|| format!("{image}: not found; say where images are with --images"))
    }
}

/// A picture of a tile, as a data URL.
pub(crate) fn encode(image: &RgbImage) -> Result<String, String> {
    let small = image::imageops::resize(image, SIDE, SIDE, FilterType::Triangle);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .write_image(small.as_raw(), SIDE, SIDE, image::ExtendedColorType::Rgb8)
        .map_err(|error| error.to_string())?;
    Ok(format!("data:image/jpeg;base64,{}", base64(&jpeg)))
}

/// RFC 4648's base64, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().enumerate().fold(0_u32, |word, (place, byte)| word | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(cases, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }
}
