//! What stands between libFuzzer and a target of `coverslip_fuzzing`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{abort, exit};
use std::sync::Mutex;

use coverslip_fuzzing::TARGETS;

/// The panic that came last. Most are caught where they belong, so only that of an input that fails is printed.
static LAST: Mutex<String> = Mutex::new(String::new());

/// Writes the target's seeds, if `COVERSLIP_FUZZ_SEEDS` names a folder, and ends. Otherwise takes the place of libFuzzer's
/// hook, which ends the process at every panic: a panic of a library that reads a stranger's bytes is caught by the code
/// under test, and a target fails only where one comes out.
pub fn prepare(name: &str) {
    if let Some(folder) = std::env::var_os("COVERSLIP_FUZZ_SEEDS").map(PathBuf::from) {
        let target = TARGETS.iter().find(|target| target.name == name).expect("a known target");
        for (name, seed) in (target.seeds)() {
            fs::write(folder.join(name), seed).expect("a file for the seed");
        }
        exit(0);
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = std::backtrace::Backtrace::force_capture();
        *LAST.lock().unwrap_or_else(|broken| broken.into_inner()) = format!("{panic}\n{place}");
    }));
}

/// Runs a target on an input.
pub fn once(run: fn(&[u8]) -> bool, data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| run(data))).is_err() {
        eprintln!("{}", LAST.lock().unwrap_or_else(|broken| broken.into_inner()));
        abort();
    }
}

/// The binary of a target.
#[macro_export]
macro_rules! fuzz {
    ($target:ident) => {
        libfuzzer_sys::fuzz_target!(init: $crate::prepare(stringify!($target)), |data: &[u8]| {
            $crate::once(coverslip_fuzzing::$target, data)
        });
    };
}
