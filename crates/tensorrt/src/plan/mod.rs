//! From an ONNX model to a plan in one call: parse, configure, build, with progress and cancellation.

mod progress;

use std::sync::Arc;

pub use progress::Progress;

use crate::sys::{
    Builder, BuilderConfig, ComputeCapability, Error, Flavor, HostMemory, InputRange, Library, Model, Network, Result,
};

/// The batch sizes of a plan. They replace an input's open extents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Batch {
    /// The smallest, at least 1.
    pub min: u32,
    /// The one to optimise for.
    pub opt: u32,
    /// The largest.
    pub max: u32,
}

/// How to build a plan.
#[derive(Clone, Debug)]
pub struct Recipe<'r> {
    /// The graph. Networks are strongly typed, so its types determine the precision; float32 products are not rounded
    /// to TF32.
    pub model: Model<'r>,
    /// Ignored where the model's batch is fixed.
    pub batch: Batch,
    /// The compute capabilities to build for. If empty, the plan is for this machine's GPU, which must exist. RTX takes
    /// several; TensorRT builds for this machine's GPU only and refuses a list.
    pub targets: Vec<ComputeCapability>,
    /// Bytes of scratch memory that one layer may use; `None`: the library's choice.
    pub workspace: Option<usize>,
    /// The timing cache of an earlier build, empty for a new one; `None`: no cache. RTX measures nothing and ignores
    /// it.
    pub timing_cache: Option<&'r [u8]>,
    /// Threads of the build; `None`: the library's choice.
    pub max_threads: Option<u16>,
}

impl<'r> Recipe<'r> {
    /// A recipe for this machine's GPU; the rest is the library's choice.
    pub fn new(model: Model<'r>, batch: Batch) -> Self {
        Self { model, batch, targets: Vec::new(), workspace: None, timing_cache: None, max_threads: None }
    }
}

/// The result of a recipe.
#[derive(Debug)]
pub struct Built {
    /// The plan.
    pub plan: HostMemory,
    /// The timing cache for the next build on this machine, if the recipe had one.
    pub timing_cache: Option<HostMemory>,
}

/// Builds a plan on this thread, in seconds to minutes; TensorRT builds for the CUDA device that is current. Any thread
/// may query `progress`, and cancel the build through it.
///
/// # Errors
/// `Argument` for batch sizes out of order; `Parser` and `EmptyModel` for the model; `Unsupported` for a feature that
/// this library lacks; `NoDriver` where a GPU is required; `Cancelled`; `Build` with the library's log.
pub fn build(library: Library, recipe: &Recipe<'_>, progress: &Arc<Progress>) -> Result<Built> {
    let Batch { min, opt, max } = recipe.batch;
    if min == 0 || min > opt || opt > max {
        let why = format!("batch sizes {min}, {opt}, {max}: expected 1 ≤ smallest ≤ optimal ≤ largest");
        return Err(Error::Argument { why });
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
    let mut config = configure(library, &mut builder, &network, recipe)?;
    config.set_progress_monitor(progress.monitor());
    let plan = builder.build(&mut network, &mut config)?;
    progress.finish();
    Ok(Built { plan, timing_cache: config.timing_cache()? })
}

/// Whether this library builds for GPUs of a compute capability. TensorRT-RTX can be asked; TensorRT answers by its build.
///
/// # Errors
/// `Targets` where it does not, with the library's log.
pub fn accepts(library: Library, capability: ComputeCapability) -> Result<()> {
    match library.flavor() {
        Flavor::Enterprise => Ok(()),
        Flavor::Rtx => Builder::new(library)?.config()?.set_compute_capabilities(&[capability]),
    }
}

fn configure(library: Library, builder: &mut Builder, network: &Network, recipe: &Recipe<'_>) -> Result<BuilderConfig> {
    let mut config = builder.config()?;
    config.disable_tf32();
    if !recipe.targets.is_empty() {
        config.set_compute_capabilities(&recipe.targets)?;
    }
    if let Some(bytes) = recipe.workspace {
        config.set_workspace(bytes);
    }
    if let Some(blob) = recipe.timing_cache
        && library.flavor() == Flavor::Enterprise
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
