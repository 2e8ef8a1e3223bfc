//! Where OpenSlide's library is: where the user says, where the loader looks, or in a Python environment.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::sys::Functions;

/// The one command that helps where there is no OpenSlide.
pub const INSTALL: &str = "`pip install openslide-bin` (or, on Debian, `apt install libopenslide0`)";

/// The user's word.
const VARIABLE: &str = "COVERSLIP_OPENSLIDE";

/// Names of the library, the newest first.
const NAMES: &[&str] = if cfg!(windows) {
    &["libopenslide-1.dll", "libopenslide-0.dll"]
} else if cfg!(target_os = "macos") {
    &["libopenslide.1.dylib", "libopenslide.0.dylib"]
} else {
    &["libopenslide.so.1", "libopenslide.so.0"]
};

/// The library that is used.
#[derive(Clone)]
pub(crate) struct Library {
    pub(super) functions: Arc<Functions>,
    version: String,
    path: PathBuf,
}

impl Library {
    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

/// A library that was found: its version, and its file or the name that the loader knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub version: String,
    pub path: PathBuf,
}

/// Looks for OpenSlide.
///
/// # Errors
/// Says where it was looked for and how it is installed.
pub fn found() -> Result<Found, String> {
    library().map(|library| Found { version: library.version, path: library.path })
}

/// The library, which is looked for once.
pub(crate) fn library() -> Result<Library, String> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    LIBRARY.get_or_init(look).clone()
}

fn look() -> Result<Library, String> {
    let load = |path: &Path| -> Result<Library, String> {
        let functions = Functions::load(path)?;
        Ok(Library { version: functions.version(), functions: Arc::new(functions), path: path.to_owned() })
    };
    if let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let path = PathBuf::from(named);
        return load(&path)
            .map_err(|error| format!("{VARIABLE}={}: expected OpenSlide's library, found: {error}", path.display()));
    }
    let wheels = in_python();
    let places = NAMES.iter().flat_map(|name| {
        let wheels = wheels.iter().map(move |folder| folder.join(name)).filter(|path| path.is_file());
        std::iter::once(PathBuf::from(name)).chain(wheels)
    });
    places.into_iter().find_map(|path| load(&path).ok()).ok_or_else(|| {
        format!(
            "OpenSlide was not found: no {} on the loader's path or in a Python environment. Install it: {INSTALL}",
            NAMES[0]
        )
    })
}

/// Folders of the wheel openslide-bin: in the active environment, beside the Pythons on the path, or the user's own.
fn in_python() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_python = |folder: &PathBuf| ["python3", "python.exe"].iter().any(|name| folder.join(name).exists());
    let pythons: Vec<PathBuf> = std::env::split_paths(&path).filter(is_python).collect();
    // A Python of a version manager is a link to its own place.
    let links = pythons.iter().filter_map(|folder| std::fs::canonicalize(folder.join("python3")).ok());
    let real = links.filter_map(|file| file.parent().map(Path::to_owned)).collect::<Vec<_>>();
    let beside = pythons.iter().chain(&real).filter_map(|folder| folder.parent().map(Path::to_owned));
    let active = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let own = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local"));
    let packages = active.into_iter().chain(beside).chain(own).flat_map(|root| {
        let versions = std::fs::read_dir(root.join("lib")).into_iter().flatten().flatten().map(|entry| entry.path());
        let unix = versions.flat_map(|version| ["site-packages", "dist-packages"].map(|name| version.join(name)));
        unix.chain([root.join("Lib").join("site-packages")]).collect::<Vec<_>>()
    });
    packages.map(|folder| folder.join("openslide_bin")).filter(|folder| folder.is_dir()).collect()
}
