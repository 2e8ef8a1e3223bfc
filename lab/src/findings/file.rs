//! Files of findings: named once, written whole, read back as what was written.

use std::error::Error;
use std::path::Path;

use coverslip_files::{create_folders, put};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

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

    /// Reads such a file.
    ///
    /// # Errors
    /// When it cannot be read, or another version wrote other fields.
    fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = coverslip_files::read_at_most(path, MOST).map_err(|error| format!("{}: {error}", path.display()))?;
        coverslip_bundle::json::parse(&text).map_err(|error| {
            format!("{}: not what this version writes ({error}); run the analysis again", path.display()).into()
        })
    }
}

/// Reads a number that may be NaN or infinite: JSON has null for it, and null is read as NaN.
pub(super) fn null_as_nan<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(source)?.unwrap_or(f64::NAN))
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
