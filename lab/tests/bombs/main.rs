//! Inputs that ask for more than they are: a few bytes that claim, or make a library compute, any size. Each is run as a
//! user or a host would meet it, in an address space of 1 GiB and 10 s of a processor's time: a command ends with exit code 1 and one sentence, and the
//! library gives its code, prints nothing and leaves its host alive.
#![cfg(target_os = "linux")]

mod files;
mod graphs;
mod host;
mod inference;
mod onnx;
mod parquet;
mod png;
mod slides;
mod tiff;
mod words;
mod zip;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// KiB of address space.
const ROOM: u32 = 1 << 20;
/// Seconds of a processor. Right commands take less than one; how busy the machine is does not count.
const WORK: u32 = 10;
/// Seconds after which a command waits for what never comes.
const HANGS: u32 = 300;

/// Runs a program in 1 GiB of address space and 10 s of a processor's time. Beyond them it ends by a signal.
fn limited(program: impl AsRef<OsStr>, arguments: &[&OsStr]) -> Output {
    let script = format!("ulimit -v {ROOM}; ulimit -t {WORK}; exec timeout {HANGS} \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(program).args(arguments);
    // The pool of threads takes address space for each processor.
    command.env("RTEN_NUM_THREADS", "2").env("RAYON_NUM_THREADS", "2").env("MALLOC_ARENA_MAX", "2");
    command.output().expect("sh")
}

/// Runs the command `coverslip` in 1 GiB of address space.
fn coverslip(arguments: &[&str]) -> Output {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    limited(env!("CARGO_BIN_EXE_coverslip"), &arguments)
}

/// Asserts exit code 1 and one sentence.
#[track_caller]
fn assert_refused(what: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}: {said}");
    assert!(said.starts_with("coverslip: ") && said.lines().count() == 1, "{what}: {said}");
    assert!(!said.contains("panic"), "{what}: a panic was needed to refuse it: {said}");
}

/// Asserts that the command did its work: the limit alone refuses nothing.
#[track_caller]
fn assert_done(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test")
}

/// Tiles for a model of 32 px.
fn tiles(folder: &Path) -> PathBuf {
    use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
    let path = folder.join("tiles.safetensors");
    let pixels: Vec<u8> = (0..4 * 32 * 32 * 3u32).map(|at| (at * 37 % 251) as u8).collect();
    let tensors = TensorMap::from([("tiles".to_owned(), Tensor::u8(&[4, 32, 32, 3], &pixels))]);
    std::fs::write(&path, to_safetensors(&tensors).unwrap()).unwrap();
    path
}
