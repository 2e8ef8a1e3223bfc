//! What the plugin makes of a GPU: tiles per second through the C ABI, as a ratio to TensorRT's own enqueue loop and to
//! two floors (the model's operations at the card's measured matrix rate, the pixels at the bus's measured rate), and
//! the latency of a scanner that keeps the GPU at 80 %.
//!
//! `COVERSLIP_GPU_TENSORRT=/path/to/libtensorrt_rtx.so.1 cargo bench --bench gpu`; `COVERSLIP_GPU_BUNDLE=DIR` for another
//! bundle than the demo. Without a library or a GPU it says so and measures nothing. `tools/gpu/run` calls it.
#![allow(clippy::print_stdout)]

#[path = "../tests/support/host.rs"]
mod host;

use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coverslip_bundle::{Bundle, ComposedGraph, Precision};
use coverslip_plugin_abi::*;
use coverslip_tensorrt::plan::{self, Batch, Progress, Recipe};
use coverslip_tensorrt::{Context, DeviceMemory, Engine, Library, Model, Runtime, Stream};
use cudarc::driver::{result, sys};
use host::{Picture, TestRuntime, open_with};

const BATCHES: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];
/// How long one figure is measured.
const WHILE: Duration = Duration::from_secs(2);

fn main() {
    let Some(path) = std::env::var_os("COVERSLIP_GPU_TENSORRT").filter(|path| !path.is_empty()).map(PathBuf::from)
    else {
        return println!("left out: COVERSLIP_GPU_TENSORRT does not name a TensorRT library");
    };
    let library = Library::load(&path).unwrap_or_else(|error| panic!("{error}"));
    if let Err(why) = library.driver() {
        return println!("left out: {why}");
    }
    let folder = std::env::var_os("COVERSLIP_GPU_BUNDLE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bundles/demo"), PathBuf::from);
    let bundle = Bundle::open(&folder).expect("the bundle opens");
    let card = Card::first();
    println!("{} {} on {}", library.flavor(), library.version(), card.name);
    let floors = floors(library, &card, &bundle);
    let best = throughput(library, &path, &card, &folder, &bundle, floors);
    latency(&path, &folder, &bundle, 0.8 * best);
}

// -- the card, without the plugin -----------------------------------------------------------------------------------

/// The first GPU, its primary context current on this thread, for as long as the process lives.
struct Card {
    name: String,
    stream: sys::CUstream,
}

impl Card {
    fn first() -> Card {
        result::init().expect("CUDA starts");
        let device = result::device::get(0).expect("a GPU");
        // SAFETY: the device is one of CUDA's; its context is never released.
        unsafe {
            let context = result::primary_ctx::retain(device).expect("its context");
            result::ctx::set_current(context).expect("its context");
        }
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).expect("a stream");
        Card { name: result::device::get_name(device).expect("its name"), stream }
    }

    /// Device memory that is never freed.
    fn memory(&self, bytes: usize) -> DeviceMemory {
        // SAFETY: allocated here, and nobody frees it.
        unsafe {
            let address = result::malloc_sync(bytes.max(1)).expect("device memory");
            DeviceMemory::from_raw(address, bytes as u64, Arc::new(()))
        }
    }

    fn stream(&self) -> Stream {
        // SAFETY: a stream that is never destroyed.
        unsafe { Stream::from_raw(self.stream.cast::<c_void>(), Arc::new(())) }
    }

    fn wait(&self) {
        // SAFETY: a live stream.
        unsafe { result::stream::synchronize(self.stream) }.expect("the GPU works");
    }

    /// Repeats `begin` until the time is over; seconds per repetition.
    fn seconds(&self, mut begin: impl FnMut()) -> f64 {
        (0..3).for_each(|_| begin());
        self.wait();
        let (start, mut times) = (Instant::now(), 0);
        while start.elapsed() < WHILE {
            (0..8).for_each(|_| begin());
            self.wait();
            times += 8;
        }
        start.elapsed().as_secs_f64() / f64::from(times)
    }

    /// Bytes per second from pinned memory to the device.
    fn bus(&self) -> f64 {
        const BYTES: usize = 64 << 20;
        // SAFETY: pinned memory and device memory of that size, which live until the process ends.
        let (pinned, device) = unsafe {
            let pinned = result::malloc_host(BYTES, 0).expect("pinned memory").cast::<u8>();
            pinned.write_bytes(1, BYTES);
            (std::slice::from_raw_parts(pinned, BYTES), result::malloc_sync(BYTES).expect("device memory"))
        };
        // SAFETY: as above; nothing else touches them.
        let copy = || unsafe { result::memcpy_htod_async(device, pinned, self.stream) }.expect("a copy");
        BYTES as f64 / self.seconds(copy)
    }
}

