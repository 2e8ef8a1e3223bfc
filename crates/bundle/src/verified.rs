//! Files whose size and digest a manifest states. The size is checked before memory is allocated, the digest before the
//! content is used.

use std::io::Read;
use std::path::Path;

use crate::digest::Digest;
use crate::error::{BundleError, fail};
use crate::manifest::FileEntry;

/// Reads the file `name` in `dir` and compares its size and digest with `entry`.
///
/// # Errors
/// `Missing`, `Io`, `Truncated`, `Invalid`, `DigestMismatch`; `OutOfMemory` when memory is short.
pub fn read_verified(dir: &Path, name: &str, entry: &FileEntry) -> Result<Vec<u8>, BundleError> {
    let path = dir.join(name);
    let found = coverslip_files::open(&path).and_then(|file| file.metadata());
    let found = found.map_err(|error| BundleError::io(path.display(), &error))?.len();
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
            "{} has sha256 {digest}, the manifest says {}: the file was changed or damaged; copy it \
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
/// `Missing`, `Io`, `Truncated`; `TooLarge` beyond `most`, `OutOfMemory`.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, BundleError> {
    let failed = |error: std::io::Error| BundleError::io(path.display(), &error);
    let mut file = coverslip_files::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > most {
        fail!(TooLarge, "{} has {size} bytes; expected at most {most}", path.display());
    }
    let mut bytes = Vec::new();
    let reserve = usize::try_from(size).unwrap_or(usize::MAX);
    if bytes.try_reserve_exact(reserve).is_err() {
        fail!(OutOfMemory, "no memory for {} ({size} bytes)", path.display());
    }
    // `take` bounds the read if the file grows meanwhile.
    let read = file.by_ref().take(size).read_to_end(&mut bytes);
    if (read.map_err(failed)? as u64) < size {
        fail!(Truncated, "{} became shorter while it was read; try again", path.display());
    }
    Ok(bytes)
}
