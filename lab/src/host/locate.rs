//! Where the shared library is that this command plays through or installs.

use std::error::Error;
use std::path::{Path, PathBuf};

/// Where cargo or an installation puts the library; of several builds the latest.
pub(crate) fn library(given: Option<&Path>) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(path) = given {
        // A bare name would be searched in the system's directories instead.
        return path.canonicalize().map_err(|error| {
            format!("{}: expected the Coverslip library, found: {error}. Give its path", path.display()).into()
        });
    }
    let name = format!("{}coverslip{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let executable = std::env::current_exe()?;
    let folder = executable.parent().ok_or("this executable has no folder")?;
    let built = [folder.join(&name), folder.join("deps").join(&name)];
    let latest = built
        .into_iter()
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path);
    let installed = folder.join("../lib").join(&name);
    latest.or_else(|| installed.is_file().then_some(installed)).ok_or_else(|| {
        format!(
            "{}: expected {name} there, in deps or in ../lib, found none. Build it with `cargo build --release` \
                 or give its path with --library",
            folder.display()
        )
        .into()
    })
}
