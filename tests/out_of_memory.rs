//! Memory that ends: from slide_begin to slide_end every allocation of the plugin is made to fail in turn, alone and with
//! all that follow it. Each run ends with OUT_OF_MEMORY or with tiles that failed, every tile has one result, and the
//! next slide is whole.
//!
//! Failing allocations are those of the plugin's threads, and of the host's while it is in a call. Not those of libraries
//! that cannot be refused memory: the plugin calls these only while there is room for them, and it is the asking for that
//! room which fails here.
#![allow(clippy::undocumented_unsafe_blocks, reason = "each is a call of the C ABI or of the system's allocator")]
#![allow(clippy::result_large_err, reason = "as in the library: errors lie in place")]
#![allow(clippy::print_stdout, reason = "a figure for whoever reads the test's output")]
#![cfg(all(target_os = "linux", debug_assertions))]

mod support {
    pub(crate) mod host;
}

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_int};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use coverslip_base::log::Log;
use coverslip_base::thread::Placement;
use coverslip_bundle::onnx::{Attribute, ModelWriter};
use coverslip_bundle::synthetic::SyntheticSpec;
use coverslip_bundle::{Bundle, Pooling, Tap, TapSource};
use coverslip_engine::TileOutput;
use coverslip_engine::config::{EngineConfig, GpuConfig};
use coverslip_engine::load::Loader;
use coverslip_plugin_abi::*;
use coverslip_profile::{synthetic, write};
use support::host::{Picture, TestRuntime, open_with};

/// Which allocations fail, counted from 0: those of `FROM..UNTIL`.
static FROM: AtomicU64 = AtomicU64::new(u64::MAX);
static UNTIL: AtomicU64 = AtomicU64::new(u64::MAX);
static SEEN: AtomicU64 = AtomicU64::new(0);
static ARMED: AtomicBool = AtomicBool::new(false);

/// What the engine holds, and the most that it held, in bytes; counted while `MEASURED`.
static HELD: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);
static MEASURED: AtomicBool = AtomicBool::new(false);
/// Numbers the lanes that are measured. The thread of an earlier one, as of the engine's self-check, ends when it likes,
/// and what it gives back then was taken before.
static LANE: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Unknown,
    Plugin,
    /// A thread of rten's, begun for this one of `LANE`.
    Engine(u64),
    Other,
}

thread_local! {
    static KIND: Cell<Kind> = const { Cell::new(Kind::Unknown) };
    /// The host is in a call of the library.
    static CALLING: Cell<bool> = const { Cell::new(false) };
}

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn kill(process: c_int, signal: c_int) -> c_int;
}

/// By the thread's name, asked of the system: the standard library would allocate.
fn kind() -> Kind {
    let asked = KIND.try_with(|kind| {
        if kind.get() == Kind::Unknown {
            const PR_GET_NAME: c_int = 16;
            let mut name = [0u8; 16];
            unsafe { prctl(PR_GET_NAME, name.as_mut_ptr()) };
            // A thread has its name before it runs anything of ours; until then it inherits its parent's.
            kind.set(match &name {
                name if name.starts_with(b"coverslip-") => Kind::Plugin,
                name if name.starts_with(b"rten-") => Kind::Engine(LANE.load(Ordering::SeqCst)),
                _ => Kind::Other,
            });
        }
        kind.get()
    });
    asked.unwrap_or(Kind::Other)
}

fn fails() -> bool {
    if !ARMED.load(Ordering::Relaxed) {
        return false;
    }
    let ours = kind() == Kind::Plugin || CALLING.try_with(Cell::get).unwrap_or(false);
    if !ours || coverslip::fault::is_foreign() {
        return false;
    }
    let number = SEEN.fetch_add(1, Ordering::Relaxed);
    (FROM.load(Ordering::Relaxed)..UNTIL.load(Ordering::Relaxed)).contains(&number)
}

