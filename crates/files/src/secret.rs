//! A file that nobody else may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::whole::draft;

/// Writes a new file that only this user may read, whole or not at all. It never replaces a file: what a secret protects
/// is lost with it.
///
/// # Errors
/// `AlreadyExists`; the operating system's, with the file's name in the text.
pub fn secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft(path, "partial");
    let written = create(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        // Unlike a rename, a second name is refused where there is a file.
        fs::hard_link(&draft, path)
    });
    let _ = fs::remove_file(&draft);
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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
