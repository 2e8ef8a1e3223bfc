//! The slides and images to embed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coverslip_slides::SourceError;

use crate::play::twice;

/// The extensions of slides and images; other files of a directory are left alone. A slide as DICOM is several files,
/// one a level, and is named by the user.
const KNOWN: [&str; 15] = [
    "png", "jpg", "jpeg", "tif", "tiff", "svs", "btf", "qptiff", "ndpi", "mrxs", "scn", "bif", "vms", "vmu", "svslide",
];

/// The files that `paths` name, those of a directory by name.
///
/// # Errors
/// When a path is not there, a directory has no slide or image, a file comes twice, or two names cannot be told apart.
pub(super) fn list(paths: &[PathBuf]) -> Result<Vec<PathBuf>, SourceError> {
    let mut all: Vec<PathBuf> = Vec::new();
    for path in paths {
        let unreadable = |error: std::io::Error| SourceError(format!("{}: could not be read: {error}", path.display()));
        if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(unreadable)?;
        let entries = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut files: Vec<PathBuf> = entries.map_err(unreadable)?.into_iter().filter(|file| is_known(file)).collect();
        if files.is_empty() {
            return Err(SourceError(format!(
                "{}: expected slides or images ({}) in the directory, found none. Give the directory that holds them",
                path.display(),
                KNOWN.join(", ")
            )));
        }
        files.sort();
        all.extend(files);
    }
    if let Some([first, second]) = twice(&all) {
        let also = if first == second { String::new() } else { format!(", also as {}", first.display()) };
        return Err(SourceError(format!("{}: given twice{also}; tiles count once", second.display())));
    }
    told_apart(&all)?;
    Ok(all)
}

/// Refuses two files whose names are one as text: names that are not UTF-8. Their rows could not be told apart.
fn told_apart(files: &[PathBuf]) -> Result<(), SourceError> {
    let mut shown = BTreeMap::new();
    for file in files {
        if let Some(other) = shown.insert(shown_as(file), file) {
            return Err(SourceError(format!(
                "{file:?}: expected a name that can be told from others in UTF-8, found {other:?} beside it, which looks the \
                 same; rename one of them"
            )));
        }
    }
    Ok(())
}

/// How a file is named in messages and in the journal.
pub(super) fn shown_as(file: &Path) -> String {
    file.display().to_string()
}

fn is_known(file: &Path) -> bool {
    let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
    KNOWN.iter().any(|known| extension == *known) && !file.is_dir()
}

/// A file's name without its extension.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The slide that an image belongs to.
pub(super) fn slide_of(stem: &str, separator: Option<&str>) -> String {
    let before = separator.and_then(|separator| stem.rsplit_once(separator)).map(|(before, _)| before);
    before.unwrap_or(stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_slide_stands_before_the_last_separator() {
        assert_eq!(slide_of("test_10_004", Some("_")), "test_10");
        assert_eq!(slide_of("test_10_004", None), "test_10_004");
        assert_eq!(slide_of("plain", Some("_")), "plain");
    }

    #[cfg(unix)]
    #[test]
    fn names_that_look_the_same_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        let name = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        assert!(told_apart(&[name(b"a/\xff.png"), name(b"b/\xff.png"), name(b"a/b.png")]).is_ok());
        let refused = told_apart(&[name(b"\xff.png"), name(b"\xfe.png")]).unwrap_err().0;
        assert!(refused.starts_with(r#""\xFE.png": expected"#) && refused.contains(r#"found "\xFF.png""#), "{refused}");
        assert!(refused.ends_with("rename one of them"), "{refused}");
    }

    #[test]
    fn what_is_not_there_or_given_twice_is_refused() {
        let folder = std::env::temp_dir().join(format!("coverslip-inputs-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let refused = list(std::slice::from_ref(&folder)).unwrap_err().0;
        assert!(refused.contains("found none"), "{refused}");
        for name in ["b.PNG", "a.jpg", "notes.txt"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(list(std::slice::from_ref(&folder)).unwrap(), [folder.join("a.jpg"), folder.join("b.PNG")]);
        let refused = list(&[folder.clone(), folder.join("a.jpg")]).unwrap_err().0;
        assert!(refused.contains("a.jpg: given twice"), "{refused}");
        let refused = list(&[folder.join("a.jpg"), folder.join("../").join(folder.file_name().unwrap()).join("a.jpg")]);
        let refused = refused.unwrap_err().0;
        assert!(refused.contains("a.jpg: given twice, also as"), "{refused}");
        assert!(list(&[folder.join("no")]).unwrap_err().0.contains("could not be read"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
