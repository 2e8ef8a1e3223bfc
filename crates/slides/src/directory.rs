//! A directory of images: each file is one scanner tile, placed row by row in the order of the names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::ChunkCache;
use super::picture;
use super::source::{Rect, SlideSource, SourceError, SourceInfo, file_name, paste};

/// Decoded images kept at a time.
const CACHE_BYTES: usize = 128 << 20;

/// The images of a directory on a grid whose cells are as large as the largest image.
pub(super) struct TileDirectory {
    info: SourceInfo,
    files: Vec<(PathBuf, u32, u32)>,
    cell: (u32, u32),
    columns: u32,
    cache: ChunkCache,
}

impl TileDirectory {
    pub(super) fn open(path: &Path) -> Result<TileDirectory, SourceError> {
        let mut names = image_files(path)?;
        names.sort();
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            let (width, height) = picture::dimensions(&name)?;
            files.push((name, width, height));
        }
        let cell = files.iter().fold((0, 0), |cell, file| (cell.0.max(file.1), cell.1.max(file.2)));
        let count = files.len() as u32;
        let columns = (1..).find(|columns| columns * columns >= count).unwrap_or(1);
        let info = SourceInfo {
            name: file_name(path),
            kind: format!("directory of {count} images, {columns} in a row"),
            path: Some(path.display().to_string()),
            bytes: None,
            width: columns * cell.0,
            height: count.div_ceil(columns) * cell.1,
            mpp: None,
            mpp_missing: Some("a directory of images does not say it".into()),
            natural_tile: Some(cell),
            truth: None,
        };
        Ok(TileDirectory { info, files, cell, columns, cache: ChunkCache::new(CACHE_BYTES) })
    }

    fn image(&mut self, index: u32) -> Result<Arc<Vec<u8>>, SourceError> {
        if let Some(image) = self.cache.get(index) {
            return Ok(image);
        }
        let (path, width, height) = &self.files[index as usize];
        let (pixels, now_width, now_height) = picture::decode(path)?;
        if (now_width, now_height) != (*width, *height) {
            return Err(SourceError(format!(
                "{}: expected {width} x {height} pixels as when the directory was opened, found {now_width} x \
                 {now_height}. Do not change the directory during a scan",
                path.display()
            )));
        }
        let image = Arc::new(pixels);
        self.cache.insert(index, image.clone());
        Ok(image)
    }
}

impl SlideSource for TileDirectory {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// Cells without an image, and what a smaller image leaves of its cell, are white.
    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<(), SourceError> {
        out.clear();
        out.resize(rect.bytes(), 255);
        let (width, height) = self.cell;
        for row in rect.y / height..=(rect.y + rect.height - 1) / height {
            for column in rect.x / width..=(rect.x + rect.width - 1) / width {
                let index = row * self.columns + column;
                let Some(&(_, image_width, image_height)) = self.files.get(index as usize) else { continue };
                let place = Rect { x: column * width, y: row * height, width: image_width, height: image_height };
                paste(&self.image(index)?, place, rect, out);
            }
        }
        Ok(())
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
