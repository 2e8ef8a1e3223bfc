//! The plugin's cost beside its engine, as ratios and floors, measured through the C ABI.
//!
//! Run `cargo bench --bench throughput`; with `-- formats`, only what a camera's format costs, with
//! `-- submit` only the acquisition thread, with `-- qc` only the pixel checks. `COVERSLIP_BENCH_BUNDLE=DIR` uses another bundle in place of the demo.
#![allow(clippy::print_stdout)]

#[path = "../tests/support/host.rs"]
mod host;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coverslip_bundle::Bundle;
use coverslip_bundle::synthetic::SyntheticSpec;
use coverslip_plugin_abi::*;
use coverslip_testkit::page_faults;
use coverslip_vit::{Family, Lane, Model};
use host::{Picture, TestRuntime, open_with};
use rustix::time::{ClockId, clock_gettime};

/// Number of lanes, and of threads of the bare engine: the machine's cores, at most two.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get()).min(2)
}

fn main() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-vit-small");
    coverslip_testkit::bundle_of(&folder, &SyntheticSpec::vit_small());
    println!("{} threads", threads());
    if std::env::args().any(|argument| argument == "formats") {
        return submit_formats(&folder);
    }
    if std::env::args().any(|argument| argument == "submit") {
        return submit_time(&folder, 60);
    }
    if std::env::args().any(|argument| argument == "qc") {
        return pixel_qc(&Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/demo"));
    }
    let per_tile = against_bare_engine("ViT-S/16, random weights", &folder, 48, 7);
    profile_scores(per_tile);
    let demo = std::env::var_os("COVERSLIP_BENCH_BUNDLE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bundles/demo"), PathBuf::from);
    against_bare_engine("demo bundle", &demo, 128, 5);
    submit_time(&folder, 12);
    submit_formats(&folder);
    blank_glass(&demo);
    pixel_qc(&demo);
}

fn runtime(bundle: &Path) -> TestRuntime {
    open_with(bundle, |desc| desc.max_threads = threads() as u32).expect("the bundle opens")
}

// -- tiles per second, end to end and bare ----------------------------------------------------------------------

/// Runs plugin and bare engine in turn, so that a drift of the machine affects both.
///
/// Returns the bare engine's seconds per tile on one core.
fn against_bare_engine(what: &str, bundle: &Path, tiles: u32, rounds: usize) -> f64 {
    let opened = Bundle::open(bundle).expect("the bundle opens");
    let side = opened.manifest().side as u32;
    let family = Family::best(false).expect("kernels for this processor: without them the plugin runs rten");
    let model = Arc::new(Model::open(&opened, family).expect("a model"));
    let picture = Picture::tissue(side * 8, side, 1);
    let runtime = runtime(bundle);
    bare(&model, &picture, side, 8);
    end_to_end(&runtime, &picture, side, 8);
    let mut ratios = Vec::new();
    let (mut bare_best, mut end_best) = (0f64, 0f64);
    let before = runtime.stats();
    let mut elapsed = 0.0;
    for _ in 0..rounds {
        let bare = bare(&model, &picture, side, tiles);
        let end = end_to_end(&runtime, &picture, side, tiles);
        elapsed += f64::from(tiles) / end;
        ratios.push(end / bare);
        (bare_best, end_best) = (bare_best.max(bare), end_best.max(end));
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "{what}: end to end / bare engine ({}) {:.3} (median of {rounds} pairs, {:.3} to {:.3}; target 0.97 for ViT-S); \
         best {end_best:.1} and {bare_best:.1} tiles/s",
        family.name(),
        ratios[rounds / 2],
        ratios[0],
        ratios[rounds - 1]
    );
    let after = runtime.stats();
    let share = |a: u64, b: u64| 100.0 * (b - a) as f64 / 1e9 / elapsed / threads() as f64;
    println!(
        "  of {} cores' time: lanes {:.1} %, prep {:.1} %, submit {:.2} %, judge {:.2} %",
        threads(),
        share(before.lane_ns, after.lane_ns),
        share(before.prep_ns, after.prep_ns),
        share(before.submit_ns, after.submit_ns),
        share(before.judge_ns, after.judge_ns)
    );
    threads() as f64 / bare_best
}

