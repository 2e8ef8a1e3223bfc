//! Files that appear whole or not at all.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{OVERVIEW, QC, SLIDE, TILES};

/// The output directory with its files under temporary names. What is not committed is removed.
pub(crate) struct OutputSet {
    folder: PathBuf,
}

impl OutputSet {
    /// Makes the directory and a temporary file for every output: whatever stands against writing shows before the
    /// scan and not after it.
    pub(crate) fn prepare(folder: &Path) -> Result<OutputSet, String> {
        let refused = |what: &str, error: &dyn std::fmt::Display| {
            format!(
                "{}: expected a directory that can be written, found: {what}{error}. Give another one with --out",
                folder.display()
            )
        };
        fs::create_dir_all(folder).map_err(|error| refused("", &error))?;
        let outputs = OutputSet { folder: folder.into() };
        for name in [TILES, SLIDE, QC, OVERVIEW] {
            if folder.join(name).is_dir() {
                return Err(refused(name, &" is a directory"));
            }
            File::create(outputs.partial(name)).map_err(|error| refused("", &error))?;
        }
        Ok(outputs)
    }

    /// Writes one file under its temporary name.
    pub(super) fn write(
        &mut self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let named = |error: &dyn std::fmt::Display| {
            format!(
                "{}: could not be written: {error}. Nothing was left half-written",
                self.folder.join(name).display()
            )
        };
        let mut file = BufWriter::new(File::create(self.partial(name)).map_err(|error| named(&error))?);
        content(&mut file).map_err(|error| named(&error))?;
        file.flush().map_err(|error| named(&error))?;
        Ok(())
    }

    /// Gives every file its name, in place of older ones. Returns paths and sizes.
    pub(super) fn commit(self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for name in [TILES, SLIDE, QC, OVERVIEW] {
            let path = self.folder.join(name);
            fs::rename(self.partial(name), &path)?;
            files.push((path.display().to_string(), fs::metadata(&path)?.len()));
        }
        Ok(files)
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.folder.join(format!(".{name}.partial"))
    }
}

impl Drop for OutputSet {
    fn drop(&mut self) {
        for name in [TILES, SLIDE, QC, OVERVIEW] {
            // Committed files are no longer there.
            let _ = fs::remove_file(self.partial(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("coverslip-files-{}-{name}", std::process::id()));
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
        let mut outputs = OutputSet::prepare(&folder).unwrap();
        outputs.write(SLIDE, |file| Ok(file.write_all(b"{}")?)).unwrap();
        let error = outputs.write(QC, |_| Err("no space".into())).unwrap_err().to_string();
        assert!(error.contains("qc.geojson: could not be written: no space"), "{error}");
        drop(outputs);
        assert!(names(&folder).is_empty());
        let outputs = OutputSet::prepare(&folder).unwrap();
        assert_eq!(outputs.commit().unwrap().len(), 4);
        assert_eq!(names(&folder), [OVERVIEW, QC, SLIDE, TILES]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_at_once() {
        let folder = folder("refused");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("file");
        fs::write(&file, "x").unwrap();
        let error = OutputSet::prepare(&file.join("out")).err().unwrap();
        assert!(error.contains("expected a directory that can be written") && error.contains("--out"), "{error}");
        fs::create_dir(folder.join(TILES)).unwrap();
        let error = OutputSet::prepare(&folder).err().unwrap();
        assert!(error.contains("tiles.parquet is a directory"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