/// A plan for this machine's GPU, brought up.
fn engine(library: Library, onnx: &[u8], batch: Batch) -> Engine {
    let built = plan::build(library, &Recipe::new(Model::new(onnx), batch), &Progress::new());
    let built = built.unwrap_or_else(|error| panic!("{error}"));
    Runtime::new(library).and_then(|runtime| runtime.deserialize(&built.plan)).unwrap_or_else(|error| panic!("{error}"))
}

/// A context whose tensors all have memory for this batch.
fn context(card: &Card, engine: &Engine, batch: i64) -> Context {
    let mut context = engine.context().expect("a context");
    for input in engine.inputs() {
        let shape: Vec<i64> = input.shape.iter().map(|&extent| if extent < 0 { batch } else { extent }).collect();
        context.set_input_shape(&input.name, &shape).expect("a shape");
    }
    for tensor in context.inputs().into_iter().chain(context.outputs()) {
        let elements: i64 = tensor.shape.iter().product();
        context.bind(&tensor.name, &card.memory(4 * elements as usize)).expect("memory");
    }
    context
}

/// y = a · b in float16, 4096 wide.
fn product() -> (Vec<u8>, f64) {
    const SIDE: u64 = 4096;
    const FLOAT16: u64 = 10;
    let number = |field: u64, value: u64| [varint(field << 3), varint(value)].concat();
    let part = |field: u64, bytes: &[u8]| [varint(field << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat();
    let shape = [part(1, &number(1, SIDE)), part(1, &number(1, SIDE))].concat();
    let tensor = [number(1, FLOAT16), part(2, &shape)].concat();
    let value = |name: &str| [part(1, name.as_bytes()), part(2, &part(1, &tensor))].concat();
    let node = [part(1, b"a"), part(1, b"b"), part(2, b"y"), part(4, b"MatMul")].concat();
    let graph = [part(1, &node), part(2, b"product"), part(11, &value("a")), part(11, &value("b"))].concat();
    let graph = [graph, part(12, &value("y"))].concat();
    let opset = [part(1, b""), number(2, 17)].concat();
    ([number(1, 8), part(7, &graph), part(8, &opset)].concat(), 2.0 * (SIDE as f64).powi(3))
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

// -- the figures -----------------------------------------------------------------------------------------------------

/// Tiles per second that neither the card's matrix rate nor its bus lets anybody pass.
fn floors(library: Library, card: &Card, bundle: &Bundle) -> [f64; 2] {
    let (onnx, operations) = product();
    let engine = engine(library, &onnx, Batch { min: 1, opt: 1, max: 1 });
    let (mut context, stream) = (context(card, &engine, 1), card.stream());
    let rate = operations / card.seconds(|| context.enqueue(&stream).expect("a run"));
    let bus = card.bus();
    let manifest = bundle.manifest();
    let flops = manifest.flops_per_tile() as f64;
    let bytes = (3 * manifest.side * manifest.side) as f64;
    println!("float16 products: {:.1} TFLOP/s; pinned memory to the card: {:.1} GB/s", rate / 1e12, bus / 1e9);
    println!("{:.2} GFLOP and {:.0} kB a tile", flops / 1e9, bytes / 1e3);
    [rate / flops, bus / bytes]
}

/// The table; gives the plugin's best.
fn throughput(library: Library, path: &Path, card: &Card, folder: &Path, bundle: &Bundle, floors: [f64; 2]) -> f64 {
    let graph = bundle.compose_at(Precision::Float16).expect("a graph");
    assert!(graph.external.is_none(), "this bench takes graphs of less than 2 GiB");
    let engine = engine(library, &graph.onnx, Batch { min: 1, opt: 64, max: 64 });
    let input = engine.inputs().first().map(|input| input.name.clone());
    assert_eq!(input.as_deref(), Some(ComposedGraph::PIXELS));
    println!("batch    plugin  enqueue  plugin/enqueue  of the matrix floor  of the bus floor");
    let mut best = 0f64;
    for batch in BATCHES {
        let (mut context, stream) = (context(card, &engine, i64::from(batch)), card.stream());
        let bare = f64::from(batch) / card.seconds(|| context.enqueue(&stream).expect("a run"));
        let runtime = open(path, folder, batch);
        let tiles = ((bare * WHILE.as_secs_f64()) as u32).clamp(4 * batch, 20_000);
        play(&runtime, bundle, 2 * batch, None);
        let (plugin, _) = play(&runtime, bundle, tiles, None);
        best = best.max(plugin);
        println!(
            "{batch:>5} {plugin:>9.1} {bare:>8.1} {:>15.3} {:>20.3} {:>17.4}",
            plugin / bare,
            plugin / floors[0],
            plugin / floors[1]
        );
    }
    best
}

fn latency(path: &Path, folder: &Path, bundle: &Bundle, rate: f64) {
    let runtime = open(path, folder, 0);
    play(&runtime, bundle, 64, None);
    let tiles = ((rate * 5.0) as u32).clamp(64, 20_000);
    let (_, summary) = play(&runtime, bundle, tiles, Some(rate));
    println!(
        "at {rate:.1} tiles/s, 80 % of the best: latency p50 {:.2} ms, p99 {:.2} ms over {tiles} tiles",
        summary.latency_p50_ns as f64 / 1e6,
        summary.latency_p99_ns as f64 / 1e6
    );
}

fn open(path: &Path, folder: &Path, max_batch: u32) -> TestRuntime {
    let text = |path: &Path| CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    let (library, plans) = (text(path), text(&PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gpu-plans")));
    let runtime = open_with(folder, |desc| {
        desc.engine = ENGINE_TENSORRT;
        desc.tensorrt_library = library.as_ptr();
        desc.plan_cache_path = plans.as_ptr();
        (desc.max_batch, desc.max_threads) = (max_batch, 0);
    });
    runtime.unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

/// A row of tissue tiles, as fast as the plugin takes them or at a scanner's pace; tiles per second.
fn play(runtime: &TestRuntime, bundle: &Bundle, tiles: u32, pace: Option<f64>) -> (f64, SlideSummary) {
    let side = bundle.manifest().side as u32;
    let picture = Picture::tissue(side * 8, side, 1);
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(tiles) * u64::from(side), u64::from(side));
        (desc.max_frame_width, desc.max_frame_height) = (side, side);
    });
    let start = Instant::now();
    for i in 0..tiles {
        if let Some(rate) = pace {
            let due = Duration::from_secs_f64(f64::from(i) / rate);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let mut frame = picture.frame(i % 8 * side, 0, side, side);
        frame.x = i64::from(i) * i64::from(side);
        slide.submit_wait(&frame, NO_TIMEOUT).expect("room");
    }
    slide.finish(NO_TIMEOUT).expect("every tile ends");
    let rate = f64::from(tiles) / start.elapsed().as_secs_f64();
    let summary = slide.summary();
    assert_eq!(summary.results[TILE_DONE as usize], u64::from(tiles), "all are tissue, none failed");
    (rate, summary)
}
