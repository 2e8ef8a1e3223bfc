//! Putting a bundle (or a profile) in its place: written beside it, opened once, renamed. A reader sees the old one or
//! the new one, never half of one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{BundleError, fail};
use crate::manifest::MANIFEST_FILE;
use crate::open::Bundle;

/// Refuses a target that must not be replaced, before hours of work go into it.
pub(super) fn check_target(out: &Path, force: bool) -> Result<(), BundleError> {
    check_replaced(out, MANIFEST_FILE, "bundle", force)
}

/// The same for a directory of any `kind`, known by its file `marker`.
fn check_replaced(out: &Path, marker: &str, kind: &str, force: bool) -> Result<(), BundleError> {
    let Ok(metadata) = fs::symlink_metadata(out) else {
        return Ok(());
    };
    let known = metadata.is_dir() && out.join(marker).is_file();
    if !force {
        fail!(
            Invalid,
            "{} exists; choose another place{}",
            out.display(),
            if known { format!(", or replace the {kind} with --force") } else { String::new() }
        );
    }
    if !known {
        fail!(Invalid, "{} exists and is no {kind}; it is not replaced, not even by force", out.display());
    }
    Ok(())
}

/// The directory that becomes the bundle. On an error nothing of it stays.
pub(crate) struct Place {
    new: Scratch,
}

impl Place {
    /// Makes the directory, beside `out`.
    pub(crate) fn beside(out: &Path) -> Result<Self, BundleError> {
        let new = Scratch::beside(out, "new")?;
        fs::create_dir(&new.path).map_err(|error| BundleError::io(new.path.display(), &error))?;
        Ok(Self { new })
    }

    /// The path of its file `name`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.new.path.join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        write_file(&self.file(name), bytes)
    }

    /// Gives a file that a library made the permissions of every other file.
    pub(super) fn share(&self, name: &str) -> Result<(), BundleError> {
        let probe = self.file(".permissions");
        let shared = File::create(&probe)
            .and_then(|file| file.metadata())
            .and_then(|metadata| fs::set_permissions(self.file(name), metadata.permissions()))
            .and_then(|()| fs::remove_file(&probe));
        shared.map_err(|error| BundleError::io(self.file(name).display(), &error))
    }

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let path = self.file(name);
        fs::read(&path).map_err(|error| BundleError::io(path.display(), &error))
    }

    /// Opens what was written and gives it the name `out`.
    pub(super) fn take(self, out: &Path, force: bool) -> Result<Bundle, BundleError> {
        let bundle = Bundle::open(self.path())?;
        self.settle(out, MANIFEST_FILE, "bundle", force)?;
        Ok(bundle)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.new.path
    }

    /// Gives it the name `out`, replacing only what is a `kind` by its file `marker`, and only by force.
    pub(crate) fn settle(self, out: &Path, marker: &str, kind: &str, force: bool) -> Result<(), BundleError> {
        check_replaced(out, marker, kind, force)?;
        let old = Scratch::beside(out, "old")?;
        let replaces = out.exists();
        if replaces {
            rename(out, &old.path)?;
        }
        if let Err(error) = rename(&self.new.path, out) {
            if replaces {
                rename(&old.path, out)?;
            }
            return Err(error);
        }
        Ok(())
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), BundleError> {
    fs::rename(from, to).map_err(|error| BundleError::io(to.display(), &error))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| BundleError::io(path.display(), &error))
}

/// A directory beside the target, on the same file system; removed when it goes out of scope, if it is
/// still there.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn beside(out: &Path, part: &str) -> Result<Self, BundleError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Some(name) = out.file_name().and_then(|name| name.to_str()) else {
            fail!(Invalid, "{} is no name for a bundle", out.display());
        };
        let parent = match out.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(|error| BundleError::io(parent.display(), &error))?;
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!(".{name}.{part}-{}-{unique}", std::process::id()));
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing sensible can be done when this fails; the name starts with a dot and says what it is.
        let _ = fs::remove_dir_all(&self.path);
    }
}
