//! `coverslip install`: the shared library, its headers, what CMake and pkg-config need, and what it was linked from
//! (`sbom`), under one prefix.
//!
//! The tree can be moved afterwards: no file in it holds an absolute path. All files are written beside their places and
//! then renamed, so that a host that is running keeps the library that it has mapped, and never sees half of one. Windows
//! refuses to replace a library that a host has mapped: then nothing changes.

mod layout;
mod sbom;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use coverslip_bundle::Digest;
use coverslip_files::{Claim, FileSet, Folder, Replace, check_target};

use layout::Layout;
use sbom::{Product, sbom};

use crate::claim;
use crate::host::{Library, WORKER, find_library, find_worker, profile_beside};
use crate::term::{Screen, screen};

type Outcome<T> = Result<T, Box<dyn Error>>;

const HEADERS: [(&str, &str); 2] = [
    ("coverslip.h", include_str!("../../../include/coverslip/coverslip.h")),
    ("coverslip.hpp", include_str!("../../../include/coverslip/coverslip.hpp")),
];
const CMAKE: [(&str, &str); 2] = [
    ("coverslip-config.cmake", include_str!("../../../packaging/coverslip-config.cmake.in")),
    ("coverslip-config-version.cmake", include_str!("../../../packaging/coverslip-config-version.cmake.in")),
];
const PKG_CONFIG: (&str, &str) = ("coverslip.pc", include_str!("../../../packaging/coverslip.pc.in"));

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Largest library or program, bytes: one with debug symbols has some hundred MB.
const MOST_PROGRAM: u64 = 1 << 30;

/// What is installed, and where.
#[derive(Debug)]
pub(crate) struct Request {
    /// Gets include/, lib/, share/ and, on Windows, bin/.
    pub(crate) prefix: PathBuf,
    /// None: the library that was built with this command.
    pub(crate) library: Option<PathBuf>,
    pub(crate) bundle: Option<PathBuf>,
}

/// Installs, and prints a line for each file written.
///
/// # Errors
/// Where the library is missing or foreign, the bundle does not verify, or the prefix cannot be written.
pub(crate) fn run(request: &Request) -> Outcome<()> {
    // Everything is checked before anything is written: here a foreign file, or a library that does not fit the headers
    // that come with it, is refused.
    let library = Library::find(request.library.as_deref())?;
    let contract = library.abi_version();
    if let Some(bundle) = &request.bundle {
        coverslip_bundle::Bundle::open(bundle)?;
    }
    let copies = copies(request)?;
    let layout = Layout::new(contract.0)?;
    let content = coverslip_files::read_at_most(library.path(), MOST_PROGRAM).map_err(named(library.path()))?;
    let found = find_worker(library.path());
    let worker = found.as_deref().filter(|path| is_of_one_build(path, &content));
    let worker =
        worker.map(|path| coverslip_files::read_at_most(path, MOST_PROGRAM).map_err(named(path))).transpose()?;
    let (bills, mut unknown) = bills(layout.library_name(), &content, worker.as_deref())?;
    let mut files = vec![(layout.library.clone(), content, 0o755)];
    match worker {
        Some(worker) => files.push((layout.worker.clone(), worker, 0o755)),
        None => unknown.push(format!(
            "no {WORKER}: {}, so that the engine runs in the host's process; `cargo build --release` builds both",
            found.map_or_else(
                || "it was not built".to_owned(),
                |path| format!("{} is of another build than the library", show(&path))
            )
        )),
    }
    let texts = texts(&layout).into_iter().chain(bills);
    files.extend(texts.map(|(name, text)| (name, text.into_bytes(), 0o644)));
    files.extend(layout.made.into_iter().map(|(name, content)| (name, content, 0o644)));
    let links = layout.links;

    let mut written = Written(screen());
    let claim = claim(&request.prefix, &files)?;
    settle(&claim, &files, &links)?;
    for (name, ..) in &files {
        written.line(format_args!("{}", show(&request.prefix.join(name))))?;
    }
    for (name, target) in &links {
        written.line(format_args!("{} -> {target}", show(&request.prefix.join(name))))?;
    }
    for unknown in unknown {
        written.line(format_args!("{unknown}"))?;
    }
    copies.iter().try_for_each(|copied| copied.copy(&mut written))?;
    written.line(format_args!("coverslip {VERSION}, contract {}.{}: done", contract.0, contract.1))
}

/// Whether a worker's version and commit are in the library, which would refuse any other.
fn is_of_one_build(worker: &Path, library: &[u8]) -> bool {
    let said = Command::new(worker).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let build = String::from_utf8_lossy(&said);
    let build = build.trim().strip_prefix("coverslip-worker ").map(str::as_bytes);
    build.is_some_and(|build| library.windows(build.len()).any(|part| part == build))
}

/// The headers and what CMake and pkg-config read, by their places below the prefix.
fn texts(layout: &Layout) -> Vec<Text> {
    let fill = |template: &str| {
        template
            .replace("@VERSION@", VERSION)
            .replace("@LIBRARY@", &layout.library)
            .replace("@LINKING@", &layout.linking)
            .replace("@POINTER_BYTES@", &size_of::<usize>().to_string())
    };
    let mut texts: Vec<Text> =
        HEADERS.iter().map(|(name, text)| (format!("include/coverslip/{name}"), (*text).to_owned())).collect();
    texts.extend(CMAKE.iter().map(|(name, template)| (format!("lib/cmake/coverslip/{name}"), fill(template))));
    texts.push((format!("lib/pkgconfig/{}", PKG_CONFIG.0), fill(PKG_CONFIG.1)));
    texts
}

