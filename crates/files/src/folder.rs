//! A folder whose kind is recognised by a file in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::claim::Claim;
use crate::draft::{DraftFolder, named, sync_parent};

/// When an existing folder at the target may be replaced: an empty one always; another only if it has the file `marker`,
/// and only with `force`.
#[derive(Clone, Copy, Debug)]
pub struct Replace<'a> {
    /// A file that every folder of this kind has.
    pub marker: &'a str,
    /// The kind of folder, for messages: "bundle".
    pub kind: &'a str,
    /// Whether an existing folder of this kind is replaced.
    pub force: bool,
}

/// Refuses a target that must not be replaced. It is called before the work that fills the folder.
///
/// # Errors
/// `AlreadyExists`; the text says what to do.
pub fn check_target(out: &Path, replace: Replace<'_>) -> io::Result<()> {
    let Replace { kind, force, .. } = replace;
    if is_free(out) {
        return Ok(());
    }
    let known = is_kind(out, replace);
    let refused = |text: String| Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    match (force, known) {
        (true, true) => Ok(()),
        (true, false) => refused(format!(
            "{} exists and is not a {kind}; it is not replaced, not even with --force: choose another place",
            out.display()
        )),
        (false, true) => {
            refused(format!("{} exists; choose another place, or replace the {kind} with --force", out.display()))
        }
        (false, false) => refused(format!("{} exists and is not empty; choose another place", out.display())),
    }
}

/// A folder that is being written beside its place. It is removed unless it is settled.
#[derive(Debug)]
pub struct Folder<'c> {
    claim: &'c Claim,
    draft: DraftFolder,
}

impl<'c> Folder<'c> {
    /// Creates the folder that [`Folder::settle`] will give the name of the claimed place.
    ///
    /// # Errors
    /// The operating system's, with the name of the place.
    pub fn beside(claim: &'c Claim) -> io::Result<Folder<'c>> {
        let draft = DraftFolder::create(claim.place()).map_err(|error| named(claim.place(), &error))?;
        Ok(Folder { claim, draft })
    }

    /// The folder's place until it is settled.
    pub fn path(&self) -> &Path {
        self.draft.path()
    }

    /// Writes the file `name`.
    ///
    /// # Errors
    /// The operating system's, with the file's name.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path().join(name);
        File::create_new(&path).and_then(|mut file| file.write_all(bytes)).map_err(|error| named(&path, &error))
    }

    /// Copies the file `from` as `name`.
    ///
    /// # Errors
    /// As [`crate::open`], and the operating system's, with the file's name.
    pub fn copy(&self, from: &Path, name: &str) -> io::Result<()> {
        let path = self.path().join(name);
        let mut source = crate::open(from).map_err(|error| named(from, &error))?;
        let copied = File::create_new(&path).and_then(|mut file| io::copy(&mut source, &mut file));
        copied.map(|_| ()).map_err(|error| named(&path, &error))
    }

    /// Gives the folder its name, and replaces an existing one if `replace` allows it.
    ///
    /// # Errors
    /// As [`check_target`], and the operating system's; the existing folder is then back in its place.
    pub fn settle(self, replace: Replace<'_>) -> io::Result<()> {
        let out = self.claim.place();
        check_target(out, replace)?;
        let failed = |error: io::Error| named(out, &error);
        self.draft.complete().map_err(failed)?;
        if is_free(out) {
            // An empty folder goes with the rename, and one that is no longer empty refuses it. Windows renames to no
            // folder that is there.
            #[cfg(not(unix))]
            let _ = fs::remove_dir(out);
            return fs::rename(self.path(), out).and_then(|()| sync_parent(out)).map_err(failed);
        }
        if exchange(self.path(), out).map_err(failed)? {
            // Between the look and the exchange another folder may have come to the place.
            if !is_kind(self.path(), replace) {
                exchange(self.path(), out).map_err(failed)?;
                return check_target(out, replace);
            }
            // The draft is removed at the end: now it is what was replaced.
            return sync_parent(out).map_err(failed);
        }
        self.step_aside().map_err(failed)
    }

    /// Replaces the folder in two renames, where the file system cannot exchange. If the process ends between them, the
    /// next claim of the place finishes.
    fn step_aside(&self) -> io::Result<()> {
        let (out, old) = (self.claim.place(), self.draft.old());
        fs::rename(out, &old)?;
        sync_parent(out)?;
        if let Err(error) = fs::rename(self.path(), out) {
            return fs::rename(&old, out).and(Err(error));
        }
        sync_parent(out)?;
        // What stays is swept by the next claim.
        let _ = fs::remove_dir_all(&old);
        Ok(())
    }
}

