//! Files whose size and digest are stated elsewhere: sizes before memory, digests before content.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::digest::Digest;
use crate::error::{BundleError, fail};
use crate::manifest::FileEntry;

/// Reads the file `name` of a folder, whose size and digest `entry` states.
///
/// # Errors
/// `Missing`, `Io`, `Truncated`, `Invalid`, `DigestMismatch`, `TooLarge` where memory is short.
pub fn read_verified(dir: &Path, name: &str, entry: &FileEntry) -> Result<Vec<u8>, BundleError> {
    let path = dir.join(name);
    let found = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => fail!(Invalid, "{} is not a file", path.display()),
        Err(error) => return Err(BundleError::io(path.display(), &error)),
    };
    if found < entry.bytes {
        fail!(Truncated, "{} has {found} bytes, the manifest says {}; copy it again", path.display(), entry.bytes);
    }
    if found > entry.bytes {
        fail!(Invalid, "{} has {found} bytes, the manifest says {}; copy it again", path.display(), entry.bytes);
    }
    let bytes = read_file(&path, entry.bytes)?;
    let digest = Digest::of(&bytes);
    if digest != entry.sha256 {
        fail!(
            DigestMismatch,
            "{} has sha256 {digest}, the manifest says {}; the file was changed or damaged: copy it \
             again",
            path.display(),
            entry.sha256
        );
    }
    Ok(bytes)
}

/// Reads a file of at most `most` bytes into memory that is reserved first.
///
/// # Errors
/// `Missing`, `Io`, `Truncated`; `TooLarge` beyond `most`, and where memory is short.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, BundleError> {
    let failed = |error: std::io::Error| BundleError::io(path.display(), &error);
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > most {
        fail!(TooLarge, "{} has {size} bytes, at most {most}", path.display());
    }
    let mut bytes = Vec::new();
    let reserve = usize::try_from(size).unwrap_or(usize::MAX);
    if bytes.try_reserve_exact(reserve).is_err() {
        fail!(TooLarge, "no memory for {} ({size} bytes)", path.display());
    }
    // One byte more than stated would show that the file grew; `take` keeps a growing file finite.
    let read = file.by_ref().take(size).read_to_end(&mut bytes);
    if (read.map_err(failed)? as u64) < size {
        fail!(Truncated, "{} became shorter", path.display());
    }
    Ok(bytes)
}
