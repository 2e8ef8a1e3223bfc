//! What is not whole yet: a file or a folder beside its place, under a name of its own.
//!
//! The name is `.NAME.HOST-PROCESS-NUMBER.KIND`. A draft is created new, so a link that somebody put there is not
//! followed; only its owner may open it; and its file is locked until it is settled, so that a later process can tell
//! a draft that is being written from one that was left.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(unix)]
use crate::lock::careful;
use crate::lock::is_at;
use crate::owner::host;

/// A file on its way to its name.
pub(crate) const FILE: &str = "partial";
/// A folder on its way to its name.
pub(crate) const NEW: &str = "new";
/// A folder whose name another one gets.
pub(crate) const OLD: &str = "old";

/// Letters of the final name in a draft's name: file systems allow 255 bytes. A longer name has its digest at the end.
const MOST_NAME: usize = 48;
/// Letters of the digest, and the mark before them.
const DIGEST: usize = 16 + 1;
/// Names that are tried. Each of them that is taken was left by an ended process of the same number.
const TRIES: u32 = 10_000;

/// A draft's name, taken apart.
#[derive(Debug, PartialEq)]
pub(crate) struct Name<'n> {
    pub(crate) of: &'n str,
    pub(crate) host: &'n str,
    pub(crate) process: u32,
    pub(crate) number: u32,
    pub(crate) kind: &'n str,
}

impl<'n> Name<'n> {
    /// The parts of a draft's name; none if it is another file's.
    pub(crate) fn parse(name: &'n str) -> Option<Self> {
        let (rest, kind) = name.strip_prefix('.')?.rsplit_once('.')?;
        let (of, owner) = rest.rsplit_once('.')?;
        let (owner, number) = owner.rsplit_once('-')?;
        let (host, process) = owner.rsplit_once('-')?;
        let parsed = Name { of, host, process: process.parse().ok()?, number: number.parse().ok()?, kind };
        ([FILE, NEW, OLD].contains(&kind) && parsed.text() == name).then_some(parsed)
    }

    pub(crate) fn text(&self) -> String {
        let Name { of, host, process, number, kind } = self;
        format!(".{of}.{host}-{process}-{number}.{kind}")
    }
}

/// The part of a draft's name that says what it is a draft of: another one for every name, because whoever holds a place
/// removes its drafts and gives them its name.
pub(crate) fn of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    match name.to_str().filter(|name| name.chars().count() < MOST_NAME && !name.contains('\n')) {
        Some(name) => name.to_owned(),
        // This form has exactly the letters that a short name never has.
        None => {
            let letters = name.to_string_lossy();
            let kept = letters.chars().filter(|c| *c != '\n').chain(std::iter::repeat('_')).take(MOST_NAME - DIGEST);
            format!("{}~{:016x}", kept.collect::<String>(), digest(name.as_encoded_bytes()))
        }
    }
}

/// FNV-1a of 64 bits. Nobody is kept out by it: names of one folder only have to differ.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Calls `make` with names beside `path` until one is free.
fn with_a_free_name<T>(path: &Path, kind: &str, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let of = of(path);
    for _ in 0..TRIES {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = Name { of: &of, host: host(), process: std::process::id(), number, kind };
        let draft = path.with_file_name(OsString::from(name.text()));
        match make(&draft) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|made| (draft, made)),
        }
    }
    let text = format!("every name for a draft beside it is taken; remove those that begin with .{of}");
    Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
}

/// A file that is being written. It is removed unless it is settled.
#[derive(Debug)]
pub(crate) struct DraftFile {
    path: PathBuf,
    file: File,
    /// What a new file may be used for here, by whom.
    permissions: Permissions,
    settled: bool,
}

impl DraftFile {
    /// Creates an empty draft of the file `path`.
    pub(crate) fn create(path: &Path) -> io::Result<DraftFile> {
        DraftFile::with(path, File::options)
    }

    /// Creates an empty draft that only this user may open, and that stays so. Others have no moment in which they could.
    pub(crate) fn secret(path: &Path) -> io::Result<DraftFile> {
        DraftFile::with(path, secret_options)
    }