/// Counts what the engine takes (or gives back), on its own thread or on the one that calls it.
fn measure(bytes: i64) {
    // Asked first: it is at its first allocation that a thread is seen to be of this lane.
    let of_the_lane = kind() == Kind::Engine(LANE.load(Ordering::Relaxed));
    if MEASURED.load(Ordering::Relaxed) && (of_the_lane || coverslip::fault::is_foreign()) {
        let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        MOST.fetch_max(held, Ordering::Relaxed);
    }
}

struct Failing;

unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        measure(layout.size() as i64);
        if fails() { null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        measure(layout.size() as i64);
        if fails() { null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        measure(size as i64 - layout.size() as i64);
        if fails() { null_mut() } else { unsafe { System.realloc(place, layout, size) } }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        measure(-(layout.size() as i64));
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

static ALONE: Mutex<()> = Mutex::new(());

/// In a call of the library the host's thread allocates for the plugin.
fn call<T>(f: impl FnOnce() -> T) -> T {
    CALLING.set(true);
    let value = f();
    CALLING.set(false);
    value
}

const TILES: u32 = 6;
const WORKER: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_BIN_EXE_coverslip-worker"), "\0").as_bytes())
{
    Ok(path) => path,
    Err(_) => panic!("a path has no NUL"),
};

/// The host's buffers for results, made while nothing fails.
struct Buffers {
    records: Vec<TileResult>,
    features: Vec<Feature>,
    embeddings: Vec<f32>,
    picture: Picture,
    bundle: PathBuf,
    profile: Option<CString>,
    /// The engine runs in a worker, which is killed once the slide has begun; allocations fail from then on.
    killed: bool,
    /// Of a tile, native: half as much again as the model's, so that tiles are resampled.
    side: u32,
}

impl Buffers {
    fn new(bundle: PathBuf, profile: Option<CString>) -> Buffers {
        let model = Bundle::open(&bundle).expect("the bundle opens").manifest().side as u32;
        let side = model * 3 / 2;
        Buffers {
            records: vec![TileResult::default(); 64],
            features: vec![Feature::default(); 4096],
            embeddings: vec![0.0; 1 << 16],
            picture: Picture::tissue(TILES * side, side, 1),
            bundle,
            profile,
            killed: false,
            side,
        }
    }

    fn open(&self) -> TestRuntime {
        let open = open_with(&self.bundle, |desc| {
            desc.max_threads = 1;
            if self.killed {
                (desc.isolation, desc.worker_path) = (ISOLATION_ALWAYS, WORKER.as_ptr());
            }
            desc.profile_path = self.profile.as_ref().map_or(null(), |path| path.as_ptr());
        });
        open.expect("the bundle opens")
    }

    /// Plays a slide from begin to end; the number of tiles by status, or None where it was refused for want of memory.
    fn play(&mut self, runtime: &TestRuntime) -> Option<[u64; 8]> {
        let api = runtime.api;
        let mut error = Error::init();
        let mut info = RuntimeInfo::init();
        expect_code(call(|| unsafe { (api.runtime_info)(runtime.handle, &mut info, &mut error) }), OK, &error);
        let desc = SlideDesc {
            scanner_id: c"A".as_ptr(),
            slide_id: c"a slide".as_ptr(),
            mpp_x: info.mpp / 1.5,
            mpp_y: info.mpp / 1.5,
            extent_width: u64::from(TILES * self.side),
            extent_height: self.side.into(),
            max_frame_width: TILES * self.side,
            max_frame_height: self.side,
            flags: SLIDE_EMBEDDINGS,
            stability_interval: 1,
            ..SlideDesc::init()
        };
        let mut slide = 0;
        let code = call(|| unsafe { (api.slide_begin)(runtime.handle, &desc, &mut slide, &mut error) });
        if code != OK {
            expect_code(code, OUT_OF_MEMORY, &error);
            return None;
        }
        if self.killed {
            const SIGKILL: c_int = 9;
            assert_eq!(unsafe { kill(info.worker_process_id as c_int, SIGKILL) }, 0);
            ARMED.store(true, Ordering::SeqCst);
        }
        let frame = self.picture.frame(0, 0, TILES * self.side, self.side);
        expect_code(call(|| unsafe { (api.slide_submit)(slide, &frame, &mut error) }), OK, &error);
        expect_code(call(|| unsafe { (api.slide_finish)(slide, 60_000, &mut error) }), OK, &error);
        let mut statuses = [0; 8];
        loop {
            let mut batch = ResultBatch {
                record_size: size_of::<TileResult>() as u32,
                records: self.records.as_mut_ptr(),
                features: self.features.as_mut_ptr(),
                embeddings: self.embeddings.as_mut_ptr(),
                record_capacity: 64,
                feature_capacity: 4096,
                embedding_capacity: 1 << 16,
                ..ResultBatch::init()
            };
            match call(|| unsafe { (api.slide_poll)(slide, &mut batch, &mut error) }) {
                END_OF_RESULTS => break,
                code => expect_code(code, OK, &error),
            }
            self.records[..batch.record_count as usize].iter().for_each(|r| statuses[r.status as usize] += 1);
        }
        let mut alerts = [Alert::default(); 8];
        let mut batch = AlertBatch {
            record_size: size_of::<Alert>() as u32,
            records: alerts.as_mut_ptr(),
            record_capacity: 8,
            ..AlertBatch::init()
        };
        expect_code(call(|| unsafe { (api.slide_alerts)(slide, &mut batch, &mut error) }), OK, &error);
        let (mut summary, mut stats, mut feature) = (SlideSummary::init(), RuntimeStats::init(), FeatureInfo::init());
        expect_code(call(|| unsafe { (api.slide_summary)(slide, &mut summary, &mut error) }), OK, &error);
        expect_code(call(|| unsafe { (api.runtime_stats)(runtime.handle, &mut stats, &mut error) }), OK, &error);
        expect_code(call(|| unsafe { (api.feature_info)(runtime.handle, 1, &mut feature, &mut error) }), OK, &error);
        expect_code(call(|| unsafe { (api.slide_end)(slide, &mut error) }), OK, &error);
        assert_eq!((summary.opened, summary.results[0]), (u64::from(TILES), u64::from(TILES)));
        assert_eq!(statuses.iter().sum::<u64>(), u64::from(TILES), "every tile has one result");
        assert_eq!((summary.poisoned, summary.state), (0, SLIDE_FINISHED));
        Some(statuses)
    }
}

#[track_caller]
fn expect_code(code: i32, expected: i32, error: &Error) {
    let was = ARMED.swap(false, Ordering::SeqCst);
    let text: Vec<u8> = error.message.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    assert_eq!(code, expected, "{}", String::from_utf8_lossy(&text));
    ARMED.store(was, Ordering::SeqCst);
}

/// Waits until no slide is held, so that runs do not mix.
fn settle(runtime: &TestRuntime) {
    let mut stats = RuntimeStats { slots: 1, ..RuntimeStats::init() };
    while stats.slots > 0 {
        std::thread::sleep(std::time::Duration::from_millis(1));
        call(|| unsafe { (runtime.api.runtime_stats)(runtime.handle, &mut stats, null_mut()) });
    }
}

/// Makes `width` allocations in a row fail, one run for each place of the row. The number of runs that were
/// refused, and of tiles that failed.
fn fail_in_turn(buffers: &mut Buffers, width: u64) -> (usize, u64) {
    let mut runtime = buffers.open();
    let (mut refused, mut failed) = (0, 0);
    let mut first = 0;
    loop {
        settle(&runtime);
        SEEN.store(0, Ordering::SeqCst);
        FROM.store(first, Ordering::SeqCst);
        UNTIL.store(first.saturating_add(width), Ordering::SeqCst);
        ARMED.store(!buffers.killed, Ordering::SeqCst);
        let statuses = buffers.play(&runtime);
        // The slide that ended is let go of while allocations still fail.
        settle(&runtime);
        ARMED.store(false, Ordering::SeqCst);
        match statuses {
            None => refused += 1,
            Some(statuses) => {
                assert_eq!(statuses[TILE_DONE as usize] + statuses[TILE_FAILED as usize], u64::from(TILES));
                failed += statuses[TILE_FAILED as usize];
            }
        }
        if SEEN.load(Ordering::SeqCst) <= first {
            break; // The last run had no allocation left to fail.
        }
        first += 1;
        if buffers.killed {
            // An engine whose worker could not be started again is lost for good.
            drop(runtime);
            runtime = buffers.open();
        }
    }
    assert!(first > if buffers.killed { 5 } else { 20 }, "{first} allocations were seen");
    let said = format!("{width} in a row: {first} places, {refused} slides refused, {failed} tiles failed");
    coverslip_testkit::note(&said);
    FROM.store(u64::MAX, Ordering::SeqCst);
    let clean = buffers.play(&runtime).expect("memory is back");
    ARMED.store(false, Ordering::SeqCst);
    assert_eq!(clean[TILE_DONE as usize], u64::from(TILES));
    (refused, failed)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("memory-{name}"))
}

fn fails_in_turn(buffers: &mut Buffers) {
    for width in [1, 3, u64::MAX] {
        let (refused, failed) = fail_in_turn(buffers, width);
        assert!(refused > 10, "{width} in a row: {refused} slides were refused, {failed} tiles failed");
        assert!(failed > 0, "{width} in a row: no tile failed");
    }
}

#[test]
fn each_allocation_of_a_slide_may_fail() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let bundle = folder("plain");
    coverslip_testkit::bundle(&bundle);
    fails_in_turn(&mut Buffers::new(bundle, None));
}

