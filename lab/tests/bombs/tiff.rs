//! TIFFs whose directories say what an attacker wants, tag by tag.

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Types of values.
pub(crate) const BYTE: u16 = 1;
pub(crate) const ASCII: u16 = 2;
pub(crate) const SHORT: u16 = 3;
pub(crate) const LONG: u16 = 4;

/// A tag: its number, type, count, and its value or place.
pub(crate) type Entry = (u16, u16, u32, u32);

/// The parts of a file, and where its chain of directories goes on.
pub(crate) struct Tiff {
    bytes: Vec<u8>,
    link: usize,
}

impl Tiff {
    pub(crate) fn new() -> Tiff {
        Tiff { bytes: b"II*\0\0\0\0\0".to_vec(), link: 4 }
    }

    /// Where these bytes are.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// The tag of a text.
    pub(crate) fn text(&mut self, tag: u16, text: &str) -> Entry {
        (tag, ASCII, text.len() as u32, self.put(text.as_bytes()))
    }

    /// A directory beside the chain, and where it is.
    pub(crate) fn part(&mut self, entries: &[Entry]) -> u32 {
        let at = self.put(&(entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            let entry = [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()];
            self.bytes.extend(entry.concat());
        }
        self.bytes.extend([0; 4]);
        at
    }

    /// The next directory of the chain.
    pub(crate) fn image(&mut self, entries: &[Entry]) {
        let at = self.part(entries);
        self.bytes[self.link..self.link + 4].copy_from_slice(&at.to_le_bytes());
        self.link = self.bytes.len() - 4;
    }

    /// Writes the file. Behind its bytes come zeroes that take no room on the disk, up to `length`.
    pub(crate) fn write(&self, path: &Path, length: u64) {
        let mut file = File::create(path).unwrap();
        file.write_all(&self.bytes).unwrap();
        file.set_len(length.max(self.bytes.len() as u64)).unwrap();
    }

    /// Where zeroes begin that [`Tiff::write`] adds.
    pub(crate) fn end(&self) -> u32 {
        self.bytes.len() as u32
    }
}

/// Width and height.
pub(crate) fn size(width: u32, height: u32) -> [Entry; 2] {
    [(256, LONG, 1, width), (257, LONG, 1, height)]
}

/// An RGB image in tiles that are all left out: the list of their places is the file's zeroes.
pub(crate) fn empty_tiles(path: &Path, side: u32, tile: u32, more: &[Entry]) {
    let count = side.div_ceil(tile).pow(2);
    let mut tiff = Tiff::new();
    let bits = tiff.put(&[8, 0, 8, 0, 8, 0]);
    let mut entries = size(side, side).to_vec();
    entries.extend([(258, SHORT, 3, bits), (259, SHORT, 1, 1), (262, SHORT, 1, 2), (277, SHORT, 1, 3)]);
    entries.extend([(322, LONG, 1, tile), (323, LONG, 1, tile)]);
    // The directory comes behind the place of the list, which is as long whatever that is.
    let length = (2 + 12 * (entries.len() + 1 + more.len()) + 4) as u32;
    entries.push((324, BYTE, count, tiff.end() + length));
    entries.extend(more);
    tiff.image(&entries);
    tiff.write(path, u64::from(tiff.end()) + u64::from(count));
}
