//! The engine in a worker process: the same outputs, recovery from every way in which a worker can fail, and hosts that
//! treat their children and descriptors as they like.
//!
//! What concerns the whole process (its environment, its descriptors, its children) runs in a process of its own: the
//! ignored tests are run so by the others.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is a call of the C ABI with live pointers, or a call of libc's that hosts make"
)]
#![cfg(any(target_os = "linux", windows))]

#[path = "../support"]
mod support {
    pub(crate) mod host;
    pub(crate) mod wine;
}

#[cfg(target_os = "linux")]
mod hosts;
mod kills;
mod outliving;
mod outputs;
mod recovery;
mod shared;
mod system;
mod unkillable;

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Once, OnceLock};

use coverslip::fault::{Fault, arm};
use coverslip_plugin_abi::*;
use coverslip_testkit::Counting;

use support::host::{Answer, Picture, TestRuntime, TestSlide, Tile, open_with};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tiles of a slide here, in one row.
const TILES: u32 = 60;
/// Width and height of a tile of the tiny bundle.
const SIDE: u32 = 32;

/// A folder of these tests', as an absolute path: on Windows with the letter of its drive. The run without shared memory
/// goes on beside the other one, and has its own.
fn folder(name: &str) -> PathBuf {
    let run = if std::env::var_os(CONNECTION_ALONE).is_some() { "worker-alone" } else { "worker" };
    std::path::absolute(Path::new(env!("CARGO_TARGET_TMPDIR")).join(run).join(name)).unwrap()
}

/// A tiny bundle, made once in this process.
fn bundle() -> &'static Path {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let place = folder(&format!("bundle-{}", std::process::id()));
        coverslip_testkit::bundle(&place);
        place
    })
}

fn program() -> &'static CStr {
    static PROGRAM: OnceLock<CString> = OnceLock::new();
    PROGRAM.get_or_init(|| text(&std::path::absolute(env!("CARGO_BIN_EXE_coverslip-worker")).unwrap()))
}

/// A path as the contract takes it.
fn text(path: &Path) -> CString {
    CString::new(path.to_str().expect("UTF-8")).expect("no NUL")
}

/// Set by `shared`, which runs the other tests once more without memory that both processes map.
const CONNECTION_ALONE: &str = "COVERSLIP_TEST_CONNECTION_ALONE";

/// Opens on the CPU in a worker; `change` sees the desc before.
fn apart(bundle: &Path, change: impl FnOnce(&mut RuntimeDesc)) -> Answer<TestRuntime> {
    static ARM: Once = Once::new();
    if std::env::var_os(CONNECTION_ALONE).is_some() {
        ARM.call_once(|| arm("shared memory", Fault::Fail, usize::MAX));
    }
    open_with(bundle, |desc| {
        (desc.isolation, desc.worker_path) = (ISOLATION_ALWAYS, program().as_ptr());
        change(desc);
    })
}

/// A slide of one row, not yet submitted.
fn row(runtime: &TestRuntime) -> TestSlide {
    let side = runtime.info().side;
    runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(TILES * side), u64::from(side));
        (desc.max_frame_width, desc.max_frame_height) = (TILES * side, side);
        desc.flags = SLIDE_EMBEDDINGS;
    })
}

/// The row's results, by column: one for each tile.
#[track_caller]
fn by_column(mut tiles: Vec<Tile>) -> Vec<Tile> {
    tiles.sort_by_key(|tile| tile.record.column);
    let columns: Vec<i32> = tiles.iter().map(|tile| tile.record.column).collect();
    assert_eq!(columns, (0..TILES as i32).collect::<Vec<_>>(), "one result for each tile, none twice");
    tiles
}

fn played(runtime: &TestRuntime, picture: &Picture) -> Vec<Tile> {
    let slide = row(runtime);
    slide.submit(&picture.frame(0, 0, picture.width, picture.height)).expect("room");
    by_column(slide.results())
}

/// All that the engine says of a tile, in bits.
fn bits(tile: &Tile) -> (i32, Vec<u32>, Vec<(u32, u32)>, u32, u32) {
    let features = tile.features.iter().map(|f| (f.index, f.value.to_bits())).collect();
    let embedding = tile.embedding.iter().map(|value| value.to_bits()).collect();
    let record = &tile.record;
    (record.status, embedding, features, record.active_count, record.reconstruction_error.to_bits())
}

#[track_caller]
fn expect_same(found: &[Tile], expected: &[Tile]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(bits(found) == bits(expected), "tile {}: status {}", found.record.column, found.record.status);
    }
}

/// A row whose tiles at these columns begin with a pixel of this colour.
fn poisoned(color: [u8; 3], columns: &[u32]) -> Picture {
    let mut picture = Picture::tissue(TILES * SIDE, SIDE, 1);
    for column in columns {
        let at = 3 * (column * SIDE) as usize;
        picture.rgb[at..at + 3].copy_from_slice(&color);
    }
    picture
}

/// Runs one of the ignored tests in a process of its own.
fn child(test: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{test}: {}: {text}", output.status);
}

/// Waits until it is so; fails after a minute.
#[track_caller]
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is() {
        assert!(start.elapsed().as_secs() < 60, "{what} does not come");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
