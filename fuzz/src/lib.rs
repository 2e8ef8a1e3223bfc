//! What stands between libFuzzer and a target of `coverslip_fuzzing`.

use std::backtrace::Backtrace;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{abort, exit};
use std::sync::Mutex;

use coverslip_fuzzing::{TARGETS, Target};

/// The panic that came last. Most are caught where they belong, so only that of an input that fails is printed.
static LAST: Mutex<Option<(String, Backtrace)>> = Mutex::new(None);

/// Writes the target's seeds, if `COVERSLIP_FUZZ_SEEDS` names a folder, and ends. Otherwise takes the place of libFuzzer's
/// hook, which ends the process at every panic: a panic of a library that reads a stranger's bytes is caught by the code
/// under test, and a target fails only where one comes out.
pub fn prepare(name: &str) {
    if let Some(folder) = std::env::var_os("COVERSLIP_FUZZ_SEEDS").map(PathBuf::from) {
        for (name, seed) in (target(name).seeds)() {
            fs::write(folder.join(name), seed).expect("a file for the seed");
        }
        exit(0);
    }
    std::panic::set_hook(Box::new(|panic| {
        let last = (panic.to_string(), Backtrace::force_capture());
        *LAST.lock().unwrap_or_else(|broken| broken.into_inner()) = Some(last);
    }));
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a binary has the name of its target")
}

/// Runs a target on an input.
pub fn once(name: &str, data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target(name).run)(data))).is_err() {
        if let Some((panic, place)) = &*LAST.lock().unwrap_or_else(|broken| broken.into_inner()) {
            eprintln!("{panic}\n{place}");
        }
        abort();
    }
}

/// The binary of a target.
#[macro_export]
macro_rules! fuzz {
    ($target:ident) => {
        libfuzzer_sys::fuzz_target!(init: $crate::prepare(stringify!($target)), |data: &[u8]| {
            $crate::once(stringify!($target), data)
        });
    };
}
