//! The embedded CPU engine: rten. Every lane runs whole tiles on a pool of one thread, which is steadier than splitting
//! a tile over cores.

use std::sync::Arc;

use coverslip_bundle::ComposedGraph;
use coverslip_files::fence::fenced;
use coverslip_plugin_abi::{ENGINE_CPU, PRECISION_FLOAT32};
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::NdTensorView;

use super::outputs::{BatchOutputs, FeatureOutputs};
use super::{About, Engine, Failure, Lane, TileOutput};
use coverslip_base::error::{Result, error};
use coverslip_base::memory::{grow, reserve, with_room};
use coverslip_base::thread::{self, Placement, STACK};

/// Tiles per batch. A ViT's matrices are large enough with one tile, and a batch of one never waits for others.
const MAX_BATCH: usize = 1;

/// The graph in rten, shared by the lanes.
pub(crate) struct CpuEngine {
    model: Arc<Model>,
    names: Arc<Names>,
    about: About,
    /// Of the lanes' threads.
    placement: Placement,
}

/// The graph's inputs and outputs.
struct Names {
    side: usize,
    input: NodeId,
    /// The taps, then feature_index, feature_value, active_count, reconstruction_error.
    outputs: Vec<NodeId>,
    widths: Vec<usize>,
}

impl CpuEngine {
    /// `lanes`: threads that will run it, with this placement.
    pub(crate) fn load(graph: ComposedGraph, lanes: usize, placement: &Placement) -> Result<CpuEngine> {
        expect_pool(lanes)?;
        settle_pool(placement);
        let run_bytes = usize::try_from(graph.working_bytes).unwrap_or(usize::MAX).saturating_add(PACKED_BYTES);
        let unavailable = |what: &dyn std::fmt::Display| {
            error!(ENGINE_UNAVAILABLE, "rten does not run this bundle's graph: {what}; run `coverslip bundle verify`")
        };
        // The weights once more, packed, and the graph's nodes.
        let load_bytes = graph.onnx.len() + 2 * graph.external.as_ref().map_or(0, |weights| weights.len()) + LOAD_BYTES;
        let mut options = ModelOptions::with_all_ops();
        // Packing the weights ahead costs memory once and saves it in every lane.
        options.prepack_weights(true);
        if let Some(weights) = graph.external {
            options.external_data(ComposedGraph::EXTERNAL_FILE, weights);
        }
        let model = with_room("the CPU engine", load_bytes, || fenced(|| options.load(graph.onnx)))?;
        let model = model.map_err(|e| unavailable(&e))?.map_err(|e| unavailable(&e))?;
        let node = |name: &str| model.node_id(name).map_err(|e| unavailable(&e));
        let mut outputs = Vec::new();
        for tap in &graph.taps {
            outputs.push(node(&tap.name)?);
        }
        for name in ["feature_index", "feature_value", "active_count", "reconstruction_error"] {
            outputs.push(node(name)?);
        }
        let names = Names {
            side: graph.side,
            input: node(&graph.input)?,
            outputs,
            widths: graph.taps.iter().map(|tap| tap.width).collect(),
        };
        let about = About {
            kind: ENGINE_CPU,
            version: "rten 0.27".into(),
            max_batch: MAX_BATCH,
            lanes,
            run_bytes,
            memory_bytes: load_bytes.saturating_add(run_bytes.saturating_mul(lanes)) as u64,
            precision: PRECISION_FLOAT32,
            ..About::default()
        };
        Ok(CpuEngine { model: Arc::new(model), names: Arc::new(names), about, placement: placement.clone() })
    }
}

impl Engine for CpuEngine {
    fn lane(&self) -> Result<Box<dyn Lane>, Failure> {
        let pool = with_room("a pool of threads", POOL_BYTES, || Arc::new(ThreadPool::with_num_threads(1)))?;
        // Where the system starts no thread, a pool is none, and what is run on it runs on this thread.
        let settled = || {
            thread::settle(&self.placement);
            is_of_a_pool()
        };
        if !pool.run(settled) {
            return Err(error!(OUT_OF_MEMORY, "the system starts no thread for a lane: {MORE_THREADS}").into());
        }
        let lane = CpuLane {
            model: self.model.clone(),
            names: self.names.clone(),
            options: RunOptions::default().with_thread_pool(Some(pool)),
            staging: Vec::new(),
            room: self.about.all_runs(),
        };
        Ok(with_room("a lane", size_of::<CpuLane>(), || -> Box<dyn Lane> { Box::new(lane) })?)
    }

    fn about(&self) -> &About {
        &self.about
    }
}

/// What loading takes beside the weights.
const LOAD_BYTES: usize = 32 << 20;
/// The buffers into which a run's matrix products pack their operands.
const PACKED_BYTES: usize = 16 << 20;
/// What to do where the system starts no more threads.
const MORE_THREADS: &str = "lower max_threads, or raise the limit of threads (RLIMIT_NPROC, a container's pids)";
/// Largest stack of a thread that is worth its address space.
const MOST_STACK: usize = 1 << 30;
/// A pool of one thread, without its stack.
const POOL_BYTES: usize = 64 << 10;

