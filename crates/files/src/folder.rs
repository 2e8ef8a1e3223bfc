//! A folder whose kind is recognised by a file in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::whole::draft;

/// When an existing folder at the target may be replaced: only if it has the file `marker`, and only with `force`.
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
    let Replace { marker, kind, force } = replace;
    let Ok(metadata) = fs::symlink_metadata(out) else { return Ok(()) };
    let known = metadata.is_dir() && out.join(marker).is_file();
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
        (false, false) => refused(format!("{} exists; choose another place", out.display())),
    }
}

/// A folder that is being written beside its place. It is removed unless it is settled.
#[derive(Debug)]
pub struct Folder {
    draft: Draft,
    out: PathBuf,
}

impl Folder {
    /// Creates the folder that [`Folder::settle`] will name `out`, and the folders above `out`.
    ///
    /// # Errors
    /// The operating system's; `InvalidInput` if `out` has no name.
    pub fn beside(out: &Path) -> io::Result<Folder> {
        if out.file_name().is_none() {
            let text = format!("{} has no name of its own; give the name of a folder", out.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if let Some(parent) = out.parent().filter(|parent| *parent != Path::new("")) {
            fs::create_dir_all(parent).map_err(|error| named(parent, &error))?;
        }
        let draft = Draft(draft(out, "new"));
        fs::create_dir(&draft.0).map_err(|error| named(&draft.0, &error))?;
        Ok(Folder { draft, out: out.to_owned() })
    }

    /// The folder's place until it is settled.
    pub fn path(&self) -> &Path {
        &self.draft.0
    }

    /// Writes the file `name` and syncs it to disk.
    ///
    /// # Errors
    /// The operating system's, with the file's name.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.draft.0.join(name);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(|error| named(&path, &error))
    }

    /// Gives the folder its name, and replaces an existing one if `replace` allows it.
    ///
    /// # Errors
    /// As [`check_target`], and the operating system's; the existing folder is then back in its place.
    pub fn settle(self, replace: Replace<'_>) -> io::Result<()> {
        check_target(&self.out, replace)?;
        let old = Draft(draft(&self.out, "old"));
        let replaces = self.out.exists();
        let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(|error| named(to, &error));
        if replaces {
            rename(&self.out, &old.0)?;
        }
        let settled = rename(&self.draft.0, &self.out);
        if settled.is_err() && replaces {
            rename(&old.0, &self.out)?;
        }
        settled
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A folder that is removed when it goes out of scope, if it is still there.
#[derive(Debug)]
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // A failure leaves a folder whose name starts with a dot and says what it is.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLACE: Replace<'_> = Replace { marker: "manifest.json", kind: "bundle", force: true };

    #[test]
    fn a_folder_replaces_only_its_own_kind_and_only_with_force() {
        let place = std::env::temp_dir().join(format!("coverslip-folder-{}", std::process::id()));
        let out = place.join("bundle");
        for content in ["first", "second"] {
            let folder = Folder::beside(&out).unwrap();
            folder.write("manifest.json", content.as_bytes()).unwrap();
            folder.settle(REPLACE).unwrap();
        }
        assert_eq!(fs::read(out.join("manifest.json")).unwrap(), b"second");
        let again = Folder::beside(&out).unwrap();
        let refused = again.settle(Replace { force: false, ..REPLACE }).unwrap_err();
        assert!(refused.to_string().contains("replace the bundle with --force"), "{refused}");
        fs::remove_file(out.join("manifest.json")).unwrap();
        let refused = Folder::beside(&out).unwrap().settle(REPLACE).unwrap_err();
        assert!(refused.to_string().contains("not even with --force"), "{refused}");
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1, "no draft stays");
        fs::remove_dir_all(&place).unwrap();
    }
}
