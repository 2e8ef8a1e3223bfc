//! Known pitfalls of plugins in hosts, tested with hosts in C (`tests/c/`). Each program loads the built library by
//! path and exits with 0, or says what failed.
//!
//! `COVERSLIP_SANITIZE=address,undefined cargo test --test pitfalls` compiles the hosts with sanitizers;
//! `COVERSLIP_RUNNER="valgrind -q --error-exitcode=9"` runs them under another program.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// A tiny bundle for all tests of this binary. Its outputs have no meaning, but it is quick.
static BUNDLE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pitfalls-bundle");
    coverslip_testkit::bundle(&folder);
    folder
});

/// One whose model is an imported ONNX graph: rten runs it, and has a pool of threads that lives as long as the process,
/// and one for each lane.
static ONNX_BUNDLE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pitfalls-onnx-bundle");
    coverslip_testkit::onnx_bundle(&folder);
    folder
});

/// Compiles `tests/c/<name>.c` and runs it with the library and the bundle.
#[track_caller]
fn host(name: &str) -> Output {
    compiled(coverslip_testkit::cc(), name, &BUNDLE)
}

/// The same with either bundle: without rten's threads and with them.
#[track_caller]
fn host_of_both_engines(name: &str) {
    host(name);
    compiled(coverslip_testkit::cc(), name, &ONNX_BUNDLE);
}

/// The same, compiled against the header of version 1.0.
#[track_caller]
fn host_of_1_0(name: &str) -> Output {
    let mut compiler = coverslip_testkit::cc();
    // It comes first, and its guard keeps the header of today out.
    compiler.args(["-D_GNU_SOURCE", "-include"]).arg(coverslip_testkit::root().join("tests/c/abi_1_0/coverslip.h"));
    compiled(compiler, name, &BUNDLE)
}

#[track_caller]
fn compiled(compiler: Command, name: &str, bundle: &Path) -> Output {
    built(compiler, name, bundle, |_| ())
}

/// The same, with something `set` for the program.
#[track_caller]
fn built(mut compiler: Command, name: &str, bundle: &Path, set: impl Fn(&mut Command)) -> Output {
    let scratch = coverslip_testkit::Scratch::new(&name.replace('/', "-"));
    let program = scratch.join("host");
    compiler.args(["-std=c11", "-O1", "-g", "-Wconversion", "-Wshadow", "-DCOVERSLIP_NO_IMPORT"]);
    if let Ok(sanitizer) = std::env::var("COVERSLIP_SANITIZE") {
        compiler.arg(format!("-fsanitize={sanitizer}"));
    }
    compiler.arg(coverslip_testkit::root().join(format!("tests/c/{name}.c"))).arg("-o").arg(&program);
    // A host may stand before the C library: see clock.c.
    coverslip_testkit::run(compiler.args(["-rdynamic", "-ldl", "-pthread", "-lm"]));

    let mut words: Vec<String> = Vec::new();
    if let Ok(runner) = std::env::var("COVERSLIP_RUNNER") {
        words.extend(runner.split_whitespace().map(str::to_owned));
    }
    words.push(program.display().to_string());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(coverslip_testkit::library()).arg(bundle);
    // What the library keeps until the process ends is not a leak of the host.
    command.env("ASAN_OPTIONS", "detect_leaks=0");
    set(&mut command);
    coverslip_testkit::run(&mut command)
}

/// Pitfall 1: rust-lang/rust#91979.
#[test]
fn a_thread_may_end_after_dlclose() {
    host_of_both_engines("dlclose_thread");
}

/// Pitfall 2, and leaks: nothing accumulates from load to load.
#[test]
fn load_run_unload_repeats() {
    host_of_both_engines("reload");
}

/// Pitfall 2: without any close and with work in flight, the process ends as if the library were not there.
#[test]
fn the_process_may_end_with_everything_open() {
    host_of_both_engines("leave");
}

/// Pitfall 6.
#[test]
fn another_contract_is_refused_with_words() {
    host("version");
}

/// Pitfall 5, at run time: hosts of older and newer headers.
#[test]
fn structs_of_other_sizes_are_understood() {
    host("sizes");
}

/// Pitfalls 5 and 6: a host that was compiled against 1.0 runs as it did.
#[test]
fn a_host_of_1_0_runs_unchanged() {
    host_of_1_0("abi_1_0/host");
    host_of_1_0("misuse");
}

/// Pitfall 7.
#[test]
fn extra_missing_and_nested_calls_are_answered() {
    host("misuse");
}

/// Pitfall 8.
#[test]
fn no_thread_and_no_file_stays_behind() {
    host_of_both_engines("threads");
}

/// An open runtime that does nothing wakes no thread.
#[test]
fn nothing_wakes_while_nothing_is_due() {
    host_of_both_engines("idle");
}

/// A host's signals are the host's, whenever it blocks them.
#[test]
fn no_signal_reaches_a_thread_of_the_library() {
    host_of_both_engines("signals");
}

/// A child made by fork() is refused at once, and the parent goes on.
#[test]
fn a_forked_child_is_refused_and_nothing_hangs() {
    host_of_both_engines("fork");
}

/// A thread that is cancelled in a call ends after it.
#[test]
#[cfg(target_env = "gnu")]
fn a_cancelled_thread_leaves_the_call_first() {
    host_of_both_engines("cancel");
}

/// Acquisition's threads of real time are followed by none of the library's.
#[test]
fn threads_are_ordinary_ones_whoever_opens() {
    host_of_both_engines("real_time");
}

#[test]
fn calls_fit_the_stack_that_the_contract_names() {
    host_of_both_engines("small_stack");
}

/// What the loader makes for a thread is asked for before.
#[test]
#[cfg(target_env = "gnu")]
fn a_first_call_without_memory_is_refused() {
    if std::env::var_os("COVERSLIP_RUNNER").is_some() {
        return coverslip_testkit::note("skipped: the runner may have an allocator of its own");
    }
    host("first_call");
}

/// The worker lies beside the library, wherever the library was loaded from.
#[test]
fn a_library_of_a_relative_path_finds_its_worker() {
    host("relative");
}

/// The host's environment says nothing of the stacks of the library's threads.
#[test]
fn a_stack_of_the_environment_is_not_taken() {
    for bytes in ["1", "16384", "99999999999"] {
        let small = |command: &mut Command| {
            command.env("RUST_MIN_STACK", bytes);
        };
        built(coverslip_testkit::cc(), "leave", &BUNDLE, small);
    }
}

/// Too few threads are said by runtime_open, and nothing stays behind.
#[test]
fn a_limit_of_threads_is_named() {
    host_of_both_engines("few_threads");
}

/// Clocks that jump make no tile late that is not, and nothing waits for them.
#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn clocks_may_jump() {
    host("clock");
}

/// Pitfall 13, including calls that fail.
#[test]
fn not_a_byte_on_stdout_and_stderr() {
    if std::env::var_os("COVERSLIP_RUNNER").is_some() {
        return coverslip_testkit::note("skipped: the runner may write by itself");
    }
    let output = host("silent");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b""[..]));
}

/// Pitfall 14.
#[test]
fn the_state_of_the_process_is_left_alone() {
    host_of_both_engines("process_state");
}

/// Threads inherit the floating-point mode of the thread that starts them.
#[test]
fn results_do_not_depend_on_the_hosts_floating_point_mode() {
    host_of_both_engines("fp_mode");
}
