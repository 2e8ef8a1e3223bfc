//! The container: directories and the values of their tags, of TIFF and BigTIFF. Every count is held against the bytes of
//! the file, and their sum against an allowance, before memory is asked for.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::allowance::Allowance;
use crate::budget;

/// Most images of a file.
const MOST_DIRECTORIES: usize = 4096;
/// Most parts of an image.
const MOST_PARTS: u64 = 64;
/// Most entries of a directory.
const MOST_ENTRIES: u64 = 4096;
/// Numbers of a list that are read at once.
const BLOCK: u64 = 1 << 13;
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

impl Entry {
    /// Bytes of its values.
    fn bytes(&self) -> u64 {
        self.count.saturating_mul(size_of_kind(self.kind))
    }
}

/// The tags of an image.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    entries: Vec<Entry>,
    next: u64,
}

/// A directory, and where it stands.
pub(super) struct Found {
    pub(super) directory: Directory,
    /// Its place in the file's chain, from 0; a part of another image has that image's.
    pub(super) index: usize,
    /// Whether it is a part of the image at `index`.
    pub(super) part: bool,
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
    allowance: Allowance,
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
        let mut container =
            Container { file, bytes, big_endian: false, big: false, first: 0, allowance: Allowance::whole() };
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

    /// The directories of the file: those of its chain, each followed by its parts. None is there twice.
    ///
    /// # Errors
    /// Where the first one is damaged or cut, or there are more than any slide has.
    pub(super) fn directories(&self) -> Result<Vec<Found>, String> {
        let mut seen = HashSet::new();
        let chain = self.chain(&mut seen)?;
        let mut found = Vec::new();
        for (index, directory) in chain.into_iter().enumerate() {
            let parts = self.parts_of(&directory, &mut seen)?;
            found.push(Found { directory, index, part: false });
            found.extend(parts.into_iter().map(|directory| Found { directory, index, part: true }));
        }
        Ok(found)
    }

    /// The directories of the file's chain. A later one that cannot be read ends the chain: it is not the slide, and if
    /// the file is cut, reading the slide says so.
    fn chain(&self, seen: &mut HashSet<u64>) -> Result<Vec<Directory>, String> {
        let first = self.directory(self.first, self.big)?;
        seen.insert(self.first);
        let mut next = first.next;
        self.allowance.directory(first.entries.len())?;
        let mut chain = vec![first];
        while next != 0 && chain.len() < MOST_DIRECTORIES && seen.insert(next) {
            let Ok(directory) = self.directory(next, self.big) else { break };
            self.allowance.directory(directory.entries.len())?;
            next = directory.next;
            chain.push(directory);
        }
        Ok(chain)
    }

