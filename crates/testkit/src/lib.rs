//! The tests' shared tools: paths of the shared library and the bundles, C and C++ compilers, scratch folders, golden
//! files, bundles to damage, an allocator that counts, page faults, slides with planted texts, and the embedded engine for
//! tiny bundles.

mod bundle;
mod counting;
mod dicom;
mod fixture;
mod signer;
mod tiff;
mod touched;

pub use bundle::{bundle, bundle_of, onnx_bundle, onnx_bundle_of};
pub use counting::Counting;
pub use dicom::{DicomImage, draw_dicom};
pub use fixture::{Fixture, assert_refused, read_tensors};
pub use signer::Signer;
pub use tiff::{Drawn, draw_tiff};
pub use touched::page_faults;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The repository's root: the first folder, from the package's upwards, that holds the header.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = "include/coverslip/coverslip.h";
    package.ancestors().find(|folder| folder.join(header).is_file()).expect("the checkout has the header").to_owned()
}

/// The built shared library. Cargo puts it into `target/<profile>/deps`, where the tests are too, and one folder up if
/// it was requested by name. Of two, the newer one is from this build.
pub fn library() -> PathBuf {
    let name = format!("{}coverslip{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let executable = std::env::current_exe().expect("the test's own path");
    let deps = executable.parent().expect("target/<profile>/deps");
    [deps.join(&name), deps.with_file_name(&name)]
        .into_iter()
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max()
        .unwrap_or_else(|| panic!("no {name} in {} or above: build the root package", deps.display()))
        .1
}

/// The bundle of this repository, or the one that `COVERSLIP_TEST_BUNDLE` names.
pub fn demo_bundle() -> PathBuf {
    std::env::var_os("COVERSLIP_TEST_BUNDLE").map_or_else(|| root().join("bundles/demo"), PathBuf::from)
}

/// Prints a line to the test's output (seen with `--nocapture` and when the test fails).
#[allow(clippy::print_stderr)]
pub fn note(text: &str) {
    eprintln!("note: {text}");
}

/// Runs a command and returns its output; panics with the output if it fails.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a command and returns its standard output; panics if it fails.
#[track_caller]
pub fn stdout(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).expect("UTF-8")
}

/// Whether a program is on the path and answers `--version`.
pub fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The C compiler, `$CC` or `cc`. Rust links with it, so there is one.
pub fn cc() -> Command {
    compiler(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
}

/// The C++ compiler, `$CXX` or `c++`. `None`, with a note, if there is none: the README's first command needs only a C
/// compiler.
pub fn cxx() -> Option<Command> {
    let name = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    if has(&name) {
        return Some(compiler(name));
    }
    note(&format!("`{name}` not found: the C++ part of this test is skipped"));
    None
}

fn compiler(name: String) -> Command {
    let mut command = Command::new(name);
    command.args(["-Wall", "-Wextra", "-pedantic", "-Werror", "-I"]).arg(root().join("include"));
    command
}

/// A folder for one test. It is removed at the end, but kept if the test fails.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("coverslip-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // Left by an earlier process with the same number.
        fs::create_dir_all(&folder).expect("a scratch folder");
        Scratch(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Puts a named pipe at `path`, in place of what is there: whoever opens it for reading without care waits for ever.
pub fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(made.success(), "mkfifo {}: {made}", path.display());
}

/// Compares with a golden file. `COVERSLIP_BLESS=1 cargo test` writes the file instead: use it after an intended change
/// of the contract, and read the difference.
#[track_caller]
pub fn assert_golden(path: &Path, found: &str) {
    if std::env::var_os("COVERSLIP_BLESS").is_some() {
        return fs::write(path, found).expect("the golden file can be written");
    }
    let golden = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_same(&path.display().to_string(), &golden, found);
}

/// Compares line by line, so that a failure names the line instead of printing both texts.
#[track_caller]
pub fn assert_same(what: &str, expected: &str, found: &str) {
    let missing: Vec<&str> = expected.lines().filter(|line| !found.lines().any(|other| other == *line)).collect();
    let extra: Vec<&str> = found.lines().filter(|line| !expected.lines().any(|other| other == *line)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{what}\nexpected, not found: {missing:#?}\nfound: {extra:#?}");
    assert_eq!(expected, found, "{what}: the same lines in another order");
}
