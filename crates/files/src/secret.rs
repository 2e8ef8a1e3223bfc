//! A file that nobody else may read.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::draft::{Draft, DraftFile, named, sync_parent};

/// Writes a new file that only this user may read, whole or not at all. It never replaces a file: what a secret protects
/// is lost with it.
///
/// # Errors
/// `AlreadyExists`; the operating system's, with the file's name in the text.
pub fn secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes).map_err(|error| named(path, &error))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = DraftFile::secret(path)?;
    draft.file().write_all(bytes)?;
    draft.file().sync_all()?;
    // Unlike a rename, a second name is refused where there is a file. The draft's own goes at the end.
    fs::hard_link(draft.path(), path)?;
    sync_parent(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_this_user_alone_and_is_never_replaced() {
        let folder = std::env::temp_dir().join(format!("coverslip-secret-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("site.key");
        secret(&path, b"first").unwrap();
        let error = secret(&path, b"second").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("site.key: "), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no draft stays");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
