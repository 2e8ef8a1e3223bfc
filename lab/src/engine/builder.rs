//! Builds a plan from a bundle, with TensorRT's library.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coverslip_bundle::{Bundle, ComposedGraph, PlanFile, PlanKey, PlanTarget, Precision};
use coverslip_tensorrt::plan::{self, Batch, Built, Progress, Recipe};
use coverslip_tensorrt::{ComputeCapability, Flavor, Gpu, Library, Model};

use crate::claim;
use crate::host::find_bundle;
use crate::term::{Line, bar, on_interrupt};

/// A plan to build.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// None: the demo bundle.
    pub(crate) bundle: Option<PathBuf>,
    /// TensorRT's library, an absolute path.
    pub(crate) library: PathBuf,
    pub(crate) precision: Precision,
    /// The largest batch, tiles.
    pub(crate) max_batch: u32,
    /// The batch that should be fastest; None: the largest.
    pub(crate) opt_batch: Option<u32>,
    /// None are named: this machine's first GPU.
    pub(crate) targets: Vec<ComputeCapability>,
    /// None: the library's choice.
    pub(crate) threads: Option<u16>,
    /// The file to write.
    pub(crate) out: PathBuf,
}

/// Builds and writes a plan. False: it was stopped by Ctrl-C.
///
/// # Errors
/// Where the library, the bundle or the GPUs do not fit together, or the file cannot be written or something else is in its
/// place.
pub(crate) fn run(request: &Request, out: &mut impl Write) -> Result<bool, Box<dyn Error>> {
    let began = Instant::now();
    let _claim = claim::output(&request.out, claim::PLAN, [&request.library])?;
    let mut line = Line::new();
    line.show("loading TensorRT");
    let library = Library::load(request.library.clone())?;
    let hardware = Hardware::of(library, &request.targets)?;
    line.show("reading the bundle");
    let bundle = Bundle::open(&find_bundle(request.bundle.as_deref())?)?;
    line.show("composing the graph");
    let target = hardware.plan_target(library);
    let key = PlanKey::new(&bundle, &target, request.precision, request.max_batch, request.opt_batch);
    let graph = match library.takes_weights_apart() {
        true => bundle.compose_apart(key.precision)?,
        false => bundle.compose_at(key.precision)?,
    };
    drop(bundle);

    let progress = Progress::new();
    let on_signal = progress.clone();
    on_interrupt(move || on_signal.cancel());
    let built = watched(&mut line, &progress, || build(library, graph, &hardware, &key, request.threads, &progress));
    line.clear();
    let built = match built {
        Err(coverslip_tensorrt::Error::Cancelled) => {
            writeln!(out, "stopped: {} was not written", request.out.display())?;
            return Ok(false);
        }
        built => built?,
    };
    let digest = PlanFile::write(&request.out, &key, &built.plan)?;
    let bytes = std::fs::metadata(&request.out)?.len();
    report(out, &request.out, &key, bytes, began.elapsed())?;
    writeln!(out, "sha256 {digest}")?;
    Ok(true)
}

/// The GPUs that a plan is built for.
struct Hardware {
    targets: Vec<ComputeCapability>,
    /// This machine's GPU, where the plan is for it.
    gpu: Option<String>,
}

impl Hardware {
    /// The named targets, or this machine's first GPU. TensorRT builds for that one alone.
    fn of(library: Library, named: &[ComputeCapability]) -> Result<Self, Box<dyn Error>> {
        if library.flavor() == Flavor::Rtx && !named.is_empty() {
            let mut targets = named.to_vec();
            targets.sort_by_key(|target| target.0);
            targets.dedup();
            if targets.len() > 1 && targets.contains(&ComputeCapability::SM75) {
                return Err("build for sm75 by itself: TensorRT-RTX has no float32 products there, so its graph is \
                            another one, and one plan for all would be slower on the others"
                    .into());
            }
            return Ok(Self { targets, gpu: None });
        }
        if !named.is_empty() {
            return Err("TensorRT builds for the GPU of the machine that it runs on: leave --target out and run this \
                        there, or give TensorRT-RTX's library"
                .into());
        }
        let first: Result<Option<Gpu>, _> = library.driver().map(|driver| driver.gpus().into_iter().next());
        match first {
            Ok(Some(gpu)) => Ok(Self { targets: vec![gpu.compute_capability], gpu: Some(gpu.name) }),
            Ok(None) => Err("the driver does not describe its GPU: name one, as in --target sm89".into()),
            Err(why) if library.flavor() == Flavor::Rtx => {
                Err(format!("name the GPUs to build for, as in --target sm86,sm89,sm120: there is none here ({why})")
                    .into())
            }
            Err(why) => Err(why.into()),
        }
    }

    fn plan_target(&self, library: Library) -> PlanTarget {
        PlanTarget {
            flavor: library.flavor().to_string(),
            version: library.version().to_string(),
            capabilities: self.targets.iter().map(ToString::to_string).collect(),
            gpu: self.gpu.clone(),
        }
    }
}

fn build(
    library: Library,
    graph: ComposedGraph,
    hardware: &Hardware,
    key: &PlanKey,
    threads: Option<u16>,
    progress: &Arc<Progress>,
) -> coverslip_tensorrt::Result<Built> {
    let weights = Arc::new(graph.external.unwrap_or_default());
    let model = Model::new(&graph.onnx).weights(&weights, &graph.external_tensors);
    let batch = Batch { min: key.min_batch, opt: key.opt_batch, max: key.max_batch };
    let targets = if library.flavor() == Flavor::Rtx { hardware.targets.clone() } else { Vec::new() };
    plan::build(library, &Recipe { max_threads: threads, targets, ..Recipe::new(model, batch) }, progress)
}

/// Runs `build` on a thread of its own, and shows its progress.
fn watched(
    line: &mut Line,
    progress: &Progress,
    build: impl FnOnce() -> coverslip_tensorrt::Result<Built> + Send,
) -> coverslip_tensorrt::Result<Built> {
    std::thread::scope(|scope| {
        let building = scope.spawn(build);
        while !building.is_finished() {
            line.show(&format!("building {}  {}", bar(progress.fraction()), progress.phase()));
            std::thread::sleep(Duration::from_millis(50));
        }
        building.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn report(out: &mut impl Write, path: &Path, key: &PlanKey, bytes: u64, took: Duration) -> std::io::Result<()> {
    writeln!(out, "{}: {:.1} MB in {:.1} s", path.display(), bytes as f64 / 1e6, took.as_secs_f64())?;
    writeln!(
        out,
        "{} for {}, batches of {} to {}, by {} {}",
        key.precision,
        key.targets.join(", "),
        key.min_batch,
        key.max_batch,
        key.flavor,
        key.version
    )
}