/// Runs the engine alone on whole tiles, a lane per thread.
fn bare(model: &Arc<Model>, picture: &Picture, side: u32, tiles: u32) -> f64 {
    let inputs: Vec<Vec<u8>> = (0..8).map(|i| cut(picture, i * side, side)).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads() {
            let inputs = &inputs;
            scope.spawn(move || {
                let mut lane = Lane::new(model).expect("a lane");
                for i in (thread..tiles as usize).step_by(threads()) {
                    assert!(lane.run(&inputs[i % 8]).reconstruction_error.is_finite());
                }
            });
        }
    });
    f64::from(tiles) / start.elapsed().as_secs_f64()
}

fn cut(picture: &Picture, x: u32, side: u32) -> Vec<u8> {
    let row = |y: u32| &picture.rgb[3 * (y * picture.width + x) as usize..][..3 * side as usize];
    (0..side).flat_map(row).copied().collect()
}

/// Submits the same tiles as frames through the C ABI.
fn end_to_end(runtime: &TestRuntime, picture: &Picture, side: u32, tiles: u32) -> f64 {
    let width = tiles * side;
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(width), u64::from(side));
        (desc.max_frame_width, desc.max_frame_height) = (side, side);
    });
    let start = Instant::now();
    for i in 0..tiles {
        let mut frame = picture.frame(i % 8 * side, 0, side, side);
        frame.x = i64::from(i * side);
        slide.submit_wait(&frame, NO_TIMEOUT).expect("room");
    }
    slide.finish(NO_TIMEOUT).expect("every tile ends");
    let rate = f64::from(tiles) / start.elapsed().as_secs_f64();
    let done = slide.drain().iter().filter(|tile| tile.record.status == TILE_DONE).count();
    assert_eq!(done, tiles as usize, "all are tissue");
    rate
}

// -- the acquisition thread ---------------------------------------------------------------------------------------

fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// CPU times of one kind of call, ms, and the page faults in them.
#[derive(Default)]
struct Calls {
    times: Vec<f64>,
    faults: u64,
}

impl Calls {
    fn time<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let before = page_faults().unwrap_or(0);
        let start = thread_time();
        let result = call();
        self.times.push((thread_time() - start).as_nanos() as f64 / 1e6);
        self.faults += page_faults().unwrap_or(0) - before;
        result
    }

    fn at(&self, q: f64) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        times.get((times.len() as f64 * q) as usize).copied().unwrap_or(f64::NAN)
    }
}

/// CPU time of slide_submit for frames of 512 × 512 while the engine is saturated, in turn with copies of the same rows
/// to where the processor's caches have nothing of the source or the target, and to where they may.
fn submit_time(bundle: &Path, seconds: u64) {
    let runtime = runtime(bundle);
    let slide = runtime.begin(|desc| {
        (desc.max_frame_width, desc.max_frame_height) = (512, 512);
        (desc.spread_width, desc.spread_height) = (4096, 4096);
    });
    let pictures: Vec<Picture> = (0..48).map(|seed| Picture::tissue(600, 600, seed)).collect();
    let row = 3 * 512;
    let mut targets: Vec<Vec<u8>> = (0..64).map(|level| vec![level + 1; 512 * row]).collect();
    let (mut taken, mut busy, mut cold, mut hot) =
        (Calls::default(), Calls::default(), Calls::default(), Calls::default());
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut i, mut column) = (0, 0);
    while Instant::now() < end {
        let picture = &pictures[i as usize % pictures.len()];
        let (x, y) = (i % 37, i % 41);
        let copy = |target: &mut [u8]| {
            for (line, target) in target.chunks_exact_mut(row).enumerate() {
                let at = 3 * ((y as usize + line) * 600 + x as usize);
                target.copy_from_slice(&picture.rgb[at..at + row]);
            }
        };
        let mut pause = 1;
        if i % 2 == 0 {
            let target = &mut targets[i as usize / 2 % 64];
            cold.time(|| copy(target));
            hot.time(|| copy(target));
        } else {
            let mut frame = picture.frame(x, y, 512, 512);
            frame.x = column * 470;
            column += 1;
            let mut calls = Calls::default();
            let (answer, calls_of) = match calls.time(|| slide.submit(&frame)) {
                Ok(()) => (true, &mut taken),
                Err(_) => (false, &mut busy),
            };
            calls_of.times.append(&mut calls.times);
            calls_of.faults += calls.faults;
            pause = if answer { 1 } else { 10 };
        }
        i += 1;
        std::thread::sleep(Duration::from_millis(pause));
        while slide.take(None).is_ok_and(|tiles| !tiles.is_empty()) {}
    }
    slide.cancel().expect("cancel");
    for (what, calls) in
        [("taken", &taken), ("refused with BUSY", &busy), ("its copy, cold", &cold), ("its copy again, hot", &hot)]
    {
        println!(
            "submit of 512 x 512, {what}: {} calls, CPU time p50 {:.3} ms, p99 {:.3} ms, {:.2} page faults per call",
            calls.times.len(),
            calls.at(0.5),
            calls.at(0.99),
            calls.faults as f64 / calls.times.len() as f64
        );
    }
    println!(
        "submit / copy: p50 {:.2}, p99 {:.2} (target p99 0.15 ms, or 2.1 copies)",
        taken.at(0.5) / cold.at(0.5),
        taken.at(0.99) / cold.at(0.99)
    );
}