    /// The directories that another one names as its parts, such as the smaller copies in an OME-TIFF.
    fn parts_of(&self, directory: &Directory, seen: &mut HashSet<u64>) -> Result<Vec<Directory>, String> {
        const SUB_IFDS: u16 = 330;
        let Some(entry) = directory.entry(SUB_IFDS) else { return Ok(Vec::new()) };
        let places = self.first_of(&entry, MOST_PARTS).unwrap_or_default();
        let mut parts = Vec::new();
        for place in places.into_iter().filter(|place| seen.insert(*place)) {
            let Ok(part) = self.directory(place, self.big) else { continue };
            self.allowance.directory(part.entries.len())?;
            parts.push(part);
        }
        Ok(parts)
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

    /// How many values a tag has; None: it is not there.
    pub(super) fn count(&self, directory: &Directory, tag: u16) -> Option<u64> {
        directory.entry(tag).map(|entry| entry.count)
    }

    /// The values of a tag of whole numbers, at most `most`; None: the tag is not there.
    ///
    /// # Errors
    /// Where there are more, they lie outside the file or are no whole numbers.
    pub(super) fn numbers(&self, directory: &Directory, tag: u16, most: u64) -> Result<Option<Vec<u64>>, String> {
        let Some(entry) = directory.entry(tag) else { return Ok(None) };
        if entry.count > most {
            return Err(damaged(&format!("tag {tag} has {} values, at most {most} were expected", entry.count)));
        }
        self.first_of(&entry, most).map(Some)
    }

    /// The first value of a tag of whole numbers.
    ///
    /// # Errors
    /// As [`Container::numbers`].
    pub(super) fn number(&self, directory: &Directory, tag: u16) -> Result<Option<u64>, String> {
        let Some(entry) = directory.entry(tag) else { return Ok(None) };
        Ok(self.first_of(&entry, 1)?.first().copied())
    }

    /// The first values of a tag, no more than `most`. Values of a byte become eight times as large.
    fn first_of(&self, entry: &Entry, most: u64) -> Result<Vec<u64>, String> {
        if !matches!(entry.kind, 1 | 3 | 4 | 7 | 13 | 16 | 18) {
            return Err(damaged(&format!("tag {} has values of type {}, not whole numbers", entry.tag, entry.kind)));
        }
        self.expect_inside(entry.place, entry.bytes())?;
        let (size, count) = (size_of_kind(entry.kind), entry.count.min(most));
        self.allowance.numbers(count)?;
        let mut numbers = budget::list(count as usize)?;
        for first in (0..count).step_by(BLOCK as usize) {
            let block = self.piece(entry.place + first * size, BLOCK.min(count - first) * size)?;
            numbers.extend(block.chunks_exact(size as usize).map(|value| self.long8(value)));
        }
        Ok(numbers)
    }

    /// The first value of a tag as a real number; None: it is not there, or is none.
    pub(super) fn real(&self, directory: &Directory, tag: u16) -> Option<f64> {
        let entry = directory.entry(tag).filter(|entry| entry.count > 0)?;
        self.expect_inside(entry.place, entry.bytes()).ok()?;
        let value = self.piece(entry.place, size_of_kind(entry.kind)).ok()?;
        match entry.kind {
            5 => Some(f64::from(self.long(&value[..4])) / f64::from(self.long(&value[4..]))),
            11 => Some(f32::from_bits(self.long(&value)).into()),
            12 => Some(f64::from_bits(self.long8(&value))),
            _ => self.number(directory, tag).ok()?.map(|value| value as f64),
        }
    }

    /// The bytes of a tag, at most `most`; None: it is not there, or lies outside the file.
    ///
    /// # Errors
    /// Where there are more, or they cannot be read.
    pub(super) fn blob(&self, directory: &Directory, tag: u16, most: u64) -> Result<Option<Vec<u8>>, String> {
        let Some(entry) = directory.entry(tag) else { return Ok(None) };
        if self.expect_inside(entry.place, entry.bytes()).is_err() {
            return Ok(None);
        }
        if entry.bytes() > most {
            return Err(damaged(&format!("tag {tag} has {} bytes, at most {most} were expected", entry.bytes())));
        }
        self.piece(entry.place, entry.bytes()).map(Some)
    }

    /// A tag's text; None: it is not there, or lies outside the file. Some programs write Latin-1, in which a micro sign
    /// is one byte.
    ///
    /// # Errors
    /// Where the file's texts are more than any slide's, or it cannot be read.
    pub(super) fn text(&self, directory: &Directory, tag: u16) -> Result<Option<String>, String> {
        let Some(entry) = directory.entry(tag) else { return Ok(None) };
        if self.expect_inside(entry.place, entry.bytes()).is_err() {
            return Ok(None);
        }
        self.allowance.text(entry.bytes())?;
        let mut text = match String::from_utf8(self.piece(entry.place, entry.bytes())?) {
            Ok(text) => text,
            Err(error) => latin(error.as_bytes())?,
        };
        text.truncate(text.trim_end_matches('\0').len());
        Ok(Some(text))
    }

    /// `length` bytes at `at`, which must be inside the file.
    ///
    /// # Errors
    /// Where the file ends before.
    fn read(&self, at: u64, length: u64) -> Result<Vec<u8>, String> {
        self.expect_inside(at, length)?;
        self.piece(at, length)
    }

    fn expect_inside(&self, at: u64, length: u64) -> Result<(), String> {
        if at.checked_add(length).is_none_or(|end| end > self.bytes) {
            return Err(
                "expected a whole TIFF, found the end of the file inside its directory: the file is truncated. \
                 Copy the slide again from where it came"
                    .into(),
            );
        }
        Ok(())
    }

    /// Bytes of the pixels, which the caller knows to be inside the file.
    ///
    /// # Errors
    /// Where reading fails.
    pub(super) fn piece(&self, at: u64, length: u64) -> Result<Vec<u8>, String> {
        let mut bytes = budget::zeroes(length as usize)?;
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

/// Latin-1 as text.
fn latin(bytes: &[u8]) -> Result<String, String> {
    let two = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    let mut text = String::new();
    text.try_reserve_exact(bytes.len() + two).map_err(|_| budget::no_memory(bytes.len() + two))?;
    text.extend(bytes.iter().map(|&byte| char::from(byte)));
    Ok(text)
}

/// A directory that contradicts itself.
pub(super) fn damaged(what: &str) -> String {
    format!("expected a TIFF, found a damaged directory ({what}). Copy the slide again from where it came")
}
