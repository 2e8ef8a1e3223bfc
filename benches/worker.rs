//! What the way to a worker process costs, beside the same engine in this process.
//!
//! Run `cargo bench --bench worker`. Pairs are run in turn, so that a drift of the machine affects both.
#![allow(clippy::print_stdout)]
#![cfg(target_os = "linux")]

#[path = "../tests/support/host.rs"]
mod host;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coverslip_bundle::synthetic::SyntheticSpec;
use coverslip_plugin_abi::*;
use coverslip_wire::frame::Kind;
use coverslip_wire::{Link, Transport};
use host::{Picture, TestRuntime, open_with};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

/// A tile of 224 px.
const TILE: usize = 3 * 224 * 224;
const BATCH: usize = 32;
const PAIRS: usize = 7;

fn main() {
    if std::env::var_os("COVERSLIP_BENCH_STUB").is_some() {
        return stub();
    }
    for rate in [600.0, 10_000.0, f64::INFINITY] {
        transport(rate);
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-worker-vit-small");
    coverslip_testkit::bundle_of(&folder, &SyntheticSpec::vit_small());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(2) as u32;
    let (here, apart) = (open(&folder, false, threads), open(&folder, true, threads));
    let best = throughput(&here, &apart);
    latency(&here, &apart, 0.8 * best);
    restart(&apart);
}

/// The processor's seconds of this process.
fn spent() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

// -- the transport alone ----------------------------------------------------------------------------------------

/// As the other side: takes batches and answers with the outputs of a ViT-S, which cost it nothing.
fn stub() {
    use std::os::fd::AsFd;
    let mut link = Link::new(std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor")).expect("a socket");
    let (mut pixels, outputs) = (Vec::new(), vec![0; BATCH * (16 + 4 * 384 + 8 * 32)]);
    while link.receive(&mut pixels, BATCH * TILE + 4, None).is_ok() {
        if link.send(Kind::Outputs, &[&outputs], None).is_err() {
            return;
        }
    }
}

/// Batches at this rate in tiles a second, for some seconds: what it takes of this process.
fn transport(rate: f64) {
    let (mut link, there) = Link::pair().expect("sockets");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env("COVERSLIP_BENCH_STUB", "1").stdin(Stdio::from(there.into_descriptor().expect("a descriptor")));
    let mut other = command.spawn().expect("the other side");
    drop(command);
    let (tiles, mut answer) = (vec![7u8; BATCH * TILE], Vec::new());
    let count = (BATCH as u32).to_le_bytes();
    let parts: Vec<&[u8]> = std::iter::once(&count[..]).chain(tiles.chunks(TILE)).collect();
    let (start, before, mut batches) = (Instant::now(), spent(), 0u32);
    let mut times = Vec::new();
    while start.elapsed() < Duration::from_secs(3) {
        let due =
            Duration::from_secs_f64(if rate.is_finite() { f64::from(batches) * BATCH as f64 / rate } else { 0.0 });
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let began = Instant::now();
        link.send(Kind::Run, &parts, None).expect("sent");
        link.receive(&mut answer, 1 << 24, None).expect("answered");
        times.push(1e3 * began.elapsed().as_secs_f64());
        batches += 1;
    }
    let (time, cpu, done) = (start.elapsed().as_secs_f64(), spent() - before, f64::from(batches) * BATCH as f64);
    drop(link);
    other.wait().expect("the other side ends");
    let asked = if rate.is_finite() { format!("{rate:.0} tiles/s asked") } else { "as fast as it goes".into() };
    println!(
        "transport, {asked}: {:.0} tiles/s, {:.1} us of this process's CPU a tile, {:.3} of a core; a batch of {BATCH} there \
         and back: p50 {:.2} ms, p99 {:.2} ms",
        done / time,
        1e6 * cpu / done,
        cpu / time,
        quantile(&mut times, 0.5),
        quantile(&mut times, 0.99)
    );
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((share * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1]
}

// -- ViT-S on the CPU -------------------------------------------------------------------------------------------

fn open(bundle: &Path, apart: bool, threads: u32) -> TestRuntime {
    let worker = CString::new(env!("CARGO_BIN_EXE_coverslip-worker")).expect("a path");
    let began = Instant::now();
    let runtime = open_with(bundle, |desc| {
        (desc.max_threads, desc.worker_path) = (threads, worker.as_ptr());
        desc.isolation = if apart { ISOLATION_ALWAYS } else { ISOLATION_NEVER };
    });
    let place = if apart { "in a worker" } else { "here" };
    println!("ViT-S/16, random weights, opens {place} in {} ms", began.elapsed().as_millis());
    runtime.expect("opens")
}

/// The processor's time of this thread, us.
fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    1e6 * time.tv_sec as f64 + 1e-3 * time.tv_nsec as f64
}

/// A row of tissue tiles, one frame each; tiles a second, each tile's latency in ms, and submit's median processor time and
/// p99 on the clock in microseconds.
fn play(runtime: &TestRuntime, tiles: u32, pace: Option<f64>) -> (f64, Vec<f64>, (f64, f64)) {
    let side = runtime.info().side;
    let picture = Picture::tissue(side * 8, side, 1);
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(tiles * side), u64::from(side));
        (desc.max_frame_width, desc.max_frame_height) = (side, side);
    });
    let (start, mut submits, mut spent) = (Instant::now(), Vec::new(), Vec::new());
    for i in 0..tiles {
        if let Some(rate) = pace {
            std::thread::sleep(Duration::from_secs_f64(f64::from(i) / rate).saturating_sub(start.elapsed()));
        }
        let mut frame = picture.frame(i % 8 * side, 0, side, side);
        frame.x = i64::from(i * side);
        let (began, before) = (Instant::now(), thread_time());
        slide.submit_wait(&frame, 60_000).expect("room");
        submits.push(1e6 * began.elapsed().as_secs_f64());
        spent.push(thread_time() - before);
    }
    slide.finish(120_000).expect("ends");
    let rate = f64::from(tiles) / start.elapsed().as_secs_f64();
    assert_eq!(slide.summary().results[TILE_DONE as usize], u64::from(tiles));
    let latencies = slide.drain().iter().map(|tile| tile.record.latency_ns as f64 / 1e6).collect();
    (rate, latencies, (quantile(&mut spent, 0.5), quantile(&mut submits, 0.99)))
}

