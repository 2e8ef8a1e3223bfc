//! The GPU check kit on machines without a GPU: with no driver every step says so; on the fake driver of the plugin's tests,
//! with a fake TensorRT, `check` runs to its end; what fails does not keep the rest from running. The kit is laid out from
//! what cargo has built.
//!
//! The fake TensorRT needs a C++ compiler and NVIDIA's headers (`COVERSLIP_TENSORRT_HEADERS`, see `.ci/run`).
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "the binding's tests use the rest")]
#[path = "../../../crates/tensorrt/tests/fake/compile.rs"]
mod compile;
#[path = "../../../tests/fake/computed.rs"]
mod computed;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coverslip-gpu-check");
/// What `check` prints where a step has no driver.
const NO_DRIVER: &str = "left out: no NVIDIA driver is installed";

/// A folder of this name below the test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kit").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A kit with a tiny bundle and without stand-ins. None, with a word, where the command has not been built.
fn kit(name: &str) -> Option<PathBuf> {
    let command = Path::new(PROGRAM).with_file_name("coverslip");
    if !command.is_file() {
        coverslip_testkit::note("left out: the command is not built; `cargo test` of the workspace builds it");
        return None;
    }
    let kit = folder(name);
    for folder in ["bin", "lib", "bundles"] {
        fs::create_dir(kit.join(folder)).expect("a folder");
    }
    let link = |from: &Path, to: &str| symlink(from, kit.join(to)).expect("a link");
    link(&coverslip_testkit::root().join("tools/gpu/check"), "check");
    link(Path::new(PROGRAM), "bin/coverslip-gpu-check");
    link(&command, "bin/coverslip");
    let worker = Path::new(PROGRAM).with_file_name("coverslip-worker");
    assert!(worker.is_file(), "coverslip-worker is not built; `cargo test` of the workspace builds it");
    link(&worker, "bin/coverslip-worker");
    link(&coverslip_testkit::library(), "lib/libcoverslip.so");
    fs::write(kit.join("VERSION"), "a kit of a test\n").expect("a file");
    coverslip_testkit::run(
        Command::new(PROGRAM).args(["bundle", "--size", "tiny", "--out"]).arg(kit.join("bundles/demo")),
    );
    Some(kit)
}

/// The C host that loads, runs and unloads.
fn reload(kit: &Path) {
    let mut compiler = coverslip_testkit::cc();
    compiler.args(["-std=c11", "-O1", "-DCOVERSLIP_NO_IMPORT"]);
    compiler.arg(coverslip_testkit::root().join("tests/c/reload.c")).arg("-o").arg(kit.join("bin/reload"));
    coverslip_testkit::run(compiler.args(["-ldl", "-pthread", "-lm"]));
}

/// The fake driver, in a folder of its own.
fn driver(name: &str) -> PathBuf {
    let folder = folder(name);
    let mut compiler = coverslip_testkit::cc();
    compiler.args(["-O1", "-w", "-fPIC", "-shared"]).arg(coverslip_testkit::root().join("tests/fake/cuda.c"));
    coverslip_testkit::run(compiler.arg("-lpthread").arg("-o").arg(folder.join("libcuda.so.1")));
    folder
}

/// The stand-ins for both kinds of TensorRT; false, with a word, where they cannot be compiled.
fn stand_ins(into: &Path) -> bool {
    let Some(headers) = compile::headers() else {
        coverslip_testkit::note("left out: COVERSLIP_TENSORRT_HEADERS does not name NVIDIA's headers");
        return false;
    };
    if coverslip_testkit::cxx().is_none() {
        return false;
    }
    let source = coverslip_testkit::root().join("tests/fake/fake.cpp");
    for (release, name) in [("TRT-RTX-1.7", "rtx"), ("TRT-Enterprise-11.4", "enterprise")] {
        compile::fake(&source, &headers, release, &into.join(name));
        fs::remove_file(into.join(name).join("stubs.h")).expect("what it was compiled from");
    }
    true
}

/// Runs `check` as a stranger would, quickly; its exit code and its page.
fn check(kit: &Path, library: Option<&Path>, variables: &[(&str, &Path)]) -> (i32, String) {
    let mut command = Command::new(kit.join("check"));
    command.args(library).env_clear().env("PATH", "/usr/bin:/bin");
    command.env("COVERSLIP_CHECK_FIGURE", "0.02").env("COVERSLIP_CHECK_ROUNDS", "5");
    command.env("COVERSLIP_CHECK_SIZES", "tiny").envs(variables.iter().copied());
    let output = command.output().expect("bash runs");
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(fs::read_to_string(kit.join("work/page.md")).expect("the page"), page, "the page is kept");
    let code = output.status.code().expect("no signal");
    assert!(page.contains(&format!("Exit code {code}, after")), "{page}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (code, page)
}

/// The steps of the summary, with their results.
fn summary(page: &str) -> Vec<(&str, &str)> {
    let table = page.split("### Summary").nth(1).expect("a summary");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        (cells[0], cells[1])
    })
    .collect()
}

