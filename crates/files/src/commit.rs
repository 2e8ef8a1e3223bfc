//! Several files that get their names together.
//!
//! No file system renames several files in one step. So a journal of the renames is written before the first one and
//! removed after the last: a run that is cut off in between leaves complete drafts and the journal, and the next claim
//! of the folder finishes the renames.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use crate::draft::{FILE, Name, named, sync_folder};
use crate::owner::host;
use crate::whole::whole;

/// The extension of a journal.
pub(crate) const JOURNAL: &str = "commit";
const FORMAT: &str = "coverslip.commit/1";
/// Longest journal, bytes: two lines for each file of a set. Anybody may have put another file there under such a name.
const MOST: u64 = 1 << 20;

/// A draft and the name that it gets, both below the folder.
pub(crate) struct Renaming {
    pub(crate) draft: PathBuf,
    pub(crate) name: PathBuf,
}

/// Writes the journal. On an error there is none.
pub(crate) fn begin(journal: &Path, renamings: &[Renaming]) -> io::Result<()> {
    let mut text = format!("{FORMAT}\n{}\n", host());
    for Renaming { draft, name } in renamings {
        text.push_str(&format!("{}\n{}\n", plain(draft, draft)?, plain(name, name)?));
    }
    whole(journal, |file| file.write_all(text.as_bytes())).map_err(|error| {
        let _ = fs::remove_file(journal);
        named(journal, &error)
    })
}

/// Removes the journal: every file has its name.
pub(crate) fn end(journal: &Path) -> io::Result<()> {
    fs::remove_file(journal).map_err(|error| named(journal, &error))
}

/// Finishes the renames in `folder` that an earlier run of what writes `place` was cut off in.
pub(crate) fn finish(folder: &Path, journal: &Path, place: &Path) -> io::Result<Option<String>> {
    let place = place.display();
    let text = match crate::read_text_at_most(journal, MOST) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unread(journal, &error)),
    };
    let damaged = || no_journal(journal, io::ErrorKind::InvalidData, "another text");
    let (by, renamings) = parse(&text).ok_or_else(damaged)?;
    if by != host() {
        let text = format!(
            "{place}: a run on {by} was cut off while it named its files; start it there again, or remove {}",
            journal.display()
        );
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
    }
    let mut renamed = 0;
    for Renaming { draft, name } in renamings {
        match fs::rename(folder.join(draft), folder.join(&name)) {
            Ok(()) => renamed += 1,
            // It had its name already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(named(&folder.join(name), &error)),
        }
    }
    sync_folder(folder)?;
    end(journal)?;
    Ok(Some(format!("{place}: an earlier run ended while it named its files; {renamed} of them have their names now")))
}

/// The drafts in `folder` that wait for their names in a journal of it. They are complete, and whoever claims what they
/// are drafts of gives them their names.
pub(crate) fn waiting(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut drafts = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != JOURNAL) {
            continue;
        }
        let text = crate::read_text_at_most(&path, MOST).unwrap_or_default();
        let renamings = parse(&text).map(|(_, renamings)| renamings).unwrap_or_default();
        drafts.extend(renamings.into_iter().map(|renaming| folder.join(renaming.draft)));
    }
    Ok(drafts)
}

fn no_journal(journal: &Path, kind: io::ErrorKind, found: &str) -> io::Error {
    let text = format!("{}: expected the renames of an earlier run, found {found}; remove it", journal.display());
    io::Error::new(kind, text)
}

/// A journal that could not be read. Where the disk failed it may be right, so that nobody is told to remove it.
fn unread(journal: &Path, error: &io::Error) -> io::Error {
    let found = match error.kind() {
        io::ErrorKind::InvalidData => "bytes that are no text",
        io::ErrorKind::FileTooLarge => "a longer file than any is",
        io::ErrorKind::IsADirectory => "a folder",
        io::ErrorKind::InvalidInput => "what is no file",
        _ => return named(journal, error),
    };
    no_journal(journal, error.kind(), found)
}

