//! Folders for this crate's tests; `coverslip-testkit` cannot be used, because it depends on this crate.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder that is removed when it goes out of scope.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("coverslip-files-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // Left by an earlier process with the same number.
        fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The names in the folder, sorted; where a lock file stays (`Lock::drop`), without that.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| cfg!(unix) || !name.ends_with(".lock"));
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The number of a process that has ended.
#[cfg(unix)]
pub(crate) fn ended_process() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}
