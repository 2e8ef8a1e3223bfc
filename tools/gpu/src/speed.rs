//! Tiles per second through the C ABI, as ratios to TensorRT's own enqueue loop and to two floors (the model's operations at
//! the card's measured matrix rate, the pixels at the bus's measured rate), and the latency of a scanner that keeps the card
//! at 80 %.

use std::sync::Arc;
use std::time::Duration;

use coverslip_bundle::{Bundle, PlanFile};
use coverslip_tensorrt::plan::{self, Batch, Progress, Recipe};
use coverslip_tensorrt::{Context, CudaGraphStrategy, Engine, Flavor, Library, Model, Runtime};

use crate::cuda::{Card, Memory, Pinned, Stream};
use crate::figure::seconds;
use crate::outcome::Outcome;
use crate::page::cell;
use crate::play::{play, tiles_for};
use crate::product::product;
use crate::site::{MOST, On};

const BATCHES: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Slides at 80 % take so many of a figure's time.
const LATENCY: u32 = 4;

pub(crate) fn run(on: &On) -> Outcome {
    let library = on.tensorrt()?;
    let bundle = on.bundle()?;
    let on = on.with(on.plan()?);
    let card = Card::open()?;
    let stream = card.stream(card.priorities()?.0)?;
    println!("{}, {} {}, {}, float16:\n", bundle.manifest().name, library.flavor(), library.version(), card.name);
    let time = on.pace.of_a_figure();
    let floors = floors(library, &stream, &bundle, time);
    let best = throughput(&on, library, &stream, floors)?;
    latency(&on, 0.8 * best)
}

/// Tiles per second that neither the card's matrix rate nor its bus lets anybody pass; NaN where it could not be measured.
struct Floors {
    matrix: f64,
    bus: f64,
}

fn floors(library: Library, stream: &Arc<Stream>, bundle: &Bundle, time: Duration) -> Floors {
    let known = |what: &str, rate: Outcome<f64>| {
        rate.unwrap_or_else(|why| {
            println!("{what}: {why}\n");
            f64::NAN
        })
    };
    let rate = known("The card's matrix rate is not known", matrix_rate(library, stream, time));
    let bus = known("The bus's rate is not known", bus_rate(stream, time));
    let manifest = bundle.manifest();
    let (flops, bytes) = (manifest.flops_per_tile() as f64, (3 * manifest.side * manifest.side) as f64);
    println!(
        "float16 products {:.1} TFLOP/s, write-combined memory to the card {:.1} GB/s; {:.2} GFLOP and {:.0} kB a tile\n",
        rate / 1e12,
        bus / 1e9,
        flops / 1e9,
        bytes / 1e3
    );
    Floors { matrix: rate / flops, bus: bus / bytes }
}

/// Operations per second of one large product.
fn matrix_rate(library: Library, stream: &Arc<Stream>, time: Duration) -> Outcome<f64> {
    let (onnx, operations) = product();
    let recipe = Recipe::new(Model::new(&onnx), Batch { min: 1, opt: 1, max: 1 });
    let engine = Runtime::new(library)?.deserialize(&plan::build(library, &recipe, &Progress::new())?.plan)?;
    Ok(operations / enqueued(&engine, library, stream, 1, time)?)
}

/// Bytes per second from write-combined memory to the card.
fn bus_rate(stream: &Arc<Stream>, time: Duration) -> Outcome<f64> {
    const BYTES: usize = 64 << 20;
    let (mut pinned, memory) = (Pinned::new(BYTES, true)?, Memory::new(BYTES)?);
    Ok(BYTES as f64 / seconds(time, || Ok(stream.upload(&memory, pinned.bytes())?), || Ok(stream.wait()?))?)
}

