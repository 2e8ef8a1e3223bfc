//! Every seed and every committed input of every target, on a stable compiler: what `cargo fuzz` found once stays found.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use coverslip_fuzzing::{TARGETS, Target};
use coverslip_testkit::root;

/// Largest allocation of a target, bytes; `fuzz/run` gives libFuzzer the same.
const LARGEST: usize = 1 << 30;

/// Refuses what is larger than any input may ask for.
struct Bounded;

// SAFETY: every call that is not refused goes to the system's allocator.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > LARGEST {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// The files of a folder, sorted; none where there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn replay(target: &Target) -> usize {
    let folders = ["corpus", "regressions"].map(|kind| root().join("fuzz").join(kind).join(target.name));
    let inputs: Vec<PathBuf> = folders.iter().flat_map(|folder| files(folder)).collect();
    for path in &inputs {
        // The name of the input that ends the process, if one does, is the last line of the output.
        coverslip_testkit::note(&path.display().to_string());
        (target.run)(&fs::read(path).expect("a committed input"));
    }
    inputs.len()
}

#[test]
fn committed_inputs_are_survived() {
    for target in TARGETS {
        let count = replay(&target);
        assert!(count > 0, "fuzz/corpus/{} has no input", target.name);
    }
}

/// A seed that is refused no longer leads a fuzzer to what lies behind the first check.
#[test]
fn seeds_are_taken() {
    let mut refused = Vec::new();
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (name, seed) in seeds {
            if !(target.run)(&seed) {
                refused.push(format!("{}: {name}", target.name));
            }
            // What is not a whole input is survived too, on every compiler and without a fuzzer.
            for cut in (0..seed.len()).step_by(1 + seed.len() / 16) {
                (target.run)(&seed[..cut]);
            }
        }
    }
    assert!(refused.is_empty(), "seeds that are refused: {}", refused.join(", "));
}

/// Every target has its binary for the fuzzer, and the fuzzer has no other.
#[test]
fn fuzzer_and_replay_have_the_same_targets() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("fuzz/Cargo.toml");
    let named = |line: &str| Some(line.strip_prefix("path = \"targets/")?.strip_suffix(".rs\"")?.to_owned());
    let binaries: BTreeSet<String> = manifest.lines().filter_map(named).collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(binaries, targets);
    for name in targets {
        let source = fs::read_to_string(root().join(format!("fuzz/targets/{name}.rs"))).expect("the binary's source");
        assert!(source.contains(&format!("fuzz!({name})")), "fuzz/targets/{name}.rs runs another target");
    }
}
