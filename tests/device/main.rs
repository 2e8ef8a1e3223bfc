//! The GPU engine without a GPU: the whole plugin runs on a fake driver and a fake TensorRT, compiled from NVIDIA's own
//! headers. The fake computes the bundle's graph by rten in this process, so that results can be compared.
//!
//! `COVERSLIP_TENSORRT_HEADERS` names the headers (see `compile::headers`); without them the parts that need them are
//! left out and say so. A process has one driver, so each part runs in a process of its own.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is a call of the C ABI or of the fakes, with live pointers or with what must be refused"
)]
#![cfg(target_os = "linux")]

#[path = "../support"]
mod support {
    pub(crate) mod host;
}

#[allow(dead_code, reason = "the binding's tests use the rest")]
#[path = "../../crates/tensorrt/tests/fake/compile.rs"]
mod compile;
#[path = "../fake/computed.rs"]
mod computed;
mod fake;
mod losses;
mod matrix;
mod plans;
mod play;
mod worker;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("device").join(name)
}

/// Runs one of the ignored tests in a process of its own, with these libraries.
fn child(test: &str, library: &Path, drivers: &Path) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env("FAKE", library)
        .env("LD_LIBRARY_PATH", drivers)
        // For a worker.
        .env("COVERSLIP_FAKE_TABLE", folder("worker.table"))
        .env("COVERSLIP_FAKE_SABOTAGE", folder("worker.sabotage"))
        .env("COVERSLIP_WORKER_POISON", "1,2,3:abort")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{test} with {}: {text}", library.display());
}

/// Libraries that were compiled here.
#[derive(Clone)]
struct Fakes {
    rtx: PathBuf,
    /// TensorRT 11, then 10 where its headers are there.
    enterprise: Vec<PathBuf>,
    /// The folder of the driver.
    drivers: PathBuf,
}

impl Fakes {
    fn libraries(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.rtx).chain(&self.enterprise)
    }
}

/// None, and a word, without NVIDIA's headers.
fn fakes() -> Option<Fakes> {
    static COMPILED: OnceLock<Option<Fakes>> = OnceLock::new();
    COMPILED.get_or_init(compile_fakes).clone()
}

