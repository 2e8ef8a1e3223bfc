//! The container: directories and the values of their tags, of TIFF and BigTIFF. Every count is held against the bytes of
//! the file before memory is asked for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Most images of a file.
const MOST_DIRECTORIES: usize = 4096;
/// Most entries of a directory.
const MOST_ENTRIES: u64 = 4096;
/// Hamamatsu's mark. NDPI is a TIFF whose offsets have 64 bits, which a TIFF has no room for.
const NDPI_MARK: u16 = 65420;

/// One tag of a directory.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where the values are.
    place: u64,
}

/// The tags of an image.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    entries: Vec<Entry>,
    next: u64,
}

impl Directory {
    fn entry(&self, tag: u16) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.tag == tag).copied()
    }

    pub(super) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }
}

/// An open file.
pub(super) struct Container {
    file: File,
    bytes: u64,
    big_endian: bool,
    /// Offsets of 64 bits.
    big: bool,
    first: u64,
}

impl Container {
    /// Reads the header.
    ///
    /// # Errors
    /// Where the file cannot be read or is no TIFF.
    pub(super) fn open(path: &Path) -> Result<Container, String> {
        let unreadable = |error: std::io::Error| format!("could not be read: {error}");
        let file = coverslip_files::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        let mut container = Container { file, bytes, big_endian: false, big: false, first: 0 };
        let head: [u8; 4] = container.array(0)?;
        container.big_endian = &head[..2] == b"MM";
        container.big = container.u16(2)? == 43;
        container.first = if container.big { container.u64(8)? } else { container.u32(4)?.into() };
        Ok(container)
    }

    /// Length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is Hamamatsu's NDPI.
    pub(super) fn is_ndpi(&self) -> bool {
        if self.big || self.big_endian {
            return false;
        }
        let marked = |first| self.directory(first, false).is_ok_and(|directory| directory.has(NDPI_MARK));
        marked(self.first) || self.u64(4).is_ok_and(|first| first > u64::from(u32::MAX) && marked(first))
    }

    /// The directories of the file's chain. A later one that cannot be read ends the chain: it is not the slide, and if
    /// the file is cut, reading the slide says so.
    ///
    /// # Errors
    /// Where the first one is damaged or cut.
    pub(super) fn chain(&self) -> Result<Vec<Directory>, String> {
        let first = self.directory(self.first, self.big)?;
        let (mut seen, mut next) = (BTreeSet::from([self.first]), first.next);
        let mut chain = vec![first];
        while next != 0 && chain.len() < MOST_DIRECTORIES && seen.insert(next) {
            let Ok(directory) = self.directory(next, self.big) else { break };
            next = directory.next;
            chain.push(directory);
        }
        Ok(chain)
    }

    /// The directories that another one names as its parts, such as the smaller copies in an OME-TIFF.
    pub(super) fn parts_of(&self, directory: &Directory) -> Vec<Directory> {
        const SUB_IFDS: u16 = 330;
        let places = self.numbers(directory, SUB_IFDS).ok().flatten().unwrap_or_default();
        places.into_iter().take(64).filter_map(|place| self.directory(place, self.big).ok()).collect()
    }

    fn directory(&self, at: u64, big: bool) -> Result<Directory, String> {
        let (counted, head, size) = if big { (self.u64(at)?, 8, 20) } else { (self.u16(at)?.into(), 2, 12) };
        if counted == 0 || counted > MOST_ENTRIES {
            return Err(format!("expected a TIFF, found a damaged directory ({counted} tags). Copy the slide again"));
        }
        let table = self.read(at + head, counted * size)?;
        let entries = table.chunks_exact(size as usize).zip(0..).map(|(entry, index)| {
            let (tag, kind) = (self.short(&entry[..2]), self.short(&entry[2..4]));
            let value = at + head + index * size + if big { 12 } else { 8 };
            let count = if big { self.long8(&entry[4..12]) } else { self.long(&entry[4..8]).into() };
            let inside = count.saturating_mul(size_of_kind(kind)) <= if big { 8 } else { 4 };
            let outside = if big { self.long8(&entry[12..20]) } else { self.long(&entry[8..12]).into() };
            Entry { tag, kind, count, place: if inside { value } else { outside } }
        });
        let entries = entries.collect();
        let end = at + head + counted * size;
        // A file for the web may be cut after its last directory.
        let next = if big { self.u64(end) } else { self.u32(end).map(u64::from) };
        Ok(Directory { entries, next: next? })
    }

