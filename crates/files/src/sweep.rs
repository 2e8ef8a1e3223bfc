//! What earlier runs left: drafts are removed, and what was cut off between two renames is finished.
//!
//! A draft of another host is never touched, nor one whose process runs or whose file is locked. The caller holds the
//! claim, so no run at the same place is about to use what is found.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::commit;
use crate::draft::{NEW, Name, OLD, named, of, sync_parent};
use crate::lock::{careful, is_at};
use crate::owner::{host, runs};

/// What was found, for one line to the user.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    removed: usize,
    /// The ended processes that left it.
    processes: BTreeSet<u32>,
    notes: Vec<String>,
}

impl Swept {
    /// Sentences about what was done, one each.
    pub(crate) fn notes(self, place: &Path) -> Vec<String> {
        let mut notes = self.notes;
        if self.removed > 0 {
            let processes: Vec<String> = self.processes.iter().map(u32::to_string).collect();
            let (drafts, process) = match (self.removed, processes.len()) {
                (1, _) => ("1 draft".to_owned(), "process"),
                (n, 1) => (format!("{n} drafts"), "process"),
                (n, _) => (format!("{n} drafts"), "processes"),
            };
            let who = processes.join(", ");
            notes.push(format!("{}: removed {drafts} left by {process} {who}, which ended early", place.display()));
        }
        notes
    }
}

/// Removes the drafts of files and links in `folder`; of folders only where `only` names what they are drafts of, because
/// then the caller holds their claim.
pub(crate) fn sweep(folder: &Path, only: Option<&str>) -> io::Result<Swept> {
    remove(folder, only, only.is_some())
}

/// Removes the drafts of one file, which the holder of another place's claim writes too.
pub(crate) fn sweep_file(path: &Path) -> io::Result<Swept> {
    remove(parent(path), Some(&of(path)), false)
}

fn remove(folder: &Path, only: Option<&str>, folders: bool) -> io::Result<Swept> {
    let mut swept = Swept::default();
    let waiting = commit::waiting(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let text = entry.file_name();
        let Some(name) = text.to_str().and_then(Name::parse) else { continue };
        let own = name.host == host() && only.is_none_or(|only| only == name.of);
        if !own || (name.process != std::process::id() && runs(name.process)) {
            continue;
        }
        let path = entry.path();
        if waiting.contains(&path) {
            continue;
        }
        let kind = entry.file_type()?;
        let removed = match kind {
            _ if kind.is_file() => remove_file(&path),
            // A link exists as a draft only between two calls of one process, and has no lock.
            _ if kind.is_symlink() => name.process != std::process::id() && fs::remove_file(&path).is_ok(),
            _ if kind.is_dir() && folders => fs::remove_dir_all(&path).is_ok(),
            _ => false,
        };
        if removed {
            swept.removed += 1;
            swept.processes.insert(name.process);
        }
    }
    Ok(swept)
}

pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// Removes a draft that no process has locked. Where the file system has no locks, it stays.
fn remove_file(path: &Path) -> bool {
    let mut options = File::options();
    options.read(true).write(true);
    careful(&mut options);
    let Ok(file) = options.open(path) else { return false };
    match file.try_lock() {
        Ok(()) => is_at(&file, path) && fs::remove_file(path).is_ok(),
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

/// Finishes the replacement of the folder `out` that a run was cut off in, where the file system cannot exchange two
/// folders in one step: the earlier folder has its waiting name, and the new one not yet its own.
pub(crate) fn finish_replacement(out: &Path) -> io::Result<Option<String>> {
    let of = of(out);
    let folder = parent(out);
    if fs::symlink_metadata(out).is_ok() {
        return Ok(None);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let text = entry.file_name();
        let Some(name) = text.to_str().and_then(Name::parse).filter(|name| name.kind == OLD && name.of == of) else {
            continue;
        };
        let old = entry.path();
        if name.host != host() {
            let note = "was cut off between two renames; start it there again, or rename";
            return Ok(Some(format!("{}: a run on {} {note} {}", out.display(), name.host, old.display())));
        }
        // The new folder was complete before the earlier one lost its name.
        let new: PathBuf = old.with_extension(NEW);
        let (from, what) = if new.is_dir() { (new, "the new one has its name now") } else { (old, "it is back") };
        fs::rename(&from, out).and_then(|()| sync_parent(out)).map_err(|error| named(out, &error))?;
        let process = name.process;
        return Ok(Some(format!("{}: process {process} ended while it replaced the folder; {what}", out.display())));
    }
    Ok(None)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::draft::{Draft, DraftFile, FILE};
    use crate::scratch::{Scratch, ended_process};

    fn left(folder: &Path, of: &str, host: &str, process: u32, kind: &str) -> PathBuf {
        folder.join(Name { of, host, process, number: 0, kind }.text())
    }

    #[test]
    fn only_drafts_of_ended_processes_of_this_host_are_removed() {
        let folder = Scratch::new("sweep");
        let ended = ended_process();
        let living = std::os::unix::process::parent_id();
        let stays = [
            left(folder.path(), "a", "elsewhere", ended, FILE),
            left(folder.path(), "a", host(), living, FILE),
            folder.path().join("a"),
            folder.path().join(".a.partial"),
        ];
        let goes = [left(folder.path(), "a", host(), ended, FILE), left(folder.path(), "b", host(), ended, FILE)];
        stays.iter().chain(&goes).for_each(|path| fs::write(path, "").unwrap());
        let link = left(folder.path(), "c", host(), ended, FILE);
        std::os::unix::fs::symlink("a", &link).unwrap();
        let folders = left(folder.path(), "d", host(), ended, NEW);
        fs::create_dir(&folders).unwrap();
        let mine = DraftFile::create(&folder.path().join("e")).unwrap();

        let notes = sweep(folder.path(), None).unwrap().notes(folder.path());
        let expected = format!(": removed 3 drafts left by process {ended}, which ended early");
        assert!(notes.len() == 1 && notes[0].ends_with(&expected), "{notes:?}");
        assert!(goes.iter().chain([&link]).all(|path| fs::symlink_metadata(path).is_err()));
        assert!(stays.iter().chain([&folders]).all(|path| path.exists()), "{:?}", folder.names());
        assert!(mine.path().exists(), "a draft that is locked");
        assert_eq!(sweep(folder.path(), Some("x")).unwrap().removed, 0);
        assert_eq!(sweep_file(&folder.path().join("d")).unwrap().removed, 0, "a folder under a file's name");
        assert_eq!(sweep(folder.path(), Some("d")).unwrap().removed, 1);
        fs::write(left(folder.path(), "t.csv", host(), ended, FILE), "").unwrap();
        assert_eq!(sweep_file(&folder.path().join("t.csv")).unwrap().removed, 1);
    }

    #[test]
    fn a_replacement_that_was_cut_off_is_finished_or_undone() {
        for (with_new, expected) in [(true, "new"), (false, "old")] {
            let folder = Scratch::new(&format!("finish-{with_new}"));
            let (out, ended) = (folder.path().join("bundle"), ended_process());
            for kind in [OLD, NEW].iter().take(1 + usize::from(with_new)) {
                let waiting = left(folder.path(), "bundle", host(), ended, kind);
                fs::create_dir(&waiting).unwrap();
                fs::write(waiting.join("content"), kind).unwrap();
            }
            let note = finish_replacement(&out).unwrap().unwrap();
            assert!(note.contains(&format!("process {ended} ended while it replaced the folder")), "{note}");
            assert_eq!(fs::read_to_string(out.join("content")).unwrap(), expected);
            sweep(folder.path(), Some("bundle")).unwrap();
            assert_eq!(folder.names(), ["bundle"]);
        }
    }
}
