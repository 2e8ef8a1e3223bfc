//! `coverslip install`: the shared library, its headers, what CMake and pkg-config need, and what it was linked from
//! ([`sbom`]), under one prefix.
//!
//! The tree can be moved afterwards: no file in it holds an absolute path. Each file is written beside its place and then
//! renamed, so that a host that is running keeps the library that it has mapped, and never sees half of one.

mod sbom;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coverslip_bundle::Digest;
use coverslip_files::{Folder, Replace, whole};

use sbom::{Product, sbom};

use crate::host::{Library, find_library};
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
/// What a host links with; also the end of the chain of links.
const LINK_NAME: &str = "libcoverslip.so";

/// What is installed, and where.
#[derive(Debug)]
pub(crate) struct Request {
    /// Gets include/, lib/ and, with a bundle, share/.
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
    if !cfg!(target_os = "linux") {
        return Err("`coverslip install` knows the library layout of Linux only; copy the library by hand".into());
    }
    // Everything is checked before anything is written: here a foreign file, or a library that does not fit the headers
    // that come with it, is refused.
    let library = Library::find(request.library.as_deref())?;
    let contract = library.abi_version();
    if let Some(bundle) = &request.bundle {
        coverslip_bundle::Bundle::open(bundle)?;
    }

    let mut written = Written(screen());
    let lib = request.prefix.join("lib");
    let soname = format!("{LINK_NAME}.{}", contract.0);
    let real_name = format!("{LINK_NAME}.{VERSION}");
    let content = fs::read(library.path()).map_err(named(library.path()))?;
    write(&lib, &real_name, &content, 0o755, &mut written)?;
    link(&lib, &soname, &real_name, &mut written)?;
    link(&lib, LINK_NAME, &soname, &mut written)?;

    let fill = |template: &str| {
        template
            .replace("@VERSION@", VERSION)
            .replace("@LIBRARY@", &real_name)
            .replace("@SONAME@", &soname)
            .replace("@POINTER_BYTES@", &size_of::<usize>().to_string())
    };
    for (name, text) in HEADERS {
        write(&request.prefix.join("include/coverslip"), name, text.as_bytes(), 0o644, &mut written)?;
    }
    for (name, template) in CMAKE {
        write(&lib.join("cmake/coverslip"), name, fill(template).as_bytes(), 0o644, &mut written)?;
    }
    write(&lib.join("pkgconfig"), PKG_CONFIG.0, fill(PKG_CONFIG.1).as_bytes(), 0o644, &mut written)?;
    bills(&request.prefix.join("share/coverslip/sbom"), &real_name, &content, &mut written)?;
    if let Some(bundle) = &request.bundle {
        copy_bundle(bundle, &request.prefix.join("share/coverslip/bundles"), &mut written)?;
    }
    written.line(format_args!("coverslip {VERSION}, contract {}.{}: done", contract.0, contract.1))
}

/// Writes what library and command were linked from. What another build of the library links is not known here.
fn bills(folder: &Path, library: &str, content: &[u8], written: &mut Written) -> Outcome<()> {
    let ours = find_library(None).ok().and_then(|path| fs::read(path).ok());
    if ours.is_some_and(|ours| ours == content) {
        let bill = sbom(Product::Library, library, Digest::of(content));
        write(folder, Product::Library.file(), bill.as_bytes(), 0o644, written)?;
    } else {
        written.line(format_args!(
            "no {}: the library was not built together with this command, so what it links is not known",
            Product::Library.file()
        ))?;
    }
    let command = std::env::current_exe()?;
    let name = command.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let digest = Digest::of(&fs::read(&command).map_err(named(&command))?);
    write(folder, Product::Command.file(), sbom(Product::Command, &name, digest).as_bytes(), 0o644, written)
}

/// Writes `folder/name` in one step: hosts see the old file or the new one.
fn write(folder: &Path, name: &str, content: &[u8], mode: u32, written: &mut Written) -> Outcome<()> {
    fs::create_dir_all(folder).map_err(named(folder))?;
    let path = folder.join(name);
    let made = whole(&path, |file| {
        file.write_all(content)?;
        set_mode(file, mode)
    });
    made.map_err(named(&path))?;
    written.line(format_args!("{}", show(&path)))
}

/// Makes `folder/name` a link to its neighbour `target`.
fn link(folder: &Path, name: &str, target: &str, written: &mut Written) -> Outcome<()> {
    let path = folder.join(name);
    coverslip_files::link(target, &path).map_err(named(&path))?;
    written.line(format_args!("{} -> {target}", show(&path)))
}

/// Copies a bundle, a folder without folders, under its own name. One that is there already is replaced as a whole.
fn copy_bundle(from: &Path, folder: &Path, written: &mut Written) -> Outcome<()> {
    let from = from.canonicalize().map_err(named(from))?;
    let place = folder.join(from.file_name().ok_or("the bundle's path has no name")?);
    let draft = Folder::beside(&place).map_err(named(&place))?;
    for entry in fs::read_dir(&from).map_err(named(&from))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), draft.path().join(entry.file_name())).map_err(named(&entry.path()))?;
        }
    }
    draft.settle(Replace { marker: coverslip_bundle::MANIFEST_FILE, kind: "bundle", force: true })?;
    written.line(format_args!("{}", show(&place)))
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
