//! One file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Writes the file `path` with `content`. On an error nothing of it stays, and an older file keeps its content.
///
/// # Errors
/// Whatever `content` says, or the operating system.
pub fn whole<T>(path: &Path, content: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
    let draft = draft(path, "partial");
    let written = create(&draft).and_then(|mut file| {
        let value = content(&mut file)?;
        file.sync_all()?;
        Ok(value)
    });
    let settled = written.and_then(|value| fs::rename(&draft, path).map(|()| value));
    settled.inspect_err(|_| drop(fs::remove_file(&draft)))
}

/// [`whole`] of bytes in memory.
///
/// # Errors
/// The operating system's, with the file's name in the text.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = whole(path, |file| file.write_all(bytes));
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Makes `path` a symbolic link to `target`, in place of a file or link that is there.
///
/// # Errors
/// The operating system's; `Unsupported` where there are no symbolic links.
pub fn link(target: &str, path: &Path) -> io::Result<()> {
    let draft = draft(path, "partial");
    symlink(target, &draft).and_then(|()| fs::rename(&draft, path)).inspect_err(|_| drop(fs::remove_file(&draft)))
}

/// A file that was not there: a link that somebody put in its place is not followed.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

/// A name beside `path`, in the same file system, that no other writer of this machine has.
pub(crate) fn draft(path: &Path, part: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or(path.as_os_str()));
    name.push(format!(".{}-{number}.{part}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(unix)]
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("coverslip-whole-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = folder("failed");
        let path = folder.join("a.json");
        put(&path, b"old").unwrap();
        let failed = whole(&path, |file| {
            file.write_all(b"half")?;
            Err::<(), _>(io::Error::other("no space"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no space");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = folder("named");
        let path = folder.join("taken");
        fs::create_dir(&path).unwrap();
        let error = put(&path, b"x").unwrap_err();
        assert!(error.to_string().contains("taken: "), "{error}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
