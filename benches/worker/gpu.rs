//! A fake GPU, which takes a GPU's time for a batch and looks its outputs up: what differs is the way there alone.

use std::ffi::CString;
use std::path::Path;
use std::process::Command;

use coverslip_plugin_abi::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::host::{TestRuntime, open_with};
use crate::slides::{self, Effort};
use crate::{compile, computed};

/// Names the fake TensorRT, in the process that has the fake driver.
const FAKE: &str = "COVERSLIP_BENCH_FAKE";
/// Microseconds of a batch, and of each tile in it: a ViT-B on a GPU of a scanner's computer.
const PACE: &str = "1000 500";
const BATCH: u32 = 32;
const EFFORT: Effort = Effort { pairs: 5, seconds: 1.0, slides: 20, slide_seconds: 1.5 };

pub(crate) fn is_child() -> bool {
    std::env::var_os(FAKE).is_some()
}

/// Compiles the fakes, and runs the comparison in a process that finds them.
pub(crate) fn compare(bundle: &Path, folder: &Path) {
    let Some(headers) = compile::headers() else {
        return println!("\nleft out: the fake GPU, because COVERSLIP_TENSORRT_HEADERS does not name NVIDIA's headers");
    };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake");
    let library = compile::fake(&tests.join("fake.cpp"), &headers, "TRT-RTX-1.7", &folder.join("rtx"));
    let driver = folder.join("driver");
    std::fs::create_dir_all(&driver).expect("a folder");
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-O1", "-w", "-fPIC", "-shared"]).arg(tests.join("cuda.c")).args(["-lpthread", "-o"]);
    assert!(compiler.arg(driver.join("libcuda.so.1")).status().expect("a C compiler").success());
    let table = folder.join("table");
    std::fs::write(&table, computed::table(bundle)).expect("written");
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.env(FAKE, library).env("LD_LIBRARY_PATH", driver).env("COVERSLIP_FAKE_TABLE", table);
    assert!(child.env("COVERSLIP_FAKE_PACE", PACE).status().expect("this program").success());
}

pub(crate) fn run(bundle: &Path, folder: &Path) {
    println!(
        "\nA fake GPU that takes {PACE} us for a batch and for each tile in it, batches of {BATCH}, tiles of 224 px:\n"
    );
    let plans = folder.join("plans");
    let here = open(bundle, &plans, false);
    let apart = open(bundle, &plans, true);
    // Where files are smaller than a batch, so is the memory that two processes share: there is none.
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(1 << 20), ..before }).expect("a limit");
    let over_the_connection = open(bundle, &plans, true);
    setrlimit(Resource::Fsize, before).expect("no limit");
    let places = [("here", here), ("in a worker", apart), ("in a worker, over the connection", over_the_connection)];
    slides::compare(&places, &EFFORT);
}

fn open(bundle: &Path, plans: &Path, apart: bool) -> TestRuntime {
    let path = |path: &Path| CString::new(path.to_str().expect("UTF-8")).expect("a path");
    let (library, plans) = (path(Path::new(&std::env::var_os(FAKE).expect("the fake"))), path(plans));
    let worker = CString::new(env!("CARGO_BIN_EXE_coverslip-worker")).expect("a path");
    let runtime = open_with(bundle, |desc| {
        (desc.engine, desc.max_batch) = (ENGINE_TENSORRT, BATCH);
        (desc.tensorrt_library, desc.plan_cache_path) = (library.as_ptr(), plans.as_ptr());
        desc.worker_path = worker.as_ptr();
        // Below it, other work of the machine would be most of what is measured.
        desc.flags |= RUNTIME_NORMAL_PRIORITY;
        desc.isolation = if apart { ISOLATION_ALWAYS } else { ISOLATION_NEVER };
    });
    runtime.expect("opens")
}