/// Tiles a second here, and the ratio.
fn throughput(here: &TestRuntime, apart: &TestRuntime) -> f64 {
    const TILES: u32 = 48;
    play(here, 8, None);
    play(apart, 8, None);
    let (mut ratios, mut best) = (Vec::new(), 0f64);
    for _ in 0..PAIRS {
        let (a, b) = (play(here, TILES, None).0, play(apart, TILES, None).0);
        best = best.max(a);
        ratios.push(b / a);
    }
    let all: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
    println!(
        "ViT-S/16: {best:.1} tiles/s here at best; in a worker {:.3} of here, the median of {PAIRS} pairs ({})",
        quantile(&mut ratios, 0.5),
        all.join(" ")
    );
    best
}

fn latency(here: &TestRuntime, apart: &TestRuntime, rate: f64) {
    let tiles = (5.0 * rate).max(20.0) as u32;
    let places = [("here", here), ("in a worker", apart)];
    let (mut all, mut p99, mut submits) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()], [(0.0, 0.0); 2]);
    // Who goes first changes, because the machine does.
    for order in [[0, 1], [1, 0], [0, 1], [1, 0]] {
        for at in order {
            let (_, mut latencies, submit) = play(places[at].1, tiles, Some(rate));
            p99[at].push(quantile(&mut latencies, 0.99));
            all[at].append(&mut latencies);
            submits[at] = submit;
        }
    }
    for (at, (place, _)) in places.iter().enumerate() {
        let each: Vec<String> = p99[at].iter().map(|ms| format!("{ms:.1}")).collect();
        println!(
            "{rate:.1} tiles/s, 80 %, {} tiles {place}: latency p50 {:.2} ms, p99 {:.2} ms (each slide's: {}); submit {:.0} us of \
             CPU, p99 {:.0} us",
            all[at].len(),
            quantile(&mut all[at], 0.5),
            quantile(&mut all[at], 0.99),
            each.join(" "),
            submits[at].0,
            submits[at].1
        );
    }
}

/// From a kill to the first result of the next worker.
fn restart(apart: &TestRuntime) {
    for _ in 0..2 {
        let process = Pid::from_raw(apart.info().worker_process_id as i32).expect("a worker");
        kill_process(process, Signal::KILL).expect("killed");
        let began = Instant::now();
        play(apart, 1, None);
        println!("ViT-S/16: {} ms from a kill to the first result of the next worker", began.elapsed().as_millis());
    }
}
