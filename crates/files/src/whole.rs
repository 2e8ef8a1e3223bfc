//! One file, which appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::draft::{Draft, DraftFile, named, sync_parent};
use crate::regular::regular;

/// Writes the file `path` with `content`. On an error nothing is left behind and an existing file keeps its content.
///
/// # Errors
/// `content`'s or the operating system's; `IsADirectory` or `InvalidInput` if something that is not a file is there.
pub fn whole<T>(path: &Path, content: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
    vacant(path)?;
    let mut draft = DraftFile::create(path)?;
    let value = content(draft.file())?;
    draft.complete()?;
    draft.rename(path)?;
    sync_parent(path)?;
    Ok(value)
}

/// Writes bytes as [`whole`] does.
///
/// # Errors
/// The operating system's, with the file's name in the text.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    whole(path, |file| file.write_all(bytes)).map_err(|error| named(path, &error))
}

/// Refuses a path under which a file may not appear: a rename would put it in a device's place.
pub(crate) fn vacant(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        // A link is replaced, not followed.
        Ok(found) if found.file_type().is_symlink() => Ok(()),
        Ok(found) => regular(found.file_type())
            .map_err(|error| io::Error::new(error.kind(), format!("{error}; remove it, or give another place"))),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn an_error_names_the_file_once() {
        let folder = Scratch::new("named");
        let path = folder.path().join("missing").join("a.json");
        let text = put(&path, b"new").unwrap_err().to_string();
        assert_eq!(text.matches("a.json").count(), 1, "{text}");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = Scratch::new("failed");
        let path = folder.path().join("a.json");
        put(&path, b"old").unwrap();
        let failed = whole(&path, |file| {
            file.write_all(b"half")?;
            Err::<(), _>(io::Error::other("no space"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no space");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(folder.names(), ["a.json"]);
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = Scratch::new("taken-file");
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = put(&path, b"x").unwrap_err();
        let expected = "taken: it is not a file but a folder; remove it, or give another place";
        assert!(error.to_string().ends_with(expected), "{error}");
        assert_eq!(folder.names(), ["taken"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_and_its_target_keeps_its_content() {
        let folder = Scratch::new("links");
        let (path, target) = (folder.path().join("a"), folder.path().join("precious"));
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        put(&path, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }
}