/// With drift alerts, checks by the profile, and tiles that are run twice.
#[test]
fn each_allocation_of_a_slide_with_a_profile_may_fail() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let (bundle, profile) = (folder("profile").join("bundle"), folder("profile").join("profile"));
    coverslip_testkit::bundle_of(&bundle, &SyntheticSpec { side: 96, ..SyntheticSpec::default() });
    let opened = Bundle::open(&bundle).expect("the bundle opens");
    let known = synthetic::profile(opened.manifest(), opened.digest(), &["A"], 99);
    write(&known, &profile, true).expect("the profile is written");
    let profile = CString::new(profile.to_str().expect("UTF-8")).expect("no NUL");
    fails_in_turn(&mut Buffers::new(bundle, Some(profile)));
}

/// What the CPU engine asks for before a run of a bundle that rten runs, how much of it is for the graph's values, and the
/// most that runs take.
fn run_on_rten(bundle: &Path) -> (i64, i64, i64) {
    let bundle = Bundle::open(bundle).expect("the bundle opens");
    let values = bundle.compose().expect("a graph").working_bytes as i64;
    let gpu = GpuConfig {
        library: None,
        search: false,
        uuid: None,
        plans: None,
        plan_digest: None,
        prebuilt_only: true,
        precision: PRECISION_DEFAULT,
        max_batch: 0,
        memory_limit: 0,
        private_plans: false,
    };
    let config = EngineConfig {
        kind: ENGINE_CPU,
        fallback: FALLBACK_NONE,
        cpu_lanes: 1,
        cpu_precision: CPU_PRECISION_FLOAT32,
        // Also a ViT, which has an engine of its own else.
        cpu_kernels: None,
        cpu_tuned: false,
        placement: Placement::default(),
        gpu,
    };
    let log = Arc::new(Log::new(None));
    let loader = Loader { config: &config, bundle: &bundle, log: &log, tell: &|_, _| Ok(()) };
    let engine = loader.cpu().unwrap_or_else(|refused| panic!("{}", refused.text())).engine;
    LANE.fetch_add(1, Ordering::SeqCst);
    let mut lane = engine.lane().unwrap_or_else(|failure| panic!("{failure:?}"));
    let side = bundle.manifest().side;
    let tile: Vec<u8> = (0..3 * side * side).map(|at| (90 + at * 7 % 130) as u8).collect();
    let mut outputs = [TileOutput::default()];
    HELD.store(0, Ordering::SeqCst);
    MOST.store(0, Ordering::SeqCst);
    MEASURED.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        lane.run(&[&tile], &mut outputs).unwrap_or_else(|failure| panic!("{failure:?}"));
    }
    MEASURED.store(false, Ordering::SeqCst);
    (engine.about().run_bytes as i64, values, MOST.load(Ordering::SeqCst))
}

