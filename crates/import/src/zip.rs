//! The directory of a zip whose files are stored uncompressed, as torch writes them. Read by hand: the crate
//! `zip` 9 would bring six new ones, for files that are only stored.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use coverslip_bundle::{BundleError, BundleErrorKind, fail};

/// What to do about a file that this version does not read.
pub(super) const CONVERT: &str = "load it where you trust it (torch.load(…, weights_only=True); joblib.load for joblib) and save \
                       its tensors with torch.save or safetensors.torch.save_file";

/// Bytes of the pickle or of the zip's directory; a checkpoint of 10 000 tensors takes about 3 MB.
const MAX_READ: u64 = 64 << 20;

/// One file in a zip, as the directory has it.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its local header lies.
    header: u64,
    size: u64,
    /// Neither compressed nor encrypted.
    stored: bool,
}

/// A zip's directory. Bytes are read when asked for, never the whole file.
#[derive(Debug)]
pub(super) struct Zip {
    file: File,
    length: u64,
    pub(super) entries: HashMap<String, Entry>,
}

impl Zip {
    pub(super) fn open(file: File) -> Result<Self, BundleError> {
        let length = file.metadata().map_err(|error| BundleError::io("its size", &error))?.len();
        let mut zip = Self { file, length, entries: HashMap::new() };
        refuse_others(&zip.bytes(0, length.min(4096))?)?;
        let directory = zip.directory()?;
        let mut rest = &directory[..];
        while !rest.is_empty() {
            let [name, extra, comment] = [number(rest, 28, 2)?, number(rest, 30, 2)?, number(rest, 32, 2)?];
            let mut wide = wide_fields(part(rest, 46 + name, extra)?)?;
            let [size, packed, header] = [24, 20, 42].map(|at| match number(rest, at, 4) {
                // Beyond 4 GiB the number is in the extra field, in this order.
                Ok(0xffff_ffff) => number(wide, 0, 8).inspect(|_| wide = &wide[8..]),
                narrow => narrow,
            });
            let (size, header) = (size?, header?);
            let stored = number(rest, 10, 2)? == 0 && number(rest, 8, 1)? & 1 == 0 && packed? == size;
            let name_bytes = part(rest, 46, name)?;
            let name = String::from_utf8_lossy(name_bytes).into_owned();
            if number(rest, 0, 4)? != 0x0201_4b50 || zip.entries.insert(name, Entry { header, size, stored }).is_some()
            {
                fail!(Invalid, "its zip directory is damaged or lists a file twice; copy or save it again");
            }
            rest = &rest[part(rest, 0, 46 + name_bytes.len() as u64 + extra + comment)?.len()..];
        }
        Ok(zip)
    }

    /// The bytes of the central directory, found from the file's end.
    fn directory(&mut self) -> Result<Vec<u8>, BundleError> {
        let before = self.length.saturating_sub(22 + 0xffff + 20);
        let tail = self.bytes(before, self.length - before)?;
        let Some(end) = tail.windows(4).rposition(|window| window == b"PK\x05\x06") else {
            fail!(Truncated, "a zip without its end ({} bytes); copy or download it again", self.length);
        };
        number(&tail, end + 20, 2)?; // its last field: nothing is cut off
        let (size, at) = (number(&tail, end + 12, 4)?, number(&tail, end + 16, 4)?);
        match end.checked_sub(20).map(|at| &tail[at..end]) {
            Some(locator) if locator.starts_with(b"PK\x06\x07") => {
                let record = self.bytes(number(locator, 8, 8)?, 56)?;
                self.bytes(number(&record, 48, 8)?, number(&record, 40, 8)?)
            }
            _ => self.bytes(at, size),
        }
    }

    /// Where the bytes of the file `name` lie, and how many they are.
    pub(super) fn locate(&mut self, name: &str) -> Result<(u64, u64), BundleError> {
        let Some(&Entry { header, size, stored }) = self.entries.get(name) else {
            fail!(Missing, "`{name}` is not in the zip; copy or save the file again");
        };
        if !stored {
            fail!(Unsupported, "`{name}` is compressed or encrypted, expected stored as torch.save does it; {CONVERT}");
        }
        // The local header's extra field (torch aligns with it) is not the directory's.
        let local = self.bytes(header, 30)?;
        let start = header + 30 + number(&local, 26, 2)? + number(&local, 28, 2)?;
        if !local.starts_with(b"PK\x03\x04") || start.checked_add(size).is_none_or(|end| end > self.length) {
            fail!(Truncated, "`{name}` lies outside the file; copy or save the file again");
        }
        Ok((start, size))
    }

    pub(super) fn content(&mut self, name: &str) -> Result<Vec<u8>, BundleError> {
        let (start, size) = self.locate(name)?;
        self.bytes(start, size)
    }

    fn bytes(&mut self, at: u64, count: u64) -> Result<Vec<u8>, BundleError> {
        if at.checked_add(count).is_none_or(|end| end > self.length) {
            fail!(Truncated, "it ends at byte {}, expected {count} bytes from byte {at}; copy it again", self.length);
        }
        if count > MAX_READ {
            fail!(TooLarge, "its pickle or directory has {count} bytes, expected at most {MAX_READ}; {CONVERT}");
        }
        let mut bytes = vec![0; count as usize];
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error| BundleError::io("reading it", &error))?;
        Ok(bytes)
    }
}

/// Names what is no zip.
fn refuse_others(head: &[u8]) -> Result<(), BundleError> {
    let has = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
    let found = match head {
        [b'P', b'K', 3, 4, ..] => return Ok(()),
        // The magic number 0x1950a86a20f9469cfc6c.
        _ if has(b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") => "a checkpoint of torch before 1.6",
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] if has(b"git-lfs") => {
            "a Git LFS pointer (run git lfs pull)"
        }
        _ if has(b"joblib") => "a joblib pickle",
        [0x80, ..] => "a plain pickle, perhaps of joblib",
        [0x78, ..] | [0x1f, 0x8b, ..] => "a compressed file, perhaps a joblib pickle",
        [] => "an empty file",
        _ => "no zip",
    };
    fail!(Unsupported, "found {found}, expected a checkpoint of torch 1.6 or later (a zip); {CONVERT}")
}

/// What the zip64 extra field holds; empty without one.
fn wide_fields(mut extra: &[u8]) -> Result<&[u8], BundleError> {
    while extra.len() >= 4 {
        let size = number(extra, 2, 2)?;
        let content = part(extra, 4, size)?;
        if number(extra, 0, 2)? == 1 {
            return Ok(content);
        }
        extra = &extra[4 + content.len()..];
    }
    Ok(&[])
}

/// A little-endian number of `width` bytes in a zip's structure.
fn number(bytes: &[u8], at: usize, width: u64) -> Result<u64, BundleError> {
    Ok(part(bytes, at as u64, width)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn part(bytes: &[u8], at: u64, count: u64) -> Result<&[u8], BundleError> {
    let range = usize::try_from(at).ok().zip(usize::try_from(at + count).ok());
    let part = range.and_then(|(from, to)| bytes.get(from..to));
    part.ok_or_else(|| BundleError::new(BundleErrorKind::Truncated, "its zip directory is cut short; copy it again"))
}