/// CPU time of slide_submit for frames of 512 x 512 in each format, in turn with RGB8 on a slide of its own.
fn submit_formats(bundle: &Path) {
    let runtime = runtime(bundle);
    // Glass in every packing, whose tiles do not wait for the engine, with a little noise.
    let noise: Vec<u8> = (0..8 * 512 * 512u32).map(|i| 0xee + (i.wrapping_mul(2_654_435_761) >> 31) as u8).collect();
    let formats = [
        ("Mono8", PFNC_MONO8, 1.0, None),
        ("Mono12p", PFNC_MONO12P, 1.5, Some(4.0)),
        ("Mono12Packed", PFNC_MONO12_PACKED, 1.5, Some(4.0)),
        ("Mono16", PFNC_MONO16, 2.0, None),
        ("BayerRG8", PFNC_BAYER_RG8, 1.0, Some(2.0)),
        ("BayerRG12p", PFNC_BAYER_RG12P, 1.5, Some(4.0)),
        ("BayerRG12Packed", PFNC_BAYER_RG12_PACKED, 1.5, Some(4.0)),
        ("BayerRG16", PFNC_BAYER_RG16, 2.0, None),
        ("RGB12p", PFNC_RGB12P, 4.5, None),
        ("RGB16", PFNC_RGB16, 6.0, None),
    ];
    for (name, format, bytes, target) in formats {
        let slides = [PFNC_RGB8, format].map(|format| {
            let slide = runtime.begin(|desc| {
                (desc.max_frame_width, desc.max_frame_height) = (512, 512);
                (desc.spread_width, desc.spread_height) = (1024, 1024);
                desc.max_unpolled = 1 << 20;
            });
            (slide, format, Vec::new())
        });
        let mut slides = slides;
        for i in 0..400 {
            for (slide, format, times) in &mut slides {
                let stride = if *format == PFNC_RGB8 { 3 * 512 } else { (512.0 * bytes) as u64 };
                let mut frame = Frame {
                    pixel_format: *format,
                    plane_count: 1,
                    x: i * 512,
                    width: 512,
                    height: 512,
                    ..Frame::init()
                };
                frame.planes[0] = Plane { data: noise.as_ptr(), stride, size: noise.len() as u64 };
                let start = thread_time();
                if slide.submit(&frame).is_ok() {
                    times.push((thread_time() - start).as_nanos() as f64 / 1e6);
                }
                std::thread::sleep(Duration::from_millis(1));
                while slide.take(None).is_ok_and(|tiles| !tiles.is_empty()) {}
            }
        }
        let mut quantiles = slides.map(|(slide, _, mut times)| {
            slide.cancel().expect("cancel");
            times.sort_by(f64::total_cmp);
            let at = |q: f64| times.get((times.len() as f64 * q) as usize).copied().unwrap_or(f64::NAN);
            (times.len(), at(0.5), at(0.99))
        });
        let [rgb, other] = &mut quantiles;
        let goal = target.map_or(String::new(), |target| format!(" (target {target})"));
        println!(
            "submit of 512 x 512, {name} / RGB8, CPU time: p50 {:.2}, p99 {:.2}{goal}; {:.3} and {:.3} ms at p99, {} and \
             {} calls",
            other.1 / rgb.1,
            other.2 / rgb.2,
            other.2,
            rgb.2,
            other.0,
            rgb.0
        );
    }
}

