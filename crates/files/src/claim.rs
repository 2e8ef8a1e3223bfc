//! One owner of an output.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::commit;
use crate::draft::{create_folders, named, of};
use crate::lock::Lock;
use crate::regular::name;
use crate::sweep::{finish_replacement, parent, sweep, sweep_file};

/// What the hidden files of a claim are named by, where the place is the folder that they are in.
const WITHIN: &str = "coverslip";

/// The right to write at a place, held until it goes out of scope. A second process is refused and told who has it.
///
/// What earlier runs left at the place is finished or removed first; [`Claim::notes`] says what. Where the file system
/// has no locks, that is a note too, and the claim is given.
#[derive(Debug)]
pub struct Claim {
    place: PathBuf,
    /// The folder that the names of a set of files are in.
    folder: PathBuf,
    /// The journal of the renames of a set of files.
    journal: PathBuf,
    notes: Vec<String>,
    _lock: Lock,
    /// Goes after the lock, which lies in it.
    _created: Option<Created>,
}

/// A folder that did not exist before. It goes again if nothing was written into it.
#[derive(Debug)]
struct Created(PathBuf);

impl Drop for Created {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

impl Claim {
    /// Claims the files of a folder, which is created.
    ///
    /// # Errors
    /// `ResourceBusy` where another process has it; the operating system's, with the path.
    pub fn within(folder: &Path) -> io::Result<Claim> {
        let created = (!folder.exists()).then(|| Created(folder.to_owned()));
        create_folders(folder).map_err(|error| unwritable(folder, &error))?;
        let mut claim = Claim::take(folder, folder, WITHIN)?;
        claim._created = created;
        claim.finish_renames()?;
        claim.sweep(folder)?;
        Ok(claim)
    }

    /// Claims one file, or a folder that is written as a whole. The folders above it are created.
    ///
    /// # Errors
    /// As [`Claim::within`]; `InvalidInput` if `out` has no name, or one that is not a line in UTF-8: the files of a
    /// claim are named by texts, and a journal has a line for each.
    pub fn beside(out: &Path) -> io::Result<Claim> {
        if out.file_name().is_none() {
            let text = format!("{} has no name of its own; give the name of a file or folder", out.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        commit::plain(out, out.file_name().map(Path::new).unwrap_or(out))?;
        let parent = parent(out);
        create_folders(parent).map_err(|error| unwritable(parent, &error))?;
        let of = of(out);
        let mut claim = Claim::take(out, parent, &of)?;
        claim.finish_renames()?;
        claim.notes.extend(finish_replacement(out)?);
        let swept = sweep(parent, Some(&of)).map_err(|error| named(parent, &error))?;
        claim.notes.extend(swept.notes(out));
        // A run that was cut off while it wrote its journal left a draft of that.
        let journal = claim.journal.clone();
        claim.sweep_file(&journal)?;
        Ok(claim)
    }

    fn take(place: &Path, folder: &Path, name: &str) -> io::Result<Claim> {
        let hidden = |kind: &str| folder.join(format!(".{name}.{kind}"));
        let lock = Lock::take(hidden("lock"), place).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => error,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
                unwritable(folder, &error)
            }
            _ => named(place, &error),
        })?;
        let without = lock.without().map(|why| {
            let place = place.display();
            format!("{place}: the file system gives no lock ({why}); take care that no other run writes here")
        });
        Ok(Claim {
            place: place.to_owned(),
            folder: folder.to_owned(),
            journal: hidden(commit::JOURNAL),
            notes: without.into_iter().collect(),
            _lock: lock,
            _created: None,
        })
    }

    fn finish_renames(&mut self) -> io::Result<()> {
        self.notes.extend(commit::finish(&self.folder, &self.journal, &self.place)?);
        Ok(())
    }

