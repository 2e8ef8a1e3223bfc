//! Where the shared library and the demo bundle are, when the user does not say.

use std::error::Error;
use std::path::{Path, PathBuf};

use coverslip_bundle::MANIFEST_FILE;
use coverslip_profile::PROFILE_FILE;

/// The program that runs the engine in a process of its own. The library looks for it in its own folder.
pub(crate) const WORKER: &str = if cfg!(windows) { "coverslip-worker.exe" } else { "coverslip-worker" };

/// The worker that was built with this library: beside it, or beside cargo's folder of what was built for others.
pub(crate) fn worker(library: &Path) -> Option<PathBuf> {
    let folder = library.parent()?;
    let above = folder.parent().filter(|_| folder.ends_with("deps"));
    [Some(folder), above].into_iter().flatten().map(|folder| folder.join(WORKER)).find(|path| path.is_file())
}

/// `given`, or the library that was built or installed with this command.
pub(crate) fn library(given: Option<&Path>) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(path) = given {
        // The loader would search the system's directories for a bare name.
        return path.canonicalize().map_err(|error| {
            format!("{}: expected the Coverslip library, found: {error}. Give its path", path.display()).into()
        });
    }
    built("coverslip")
}

/// The library that `coverslip validate` puts in the real one's place.
#[cfg(target_os = "linux")]
pub(crate) fn standin() -> Result<PathBuf, Box<dyn Error>> {
    built("coverslip_standin")
}

/// A shared library that was built with this command, or installed beside it; of several builds the latest.
fn built(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let name = format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let executable = std::env::current_exe().map_err(|error| {
        format!(
            "{name}: expected it beside this program, whose path the system does not tell ({error}); give --library"
        )
    })?;
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
            "{}: expected {name} in this folder, in deps or in ../lib, found none. Build it with `cargo build \
             --release`, or give its path with --library",
            folder.display()
        )
        .into()
    })
}

/// `given`, or `bundles/demo` above the executable or the working directory (a workspace), or as installed. The place
/// where this was compiled does not count: it would make two builds of one source differ.
pub(crate) fn bundle(given: Option<&Path>) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(path) = given {
        return Ok(path.into());
    }
    // The system tells it, on Linux through /proc, which a container may not have.
    let executable = std::env::current_exe().ok();
    let executable = executable.as_deref();
    let above = executable.into_iter().flat_map(Path::ancestors).skip(1).map(|folder| folder.join("bundles/demo"));
    let here = std::env::current_dir().unwrap_or_default();
    let around = here.ancestors().map(|folder| folder.join("bundles/demo"));
    let prefix = executable.and_then(|executable| executable.ancestors().nth(2));
    let installed = prefix.map(|prefix| prefix.join("share/coverslip/bundles/demo"));
    above.chain(around).chain(installed).find(|path| path.join(MANIFEST_FILE).is_file()).ok_or_else(|| {
        "expected the demo bundle in bundles/demo, found none. Run this inside the workspace, or give a bundle with \
         --bundle"
            .into()
    })
}

/// The profile that goes with a bundle: the folder beside it, with `-profile` after the bundle's name.
pub(crate) fn profile_beside(bundle: &Path) -> Option<PathBuf> {
    let mut name = bundle.file_name()?.to_owned();
    name.push("-profile");
    Some(bundle.with_file_name(name)).filter(|path| path.join(PROFILE_FILE).is_file())
}
