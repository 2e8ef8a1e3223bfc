//! A file that grows over hours, in a folder that is nobody's result yet.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use crate::draft::create_folders;
use crate::lock::careful;
use crate::regular::regular;

/// Opens or creates `path` to append behind its first `bytes`, which an earlier run committed. What is behind them is
/// from a run that was cut off, and goes. A link is not followed.
///
/// # Errors
/// `UnexpectedEof` if the file has fewer bytes; `InvalidInput` if it is no file; the operating system's.
pub fn append(path: &Path, bytes: u64) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    careful(&mut options);
    let mut file = options.open(path)?;
    let found = file.metadata()?;
    regular(found.file_type())?;
    if found.len() < bytes {
        let text = format!("expected {bytes} bytes of an earlier run, found {}", found.len());
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    file.set_len(bytes)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// Creates the folder for such files, if it is not there. A link to a folder is not followed.
///
/// # Errors
/// `NotADirectory` if something else is there; the operating system's.
pub fn folder_to_append(path: &Path) -> io::Result<()> {
    create_folders(path)?;
    if fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder but a link; remove it, or give another place"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_behind_the_last_commit_goes_and_what_is_before_it_has_to_be_there() {
        let folder = Scratch::new("append");
        let path = folder.path().join("a");
        append(&path, 0).unwrap().write_all(b"committed, lost").unwrap();
        append(&path, 9).unwrap().write_all(b" and more").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"committed and more");
        assert_eq!(append(&path, 19).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let folder = Scratch::new("append-link");
        let (precious, link) = (folder.path().join("precious"), folder.path().join("link"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        append(&link, 0).unwrap_err();
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        let link = folder.path().join("folder");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert_eq!(folder_to_append(&link).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
