//! Reading regular files, and nothing else. A named pipe under the name of a manifest keeps whoever opens it waiting for
//! ever; a device may do anything.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::path::Path;

/// Opens the regular file at `path`, or the one that a link there leads to. It never waits, whatever is there.
///
/// # Errors
/// The operating system's; `IsADirectory` or `InvalidInput` with a text that says what is there instead of a file. The
/// text does not name the path.
pub fn open(path: &Path) -> io::Result<File> {
    // The first look keeps devices from being opened at all; the second holds if the path was exchanged in between.
    #[cfg(windows)]
    if is_device(path) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file but a device"));
    }
    regular(fs::metadata(path)?.file_type())?;
    let mut options = File::options();
    options.read(true);
    without_waiting(&mut options);
    let file = options.open(path)?;
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// Looks that a regular file is at `path`, or a link that leads to one, for a path that the system opens itself: its loader
/// waits at a named pipe for ever.
///
/// # Errors
/// As [`open`].
pub fn expect_file(path: &Path) -> io::Result<()> {
    open(path).map(drop)
}

/// Longest text of [`read_text`], bytes.
const MOST_TEXT: u64 = 1 << 20;

/// Reads the regular file at `path` into memory that is reserved first. It has no limit but the file's length, which may
/// be any number: it is for what this machine wrote itself. A stranger's file is read by [`read_at_most`].
///
/// # Errors
/// As [`open`]; `OutOfMemory` where there is not enough.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, u64::MAX)
}

/// Reads the regular file at `path`, of at most `most` bytes, into memory that is reserved first.
///
/// # Errors
/// As [`open`]; `FileTooLarge` where it is longer; `OutOfMemory` where there is not enough.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let size = file.metadata()?.len();
    if size > most {
        let text = format!("expected a file of at most {most} bytes, found one of {size}; give another file");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    let mut bytes = Vec::new();
    if usize::try_from(size).is_err() || bytes.try_reserve_exact(size as usize).is_err() {
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, format!("no memory for its {size} bytes")));
    }
    // `take` bounds the read if the file grows meanwhile.
    file.by_ref().take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the regular file at `path` as text of a page, at most 1 MiB.
///
/// # Errors
/// As [`read_text_at_most`].
pub fn read_text(path: &Path) -> io::Result<String> {
    read_text_at_most(path, MOST_TEXT)
}

/// Reads the regular file at `path` as text of at most `most` bytes.
///
/// # Errors
/// As [`read_at_most`]; `InvalidData` where it is not UTF-8.
pub fn read_text_at_most(path: &Path, most: u64) -> io::Result<String> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "expected text in UTF-8, found other bytes");
    String::from_utf8(read_at_most(path, most)?).map_err(invalid)
}

/// Refuses everything but a regular file, and says what was found.
pub(crate) fn regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let error = if kind.is_dir() { io::ErrorKind::IsADirectory } else { io::ErrorKind::InvalidInput };
    Err(io::Error::new(error, format!("it is not a file but {}", name(kind))))
}

#[cfg(unix)]
pub(crate) fn name(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        _ if kind.is_dir() => "a folder",
        _ if kind.is_symlink() => "a link",
        _ if kind.is_fifo() => "a named pipe (FIFO)",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "something that is not a regular file",
    }
}

#[cfg(not(unix))]
pub(crate) fn name(kind: FileType) -> &'static str {
    if kind.is_dir() { "a folder" } else { "something that is not a regular file" }
}

/// Whether Windows opens a device or a named pipe under this path: `NUL`, `\\.\pipe\x`, also the pipe of
/// another machine. To look at a pipe is to connect to it, so the path alone decides.
#[cfg(windows)]
fn is_device(path: &Path) -> bool {
    use std::path::{Component, Prefix};

    // This is where Windows gives a reserved name its device.
    let whole = std::path::absolute(path);
    let Some(Component::Prefix(prefix)) = whole.as_deref().unwrap_or(path).components().next() else { return false };
    match prefix.kind() {
        Prefix::DeviceNS(_) => true,
        Prefix::Verbatim(root) => !root.to_string_lossy().to_ascii_lowercase().starts_with("volume{"),
        Prefix::UNC(_, share) | Prefix::VerbatimUNC(_, share) => share.eq_ignore_ascii_case("pipe"),
        Prefix::Disk(_) | Prefix::VerbatimDisk(_) => false,
    }
}

/// Opening a named pipe for reading then returns at once, and a terminal does not become this process's own.
#[cfg(unix)]
fn without_waiting(options: &mut fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
}

#[cfg(not(unix))]
fn without_waiting(_: &mut fs::OpenOptions) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_file_is_read_and_a_link_to_one_is_followed() {
        let folder = Scratch::new("regular");
        let path = folder.path().join("a");
        fs::write(&path, "text").unwrap();
        assert_eq!(read(&path).unwrap(), b"text");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
            assert_eq!(read_text(&folder.path().join("link")).unwrap(), "text");
        }
        fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(open(&folder.path().join("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// The second file has no blocks on the disk: its length is free of charge.
    #[test]
    fn a_file_that_is_longer_than_expected_is_not_read() {
        let folder = Scratch::new("at-most");
        let (path, long) = (folder.path().join("a"), folder.path().join("long.json"));
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_at_most(&path, 5).unwrap(), b"12345");
        File::create(&long).unwrap().set_len(18 << 30).unwrap();
        for (path, most) in [(&path, 4), (&long, 64 << 20)] {
            let refused = read_at_most(path, most).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
            assert!(refused.to_string().starts_with(&format!("expected a file of at most {most} bytes")), "{refused}");
        }
        assert_eq!(read_text(&long).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[cfg(windows)]
    #[test]
    fn a_device_is_known_by_its_path() {
        for path in
            ["NUL", "nul", r"\\.\NUL", r"\\.\pipe\x", r"\\?\pipe\x", r"\\server\pipe\x", r"\\?\UNC\server\PIPE\x"]
        {
            assert_eq!(open(Path::new(path)).unwrap_err().to_string(), "it is not a file but a device", "{path}");
        }
        for path in [r"C:\a", r"\\?\C:\a", r"\\server\share\a", r"\\?\Volume{0}\a", "a", r"..\nul.d\a"] {
            assert!(!is_device(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_is_not_a_file_is_named() {
        let folder = Scratch::new("named");
        let refused = |path: &Path| open(path).unwrap_err().to_string();
        assert_eq!(refused(folder.path()), "it is not a file but a folder");
        #[cfg(unix)]
        {
            let pipe = folder.path().join("pipe");
            rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
            assert_eq!(refused(&pipe), "it is not a file but a named pipe (FIFO)");
            assert_eq!(expect_file(&pipe).unwrap_err().to_string(), refused(&pipe));
            let socket = folder.path().join("socket");
            let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            assert_eq!(refused(&socket), "it is not a file but a socket");
            assert_eq!(refused(Path::new("/dev/null")), "it is not a file but a device");
            // Opened past the first look, as when the path is exchanged in between, the pipe does not block either.
            let mut options = File::options();
            without_waiting(options.read(true));
            let opened = options.open(&pipe).unwrap();
            assert!(regular(opened.metadata().unwrap().file_type()).is_err());
        }
    }
}
