//! The lock file of an output.
//!
//! The operating system's lock on the open file decides; it goes when the process ends, however that happens. The text
//! in the file only tells the others who holds it. The file is removed by its owner while the lock is held, and whoever
//! gets the lock looks whether the file still has its name: so a lock on a removed file is never taken for the lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::owner::signature;
use crate::regular::{name, regular};

/// Letters of a lock file that are repeated to a user. Anybody may have written them.
const MOST_TEXT: u64 = 120;

/// The lock of one output, held until it goes out of scope.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
    /// Why the file system gave no lock.
    without: Option<String>,
}

impl Lock {
    /// Takes the lock file `path` for what `place` names. It never waits.
    ///
    /// # Errors
    /// `ResourceBusy` where another process holds it, with the words of that process; `InvalidInput` with its name where
    /// something else is in its place; the operating system's where the file cannot be made.
    pub(crate) fn take(path: PathBuf, place: &Path) -> io::Result<Lock> {
        loop {
            let mut file = open(&path).map_err(|error| blocked(&path).unwrap_or(error))?;
            regular(file.metadata()?.file_type()).map_err(|error| blocked(&path).unwrap_or(error))?;
            let without = match file.try_lock() {
                Ok(()) => None,
                Err(TryLockError::WouldBlock) => return Err(held(&mut file, &path, place)),
                Err(TryLockError::Error(why)) => Some(why.to_string()),
            };
            if !is_at(&file, &path) {
                // Its owner removed it after it was opened here.
                continue;
            }
            // A file of another user's ended process can be locked, but not written; then the text stays that user's.
            let _ = file.set_len(0).and_then(|()| file.write_all(signature().as_bytes()));
            return Ok(Lock { file, path, without });
        }
    }

    /// Why there is no lock, where the file system knows none.
    pub(crate) fn without(&self) -> Option<&str> {
        self.without.as_deref()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Without a file's identity nobody could tell a removed lock file from the one in its place, so it stays there.
        if cfg!(unix) && is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    careful(&mut options);
    match options.open(path) {
        // Another user's lock file: it may be locked by whoever may read it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mut options = OpenOptions::new();
            careful(options.read(true));
            options.open(path).map_err(|_| error)
        }
        opened => opened,
    }
}

/// A link in the lock file's place is not followed, and a named pipe is not waited for.
#[cfg(unix)]
pub(crate) fn careful(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
}

#[cfg(not(unix))]
pub(crate) fn careful(_: &mut OpenOptions) {}

/// Whether `path` still names the open file.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}

#[cfg(not(unix))]
pub(crate) fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// What is in the lock file's place, where that is no file. A user sees hidden names only when asked for them.
fn blocked(path: &Path) -> Option<io::Error> {
    let found = fs::symlink_metadata(path).ok().filter(|found| !found.is_file())?;
    let (path, found) = (path.display(), name(found.file_type()));
    let text = format!("expected its lock file {path}, found {found} there; remove that");
    Some(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn held(file: &mut File, path: &Path, place: &Path) -> io::Error {
    let mut text = Vec::new();
    // An owner writes its name just after it has the lock; on Windows nobody else can read it.
    let _ = file.rewind().and_then(|()| file.take(MOST_TEXT).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let text: String = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    let owner = if text.is_empty() { "another process" } else { &text };
    let advice = "wait until it has ended, or give another place";
    let lock = path.display();
    let text = format!("{}: {owner} writes here and holds {lock}; {advice}", place.display());
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn the_second_owner_is_told_who_the_first_is_and_the_file_goes() {
        let folder = Scratch::new("lock");
        let path = folder.path().join(".lock");
        let first = Lock::take(path.clone(), folder.path()).unwrap();
        let refused = Lock::take(path.clone(), folder.path()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        let expected = format!("process {} on {} since 2", std::process::id(), crate::owner::host());
        assert!(refused.to_string().contains(&expected), "{refused}");
        drop(first);
        assert!(folder.names().is_empty() || cfg!(not(unix)), "{:?}", folder.names());
        Lock::take(path, folder.path()).unwrap();
    }

    #[test]
    fn the_lock_of_an_ended_process_is_taken_over() {
        let folder = Scratch::new("stale");
        let path = folder.path().join(".lock");
        fs::write(&path, "process 1 on nowhere since then, and a longer text than ours, to see that none of it stays")
            .unwrap();
        let _lock = Lock::take(path.clone(), folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), signature());
    }

    /// Threads take and drop the lock as fast as they can: if removing the file had a race, two would hold it at once.
    #[test]
    fn one_at_a_time_while_the_file_comes_and_goes() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let folder = Scratch::new("race");
        let path = folder.path().join(".lock");
        let (holders, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while taken.load(Ordering::Relaxed) < 2000 {
                        let Ok(lock) = Lock::take(path.clone(), folder.path()) else { continue };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                        taken.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
                        drop(lock);
                    }
                });
            }
        });
    }

    #[cfg(unix)]
    #[test]
    fn a_link_a_pipe_or_a_folder_in_its_place_is_not_followed_and_named() {
        let folder = Scratch::new("link");
        let (path, target) = (folder.path().join(".lock"), folder.path().join("precious"));
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let refused = |found: &str| {
            let refused = Lock::take(path.clone(), folder.path()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
            let expected = format!("expected its lock file {}, found {found} there; remove that", path.display());
            assert_eq!(refused.to_string(), expected);
        };
        refused("a link");
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        refused("a named pipe (FIFO)");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused("a folder");
    }
}
