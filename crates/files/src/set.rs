//! Several files of one folder: all of them or none.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::whole::{create, draft};

/// Files in the making. What is not committed is removed.
#[derive(Debug)]
pub struct FileSet {
    folder: PathBuf,
    /// Names and where each is written until then.
    files: Vec<(String, PathBuf)>,
}

impl FileSet {
    /// Makes the folder and a draft of every file: whatever stands against writing shows before the work and not after
    /// it.
    ///
    /// # Errors
    /// The operating system's; `IsADirectory` with the name where a folder stands in a file's place.
    pub fn prepare(folder: &Path, names: &[&str]) -> io::Result<FileSet> {
        fs::create_dir_all(folder)?;
        let mut set = FileSet { folder: folder.to_owned(), files: Vec::new() };
        for name in names {
            let path = folder.join(name);
            if path.is_dir() {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, format!("{name} is a directory")));
            }
            let draft = draft(&path, "partial");
            create(&draft)?;
            set.files.push(((*name).to_owned(), draft));
        }
        Ok(set)
    }

    /// Writes one of the files; again where it was written before.
    ///
    /// # Errors
    /// What `content` says, or the operating system, in a sentence with the file's name.
    pub fn write<E: From<io::Error> + std::fmt::Display>(
        &mut self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
    ) -> io::Result<()> {
        let (_, draft) = self.files.iter().find(|(known, _)| known == name).expect("a name that was prepared");
        let written = (|| {
            let mut file = BufWriter::new(File::create(draft)?);
            content(&mut file)?;
            file.flush()?;
            Ok::<(), E>(file.get_ref().sync_all()?)
        })();
        written.map_err(|error| {
            let path = self.folder.join(name);
            let text = format!("{}: could not be written: {error}. Nothing was left half-written", path.display());
            io::Error::other(text)
        })
    }

    /// Gives every file its name, in place of older ones. Returns paths and sizes.
    ///
    /// # Errors
    /// The operating system's.
    pub fn commit(self) -> io::Result<Vec<(PathBuf, u64)>> {
        let commit = |(name, draft): &(String, PathBuf)| {
            let path = self.folder.join(name);
            fs::rename(draft, &path)?;
            let bytes = fs::metadata(&path)?.len();
            Ok((path, bytes))
        };
        self.files.iter().map(commit).collect()
    }
}

impl Drop for FileSet {
    fn drop(&mut self) {
        // Committed files are no longer there.
        self.files.iter().for_each(|(_, draft)| drop(fs::remove_file(draft)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["a.json", "b.json"];

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("coverslip-set-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn all_or_nothing() {
        let folder = folder("all");
        let mut set = FileSet::prepare(&folder, &NAMES).unwrap();
        set.write("a.json", |file| file.write_all(b"{}")).unwrap();
        let error = set.write("b.json", |_| Err(io::Error::other("no space"))).unwrap_err().to_string();
        assert!(error.contains("b.json: could not be written: no space"), "{error}");
        drop(set);
        assert!(names(&folder).is_empty());
        let set = FileSet::prepare(&folder, &NAMES).unwrap();
        assert_eq!(set.commit().unwrap().len(), 2);
        assert_eq!(names(&folder), NAMES);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_in_a_files_place_is_refused_at_once() {
        let folder = folder("taken");
        fs::create_dir_all(folder.join("b.json")).unwrap();
        let error = FileSet::prepare(&folder, &NAMES).unwrap_err().to_string();
        assert!(error.contains("b.json is a directory"), "{error}");
        assert_eq!(names(&folder), ["b.json"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