    /// Removes what ended processes left in another folder that belongs to the place.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn sweep(&mut self, folder: &Path) -> io::Result<()> {
        let swept = sweep(folder, None).map_err(|error| named(folder, &error))?;
        self.notes.extend(swept.notes(folder));
        Ok(())
    }

    /// Removes what ended processes left of another file that whoever holds the place writes.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn sweep_file(&mut self, file: &Path) -> io::Result<()> {
        let swept = sweep_file(file).map_err(|error| named(file, &error))?;
        self.notes.extend(swept.notes(file));
        Ok(())
    }

    /// The folder or file that is claimed.
    pub fn place(&self) -> &Path {
        &self.place
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn journal(&self) -> &Path {
        &self.journal
    }

    /// What the user should know: what earlier runs left, and whether there is no lock. Each is given once.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// A folder that cannot be written or made. Where something else than a folder is in the way, that is named.
pub(crate) fn unwritable(folder: &Path, error: &io::Error) -> io::Error {
    let there = folder.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
    let (path, found) = match there.filter(|(_, found)| !found.is_dir()) {
        Some((path, found)) if found.is_file() => (path, "a file".to_owned()),
        Some((path, found)) => (path, name(found.file_type()).to_owned()),
        None => (folder, error.to_string()),
    };
    let text = format!("expected a directory that can be written, found: {found}. Give another place");
    named(path, &io::Error::new(error.kind(), text))
}

/// A place to write a folder at: a claim, or a path that is claimed now.
pub trait IntoClaim {
    /// The claim.
    ///
    /// # Errors
    /// As [`Claim::beside`].
    fn into_claim(self) -> io::Result<Claim>;
}

impl IntoClaim for Claim {
    fn into_claim(self) -> io::Result<Claim> {
        Ok(self)
    }
}

impl IntoClaim for &Path {
    fn into_claim(self) -> io::Result<Claim> {
        Claim::beside(self)
    }
}

impl IntoClaim for &PathBuf {
    fn into_claim(self) -> io::Result<Claim> {
        Claim::beside(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_place_that_is_no_folder_is_named_with_what_to_do() {
        let folder = Scratch::new("no-folder");
        let file = folder.path().join("file");
        fs::write(&file, "not a directory").unwrap();
        for refused in [Claim::within(&file), Claim::within(&file.join("out")), Claim::beside(&file.join("out"))] {
            let text = refused.unwrap_err().to_string();
            let path = file.display().to_string();
            assert!(text.starts_with(&path) && text.contains("expected a directory that can be written"), "{text}");
            assert!(text.ends_with("Give another place"), "{text}");
        }
        assert_eq!(folder.names(), ["file"]);
    }

    /// Two names that are not UTF-8 are one text, and one with a line break is two lines of a journal.
    #[cfg(unix)]
    #[test]
    fn a_name_that_is_no_line_in_utf_8_is_refused_before_anything_is_made() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let folder = Scratch::new("plain");
        let found = [(&b"a\xff.csv"[..], "found bytes that are not UTF-8"), (b"a\nb.csv", "found a line break")];
        for (name, found) in found {
            let place = folder.path().join("new").join(OsStr::from_bytes(name));
            let refused = Claim::beside(&place).unwrap_err();
            let text = refused.to_string();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{text}");
            assert!(text.contains(found) && text.ends_with("; give another name"), "{text}");
        }
        assert_eq!(folder.names(), Vec::<String>::new());
        let parent = folder.path().join(OsStr::from_bytes(b"\xff"));
        drop(Claim::beside(&parent.join("a.csv")).unwrap());
        assert!(parent.is_dir(), "a folder may have any name");
    }

    #[cfg(unix)]
    #[test]
    fn what_a_run_left_is_removed_by_the_next_one_at_the_place_and_by_no_other() {
        use crate::draft::{FILE, Name};
        let folder = Scratch::new("left");
        let process = crate::scratch::ended_process();
        for of in ["e.csv", ".e.csv.commit", "other", ".other.commit"] {
            let draft = Name { of, host: crate::owner::host(), process, number: 0, kind: FILE }.text();
            fs::write(folder.path().join(draft), "").unwrap();
        }
        drop(Claim::beside(&folder.path().join("e.csv")).unwrap());
        let left = folder.names();
        assert!(left.len() == 2 && left.iter().all(|name| name.contains("other")), "{left:?}");
        drop(Claim::within(folder.path()).unwrap());
        assert_eq!(folder.names(), Vec::<String>::new());
    }
}
