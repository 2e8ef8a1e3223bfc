//! Files of findings: named once, written whole, read back as what was written.

use std::error::Error;
use std::path::Path;

use coverslip_files::{create_folders, put};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest file, bytes.
const MOST: u64 = 128 << 20;

/// What an analysis found.
pub trait Findings: DeserializeOwned + Serialize {
    /// The file's name in the folder of an analysis.
    const FILE: &'static str;

    /// Writes the file into `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be written; an older file is then intact.
    fn save(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let path = folder.join(Self::FILE);
        create_folders(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(put(&path, &self.text()?)?)
    }

    /// The file's content.
    ///
    /// # Errors
    /// When a value has no form in JSON.
    fn text(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Whether the lists of the findings fit each other and their numbers lie where they can, so that whoever reads them
    /// may count on it.
    ///
    /// # Errors
    /// What was expected, and what was found.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// When it cannot be read, another version wrote other fields, or what it says does not fit together.
    fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = coverslip_files::read_at_most(path, MOST).map_err(|error| format!("{}: {error}", path.display()))?;
        let found: Self = coverslip_bundle::json::parse(&text).map_err(|error| {
            format!("{}: not what this version writes ({error}); run the analysis again", path.display())
        })?;
        found.check().map_err(|why| format!("{}: {why}; run the analysis again", path.display()))?;
        Ok(found)
    }
}

/// Refuses a list of `what` that has not one row for each cell type.
pub(super) fn one_for_each(what: &str, rows: usize, cell_types: usize) -> Result<(), String> {
    if rows == cell_types {
        Ok(())
    } else {
        Err(format!("{what} has {rows} rows, expected one for each of {cell_types} cell types"))
    }
}

#[cfg(test)]
mod tests {
    use coverslip_testkit::Scratch;

    use super::*;

    impl Findings for u32 {
        const FILE: &'static str = "a.json";
    }

    #[test]
    fn a_file_is_written_whole_or_its_name_is_in_the_error() {
        let folder = Scratch::new("findings");
        1_u32.save(&folder.join("new")).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("new/a.json")).unwrap(), "1\n");
        assert_eq!(u32::read(&folder.join("new/a.json")).unwrap(), 1);
        // A folder stands where the file has to go.
        std::fs::create_dir_all(folder.join("taken/a.json/x")).unwrap();
        assert!(2_u32.save(&folder.join("taken")).unwrap_err().to_string().contains("a.json: "));
    }
}
