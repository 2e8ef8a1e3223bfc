//! Paths of every kind reach their files: other scripts, blanks, more than 260 characters; on Windows with a drive's
//! letter, `\\?\` and UNC as well. Text of the contract is UTF-8 there too.
#![allow(clippy::undocumented_unsafe_blocks, reason = "each is a call of the C ABI with live pointers")]

mod support {
    pub(crate) mod host;
    pub(crate) mod wine;
}

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr::null;

use coverslip_plugin_abi::*;
use support::host::{Picture, open_with};

/// A folder of this test's own, as an absolute path: on Windows with the letter of its drive.
fn folder(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("paths").join(name);
    let place = std::path::absolute(place).expect("an absolute path");
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).expect("a folder");
    place
}

/// Opens a bundle there, with a profile's path beside it that leads nowhere, and runs a tile.
#[track_caller]
fn expect_a_tile(place: &Path) {
    let runtime = open_with(place, |_| ()).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", place.display()));
    let side = runtime.info().side;
    let slide = runtime.begin(|desc| (desc.extent_width, desc.extent_height) = (side.into(), side.into()));
    slide.submit(&Picture::tissue(side, side, 1).frame(0, 0, side, side)).expect("room");
    assert_eq!(slide.results().iter().map(|tile| tile.record.status).collect::<Vec<_>>(), [TILE_DONE]);
    drop(slide);
    // What is refused is named as the host wrote it.
    let missing = place.join("нет такого 无");
    let text = CString::new(missing.to_str().expect("UTF-8")).expect("no NUL");
    let refusal = open_with(place, |desc| desc.profile_path = text.as_ptr()).err().expect("there is no profile");
    let shown = missing.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(refusal.code == BUNDLE_INVALID && refusal.message.contains("profile.json"), "{shown}: {refusal:?}");
}

fn bundle_at(place: &Path) {
    coverslip_testkit::bundle(place);
}

#[test]
fn of_other_scripts_and_with_blanks() {
    let folder = folder("scripts");
    for name in ["Препарат 7", "切片 三", "Überblick — 2 µm", " leading and  two ", "a.b.c", "🔬", "e\u{301}"]
    {
        // Windows drops a blank at a name's end, so none of these ends with one.
        let place = folder.join(name.trim_end());
        bundle_at(&place);
        expect_a_tile(&place);
    }
}

/// Windows' programs end at 260 characters unless they take care.
#[test]
fn beyond_260_characters() {
    let mut place = folder("long");
    while place.as_os_str().len() < 400 {
        place.push("a folder whose name alone has fifty letters, nearly");
    }
    bundle_at(&place);
    expect_a_tile(&place);
}

#[cfg(windows)]
#[test]
fn with_a_drive_verbatim_and_with_slashes() {
    let place = folder("drive");
    bundle_at(&place);
    let text = place.to_str().expect("UTF-8");
    assert_eq!(&text[1..3], ":\\", "{text}");
    let (upper, lower) = (text[..1].to_uppercase() + &text[1..], text[..1].to_lowercase() + &text[1..]);
    for text in [upper, lower, format!(r"\\?\{text}"), text.replace('\\', "/"), format!(r"{text}\..\drive\")] {
        expect_a_tile(Path::new(&text));
    }
}

/// `COVERSLIP_TEST_SHARE` names a share that may be written, as `\\server\share`.
#[cfg(windows)]
#[test]
fn on_another_machine() {
    let Ok(share) = std::env::var("COVERSLIP_TEST_SHARE") else {
        return coverslip_testkit::note("left out: COVERSLIP_TEST_SHARE names no share");
    };
    let rest = share.strip_prefix(r"\\").expect("a share");
    for root in [share.clone(), format!(r"\\?\UNC\{rest}")] {
        let place = Path::new(&root).join("Препарат 切片");
        bundle_at(&place);
        expect_a_tile(&place);
        std::fs::remove_dir_all(&place).expect("what this test has made");
    }
}

/// A host loads the library from wherever it lies; the table that it then gets answers, and finds the worker beside it.
#[test]
fn the_library_is_loaded_from_any_of_them() {
    let mut place = folder("library").join("Плагин 插件");
    expect_it_loads(&place, true);
    while place.as_os_str().len() < 300 {
        place.push("a folder whose name alone has fifty letters, nearly");
    }
    let starts = !support::wine::is_here();
    if !starts {
        coverslip_testkit::note("left out: Wine starts no worker from a path beyond 260 characters");
    }
    expect_it_loads(&place, starts);
}

#[track_caller]
fn expect_it_loads(place: &Path, worker: bool) {
    std::fs::create_dir_all(place).expect("folders");
    let built = coverslip_testkit::library();
    let copy = place.join(built.file_name().expect("a name"));
    std::fs::copy(&built, &copy).expect("a copy");
    // Windows' loader takes a long path in this form alone.
    let copy = if cfg!(windows) { PathBuf::from(format!(r"\\?\{}", copy.display())) } else { copy };
    let library = unsafe { libloading::Library::new(&copy) }.expect("it loads");
    let get_api = unsafe { library.get::<GetApiFn>(b"coverslip_get_api\0") }.expect("the entry");
    let host = HostInfo { abi_major: ABI_MAJOR, abi_minor: ABI_MINOR, ..HostInfo::init() };
    let (mut api, mut error) = (null(), Error::init());
    assert_eq!(unsafe { get_api(&host, &mut api, &mut error) }, OK);
    let api: &Api = unsafe { &*api };
    assert_eq!((api.abi_major, api.abi_minor), (ABI_MAJOR, ABI_MINOR));
    if worker && cfg!(any(target_os = "linux", windows)) {
        expect_a_worker_beside(api, &copy);
    }
}

/// The worker's program is found beside a library that lies anywhere, and starts.
fn expect_a_worker_beside(api: &Api, library: &Path) {
    let program = format!("coverslip-worker{}", std::env::consts::EXE_SUFFIX);
    std::fs::copy(env!("CARGO_BIN_EXE_coverslip-worker"), library.with_file_name(program)).expect("a copy");
    let place = folder("beside");
    bundle_at(&place);
    let bundle = CString::new(place.to_str().expect("UTF-8")).expect("no NUL");
    let desc = RuntimeDesc {
        engine: ENGINE_CPU,
        bundle_path: bundle.as_ptr(),
        max_threads: 1,
        isolation: ISOLATION_ALWAYS,
        ..RuntimeDesc::init()
    };
    let (mut runtime, mut error, mut info) = (0, Error::init(), RuntimeInfo::init());
    let opened = unsafe { (api.runtime_open)(&desc, None, std::ptr::null_mut(), &mut runtime, &mut error) };
    let text = unsafe { std::ffi::CStr::from_ptr(error.message.as_ptr()) }.to_string_lossy();
    assert_eq!(opened, OK, "{text}");
    assert_eq!(unsafe { (api.runtime_info)(runtime, &mut info, &mut error) }, OK);
    assert_ne!(info.worker_process_id, 0);
    assert_eq!(unsafe { (api.runtime_close)(runtime, 10_000, &mut error) }, OK);
}
