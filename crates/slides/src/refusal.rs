//! Why a reader of this crate does not take a file, and who else may.

use std::fmt;
use std::path::Path;

use super::error::SourceError;

/// What helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Help {
    /// OpenSlide reads it.
    OpenSlide,
    /// OpenSlide may read it; else this advice leads to a file that opens.
    Either(&'static str),
    Advice(&'static str),
}

/// A refusal.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What was expected and found, without advice unless there is nothing to add.
    pub(super) text: String,
    /// None: the file is damaged, and no other reader is asked.
    pub(super) help: Option<Help>,
}

impl Refusal {
    /// A file that is damaged or cannot be read.
    pub(super) fn failed(text: String) -> Refusal {
        Refusal { text, help: None }
    }

    /// A file that is not read here.
    pub(super) fn unread(path: &Path, expected: &str, found: &str, help: Help) -> Refusal {
        let stop = if expected.contains(',') { ';' } else { ',' };
        let text = format!("{}: expected {expected}{stop} found {found}, which is not read", path.display());
        Refusal { text, help: Some(help) }
    }
}

/// Why the pixels of a picture, a tile or a strip are not decoded.
#[derive(Debug)]
pub(super) enum Fault {
    /// They are not all there, or contradict themselves: another copy may be whole.
    Damaged(String),
    /// They are of a kind that is not read: another copy is of the same.
    Unread(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Fault::Damaged(why) | Fault::Unread(why)) = self;
        out.write_str(why)
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Fault {
        Fault::Damaged(why)
    }
}

impl From<&str> for Fault {
    fn from(why: &str) -> Fault {
        Fault::Damaged(why.into())
    }
}

impl From<SourceError> for Refusal {
    fn from(error: SourceError) -> Refusal {
        Refusal::failed(error.0)
    }
}