/// The host and the renames of a journal. Only drafts are renamed, and only within the folder: anybody may have written
/// the journal.
fn parse(text: &str) -> Option<(&str, Vec<Renaming>)> {
    let mut lines = text.lines();
    let by = lines.next().filter(|format| *format == FORMAT).and_then(|_| lines.next())?;
    let lines: Vec<&str> = lines.collect();
    let (pairs, []) = lines.as_chunks::<2>() else { return None };
    let below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    let renaming = |[draft, name]: &[&str; 2]| {
        let renaming = Renaming { draft: draft.into(), name: name.into() };
        let last = renaming.draft.file_name()?.to_str().and_then(Name::parse)?;
        (below(&renaming.draft) && below(&renaming.name) && last.kind == FILE).then_some(renaming)
    };
    Some((by, pairs.iter().map(renaming).collect::<Option<_>>()?))
}

/// The name of a file at `path`, or a path to it, as a line of the journal.
///
/// # Errors
/// `InvalidInput` where it is not UTF-8, or has a line break; the text says what to do.
pub(crate) fn plain<'n>(path: &Path, name: &'n Path) -> io::Result<&'n str> {
    let refused = |found: &str| {
        let text = format!("{path:?}: expected a name of one line in UTF-8, found {found}; give another name");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    match name.to_str() {
        Some(text) if text.contains(['\n', '\r']) => Err(refused("a line break")),
        Some(text) => Ok(text),
        None => Err(refused("bytes that are not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    /// It begins as a journal does, so that reading it whole would give drafts that wait.
    #[test]
    fn a_file_of_anybodys_that_is_called_a_journal_is_not_read_whole() {
        let folder = Scratch::new("long-journal");
        let path = folder.path().join("anybodys.commit");
        let journal = format!("{FORMAT}\nhere\n.a.h-1-2.partial\na\n");
        fs::write(&path, &journal).unwrap();
        assert_eq!(waiting(folder.path()).unwrap().len(), 1);
        let name = "a".repeat(200);
        let long: String = (0..8000).map(|at| format!(".{name}.h-1-{at}.partial\n{name}\n")).collect();
        fs::write(&path, journal + &long).unwrap();
        assert!(waiting(folder.path()).unwrap().is_empty());
        let refused = finish(folder.path(), &path, folder.path()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge, "{refused}");
        assert!(refused.to_string().ends_with("; remove it"), "{refused}");
    }

    #[test]
    fn whatever_is_in_a_journals_place_is_named_with_what_to_do() {
        let folder = Scratch::new("no-journal");
        let path = folder.path().join(".a.commit");
        let refused = |found: &str| {
            let refused = finish(folder.path(), &path, folder.path()).unwrap_err().to_string();
            let expected = "expected the renames of an earlier run, found";
            assert_eq!(refused, format!("{}: {expected} {found}; remove it", path.display()));
        };
        fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        refused("bytes that are no text");
        fs::write(&path, "{\"a\":").unwrap();
        refused("another text");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused("a folder");
    }

    #[test]
    fn a_journal_renames_drafts_within_its_folder_only() {
        let journal = |pairs: &str| format!("{FORMAT}\nhere\n{pairs}");
        let good = journal("lib/.a.h-1-2.partial\nlib/a\n.b.h-1-3.partial\nb\n");
        assert_eq!(parse(&good).unwrap().1.len(), 2);
        for bad in [
            "a\nb\n",
            ".a.h-1-2.partial\n../a\n",
            "/x/.a.h-1-2.partial\na\n",
            ".a.h-1-2.partial\n",
            ".a.h-1-2.new\na\n",
        ] {
            assert!(parse(&journal(bad)).is_none(), "{bad}");
        }
        assert!(parse("coverslip.commit/2\nhere\n").is_none());
    }
}
