//! A directory of images. Each file is one scanner tile; tiles lie where their names say, else row by row in the order of
//! their names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::budget;
use super::cache::ChunkCache;
use super::description::SourceInfo;
use super::error::SourceError;
use super::picture::{self, Format, Pixels};
use super::places::{Place, Places};
use super::rect::Rect;
use super::scanned::{Mask, Scanned};
use super::signature::Signature;
use super::source::{SlideSource, file_name};

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
    /// Cells with an image: its index among `files`.
    cells: HashMap<Place, u32>,
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
        let stems: Vec<String> = files.iter().map(|tile| stem(&tile.path)).collect();
        let (places, placed) = match Places::stated(&stems, cell) {
            Some(stated) => {
                let placed = format!("placed by {} in their names", stated.marks);
                (stated, placed)
            }
            None => (in_rows(count), "in the order of their names".to_owned()),
        };
        let extent = places.columns.checked_mul(cell.0).zip(places.rows.checked_mul(cell.1));
        let (width, height) = extent.ok_or_else(|| {
            SourceError(format!(
                "{}: expected tiles on a plane of less than 2^32 px each way, found {count} of up to {} x {}",
                path.display(),
                cell.0,
                cell.1
            ))
        })?;
        let kind = format!("directory of {count} images, {} in a row", places.columns);
        let info = SourceInfo {
            image: Some(format!("{count} images {placed}, {} in a row", places.columns)),
            path: Some(path.display().to_string()),
            mpp_missing: Some("a directory of images does not state it".into()),
            natural_tile: Some(cell),
            ..SourceInfo::plain(file_name(path), kind, width, height)
        };
        let cells = places.places.into_iter().zip(0..).collect();
        Ok(TileDirectory { info, files, cell, cells, cache: ChunkCache::new(CACHE_BYTES, Pixels::bytes) })
    }

    fn image(&mut self, index: u32) -> Result<Arc<Pixels>, SourceError> {
        if let Some(image) = self.cache.get(index) {
            return Ok(image);
        }
        let Tile { path, format, size } = &self.files[index as usize];
        self.cache.make_room(Rect { x: 0, y: 0, width: size.0, height: size.1 }.bytes());
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
        budget::blank(&self.info.name, rect, 255, out).map_err(SourceError)?;
        let mut mask = Mask::all(rect);
        let (width, height) = self.cell;
        for row in rect.y / height..=(rect.y + rect.height - 1) / height {
            for column in rect.x / width..=(rect.x + rect.width - 1) / width {
                let (x, y, index) = (column * width, row * height, self.cells.get(&(column, row)).copied());
                let size = index.map_or((0, 0), |index| self.files[index as usize].size);
                mask.exclude(Rect { x: x + size.0, y, width: width - size.0, height });
                mask.exclude(Rect { x, y: y + size.1, width: size.0, height: height - size.1 });
                if let Some(index) = index {
                    self.image(index)?.put(x, y, rect, out, &mut mask);
                }
            }
        }
        mask.finish(&self.info.name).map_err(SourceError)
    }
}

/// Row by row, as many in a row as there are rows.
fn in_rows(count: u32) -> Places {
    let columns = (1..).find(|columns| columns * columns >= count).unwrap_or(1);
    let places = (0..count).map(|index| (index % columns, index / columns)).collect();
    Places { places, columns, rows: count.div_ceil(columns), marks: String::new() }
}

/// The name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The directory's files that are called images. Folders in it are not looked at, whatever they are called.
///
/// # Errors
/// Where there is none; where one is no regular file or a link that leads to none: a tile that was left out for that would
/// count as never scanned.
fn image_files(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |error: std::io::Error| SourceError(format!("{}: could not be read: {error}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
        if ["png", "jpg", "jpeg"].iter().any(|known| extension == *known) && !file.is_dir() {
            coverslip_files::expect_file(&file).map_err(|error| missing(&file, &error))?;
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

fn missing(file: &Path, error: &std::io::Error) -> SourceError {
    let nowhere = error.kind() == std::io::ErrorKind::NotFound && file.is_symlink();
    let found = if nowhere { "a link to a file that is not there".to_owned() } else { error.to_string() };
    SourceError(format!(
        "{}: expected an image, as its name says, found: {found}. Bring the image back, for example by mounting the share that \
         it is on, or take the name out of the directory",
        file.display()
    ))
}