/// Measures blank glass, which passes only copy, exposure and the background gate.
fn blank_glass(bundle: &Path) {
    let runtime = runtime(bundle);
    let glass = Picture::glass(4096, 2048);
    let mut best = 0f64;
    for _ in 0..3 {
        let slide = runtime.begin(|desc| {
            (desc.max_frame_width, desc.max_frame_height) = (4096, 512);
            desc.max_unpolled = 1 << 20;
        });
        let start = Instant::now();
        for i in 0..100u32 {
            let mut frame = glass.frame(0, i % 4 * 512, 4096, 512);
            frame.y = i64::from(i) * 512;
            slide.submit_wait(&frame, NO_TIMEOUT).expect("room");
        }
        slide.finish(NO_TIMEOUT).expect("every tile ends");
        best = best.max(4096.0 * 512.0 * 100.0 / 1e6 / start.elapsed().as_secs_f64());
    }
    println!("blank glass: {best:.0} Mpx/s (target 400 on two cores)");
}

/// CPU time of the prep workers, which `prep_ns` is not: it counts their waits for a processor that a lane has.
fn prep_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the process's threads").flatten().map(|task| task.path());
    let prep = tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("coverslip-prep")));
    let run = |task: PathBuf| -> Option<u64> {
        std::fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(prep.filter_map(run).sum())
}

/// Measures the pixel checks before the background gate, and those with focus and resampling on tissue: prep's CPU
/// time.
fn pixel_qc(bundle: &Path) {
    let runtime = runtime(bundle);
    let mpp = runtime.info().mpp;
    let measured = |what: &str, picture: &Picture, scale: f64| {
        let before = prep_time();
        let slide = runtime.begin(|desc| {
            (desc.mpp_x, desc.mpp_y) = (mpp / scale, mpp / scale);
            (desc.max_frame_width, desc.max_frame_height) = (picture.width, 448);
            (desc.extent_width, desc.extent_height) = (picture.width.into(), picture.height.into());
        });
        for y in (0..picture.height).step_by(448) {
            slide.submit_wait(&picture.frame(0, y, picture.width, 448), NO_TIMEOUT).expect("room");
        }
        slide.finish(NO_TIMEOUT).expect("every tile ends");
        let spent = (prep_time() - before).as_secs_f64();
        let megapixels = f64::from(picture.width * picture.height) / 1e6;
        println!("pixel QC, {what}: {:.0} Mpx/s on two cores", 2.0 * megapixels / spent);
    };
    for _ in 0..2 {
        measured("glass, 0.5 um/px", &Picture::glass(4480, 2240), 1.0);
        measured("glass, 0.25 um/px", &Picture::glass(4480, 2240), 2.0);
        measured("tissue with focus, 0.5 um/px", &Picture::tissue(2240, 896, 1), 1.0);
        measured("tissue with focus and resampling, 0.25 um/px", &Picture::tissue(2240, 896, 1), 2.0);
    }
}

/// Measures a profile's cost per tile: NOVEL and SCANNER_SHIFT at the ranks that a profile may have.
fn profile_scores(engine_seconds: f64) {
    use coverslip_profile::TapGeometry;
    for (width, rank) in [(384, 128), (384, 384), (1536, 256), (1536, 512)] {
        let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<f32>>();
        let geometry = TapGeometry {
            name: "last".into(),
            width,
            variances: vec![1.0; rank],
            axes: wave(width * rank),
            floor: 1.0,
            scanner_axes: wave(width * 5),
        };
        let (mean, tiles) = (wave(width), wave(width * 64));
        let (start, mut sum, rounds) = (Instant::now(), 0.0, 30);
        for _ in 0..rounds {
            sum += tiles.chunks_exact(width).map(|tile| geometry.displacement(&mean, tile).novel).sum::<f32>();
        }
        let seconds = start.elapsed().as_secs_f64() / f64::from(rounds * 64);
        assert!(sum.is_finite());
        println!(
            "profile scores, d = {width}, rank {rank}: {:.1} us per tile, {:.3} % of ViT-S/16's {:.1} ms on one core",
            seconds * 1e6,
            100.0 * seconds / engine_seconds,
            engine_seconds * 1e3
        );
    }
}