#[test]
fn without_a_driver_every_step_says_so() {
    #[allow(unsafe_code, reason = "looks whether there is a driver")]
    // SAFETY: a library of the system's, or nothing.
    if unsafe { libloading::Library::new("libcuda.so.1") }.is_ok() {
        return coverslip_testkit::note(
            "left out: this machine has a driver, so that a machine without one cannot be seen",
        );
    }
    let Some(kit) = kit("none") else { return };
    let (code, page) = check(&kit, None, &[]);
    assert_eq!(code, 1, "{page}");
    let steps = summary(&page);
    assert_eq!(
        steps.iter().filter(|(_, result)| *result == "done").map(|step| step.0).collect::<Vec<_>>(),
        ["coverslip doctor"]
    );
    assert!(steps.len() > 15, "{page}");
    // In the text too: a page that is cut off still says it.
    let sections: Vec<&str> = page.split("\n### ").skip(1).filter(|part| !part.starts_with("Summary")).collect();
    assert_eq!(sections.len(), steps.len());
    let silent = sections.iter().filter(|part| !part.contains("no NVIDIA driver is installed")).collect::<Vec<_>>();
    assert!(silent.is_empty() && page.contains(NO_DRIVER), "{silent:?}");
}

#[test]
fn on_the_fake_driver_it_runs_to_its_end() {
    let Some(kit) = kit("fake") else { return };
    if !stand_ins(&kit.join("standin")) {
        return;
    }
    reload(&kit);
    let (drivers, table) = (driver("fake-driver"), kit.join("table"));
    fs::write(&table, computed::table(&kit.join("bundles/demo"))).expect("a file");
    let fakes: [(&str, &Path); 2] = [("LD_LIBRARY_PATH", &drivers), ("COVERSLIP_FAKE_TABLE", &table)];
    for kind in ["rtx/libtensorrt_rtx.so.1", "enterprise/libnvinfer.so.11"] {
        let (code, page) = check(&kit, Some(&kit.join("standin").join(kind)), &fakes);
        let steps = summary(&page);
        assert!(steps.iter().all(|(_, result)| *result == "done"), "{page}");
        assert_eq!(code, 0, "{page}");
        for found in [
            "| GPU | Fake 0, ",
            "cuEventSynchronize: CUDA error 700",
            "| a slide, tile by tile as on the CPU | 75 tiles, every bit |",
            "failed with CUDA error 700; see nvidia-smi",
            "| a slide through a worker, tile by tile as on the CPU | 75 tiles, every bit |",
            "| a kernel that faults in it | 75 tiles, every bit; restarted once, for reason 8 |",
            "| the host's own kernels, afterwards | they run |",
            "of the same in this process",
            "sm89, batches of 1 to 64",
            "| bfloat16 |",
            "| batch | plugin, tiles/s |",
            "submit p99",
            "5 of 5 rounds",
            "takes the card's time | ",
        ] {
            assert!(page.contains(found), "{found} is not on the page:\n{page}");
        }
    }
}

#[test]
fn what_fails_is_said_and_the_rest_goes_on() {
    let Some(kit) = kit("broken") else { return };
    reload(&kit);
    let (drivers, decoy) = (driver("broken-driver"), kit.join("libtensorrt_rtx.so.1"));
    fs::write(&decoy, "no library").expect("a file");
    let (code, page) = check(&kit, Some(&decoy), &[("LD_LIBRARY_PATH", &drivers)]);
    // The stand-ins are not there, and what is there for TensorRT is none: it is said once, and what needs it is left out.
    assert_eq!(code, 4 + 8, "{page}");
    let steps = summary(&page);
    let done: Vec<&str> = steps.iter().filter(|(_, result)| *result == "done").map(|step| step.0).collect();
    assert_eq!(done, ["The machine", "coverslip doctor", "CUDA alone", "A lost context"]);
    let count = |start: &str| steps.iter().filter(|(_, result)| result.starts_with(start)).count();
    assert_eq!((count("failed: exit code"), count("left out")), (6 + 1, steps.len() - done.len() - 7), "{page}");
    assert!(count("left out") >= 10 && page.matches("cannot be loaded").count() > count("left out"), "{page}");
}

#[test]
fn a_step_that_hangs_is_ended_and_the_time_for_everything_holds() {
    let Some(kit) = kit("hangs") else { return };
    let (drivers, command) = (driver("hangs-driver"), kit.join("bin/coverslip"));
    fs::remove_file(&command).expect("a link");
    fs::write(&command, "#!/bin/sh\nsleep 100\n").expect("a file");
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).expect("a program");
    let start = Instant::now();
    let limits: [(&str, &Path); 2] = [("LD_LIBRARY_PATH", &drivers), ("COVERSLIP_CHECK_SECONDS", Path::new("6"))];
    let (code, page) = check(&kit, None, &limits);
    assert!(start.elapsed() < Duration::from_secs(60), "{page}");
    // Without a library what needs TensorRT is left out; doctor hangs, and no time is left for the rest.
    assert_eq!(code, 2 + 4 + 8, "{page}");
    let result = |name: &str| summary(&page).iter().find(|(step, _)| *step == name).expect("the step").1.to_owned();
    assert_eq!(result("The machine"), "done");
    assert!(result("coverslip doctor").starts_with("failed: not over after"), "{page}");
    assert_eq!(result("CUDA alone"), "not run: no time left");
    assert_eq!(result("Memory, demo"), "left out");
}

/// For `tools/gpu/pack`: the stand-ins by the compiler that `CXX` names, into `COVERSLIP_STANDINS`.
#[test]
#[ignore = "run by tools/gpu/pack"]
fn write_stand_ins() {
    let into = std::env::var_os("COVERSLIP_STANDINS").expect("COVERSLIP_STANDINS names a folder");
    assert!(stand_ins(Path::new(&into)), "nothing to compile them with");
}