    fn with(path: &Path, options: fn() -> OpenOptions) -> io::Result<DraftFile> {
        loop {
            let (draft, file) =
                with_a_free_name(path, FILE, |draft| options().read(true).write(true).create_new(true).open(draft))?;
            let permissions = file.metadata()?.permissions();
            let draft = DraftFile { path: draft, file, permissions, settled: false };
            // A file system without locks leaves drafts of ended processes alone; nothing else depends on this one.
            let swept = matches!(draft.file.try_lock(), Err(TryLockError::WouldBlock));
            if !swept && is_at(&draft.file, &draft.path) {
                // A file system without permissions keeps nobody out, from the finished file as little.
                let _ = keep_private(&draft.file, 0o600);
                return Ok(draft);
            }
            // Another process took it for one that was left, before it was locked.
        }
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The content is complete: it is synced, with its final permissions.
    pub(crate) fn complete(&self) -> io::Result<()> {
        if is_private(&self.file.metadata()?.permissions(), 0o600) {
            self.file.set_permissions(self.permissions.clone())?;
        }
        self.file.sync_all()
    }
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        if !self.settled {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder that is being filled. It is removed unless it is settled.
#[derive(Debug)]
pub(crate) struct DraftFolder {
    path: PathBuf,
    #[cfg_attr(not(unix), allow(dead_code, reason = "nothing was kept private"))]
    permissions: Permissions,
}

impl DraftFolder {
    /// Creates an empty draft of the folder `path`.
    pub(crate) fn create(path: &Path) -> io::Result<DraftFolder> {
        let (path, ()) = with_a_free_name(path, NEW, |draft| fs::create_dir(draft))?;
        let permissions = fs::symlink_metadata(&path)?.permissions();
        let draft = DraftFolder { path, permissions };
        #[cfg(unix)]
        let _ = open_folder(&draft.path).and_then(|folder| keep_private(&folder, 0o700));
        Ok(draft)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name under which the folder that is replaced waits until it is removed.
    pub(crate) fn old(&self) -> PathBuf {
        self.path.with_extension(OLD)
    }

    /// The content is complete: all of it is synced, with final permissions.
    pub(crate) fn complete(&self) -> io::Result<()> {
        #[cfg(unix)]
        {
            let folder = open_folder(&self.path)?;
            if is_private(&folder.metadata()?.permissions(), 0o700) {
                folder.set_permissions(self.permissions.clone())?;
            }
        }
        sync_below(&self.path)
    }
}

impl Drop for DraftFolder {
    fn drop(&mut self) {
        // After an exchange this is the folder that was replaced; after a rename it is no longer there.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A symbolic link on its way to its name. It is removed unless it is settled.
#[derive(Debug)]
pub(crate) struct DraftLink {
    path: PathBuf,
    settled: bool,
}

impl DraftLink {
    /// Creates a link to `target` beside `path`.
    pub(crate) fn create(target: &str, path: &Path) -> io::Result<DraftLink> {
        let (path, ()) = with_a_free_name(path, FILE, |draft| symlink(target, draft))?;
        Ok(DraftLink { path, settled: false })
    }
}

impl Drop for DraftLink {
    fn drop(&mut self) {
        if !self.settled {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file or a link that waits for its name.
pub(crate) trait Draft {
    fn path(&self) -> &Path;

    /// From here on the draft is not removed.
    fn settle(&mut self);

    /// Gives it its name, when it is complete.
    fn rename(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(self.path(), path)?;
        self.settle();
        Ok(())
    }
}

impl Draft for DraftFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn settle(&mut self) {
        self.settled = true;
    }
}

impl Draft for DraftLink {
    fn path(&self) -> &Path {
        &self.path
    }

    fn settle(&mut self) {
        self.settled = true;
    }
}

/// The mode is there from the beginning: a file that gets it later can be opened before, and stays open.
#[cfg(unix)]
fn secret_options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn secret_options() -> OpenOptions {
    File::options()
}

/// Creates a folder and those above it that are not there. Their names survive a power cut.
///
/// # Errors
/// The operating system's.
pub fn create_folders(folder: &Path) -> io::Result<()> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made: Vec<&Path> = folder.ancestors().take_while(missing).collect();
    fs::create_dir_all(folder)?;
    made.iter().try_for_each(|folder| sync_parent(folder))
}

#[cfg(unix)]
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens a folder, not a link to one, to change its permissions.
#[cfg(unix)]
fn open_folder(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    careful(options.read(true));
    options.open(path)
}

#[cfg(unix)]
fn keep_private(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(unix)]
fn is_private(permissions: &Permissions, mode: u32) -> bool {
    use std::os::unix::fs::PermissionsExt;
    permissions.mode() & 0o7777 == mode
}

#[cfg(not(unix))]
fn keep_private(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn is_private(_: &Permissions, _: u32) -> bool {
    false
}

/// Syncs every file and folder below `folder`, and the folder itself.
fn sync_below(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_below(&entry.path())?;
        } else if kind.is_file() {
            // Windows syncs only what is open for writing.
            File::options().read(true).write(cfg!(windows)).open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        // There a folder cannot be opened as a file.
        return Ok(());
    }
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if cannot_sync(&error) => Ok(()),
        synced => synced,
    }
}

/// File systems without the notion, and folders that may be written but not read.
fn cannot_sync(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    [InvalidInput, PermissionDenied, Unsupported].contains(&error.kind())
}

/// Syncs the folder that `path` is in.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_name_is_taken_apart_and_other_files_are_not_drafts() {
        let name = Name { of: "tiles.parquet", host: "a_b", process: 12, number: 3, kind: FILE };
        assert_eq!(name.text(), ".tiles.parquet.a_b-12-3.partial");
        assert_eq!(Name::parse(&name.text()), Some(name));
        for other in ["a.partial", ".a.partial", ".a.h-1.partial", ".a.h-1-x.new", ".a.h-1-2.json", ".a.h-01-2.new", ""]
        {
            assert_eq!(Name::parse(other), None, "{other}");
        }
        let long = "\u{1f52c}".repeat(60);
        let draft = DraftFile::create(&Scratch::new("names").path().join(&long));
        assert!(draft.unwrap().path.file_name().unwrap().len() < 255);
    }

    #[test]
    fn no_two_names_have_the_same_drafts() {
        let long = "a".repeat(MOST_NAME);
        let names =
            ["a", "b", &"a".repeat(MOST_NAME - 1), &long, &format!("{long}1"), &format!("{long}2"), "a\nb", "ab"];
        let drafts: BTreeSet<String> = names.iter().map(|name| of(Path::new(name))).collect();
        assert_eq!(drafts.len(), names.len(), "{drafts:?}");
        assert!(drafts.iter().all(|draft| draft.chars().count() <= MOST_NAME && !draft.contains('\n')), "{drafts:?}");
        // Nor may a name that is the form of another's.
        assert_ne!(of(Path::new(&of(Path::new(&long)))), of(Path::new(&long)));
    }

    /// A file that is created with the umask's mode and made private afterwards can be opened in between.
    #[cfg(unix)]
    #[test]
    fn a_secret_has_its_mode_from_the_beginning() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Scratch::new("secret-mode");
        let path = folder.path().join("key");
        let mode = |file: &File| file.metadata().unwrap().permissions().mode() & 0o777;
        let file = secret_options().write(true).create_new(true).open(&path).unwrap();
        assert_eq!(mode(&file), 0o600);
        let mut draft = DraftFile::secret(&path).unwrap();
        assert_eq!(mode(draft.file()), 0o600);
    }

    #[test]
    fn folders_are_made_with_those_above_them() {
        let folder = Scratch::new("folders");
        let deep = folder.path().join("a/b/c");
        create_folders(&deep).unwrap();
        create_folders(&deep).unwrap();
        assert!(deep.is_dir());
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(create_folders(&folder.path().join("file/b")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_draft_is_private_and_the_settled_file_is_as_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Scratch::new("private");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::write(folder.path().join("other"), "").unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        let (file, sub) = (mode(&folder.path().join("other")), mode(&folder.path().join("folder")));
        let path = folder.path().join("a");
        let mut draft = DraftFile::create(&path).unwrap();
        assert_eq!(mode(&draft.path), 0o600);
        draft.complete().unwrap();
        draft.rename(&path).unwrap();
        assert_eq!(mode(&path), file);
        let draft = DraftFolder::create(&folder.path().join("b")).unwrap();
        assert_eq!(mode(draft.path()), 0o700);
        draft.complete().unwrap();
        assert_eq!(mode(draft.path()), sub);
    }
}
