//! From an ONNX model to a plan in one call: parse, configure, build, with progress and cancel.
//!
//! ```no_run
//! use coverslip_tensorrt::plan::{self, Batch, Progress, Recipe};
//! use coverslip_tensorrt::{ComputeCapability, Library, Model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let library = Library::load("/opt/tensorrt/lib/libtensorrt_rtx.so.1")?;
//! let onnx = std::fs::read("model.onnx")?;
//! let mut recipe = Recipe::new(Model::new(&onnx), Batch { min: 1, opt: 16, max: 64 });
//! recipe.targets = vec![ComputeCapability::SM86, ComputeCapability::SM89];
//! let progress = Progress::new();
//! let built = plan::build(library, &recipe, &progress)?;
//! std::fs::write("model.plan", &built.plan)?;
//! # Ok(())
//! # }
//! ```

mod progress;

use std::sync::Arc;

pub use progress::Progress;

use crate::result::{Error, Result};
use crate::safe::{Builder, BuilderConfig, InputRange, Library, Model, Network};
use crate::sys::{BuilderFlag, ComputeCapability, Flavor, HostMemory, MemoryPoolType};

/// The batches that a plan takes: put where an input's extent is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Batch {
    /// The smallest, at least 1.
    pub min: u32,
    /// The one to be quickest at.
    pub opt: u32,
    /// The largest.
    pub max: u32,
}

/// What a plan is built from, and how.
#[derive(Clone, Debug)]
pub struct Recipe<'r> {
    /// The graph. Its types are the precision: networks are strongly typed.
    pub model: Model<'r>,
    /// Where the model's batch is fixed, this is not looked at.
    pub batch: Batch,
    /// The compute capabilities that the plan is for, of which TensorRT-RTX takes several; none: this machine's GPU,
    /// which must be there. TensorRT builds for this machine's GPU alone and refuses a list.
    pub targets: Vec<ComputeCapability>,
    /// Whether float32 products may be rounded to TF32's 11 bits. TensorRT's own default is yes, this one's no.
    pub tf32: bool,
    /// Bytes of device memory that one layer may use as scratch; `None`: the library's choice.
    pub workspace: Option<usize>,
    /// A timing cache to begin with (empty: a new one), for TensorRT; RTX measures nothing and ignores it. `None`: none.
    pub timing_cache: Option<&'r [u8]>,
    /// Threads that the build may use; `None`: the library's choice.
    pub max_threads: Option<u16>,
    /// Streams that a run may use beside its own; `None`: the library's choice.
    pub aux_streams: Option<u16>,
}

impl<'r> Recipe<'r> {
    /// A recipe for this machine's GPU, exact in float32, the rest as the library likes.
    pub fn new(model: Model<'r>, batch: Batch) -> Self {
        Self {
            model,
            batch,
            targets: Vec::new(),
            tf32: false,
            workspace: None,
            timing_cache: None,
            max_threads: None,
            aux_streams: None,
        }
    }
}

/// What came of a recipe.
#[derive(Debug)]
pub struct Built {
    /// The plan.
    pub plan: HostMemory,
    /// The timing cache for the next build on this machine, where the recipe began with one.
    pub timing_cache: Option<HostMemory>,
    /// Layers of the network, before anything was fused.
    pub layers: usize,
}

/// Builds a plan: seconds to minutes, on this thread, whose current CUDA device TensorRT builds for. `progress` can be
/// asked, and the build cancelled through it, from any thread.
///
/// # Errors
/// `Argument` for batches out of order; `Parser` and `EmptyModel` for the model; `Unsupported` for what this library
/// does not do; `NoDriver` where a GPU is needed; `Cancelled`; `Build` with the library's own words.
pub fn build(library: Library, recipe: &Recipe<'_>, progress: &Arc<Progress>) -> Result<Built> {
    let Batch { min, opt, max } = recipe.batch;
    if min == 0 || min > opt || opt > max {
        return Err(Error::Argument {
            why: format!("batches of {min} to {max}, quickest at {opt}: expected 1 ≤ smallest ≤ quickest ≤ largest"),
        });
    }
    progress.begin("parsing the model");
    let mut builder = Builder::new(library)?;
    if let Some(threads) = recipe.max_threads {
        builder.set_max_threads(threads)?;
    }
    let mut network = builder.network()?;
    network.parse(&recipe.model)?;
    if progress.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let mut config = configure(&mut builder, &network, recipe)?;
    config.set_progress_monitor(progress.monitor());
    let plan = builder.build(&mut network, &mut config)?;
    progress.finish();
    Ok(Built { plan, timing_cache: config.timing_cache()?, layers: network.layers() })
}

fn configure(builder: &mut Builder, network: &Network, recipe: &Recipe<'_>) -> Result<BuilderConfig> {
    let mut config = builder.config()?;
    config.set_flag(BuilderFlag::TF32, recipe.tf32);
    if !recipe.targets.is_empty() {
        config.set_compute_capabilities(&recipe.targets)?;
    }
    if let Some(bytes) = recipe.workspace {
        config.set_memory_pool_limit(MemoryPoolType::WORKSPACE, bytes);
    }
    if let Some(streams) = recipe.aux_streams {
        config.set_max_aux_streams(streams)?;
    }
    if let Some(blob) = recipe.timing_cache
        && builder.library().flavor() == Flavor::Enterprise
    {
        config.set_timing_cache(blob)?;
    }
    let Batch { min, opt, max } = recipe.batch;
    let inputs = network.inputs();
    let at =
        |shape: &[i64], batch: u32| shape.iter().map(|&e| if e < 0 { batch.into() } else { e }).collect::<Vec<_>>();
    let open: Vec<_> = inputs.iter().filter(|input| input.shape.iter().any(|extent| *extent < 0)).collect();
    let shapes: Vec<_> = open.iter().map(|input| [min, opt, max].map(|batch| at(&input.shape, batch))).collect();
    let ranges: Vec<_> = (open.iter().zip(&shapes))
        .map(|(input, [min, opt, max])| InputRange { input: &input.name, min, opt, max })
        .collect();
    if !ranges.is_empty() {
        config.add_profile(&builder.profile(&ranges)?)?;
    }
    Ok(config)
}