/// rten names the threads of its pools.
fn is_of_a_pool() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("rten-"))
}

/// Refuses where rten's threads would have another stack than a graph of any depth needs: the standard library gives them
/// what the environment says.
fn expect_stack() -> Result<()> {
    let set = std::env::var("RUST_MIN_STACK").ok().and_then(|bytes| bytes.parse::<usize>().ok());
    match set.filter(|bytes| !(STACK..=MOST_STACK).contains(bytes)) {
        None => Ok(()),
        Some(bytes) => Err(error!(
            ENGINE_UNAVAILABLE,
            "the environment sets RUST_MIN_STACK to {bytes} bytes, which is the stack of the CPU engine's threads; expected \
             {STACK} to {MOST_STACK}: unset it"
        )),
    }
}

/// Starts the pool that rten makes once in a process, for loading, and refuses where the system does not start its threads:
/// rten would go on without a pool for as long as the process lives, and panic. So it is asked for only when it is seen
/// that there is room for it and for the `lanes`.
fn expect_pool(lanes: usize) -> Result<()> {
    expect_stack()?;
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    thread::expect_room(processors + lanes)?;
    if rten::thread_pool().run(is_of_a_pool) {
        return Ok(());
    }
    Err(error!(
        OUT_OF_MEMORY,
        "the system did not start the threads of the CPU engine, which are started once in a process: {MORE_THREADS}, \
         and start the process again"
    ))
}

/// On Windows a thread does not inherit the place of the one that starts it.
#[cfg(windows)]
fn settle_pool(placement: &Placement) {
    rten::thread_pool().run(|| rayon::broadcast(|_| thread::settle(placement)));
}

/// Its threads have inherited their place from the first one that used it.
#[cfg(not(windows))]
fn settle_pool(_: &Placement) {}

struct CpuLane {
    model: Arc<Model>,
    names: Arc<Names>,
    options: RunOptions,
    /// The batch's tiles, one after the other, when there is more than one.
    staging: Vec<u8>,
    /// What to ask for before a run.
    room: usize,
}

impl Lane for CpuLane {
    fn run(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<(), Failure> {
        let side = self.names.side;
        let pixels = if let [tile] = tiles {
            tile
        } else {
            self.staging.clear();
            grow(&mut self.staging, tiles.len() * 3 * side * side)?;
            tiles.iter().for_each(|tile| self.staging.extend_from_slice(tile));
            &self.staging[..]
        };
        let input = NdTensorView::from_data([tiles.len(), side, side, 3], pixels);
        let (model, names, options) = (&self.model, &self.names, &self.options);
        // rten cannot be refused memory.
        let found = with_room("the engine's runs", self.room, || {
            let run = || model.run(vec![(names.input, input.into())], &names.outputs, Some(options.clone()));
            fenced(run).map(|values| values.map(|values| Found::new(&names.widths, values)))
        })?;
        let found = found.map_err(|e| error!(INTERNAL, "rten failed on a tile: {e}"))?;
        let found = found.map_err(|e| error!(INTERNAL, "rten failed on a tile: {e}"))?;
        Ok(found.scatter(&names.widths, outputs)?)
    }
}

/// What rten gave.
struct Found {
    embeddings: Vec<Vec<f32>>,
    index: Vec<i32>,
    value: Vec<f32>,
    active: Vec<i32>,
    error: Vec<f32>,
}

impl Found {
    fn new(widths: &[usize], values: Vec<Value>) -> Found {
        let mut values = values.into_iter();
        Found {
            embeddings: widths.iter().map(|_| floats(values.next())).collect(),
            index: integers(values.next()),
            value: floats(values.next()),
            active: integers(values.next()),
            error: floats(values.next()),
        }
    }

    /// One record per tile.
    fn scatter(&self, widths: &[usize], outputs: &mut [TileOutput]) -> Result<()> {
        let mut embeddings = reserve(self.embeddings.len())?;
        embeddings.extend(self.embeddings.iter().map(Vec::as_slice));
        let features =
            FeatureOutputs { index: &self.index, value: &self.value, active: &self.active, error: &self.error };
        BatchOutputs { embeddings, features: Some(features) }.scatter(widths, outputs)
    }
}

/// Empty when the type differs: `BatchOutputs` then refuses its length.
fn floats(value: Option<Value>) -> Vec<f32> {
    value.and_then(|value| value.into_tensor::<f32>()).map(|tensor| tensor.into_data().to_vec()).unwrap_or_default()
}

fn integers(value: Option<Value>) -> Vec<i32> {
    value.and_then(|value| value.into_tensor::<i32>()).map(|tensor| tensor.into_data().to_vec()).unwrap_or_default()
}
