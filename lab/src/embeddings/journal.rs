//! What a run that was cut off has written: the account of the files in its folder.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::time::UNIX_EPOCH;

use coverslip_bundle::Digest;
use coverslip_files::whole;
use serde::{Deserialize, Serialize};

use super::error::{EmbeddingError, Result};
use crate::resume;

/// Files up to this size are told apart by their content, larger ones by size and time.
const DIGESTED: u64 = 1 << 20;

/// The last commit: everything in it is on disk.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// What has to be the same for a run to go on: bundle, options.
    pub(super) key: String,
    /// Tiles written, also those that are forgotten.
    pub(super) tiles: usize,
    /// Length of the table.
    pub(super) table_bytes: u64,
    /// Slides and images that are done.
    pub(super) inputs: BTreeMap<String, Written>,
    /// What was written of inputs that were replaced since then.
    pub(super) forgotten: Vec<Extent>,
}

/// What every version's journal has.
#[derive(Deserialize)]
struct Begun {
    key: String,
}

/// What was written of one input.
#[derive(Debug, Clone, Deserialize, PartialEq, Serialize)]
pub(super) struct Written {
    pub(super) extent: Extent,
    /// What the input was then.
    pub(super) state: InputState,
}

/// A part of the files that has one input's tiles.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Extent {
    pub(super) tiles: Range<usize>,
    /// Bytes of the table.
    pub(super) table: Range<u64>,
}

/// What tells an input from one that took its place.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Serialize)]
pub struct InputState {
    bytes: u64,
    /// Nanoseconds since 1970; none for a file whose content is known.
    modified: Option<u128>,
    sha256: Option<Digest>,
}

impl InputState {
    /// The state of the file at `path` now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let file = coverslip_files::open(path)?.metadata()?;
        if file.len() > DIGESTED {
            return Ok(Self { bytes: file.len(), modified: modified(&file), sha256: None });
        }
        let content = coverslip_files::read_at_most(path, DIGESTED)?;
        Ok(Self { bytes: content.len() as u64, modified: None, sha256: Some(Digest::of(&content)) })
    }
}

fn modified(file: &Metadata) -> Option<u128> {
    let time = file.modified().ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_nanos())
}

impl Journal {
    /// Its name in the folder.
    const FILE: &str = "journal.json";
    /// Its longest text, bytes: a million inputs have some 200 each.
    const MOST: u64 = 256 << 20;

    /// Whether there is certainly none in `folder`: a disk that does not answer is no proof of that.
    pub(super) fn is_absent(folder: &Path) -> bool {
        fs::symlink_metadata(folder.join(Self::FILE)).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Removes the one in `folder`.
    pub(super) fn remove(folder: &Path) {
        let _ = fs::remove_file(folder.join(Self::FILE));
    }

    /// Whether an earlier run left one in `folder`.
    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(Self::FILE).exists()
    }

    /// The journal of an earlier run with the same key, or a new one. One of another run that wrote no tile is no work that
    /// could be lost: a new one takes its place.
    pub(super) fn begin(folder: &Path, key: &str) -> Result<Self> {
        let advice = "remove the folder and begin again";
        let new = || Journal { key: key.into(), ..Journal::default() };
        let bytes = match coverslip_files::read_at_most(&folder.join(Self::FILE), Self::MOST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(new());
            }
            Err(error) => return Err(EmbeddingError::at(folder, &format!("{}: {error}", Self::FILE))),
        };
        let damaged = |error| {
            let text = format!("the journal of an earlier run is damaged, or another version's ({error}); {advice}");
            EmbeddingError::at(folder, &text)
        };
        // The key first: it tells versions apart, whose journals have other fields.
        let Begun { key: found } = coverslip_bundle::json::parse(&bytes).map_err(damaged)?;
        let journal = coverslip_bundle::json::parse::<Journal>(&bytes);
        let otherwise = format!("give another --out, or {advice}");
        match resume::misfit(key, &found, resume::option, &otherwise) {
            None => journal.map_err(damaged),
            Some(_) if journal.as_ref().is_ok_and(|journal| journal.tiles == 0) => Ok(new()),
            Some(why) => Err(EmbeddingError::at(folder, &why)),
        }
    }

    /// Writes it: from now on it is the last commit.
    pub(super) fn commit(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        whole(&folder.join(Self::FILE), |file| file.write_all(&text))
    }

    /// Tiles that are wanted.
    pub(super) fn kept(&self) -> usize {
        self.tiles - self.forgotten.iter().map(|extent| extent.tiles.len()).sum::<usize>()
    }

    /// Leaves an input's tiles out of the file.
    pub(super) fn forget(&mut self, input: &str) {
        if let Some(written) = self.inputs.remove(input) {
            self.forgotten.push(written.extent);
            self.forgotten.sort_by_key(|extent| extent.table.start);
        }
    }

    /// The bytes of the table that are wanted.
    pub(super) fn table(&self) -> Vec<Range<u64>> {
        between(self.forgotten.iter().map(|extent| extent.table.clone()), self.table_bytes)
    }

    /// The bytes that are wanted of a file with so many per tile.
    pub(super) fn values(&self, bytes: u64) -> Vec<Range<u64>> {
        let forgotten = self.forgotten.iter();
        let forgotten = forgotten.map(|extent| extent.tiles.start as u64 * bytes..extent.tiles.end as u64 * bytes);
        between(forgotten, self.tiles as u64 * bytes)
    }
}

/// What is left of `0..end` without `gone`, which is in order.
fn between(gone: impl Iterator<Item = Range<u64>>, end: u64) -> Vec<Range<u64>> {
    let (mut left, mut at) = (Vec::new(), 0);
    for gone in gone {
        left.push(at..gone.start);
        at = gone.end;
    }
    left.push(at..end);
    left.retain(|range| !range.is_empty());
    left
}

/// Bytes that are on disk once this returns.
pub(super) fn length(file: &fs::File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}
