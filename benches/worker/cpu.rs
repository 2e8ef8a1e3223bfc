//! A ViT-S on the CPU, here and in a worker.

use std::ffi::CString;
use std::path::Path;
use std::time::Instant;

use coverslip_plugin_abi::*;
use rustix::process::{Pid, Signal, kill_process};

use crate::host::{TestRuntime, open_with};
use crate::slides::{self, Effort, play};

const EFFORT: Effort = Effort { pairs: 7, seconds: 1.2, slides: 20, slide_seconds: 3.0 };

pub(crate) fn compare(bundle: &Path) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(2) as u32;
    println!("\nViT-S/16, random weights, on the CPU, {threads} lanes:\n");
    let places = [("here", open(bundle, false, threads)), ("in a worker", open(bundle, true, threads))];
    slides::compare(&places, &EFFORT);
    restart(&places[1].1);
}

fn open(bundle: &Path, apart: bool, threads: u32) -> TestRuntime {
    let worker = CString::new(env!("CARGO_BIN_EXE_coverslip-worker")).expect("a path");
    let began = Instant::now();
    let runtime = open_with(bundle, |desc| {
        (desc.max_threads, desc.worker_path) = (threads, worker.as_ptr());
        // Below it, other work of the machine would be most of what is measured.
        desc.flags |= RUNTIME_NORMAL_PRIORITY;
        desc.isolation = if apart { ISOLATION_ALWAYS } else { ISOLATION_NEVER };
    });
    println!("opens {} in {} ms", if apart { "in a worker" } else { "here" }, began.elapsed().as_millis());
    runtime.expect("opens")
}

/// From a kill to the first result of the next worker.
fn restart(apart: &TestRuntime) {
    for _ in 0..2 {
        let process = Pid::from_raw(apart.info().worker_process_id as i32).expect("a worker");
        kill_process(process, Signal::KILL).expect("killed");
        let began = Instant::now();
        play(apart, 1, None);
        println!("{} ms from a kill to the first result of the next worker", began.elapsed().as_millis());
    }
}
