//! What the way to a worker process costs, beside the same engine in this process.
//!
//! `cargo bench --bench worker` takes some six minutes. What is compared is run in turn, and who goes first changes, so that a
//! drift of the machine affects both; differences have an interval from resampling the turns.
//!
//! - the transport alone, to a stub: through shared memory and over the connection
//! - a ViT-S on the CPU, here and in a worker
//! - a fake GPU that takes a GPU's time, here, in a worker, and in one over its connection. It is compiled from NVIDIA's
//!   headers, which `COVERSLIP_TENSORRT_HEADERS` names; without them this part is left out.
//!
//! `cargo bench --bench worker -- PART...` runs some of `transport cpu gpu`.
#![allow(clippy::print_stdout)]
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "tests use the rest")]
#[path = "../../crates/tensorrt/tests/fake/compile.rs"]
mod compile;
#[path = "../../tests/fake/computed.rs"]
mod computed;
mod cpu;
mod figure;
mod gpu;
#[path = "../../tests/support/host.rs"]
mod host;
mod slides;
mod transport;

use std::path::PathBuf;

use coverslip_bundle::synthetic::SyntheticSpec;

fn main() {
    if transport::is_stub() {
        return transport::stub();
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-worker");
    let bundle = folder.join("vit-small");
    if gpu::is_child() {
        return gpu::run(&bundle, &folder);
    }
    let asked: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with('-')).collect();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|asked| asked == part);
    println!("{} processors; load {}", std::thread::available_parallelism().map_or(1, |n| n.get()), load());
    coverslip_testkit::bundle_of(&bundle, &SyntheticSpec::vit_small());
    if wanted("transport") {
        transport::compare();
    }
    if wanted("cpu") {
        cpu::compare(&bundle);
    }
    if wanted("gpu") {
        gpu::compare(&bundle, &folder);
    }
    println!("load {}", load());
}

/// What else the machine does: processes that want to run, over the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