fn compile_fakes() -> Option<Fakes> {
    let Some(headers) = compile::headers() else {
        say("left out: COVERSLIP_TENSORRT_HEADERS does not name NVIDIA's headers");
        return None;
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake/fake.cpp");
    let rtx = compile::fake(&source, &headers, "TRT-RTX-1.7", &folder("rtx"));
    let releases = [("TRT-Enterprise-11.4", "enterprise"), ("TRT-Enterprise-10.16", "enterprise-10")];
    let (there, missing): (Vec<_>, Vec<_>) = releases.into_iter().partition(|(name, _)| headers.join(name).is_dir());
    missing.iter().for_each(|(name, _)| say(&format!("left out: {} has no {name}", headers.display())));
    let compiled = |(name, out): &(&str, &str)| compile::fake(&source, &headers, name, &folder(out));
    let enterprise = there.iter().map(compiled).collect();
    let drivers = folder("driver");
    std::fs::create_dir_all(&drivers).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake/cuda.c");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(compiler)
        .args(["-O1", "-fPIC", "-shared", source, "-lpthread", "-o"])
        .arg(drivers.join("libcuda.so.1"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(Fakes { rtx, enterprise, drivers })
}

/// A host in C that knows nothing of the fakes: load, run on the GPU, unload, again and again, and exit with 0.
#[test]
fn a_c_host_loads_runs_and_unloads_on_a_fake_gpu() {
    let Some(fakes) = fakes() else { return };
    let drivers = &fakes.drivers;
    let (bundle, table, plans) = (folder("reload-bundle"), folder("reload.table"), folder("reload-plans"));
    coverslip_testkit::bundle(&bundle);
    let _ = std::fs::remove_dir_all(&plans);
    std::fs::write(&table, computed::table(&bundle)).unwrap();
    let program = folder("reload");
    let mut compiler = coverslip_testkit::cc();
    compiler.args(["-std=c11", "-O1", "-g", "-DCOVERSLIP_NO_IMPORT"]);
    compiler.arg(coverslip_testkit::root().join("tests/c/reload.c")).arg("-o").arg(&program);
    coverslip_testkit::run(compiler.args(["-ldl", "-pthread", "-lm"]));
    for library in fakes.libraries() {
        let mut host = Command::new(&program);
        host.arg(coverslip_testkit::library())
            .arg(&bundle)
            .env("LD_LIBRARY_PATH", drivers)
            .env("COVERSLIP_FAKE_TABLE", &table);
        host.env("COVERSLIP_TEST_TENSORRT", library).env("COVERSLIP_TEST_PLANS", &plans);
        let output = coverslip_testkit::run(&mut host);
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "the library prints nothing: {output:?}");
    }
    assert!(std::fs::read_dir(&plans).unwrap().count() >= 3, "two plans, and what was kept beside them");
}

/// The example for hosts (lab/tests/hosts runs it without a GPU), linked as a host links it.
#[test]
fn the_gpu_example_runs_on_a_fake_gpu() {
    let Some(fakes) = fakes() else { return };
    let drivers = &fakes.drivers;
    let (bundle, home, plans) = (coverslip_testkit::demo_bundle(), folder("example"), folder("example-plans"));
    let (program, table) = (home.join("06_gpu"), home.join("table"));
    let _ = std::fs::remove_dir_all(&plans);
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(&table, computed::table(&bundle)).unwrap();
    // Under the name that the loader looks for.
    let library = home.join(format!("libcoverslip.so.{}", coverslip_plugin_abi::ABI_MAJOR));
    std::fs::copy(coverslip_testkit::library(), &library).unwrap();
    let mut compiler = coverslip_testkit::cc();
    compiler
        .args(["-std=c11", "-O1", "-g"])
        .arg(coverslip_testkit::root().join("examples/c/06_gpu.c"))
        .arg("-o")
        .arg(&program);
    coverslip_testkit::run(compiler.arg(&library).arg("-lm").arg(format!("-Wl,-rpath,{}", home.display())));
    let _ = std::fs::remove_file(home.join("coverslip-worker"));
    for tensorrt in fakes.libraries() {
        let mut host = Command::new(&program);
        host.arg(&bundle).arg(tensorrt).arg(&plans).env("LD_LIBRARY_PATH", drivers).env("COVERSLIP_FAKE_TABLE", &table);
        let said = coverslip_testkit::stdout(&mut host);
        assert!(said.contains(" on GPU GPU-") && !said.contains("refused"), "{said}");
        assert!(said.contains("45 tiles, 36 analysed") && said.contains("; 0 after a change of engine"), "{said}");
    }
    assert!(std::fs::read_dir(&plans).unwrap().count() >= 2, "a plan for each library");
    // With the worker beside the library a host that knows of workers has its engine there.
    std::fs::copy(env!("CARGO_BIN_EXE_coverslip-worker"), home.join("coverslip-worker")).unwrap();
    for (worker, part) in [(true, "in process "), (false, "in this process")] {
        if !worker {
            std::fs::remove_file(home.join("coverslip-worker")).unwrap();
        }
        let mut host = Command::new(&program);
        host.arg(&bundle)
            .arg(&fakes.rtx)
            .arg(&plans)
            .env("LD_LIBRARY_PATH", drivers)
            .env("COVERSLIP_FAKE_TABLE", &table);
        let said = coverslip_testkit::stdout(&mut host);
        assert!(said.contains(part) && said.contains("45 tiles, 36 analysed"), "{said}");
    }
}

/// A host that was compiled against version 1.0 knows of no workers: none is started for it, whatever lies beside the
/// library. What lies there is a script, which leaves a mark; a host of today starts it, and is refused.
#[test]
fn a_host_of_1_0_has_its_engine_in_its_own_process() {
    use std::os::unix::fs::PermissionsExt;

    let Some(fakes) = fakes() else { return };
    let home = folder("host-1-0");
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).unwrap();
    let (bundle, table, mark) = (home.join("bundle"), home.join("table"), home.join("mark"));
    coverslip_testkit::bundle(&bundle);
    std::fs::write(&table, computed::table(&bundle)).unwrap();
    let (library, worker) = (home.join("libcoverslip.so"), home.join("coverslip-worker"));
    std::fs::copy(coverslip_testkit::library(), &library).unwrap();
    std::fs::write(&worker, format!("#!/bin/sh\n: > {}\n", mark.display())).unwrap();
    std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
    for version in ["1.0", "1.1"] {
        let program = home.join(version);
        let mut compiler = coverslip_testkit::cc();
        compiler.args(["-std=c11", "-O1", "-g", "-DCOVERSLIP_NO_IMPORT", "-D_GNU_SOURCE"]);
        if version == "1.0" {
            compiler.arg("-include").arg(coverslip_testkit::root().join("tests/c/abi_1_0/coverslip.h"));
        }
        compiler.arg(coverslip_testkit::root().join("tests/c/reload.c")).arg("-o").arg(&program);
        coverslip_testkit::run(compiler.args(["-ldl", "-pthread", "-lm"]));
        let mut host = Command::new(&program);
        host.arg(&library).arg(&bundle).env("LD_LIBRARY_PATH", &fakes.drivers).env("COVERSLIP_FAKE_TABLE", &table);
        host.env("COVERSLIP_TEST_TENSORRT", &fakes.rtx).env("COVERSLIP_TEST_PLANS", home.join("plans"));
        let output = host.output().unwrap();
        let (ran, known) = (output.status.success(), version != "1.0");
        assert_eq!((ran, mark.exists()), (!known, known), "{version}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[allow(clippy::print_stderr, reason = "a test says what it leaves out")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[test]
fn slides_on_a_fake_gpu() {
    let Some(Fakes { rtx, enterprise, drivers }) = fakes() else { return };
    child("play::results_are_the_cpus", &rtx, &drivers);
    for enterprise in &enterprise {
        child("play::results_are_the_cpus", enterprise, &drivers);
        child("play::recorded_graphs_are_used_and_can_be_done_without", enterprise, &drivers);
    }
    child("plans::plans_are_kept_and_never_trusted", &rtx, &drivers);
    child("plans::a_plan_is_no_way_around_the_signature", &rtx, &drivers);
    child("plans::a_build_reports_and_can_be_cancelled", &rtx, &drivers);
    child("losses::a_lost_gpu_fails_what_is_left_or_hands_over", &rtx, &drivers);
    child("losses::what_does_not_fit_is_refused_at_open", &rtx, &drivers);
    child("losses::a_hung_gpu_holds_nobody_up", &rtx, &drivers);
    for library in std::iter::once(&rtx).chain(&enterprise) {
        child("worker::a_fault_of_the_gpu_is_the_workers", library, &drivers);
    }
    child("worker::tiles_are_read_from_the_shared_memory", &rtx, &drivers);
    child("worker::faults_at_random", &rtx, &drivers);
    child("worker::the_third_loss_hands_over_to_the_cpu", &rtx, &drivers);
    child("worker::a_tile_in_a_batch_is_found", &rtx, &drivers);
}

#[test]
fn without_a_gpu_the_cpu_runs_and_says_why() {
    let nothing = folder("nothing");
    std::fs::create_dir_all(&nothing).unwrap();
    let absent = nothing.join("libtensorrt_rtx.so.1");
    for (name, code, devices) in
        [("stub", 34, 0), ("none", 100, 0), ("empty", 0, 0), ("broken", 999, 1), ("works", 0, 1)]
    {
        compile::driver(&folder(name), code, devices);
    }
    let out = folder("versions");
    let old = compile::version(&out, "libnvinfer.so.8", 8_601);
    let new = compile::version(&out, "libnvinfer.so.11", 110_400);
    let decoy = out.join("decoy.so");
    std::fs::write(&decoy, "not a library").unwrap();
    // SAFETY: a library of the system's, or nothing.
    if unsafe { libloading::Library::new("libcuda.so.1") }.is_ok() {
        say("left out: this machine has a driver, so that a machine without one cannot be seen");
    } else {
        child("matrix::no_driver", &new, &nothing);
        child("worker::reasons_come_through", &new, &nothing);
    }
    for driver in ["stub", "none", "empty", "broken"] {
        child("matrix::no_driver", &new, &folder(driver));
    }
    child("matrix::no_library", &absent, &folder("works"));
    child("matrix::no_library", &decoy, &folder("works"));
    child("matrix::no_library", &folder("works").join("libcuda.so.1"), &folder("works"));
    child("matrix::wrong_version", &old, &folder("works"));
    child("matrix::nothing_is_named", &absent, &folder("works"));
}
