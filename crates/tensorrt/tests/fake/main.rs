//! The interface tables against a C++ compiler. A fake TensorRT, compiled from NVIDIA's own headers, records every
//! call; the binding drives it through every method that it uses, and the record must show these calls.
//!
//! `COVERSLIP_TENSORRT_HEADERS` names the headers (see `compile::headers`); without them, or on another system than
//! Linux, these tests are left out and say so. With `COVERSLIP_VALGRIND=1` the fake is driven under valgrind.

#![cfg(target_os = "linux")]

mod building;
mod compile;
mod running;

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::process::Command;

use coverslip_tensorrt::{ComputeCapability, Driver, Error, Gpu, Library, LoadError, NoDriver, Refusal};

/// Runs one of the ignored tests below in its own process, with its own driver.
fn child(test: &str, library: &Path, drivers: &Path) {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = if std::env::var_os("COVERSLIP_VALGRIND").is_some_and(|value| value == "1") {
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    let output = command.args(arguments).env("FAKE", library).env("LD_LIBRARY_PATH", drivers).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{test} of {}: {text}", library.display());
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn headers() -> Option<PathBuf> {
    let headers = compile::headers();
    if headers.is_none() {
        #[allow(clippy::print_stderr, reason = "a test says why it is left out")]
        {
            eprintln!("left out: COVERSLIP_TENSORRT_HEADERS does not name NVIDIA's headers");
        }
    }
    headers
}

#[test]
fn every_method_is_where_the_headers_have_it() {
    let Some(headers) = headers() else { return };
    let drivers = folder("driver");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake/fake.cpp");
    compile::driver(&drivers, 0, 1);
    let mut driven = 0;
    let enterprise = (0..=16).map(|minor| format!("TRT-Enterprise-10.{minor}"));
    let newer = ["TRT-Enterprise-11.4", "TRT-RTX-1.5", "TRT-RTX-1.6", "TRT-RTX-1.7"].map(String::from);
    for release in enterprise.chain(newer).filter(|release| headers.join(release).is_dir()) {
        child("driven", &compile::fake(&source, &headers, &release, &folder(&release)), &drivers);
        driven += 1;
    }
    assert!(driven > 0, "no release that this crate drives is in {}", headers.display());
}

#[test]
fn drivers_that_are_none_are_told_apart() {
    for (name, code, devices) in [("stub", 34, 0), ("none", 100, 0), ("empty", 0, 0), ("broken", 999, 1)] {
        let drivers = folder(&format!("driver-{name}"));
        compile::driver(&drivers, code, devices);
        child("driver", Path::new(name), &drivers);
    }
}

#[test]
fn other_generations_are_refused_by_name() {
    let out = folder("versions");
    for (name, packed, found, older) in [
        ("nine.so", 90_300, "TensorRT 9.3.0", true),
        ("eight.so", 8_601, "TensorRT 8.6.1", true),
        ("rtx.so", 10_400, "TensorRT-RTX 1.4.0", true),
        ("two.so", 20_000, "TensorRT-RTX 2.0.0", false),
        ("twelve.so", 120_100, "TensorRT 12.1.0", false),
    ] {
        let error = Library::load(compile::version(&out, name, packed)).unwrap_err();
        let Error::Load(LoadError::WrongMajor { why, .. }) = &error else { panic!("{name}: {error}") };
        assert_eq!(matches!(why, Refusal::Older(_)), older, "{error}");
        assert!(error.to_string().contains(found), "{error}");
    }
}

#[test]
#[ignore = "run by drivers_that_are_none_are_told_apart"]
fn driver() {
    let error = Driver::initialise().unwrap_err();
    match std::env::var("FAKE").unwrap().as_str() {
        "stub" => assert!(error == NoDriver::Failed { code: 34 } && error.to_string().contains("stub"), "{error}"),
        "broken" => assert_eq!(error, NoDriver::Failed { code: 999 }),
        _ => assert_eq!(error, NoDriver::NoDevice),
    }
}

/// The calls that one of the fake's libraries recorded.
pub(crate) struct Book(libloading::Library);

impl Book {
    pub(crate) fn open(path: &Path) -> Self {
        // SAFETY: a library that was just compiled from `fake.cpp`.
        Self(unsafe { libloading::Library::new(path) }.unwrap())
    }

    /// The lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        // SAFETY: the function has this signature, and its text lives until the next call.
        let text = unsafe {
            let take: libloading::Symbol<'_, unsafe extern "C" fn() -> *const c_char> =
                self.0.get("fake_take_book").unwrap();
            CStr::from_ptr(take()).to_str().unwrap().to_owned()
        };
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
#[ignore = "run by every_method_is_where_the_headers_have_it"]
fn driven() {
    let path = PathBuf::from(std::env::var_os("FAKE").unwrap());
    let library = Library::load(&path).unwrap();
    assert_eq!(
        library.driver().unwrap().gpus(),
        [Gpu {
            name: "A card".into(),
            uuid: "GPU-05152535-4555-6575-8595-a5b5c5d5e5f5".into(),
            compute_capability: ComputeCapability::SM89,
            memory: 24 << 30,
            multiprocessors: 142,
        }]
    );
    assert!(library.is_known(), "{library:?}");
    let book = Book::open(&path);
    building::drive(library, &book);
    running::drive(library, &book);
    // SAFETY: the function has this signature.
    let synchronized = unsafe {
        let driver = libloading::Library::new("libcuda.so.1").unwrap();
        let count: libloading::Symbol<'_, unsafe extern "C" fn() -> i32> = driver.get("fake_synchronized").unwrap();
        count()
    };
    let configured = i32::from(library.version().major != 10);
    assert_eq!(synchronized, 3 + configured, "each context waited for its streams");
}
