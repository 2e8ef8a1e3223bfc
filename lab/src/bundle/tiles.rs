//! Tiles for building and comparing bundles: from images, directories of images, or safetensors.

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use coverslip_bundle::tensors::TensorFile;
use coverslip_files::fence::fenced;
use coverslip_import::read_safetensors;
use coverslip_numerics::there_is;
use image::{ImageReader, RgbImage};

/// Tiles, and the file that they came from where it may hold more.
pub(super) struct Tiles {
    /// u8 `[n, side, side, 3]`.
    pub(super) pixels: Vec<u8>,
    /// The safetensors that had them.
    pub(super) file: Option<TensorFile>,
}

/// Reads tiles of `side` px. Images are cut into whole tiles, without resampling: they must have the
/// model's µm/px.
///
/// # Errors
/// Where a file cannot be read or has another shape, and where there is not one tile.
pub(super) fn read(paths: &[PathBuf], side: usize) -> Result<Tiles, Box<dyn Error>> {
    let mut tiles = Tiles { pixels: Vec::new(), file: None };
    for path in paths {
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let file = read_safetensors(path)?;
            tiles.pixels.extend(stored(&file, side).map_err(|e| format!("{}: {e}", path.display()))?);
            tiles.file = Some(file);
        } else {
            for image in images(path)? {
                tiles.pixels.extend(cut(&image, side)?);
            }
        }
    }
    if tiles.pixels.is_empty() {
        let places: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(format!(
            "expected at least one tile of {side} × {side} px, found none in {}. Give larger images",
            places.join(", ")
        )
        .into());
    }
    Ok(tiles)
}

fn stored(file: &TensorFile, side: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let Some(tiles) = file.get("calibration_tiles").or_else(|| file.get("tiles")) else {
        return Err("expected a tensor `tiles` or `calibration_tiles`, found neither".into());
    };
    if tiles.shape.len() != 4 || tiles.shape[1..] != [side, side, 3] {
        let found = tiles.shape;
        return Err(format!("`{}` has shape {found:?}, expected [n, {side}, {side}, 3]", tiles.name).into());
    }
    Ok(tiles.to_u8()?)
}

/// The images of a directory by name, or the image itself.
fn images(path: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let is_image = |path: &PathBuf| {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        ["png", "jpg", "jpeg"].contains(&extension.as_str())
    };
    let entries = std::fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|error| format!("{}: could not be read: {error}", path.display()))?;
    let mut images: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_image).collect();
    images.sort();
    Ok(images)
}

/// Most pixels of a picture that tiles are cut from.
const MOST_PIXELS: u64 = 1 << 28;
/// Pixels that a byte of a file may be: deflate makes 1032 bytes of one, and a PNG stores eight pixels in each of these.
const PIXELS_OF_A_BYTE: u64 = 8 * 1032;
/// Bytes of a pixel while a picture is decoded: as it is stored (16 bits and alpha at most) and as RGB.
const PIXEL_BYTES: u64 = 8 + 3;

/// Opens a picture and recognises its format by its first bytes.
fn opened(path: &Path) -> Result<ImageReader<BufReader<File>>, Box<dyn Error>> {
    let file = coverslip_files::open(path)
        .map_err(|error| format!("expected a picture, found: {error}; give its place, or take it out of the folder"))?;
    let reader = ImageReader::new(BufReader::new(file)).with_guessed_format()?;
    if reader.format().is_none() {
        let bytes = std::fs::metadata(path)?.len();
        return Err(format!(
            "expected a picture, as PNG or JPEG, found {bytes} bytes of no format that is known; copy it again, or take it \
             out of the folder"
        )
        .into());
    }
    Ok(reader)
}

/// Decodes a picture whose size was held against a budget first.
fn picture(path: &Path) -> Result<RgbImage, Box<dyn Error>> {
    let (reader, sizes) = (opened(path)?, opened(path)?);
    let (width, height) = fenced(|| sizes.into_dimensions())??;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MOST_PIXELS {
        return Err(
            format!("found {width} × {height} px, expected at most {MOST_PIXELS} pixels: cut it into parts").into()
        );
    }
    let bytes = std::fs::metadata(path)?.len();
    let most = bytes.saturating_mul(PIXELS_OF_A_BYTE);
    if pixels > most {
        return Err(format!(
            "its header states {width} × {height} px, found a file of {bytes} bytes, which has at most {most} pixels: copy \
             it again"
        )
        .into());
    }
    if !there_is(pixels * PIXEL_BYTES) {
        return Err(format!("no memory for its {width} × {height} px: cut it into parts").into());
    }
    Ok(fenced(|| reader.decode().map(|image| image.into_rgb8()))??)
}

fn cut(path: &Path, side: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let image = picture(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let rows: Vec<&[u8]> = image.as_raw().chunks_exact(width * 3).collect();
    let mut tiles = Vec::new();
    for top in (0..height / side).map(|row| row * side) {
        for left in (0..width / side).map(|column| column * side) {
            for row in &rows[top..top + side] {
                tiles.extend_from_slice(&row[left * 3..(left + side) * 3]);
            }
        }
    }
    Ok(tiles)
}

#[cfg(test)]
mod tests {
    use coverslip_testkit::Scratch;

    use super::*;

    #[test]
    fn what_is_no_picture_is_named_with_what_to_do() {
        let scratch = Scratch::new("no-picture");
        std::fs::write(scratch.join("empty.png"), "").unwrap();
        for (name, found) in [("empty.png", "found 0 bytes of no format"), ("missing.png", "found: No such file")] {
            let path = scratch.join(name);
            let refused = read(std::slice::from_ref(&path), 32).err().unwrap().to_string();
            assert!(refused.starts_with(&format!("{}: expected a picture", path.display())), "{refused}");
            assert!(refused.contains(found) && refused.ends_with("take it out of the folder"), "{refused}");
        }
    }
}