/// A text file's place below the prefix, and its content.
type Text = (String, String);

/// What library, worker and command were linked from, by their places below the prefix. What another build of the library
/// links is not known here: then a line says so.
fn bills(library: &str, content: &[u8], worker: Option<&[u8]>) -> Outcome<(Vec<Text>, Vec<String>)> {
    let place = |product: Product| format!("share/coverslip/sbom/{}", product.file());
    let (mut bills, mut unknown) = (Vec::new(), Vec::new());
    let ours = find_library(None).ok().and_then(|path| coverslip_files::read_at_most(&path, MOST_PROGRAM).ok());
    if ours.is_some_and(|ours| ours == content) {
        bills.push((place(Product::Library), sbom(Product::Library, library, Digest::of(content))));
        bills.extend(worker.map(|worker| (place(Product::Worker), sbom(Product::Worker, WORKER, Digest::of(worker)))));
    } else {
        unknown.push(format!(
            "no {}: the library was not built together with this command, so what it links is not known",
            Product::Library.file()
        ));
    }
    match std::env::current_exe() {
        Ok(command) => {
            let name = command.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let digest = Digest::of(&coverslip_files::read_at_most(&command, MOST_PROGRAM).map_err(named(&command))?);
            bills.push((place(Product::Command), sbom(Product::Command, &name, digest)));
        }
        Err(error) => unknown.push(format!(
            "no {}: the system does not tell the path of this program ({error})",
            Product::Command.file()
        )),
    }
    Ok((bills, unknown))
}

/// A file's place below the prefix, its content and its mode.
type File = (String, Vec<u8>, u32);

/// Claims the prefix, and removes what earlier runs left in the folders of the files.
fn claim(prefix: &Path, files: &[File]) -> io::Result<Claim> {
    let mut claim = claim::within(prefix)?;
    let folders: BTreeSet<PathBuf> =
        files.iter().filter_map(|(name, ..)| Some(prefix.join(Path::new(name).parent()?))).collect();
    folders.iter().filter(|folder| folder.is_dir()).try_for_each(|folder| claim.sweep(folder))?;
    claim::said(&claim.notes());
    Ok(claim)
}

/// Writes every file and link, then gives all of them their names.
fn settle(claim: &Claim, files: &[File], links: &[(String, String)]) -> io::Result<()> {
    let names: Vec<&str> = files.iter().map(|(name, ..)| name.as_str()).collect();
    let mut set = FileSet::prepare(claim, &names)?;
    for (name, content, mode) in files {
        set.write(name, |file| {
            file.write_all(content)?;
            set_mode(file.get_ref(), *mode)
        })?;
    }
    links.iter().try_for_each(|(name, target)| set.link(name, target))?;
    set.commit().map(|_| ())
}

/// A bundle or a profile that is copied, a folder without folders.
struct Copied {
    from: PathBuf,
    place: PathBuf,
    replace: Replace<'static>,
}

/// The bundle and its profile, under their own names.
///
/// # Errors
/// Where something else is in the place of one.
fn copies(request: &Request) -> Outcome<Vec<Copied>> {
    let Some(bundle) = &request.bundle else { return Ok(Vec::new()) };
    let bundles = request.prefix.join("share/coverslip/bundles");
    let copied = |from: &Path, marker, kind| -> Outcome<Copied> {
        let from = from.canonicalize().map_err(named(from))?;
        let place = bundles.join(from.file_name().ok_or_else(|| format!("the {kind}'s path has no name"))?);
        let replace = Replace { marker, kind, force: true };
        check_target(&place, replace)?;
        Ok(Copied { from, place, replace })
    };
    let mut copies = vec![copied(bundle, coverslip_bundle::MANIFEST_FILE, "bundle")?];
    if let Some(profile) = profile_beside(bundle) {
        copies.push(copied(&profile, coverslip_profile::PROFILE_FILE, "profile")?);
    }
    Ok(copies)
}

impl Copied {
    /// Copies the folder. One that is there already is replaced as a whole.
    fn copy(&self, written: &mut Written) -> Outcome<()> {
        let Copied { from, place, replace } = self;
        let claim = claim::beside(place)?;
        let draft = Folder::beside(&claim)?;
        for entry in fs::read_dir(from).map_err(named(from))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                draft.copy(&entry.path(), entry.file_name().to_str().ok_or("a file's name is not UTF-8")?)?;
            }
        }
        draft.settle(*replace)?;
        written.line(format_args!("{}", show(place)))
    }
}

/// Puts the path into an error: "permission denied" alone helps nobody.
fn named(path: &Path) -> impl FnOnce(io::Error) -> Box<dyn Error> {
    move |error| format!("{}: {error}", show(path)).into()
}

fn show(path: &Path) -> std::path::Display<'_> {
    path.display()
}

#[cfg(unix)]
fn set_mode(file: &fs::File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &fs::File, _: u32) -> io::Result<()> {
    Ok(())
}

/// Prints a line for each file that was written.
struct Written(Screen<io::StdoutLock<'static>>);

impl Written {
    fn line(&mut self, text: std::fmt::Arguments<'_>) -> Outcome<()> {
        Ok(writeln!(self.0, "{text}")?)
    }
}
