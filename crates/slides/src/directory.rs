//! A directory of images. Each file is one scanner tile; tiles are placed row by row in the order of their names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::ChunkCache;
use super::description::SourceInfo;
use super::picture::{self, Format, Pixels};
use super::rect::Rect;
use super::scanned::{Mask, Scanned};
use super::signature::Signature;
use super::source::{SlideSource, SourceError, file_name};

/// Capacity of the cache of decoded images, bytes.
const CACHE_BYTES: usize = 128 << 20;

/// An image of the directory.
struct Tile {
    path: PathBuf,
    format: Format,
    size: (u32, u32),
}

/// The images of a directory on a grid whose cells are as large as the largest image.
pub(super) struct TileDirectory {
    info: SourceInfo,
    files: Vec<Tile>,
    cell: (u32, u32),
    columns: u32,
    cache: ChunkCache<Pixels>,
}

impl TileDirectory {
    pub(super) fn open(path: &Path) -> Result<TileDirectory, SourceError> {
        let mut names = image_files(path)?;
        names.sort();
        let files = names.into_iter().map(Tile::new).collect::<Result<Vec<_>, _>>()?;
        let cell =
            files.iter().fold((0, 0), |cell: (u32, u32), tile| (cell.0.max(tile.size.0), cell.1.max(tile.size.1)));
        let count = files.len() as u32;
        let columns = (1..).find(|columns| columns * columns >= count).unwrap_or(1);
        let extent = columns.checked_mul(cell.0).zip(count.div_ceil(columns).checked_mul(cell.1));
        let (width, height) = extent.ok_or_else(|| {
            SourceError(format!(
                "{}: expected tiles on a plane of less than 2^32 px each way, found {count} of up to {} x {}",
                path.display(),
                cell.0,
                cell.1
            ))
        })?;
        let kind = format!("directory of {count} images, {columns} in a row");
        let info = SourceInfo {
            path: Some(path.display().to_string()),
            mpp_missing: Some("a directory of images does not state it".into()),
            natural_tile: Some(cell),
            ..SourceInfo::plain(file_name(path), kind, width, height)
        };
        Ok(TileDirectory { info, files, cell, columns, cache: ChunkCache::new(CACHE_BYTES, Pixels::bytes) })
    }

    fn image(&mut self, index: u32) -> Result<Arc<Pixels>, SourceError> {
        if let Some(image) = self.cache.get(index) {
            return Ok(image);
        }
        let Tile { path, format, size } = &self.files[index as usize];
        let pixels = picture::decode(path, *format)?;
        if (pixels.width, pixels.height) != *size {
            return Err(SourceError(format!(
                "{}: expected {} x {} pixels, as when the directory was opened, found {} x {}. Do not change the \
                 directory during a scan",
                path.display(),
                size.0,
                size.1,
                pixels.width,
                pixels.height
            )));
        }
        let image = Arc::new(pixels);
        self.cache.insert(index, image.clone());
        Ok(image)
    }
}

impl Tile {
    fn new(path: PathBuf) -> Result<Tile, SourceError> {
        let unreadable = |error| SourceError(format!("{}: could not be read: {error}", path.display()));
        let format = match Signature::of(&path).map_err(unreadable)? {
            Signature::Png => Format::Png,
            Signature::Jpeg => Format::Jpeg,
            _ => {
                return Err(SourceError(format!(
                    "{}: expected a PNG or JPEG image, as its name says, found something else. Take it out of the \
                     directory, or convert it",
                    path.display()
                )));
            }
        };
        let size = picture::dimensions(&path, format)?;
        Ok(Tile { path, format, size })
    }
}

impl SlideSource for TileDirectory {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// Cells without an image were not scanned, and neither was the rest of a cell with a smaller image.
    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError> {
        out.clear();
        out.resize(rect.bytes(), 255);
        let mut mask = Mask::all(rect);
        let (width, height) = self.cell;
        for row in rect.y / height..=(rect.y + rect.height - 1) / height {
            for column in rect.x / width..=(rect.x + rect.width - 1) / width {
                let (x, y, index) = (column * width, row * height, row * self.columns + column);
                let size = self.files.get(index as usize).map_or((0, 0), |tile| tile.size);
                mask.exclude(Rect { x: x + size.0, y, width: width - size.0, height });
                mask.exclude(Rect { x, y: y + size.1, width: size.0, height: height - size.1 });
                if size.0 > 0 {
                    self.image(index)?.put(x, y, rect, out, &mut mask);
                }
            }
        }
        Ok(mask.finish())
    }
}

fn image_files(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |error: std::io::Error| SourceError(format!("{}: could not be read: {error}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
        if file.is_file() && ["png", "jpg", "jpeg"].iter().any(|known| extension == *known) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(SourceError(format!(
            "{}: expected a directory of PNG or JPEG tiles, found none in it. Give the directory that holds the images",
            path.display()
        )));
    }
    Ok(files)
}
