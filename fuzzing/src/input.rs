//! An input as choices and parts.

use std::path::{Path, PathBuf};

/// Inputs with their names.
pub(crate) type Seeds = Vec<(String, Vec<u8>)>;

/// Bytes that are taken from the front. Where they are used up, there are zeros.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `N` bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut bytes = [0; N];
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// One of `choices`.
    pub(crate) fn one<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        // Zeros, which follow the end, are the usual case.
        self.below(times) == times - 1
    }

    /// A part with its length before it, as [`joined`] writes it.
    pub(crate) fn part(&mut self) -> &'a [u8] {
        let length = usize::from(u16::from_le_bytes(self.take())).min(self.0.len());
        let (part, rest) = self.0.split_at(length);
        self.0 = rest;
        part
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// A choice, parts with their lengths, and a last part without.
pub(crate) fn joined(choice: u8, parts: &[&[u8]], last: &[u8]) -> Vec<u8> {
    let mut bytes = vec![choice];
    for part in parts {
        let length = u16::try_from(part.len()).expect("a seed's parts are below 64 KiB");
        bytes.extend(length.to_le_bytes());
        bytes.extend(*part);
    }
    bytes.extend(last);
    bytes
}

/// The files that the importers' own tests read, written by the libraries whose formats they have.
pub(crate) fn golden() -> PathBuf {
    coverslip_testkit::root().join("crates/import/tests/golden")
}

/// A file of the repository.
pub(crate) fn file(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folders of `folder`, in the order of their names, with these.
pub(crate) fn folders(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry of a folder").path()).filter(|path| path.is_dir());
    let name = |path: PathBuf| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path);
    let mut found: Vec<_> = paths.map(name).collect();
    found.sort();
    found
}