/// Seconds of one run of the library's own enqueue loop: one stream, no copies, recorded graphs where RTX makes them.
fn enqueued(engine: &Engine, library: Library, stream: &Arc<Stream>, batch: u32, time: Duration) -> Outcome<f64> {
    let (mut context, _memory) = context(engine, library, batch)?;
    let on = stream.for_tensorrt();
    seconds(time, || Ok(context.enqueue(&on)?), || Ok(stream.wait()?))
}

/// A context whose tensors all have memory for this batch.
fn context(engine: &Engine, library: Library, batch: u32) -> Outcome<(Context, Vec<Arc<Memory>>)> {
    let mut context = if library.flavor() == Flavor::Rtx {
        let mut config = engine.runtime_config()?;
        config.set_cuda_graph_strategy(CudaGraphStrategy::WHOLE_GRAPH_CAPTURE)?;
        engine.context_by(&config)?
    } else {
        engine.context()?
    };
    for input in engine.inputs() {
        let shape: Vec<i64> = input.shape.iter().map(|&e| if e < 0 { i64::from(batch) } else { e }).collect();
        context.set_input_shape(&input.name, &shape)?;
    }
    let mut memory = Vec::new();
    for tensor in context.inputs().into_iter().chain(context.outputs()) {
        let elements: i64 = tensor.shape.iter().product();
        memory.push(Memory::new(4 * elements as usize)?);
        context.bind(&tensor.name, &memory[memory.len() - 1].for_tensorrt())?;
    }
    Ok((context, memory))
}

/// The table; gives the plugin's best. A batch that fails lets the others go on.
fn throughput(on: &On, library: Library, stream: &Arc<Stream>, floors: Floors) -> Outcome<f64> {
    let (file, _) = PlanFile::read(&on.plans)?;
    let engine = Runtime::new(library)?.deserialize(&file.plan)?;
    let time = on.pace.of_a_figure();
    println!("| batch | plugin, tiles/s | enqueue loop | plugin / enqueue | of the matrix floor | of the bus floor |");
    println!("|---|---|---|---|---|---|");
    let mut best = Ok(0f64);
    for batch in BATCHES.into_iter().filter(|&batch| batch <= file.key.max_batch.min(MOST)) {
        let bare = f64::from(batch) / enqueued(&engine, library, stream, batch, time)?;
        match through_the_plugin(on, batch, bare) {
            Ok(plugin) => {
                println!(
                    "| {batch} | {plugin:.1} | {bare:.1} | {:.3} | {:.3} | {:.4} |",
                    plugin / bare,
                    plugin / floors.matrix,
                    plugin / floors.bus
                );
                best = best.map(|best| best.max(plugin));
            }
            Err(why) => {
                println!(
                    "| {batch} | **failed**: {} | {bare:.1} | | {:.3} by the loop | |",
                    cell(&why),
                    bare / floors.matrix
                );
                best = Err(why);
            }
        }
    }
    println!();
    best
}

/// The plugin's tiles per second at this largest batch; `about`: what to expect.
fn through_the_plugin(on: &On, batch: u32, about: f64) -> Outcome<f64> {
    let runtime = on.open(|desc| desc.max_batch = batch)?;
    play(&runtime, 2 * batch, None)?;
    let rate = play(&runtime, tiles_for(about, on.pace.of_a_figure(), 4 * batch), None)?.rate;
    runtime.close(10_000)?;
    Ok(rate)
}

fn latency(on: &On, rate: f64) -> Outcome {
    let runtime = on.open(|_| ())?;
    play(&runtime, MOST, None)?;
    let tiles = tiles_for(rate, LATENCY * on.pace.of_a_figure(), MOST);
    let played = play(&runtime, tiles, Some(rate))?;
    println!(
        "At {rate:.1} tiles/s, 80 % of the best: latency p50 {:.2} ms, p99 {:.2} ms, submit p99 {:.3} ms, over {tiles} tiles.\n",
        played.summary.latency_p50_ns as f64 / 1e6,
        played.summary.latency_p99_ns as f64 / 1e6,
        played.submit_p99
    );
    Ok(runtime.close(10_000)?)
}