    /// The values of a tag of whole numbers; None: the tag is not there.
    ///
    /// # Errors
    /// Where the values lie outside the file or are no whole numbers.
    pub(super) fn numbers(&self, directory: &Directory, tag: u16) -> Result<Option<Vec<u64>>, String> {
        let Some(entry) = directory.entry(tag) else { return Ok(None) };
        let values = self.values(&entry)?;
        Ok(Some(match entry.kind {
            1 | 7 => values.into_iter().map(u64::from).collect(),
            3 => values.chunks_exact(2).map(|value| self.short(value).into()).collect(),
            4 | 13 => values.chunks_exact(4).map(|value| self.long(value).into()).collect(),
            16 | 18 => values.chunks_exact(8).map(|value| self.long8(value)).collect(),
            kind => return Err(damaged(&format!("tag {tag} has values of type {kind}, not whole numbers"))),
        }))
    }

    /// The first value of a tag of whole numbers.
    ///
    /// # Errors
    /// As [`Container::numbers`].
    pub(super) fn number(&self, directory: &Directory, tag: u16) -> Result<Option<u64>, String> {
        Ok(self.numbers(directory, tag)?.and_then(|values| values.first().copied()))
    }

    /// The first value of a tag as a real number; None: it is not there, or is none.
    pub(super) fn real(&self, directory: &Directory, tag: u16) -> Option<f64> {
        let entry = directory.entry(tag)?;
        let values = self.values(&entry).ok()?;
        match entry.kind {
            5 => Some(f64::from(self.long(values.get(..4)?)) / f64::from(self.long(values.get(4..8)?))),
            11 => Some(f32::from_bits(self.long(values.get(..4)?)).into()),
            12 => Some(f64::from_bits(self.long8(values.get(..8)?))),
            _ => self.number(directory, tag).ok()?.map(|value| value as f64),
        }
    }

    /// The bytes of a tag; None: it is not there, or lies outside the file.
    pub(super) fn blob(&self, directory: &Directory, tag: u16) -> Option<Vec<u8>> {
        self.values(&directory.entry(tag)?).ok()
    }

    /// A tag's text. Some programs write Latin-1, in which a micro sign is one byte.
    pub(super) fn text(&self, directory: &Directory, tag: u16) -> Option<String> {
        let bytes = self.blob(directory, tag)?;
        let latin = |bytes: &[u8]| bytes.iter().map(|&byte| char::from(byte)).collect();
        let text = String::from_utf8(bytes).unwrap_or_else(|error| latin(error.as_bytes()));
        Some(text.trim_end_matches('\0').to_owned())
    }

    fn values(&self, entry: &Entry) -> Result<Vec<u8>, String> {
        self.read(entry.place, entry.count.saturating_mul(size_of_kind(entry.kind)))
    }

    /// `length` bytes at `at`, which must be inside the file.
    ///
    /// # Errors
    /// Where the file ends before.
    fn read(&self, at: u64, length: u64) -> Result<Vec<u8>, String> {
        if at.checked_add(length).is_none_or(|end| end > self.bytes) {
            return Err(
                "expected a whole TIFF, found the end of the file inside its directory: the file is truncated. \
                 Copy the slide again from where it came"
                    .into(),
            );
        }
        self.piece(at, length)
    }

    /// Bytes of the pixels, which the caller knows to be inside the file.
    ///
    /// # Errors
    /// Where reading fails.
    pub(super) fn piece(&self, at: u64, length: u64) -> Result<Vec<u8>, String> {
        let mut bytes = crate::budget::zeroes(length as usize)?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| format!("could not be read: {error}"))?;
        Ok(bytes)
    }

    fn array<const N: usize>(&self, at: u64) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(&self.read(at, N as u64)?);
        Ok(array)
    }

    fn u16(&self, at: u64) -> Result<u16, String> {
        Ok(self.short(&self.array::<2>(at)?))
    }

    fn u32(&self, at: u64) -> Result<u32, String> {
        Ok(self.long(&self.array::<4>(at)?))
    }

    fn u64(&self, at: u64) -> Result<u64, String> {
        Ok(self.long8(&self.array::<8>(at)?))
    }

    fn short(&self, bytes: &[u8]) -> u16 {
        self.long8(bytes) as u16
    }

    fn long(&self, bytes: &[u8]) -> u32 {
        self.long8(bytes) as u32
    }

    /// A whole number in the file's order of bytes.
    fn long8(&self, bytes: &[u8]) -> u64 {
        let shifted = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, shifted) } else { bytes.iter().rev().fold(0, shifted) }
    }
}

/// Bytes of a value of this type.
fn size_of_kind(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 1,
    }
}

/// A directory that contradicts itself.
pub(super) fn damaged(what: &str) -> String {
    format!("expected a TIFF, found a damaged directory ({what}). Copy the slide again from where it came")
}