/// Whether nothing is at the place but, at most, an empty folder.
fn is_free(out: &Path) -> bool {
    match fs::symlink_metadata(out) {
        Ok(found) => found.is_dir() && fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none()),
        Err(_) => true,
    }
}

fn is_kind(folder: &Path, replace: Replace<'_>) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) && folder.join(replace.marker).is_file()
}

/// Exchanges two folders in one step; false where that cannot be done.
#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        // Some file systems and kernels know no exchange, and some sandboxes forbid what they do not know.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const REPLACE: Replace<'_> = Replace { marker: "manifest.json", kind: "bundle", force: true };

    #[test]
    fn a_folder_replaces_only_its_own_kind_and_only_with_force() {
        let place = Scratch::new("folder");
        let out = place.path().join("bundle");
        for content in ["first", "second"] {
            let claim = Claim::beside(&out).unwrap();
            let folder = Folder::beside(&claim).unwrap();
            folder.write("manifest.json", content.as_bytes()).unwrap();
            folder.settle(REPLACE).unwrap();
        }
        let claim = Claim::beside(&out).unwrap();
        assert_eq!(fs::read(out.join("manifest.json")).unwrap(), b"second");
        let refused = Folder::beside(&claim).unwrap().settle(Replace { force: false, ..REPLACE }).unwrap_err();
        assert!(refused.to_string().contains("replace the bundle with --force"), "{refused}");
        // Something else lies there; an empty folder would be a free place.
        fs::rename(out.join("manifest.json"), out.join("notes.json")).unwrap();
        let refused = Folder::beside(&claim).unwrap().settle(REPLACE).unwrap_err();
        assert!(refused.to_string().contains("not even with --force"), "{refused}");
        drop(claim);
        assert_eq!(place.names(), ["bundle"], "no draft stays");
    }

    #[test]
    fn an_empty_folder_is_filled_and_another_is_left_alone() {
        const NEW: Replace<'_> = Replace { marker: "counts.csv", kind: "folder of tiles", force: false };
        let place = Scratch::new("empty");
        let out = place.path().join("tiles");
        fs::create_dir(&out).unwrap();
        check_target(&out, NEW).unwrap();
        let claim = Claim::beside(&out).unwrap();
        let folder = Folder::beside(&claim).unwrap();
        folder.write("counts.csv", b"new").unwrap();
        folder.settle(NEW).unwrap();
        assert_eq!(fs::read(out.join("counts.csv")).unwrap(), b"new");
        drop(claim);

        let taken = place.path().join("taken");
        fs::create_dir(&taken).unwrap();
        let claim = Claim::beside(&taken).unwrap();
        let folder = Folder::beside(&claim).unwrap();
        folder.write("counts.csv", b"new").unwrap();
        fs::write(taken.join("mine"), "").unwrap();
        let refused = folder.settle(NEW).unwrap_err();
        assert!(refused.to_string().contains("is not empty; choose another place"), "{refused}");
        assert!(taken.join("mine").exists() && !taken.join("counts.csv").exists());
        #[cfg(unix)]
        {
            let link = place.path().join("link");
            std::os::unix::fs::symlink(&out, &link).unwrap();
            assert!(check_target(&link, NEW).is_err(), "no link is followed");
        }
    }

    #[test]
    fn without_an_exchange_the_folder_is_replaced_in_two_renames() {
        let place = Scratch::new("aside");
        let out = place.path().join("bundle");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("old"), "").unwrap();
        let claim = Claim::beside(&out).unwrap();
        let folder = Folder::beside(&claim).unwrap();
        folder.write("manifest.json", b"new").unwrap();
        folder.step_aside().unwrap();
        drop(folder);
        drop(claim);
        assert_eq!(fs::read(out.join("manifest.json")).unwrap(), b"new");
        assert!(!out.join("old").exists());
        assert_eq!(place.names(), ["bundle"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_exchange_has_no_moment_without_a_folder() {
        let place = Scratch::new("exchange");
        let (a, b) = (place.path().join("a"), place.path().join("b"));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        fs::write(a.join("of a"), "").unwrap();
        assert!(exchange(&a, &b).unwrap(), "the file system of the tests knows an exchange");
        assert!(b.join("of a").exists() && a.exists());
    }
}