/// Two convolutions whose operands, packed, are larger than all values of the graph.
fn wide_convolutions(net: &mut ModelWriter, spec: &SyntheticSpec) {
    let kernel = [("kernel_shape", Attribute::Ints(vec![7, 7])), ("pads", Attribute::Ints(vec![3; 4]))];
    net.ints("axes", &[2], &[2, 3]);
    for (name, from, to, channels) in [("first", "image", "one", 3), ("second", "one", "two", spec.embed_dim)] {
        let weight: Vec<f32> = (0..spec.embed_dim * channels * 49).map(|at| (at % 7) as f32 / 49.0 - 0.05).collect();
        net.floats(name, &[spec.embed_dim, channels, 7, 7], &weight);
        net.node("Conv", to, &[from, name], &[to], &kernel);
    }
    net.node("ReduceMean", "mean", &["two", "axes"], &["mean"], &[("keepdims", Attribute::Int(0))]);
}

/// What is asked for before a run of rten is at least what the run takes, and no multiple of it. A ViT's own kernels have
/// every buffer before a slide begins: what a run of theirs took beyond that would have failed above, where nobody could be
/// refused.
#[test]
fn a_run_stays_within_what_was_asked_for() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let bundle = folder("run");
    let small = SyntheticSpec::default();
    coverslip_testkit::onnx_bundle_of(&bundle, &small, wide_convolutions);
    let (asked, values, most) = run_on_rten(&bundle);
    coverslip_testkit::note(&format!("convolutions take {most} bytes of {asked} asked for, {values} for values"));
    assert!(most <= asked, "{most} bytes were taken, {asked} asked for");
    assert!(most > values, "{most} bytes were taken: what is asked for beside the {values} of values is not needed");

    let taps = vec![Tap {
        name: "last".into(),
        source: TapSource::Block { after_block: 1, final_norm: true },
        pooling: Pooling::ClassToken,
    }];
    let large = SyntheticSpec { side: 224, patch: 16, embed_dim: 384, heads: 6, taps, d_sae: 1536, ..small };
    coverslip_testkit::bundle_of(&bundle, &large);
    let (asked, values, most) = run_on_rten(&bundle);
    coverslip_testkit::note(&format!("a ViT takes {most} bytes of {asked} asked for, {values} for values"));
    assert!(most <= asked, "{most} bytes were taken, {asked} asked for");
    assert!(values < 8 * most, "{most} bytes were taken, {values} asked for");
}

/// Where the graph runs on rten, each run asks for its room.
#[test]
fn each_allocation_of_a_slide_on_rten_may_fail() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let bundle = folder("onnx");
    coverslip_testkit::onnx_bundle(&bundle);
    fails_in_turn(&mut Buffers::new(bundle, None));
}

/// A worker that is killed in mid-slide, as the system kills one where memory ends, is started again or its tiles fail.
#[test]
fn each_allocation_for_the_next_worker_may_fail() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let bundle = folder("worker");
    coverslip_testkit::bundle(&bundle);
    let mut buffers = Buffers { killed: true, ..Buffers::new(bundle, None) };
    for width in [1, u64::MAX] {
        let (refused, failed) = fail_in_turn(&mut buffers, width);
        assert_eq!(refused, 0, "the slide has begun");
        assert!(failed > 0, "{width} in a row: no tile failed");
    }
}
