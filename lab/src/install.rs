//! `coverslip install`: the shared library, its headers and what CMake and pkg-config need, under one prefix.
//!
//! The tree can be moved afterwards: no file in it holds an absolute path. Each file is written beside its place
//! and then renamed, so that a host that runs meanwhile keeps the library it has mapped and never sees half of one.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coverslip_files::{Folder, Replace, whole};

use crate::host::Library;
use crate::locate;

type Outcome<T> = Result<T, Box<dyn Error>>;

const HEADERS: [(&str, &str); 2] = [
    ("coverslip.h", include_str!("../../include/coverslip/coverslip.h")),
    ("coverslip.hpp", include_str!("../../include/coverslip/coverslip.hpp")),
];
const CMAKE: [(&str, &str); 2] = [
    ("coverslip-config.cmake", include_str!("../../packaging/coverslip-config.cmake.in")),
    ("coverslip-config-version.cmake", include_str!("../../packaging/coverslip-config-version.cmake.in")),
];
const PKG_CONFIG: (&str, &str) = ("coverslip.pc", include_str!("../../packaging/coverslip.pc.in"));

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What a host links with; also the end of the chain of links.
const LINK_NAME: &str = "libcoverslip.so";

/// Installs the shared library, headers, CMake package and pkg-config file under a prefix
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where to: gets include/, lib/ and with --bundle share/
    #[arg(long, value_name = "DIR")]
    pub(crate) prefix: PathBuf,
    /// The shared library to install [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    pub(crate) library: Option<PathBuf>,
    /// A bundle to install with it, under share/coverslip/bundles
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
}

/// Installs, and prints a line for each file written.
///
/// # Errors
/// A missing or foreign library, a bundle that does not verify, a place that cannot be written.
pub(crate) fn run(args: Args) -> Outcome<()> {
    if !cfg!(target_os = "linux") {
        return Err("`coverslip install` knows the library layout of Linux only; copy the library by hand".into());
    }
    let library = locate::library(args.library.as_deref())?;
    // Everything is looked at before anything is written: a foreign file, or a library that does not fit the headers
    // that come with it, is refused here.
    let contract = Library::load(&library)?.abi_version();
    if let Some(bundle) = &args.bundle {
        coverslip_bundle::Bundle::open(bundle)?;
    }

    let mut written = Report(io::stdout().lock());
    let lib = args.prefix.join("lib");
    let soname = format!("{LINK_NAME}.{}", contract.0);
    let real_name = format!("{LINK_NAME}.{VERSION}");
    write(&lib, &real_name, &fs::read(&library).map_err(named(&library))?, 0o755, &mut written)?;
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
        write(&args.prefix.join("include/coverslip"), name, text.as_bytes(), 0o644, &mut written)?;
    }
    for (name, template) in CMAKE {
        write(&lib.join("cmake/coverslip"), name, fill(template).as_bytes(), 0o644, &mut written)?;
    }
    write(&lib.join("pkgconfig"), PKG_CONFIG.0, fill(PKG_CONFIG.1).as_bytes(), 0o644, &mut written)?;
    if let Some(bundle) = &args.bundle {
        copy_bundle(bundle, &args.prefix.join("share/coverslip/bundles"), &mut written)?;
    }
    written.line(format_args!("coverslip {VERSION}, contract {}.{}: done", contract.0, contract.1))
}

/// Writes `folder/name` at once: hosts see the file that was there, or this one.
fn write(folder: &Path, name: &str, content: &[u8], mode: u32, written: &mut Report) -> Outcome<()> {
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
fn link(folder: &Path, name: &str, target: &str, written: &mut Report) -> Outcome<()> {
    let path = folder.join(name);
    coverslip_files::link(target, &path).map_err(named(&path))?;
    written.line(format_args!("{} -> {target}", show(&path)))
}

/// Copies a bundle (a folder without folders) under its own name. One that is there already is replaced as a whole.
fn copy_bundle(from: &Path, folder: &Path, written: &mut Report) -> Outcome<()> {
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

/// The lines of what was written.
struct Report(io::StdoutLock<'static>);

impl Report {
    fn line(&mut self, text: std::fmt::Arguments<'_>) -> Outcome<()> {
        Ok(writeln!(self.0, "{text}")?)
    }
}
