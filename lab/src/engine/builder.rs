//! `coverslip engine build`.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coverslip_bundle::{Bundle, COMPOSER, ComposedGraph, PlanFile, PlanKey, Precision};
use coverslip_tensorrt::plan::{self, Batch, Built, Progress, Recipe};
use coverslip_tensorrt::{ComputeCapability, Flavor, Gpu, Library, Model};

use crate::scan;
use crate::scan::progress::Line;

/// Options of `coverslip engine build`.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    /// The bundle's directory [default: bundles/demo of the workspace or of the installation]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// TensorRT's library: libtensorrt_rtx.so.1 or libnvinfer.so.11
    #[arg(long, value_name = "FILE")]
    library: PathBuf,
    /// What the model's products are computed in: fp16, bf16 or fp32; norms, softmax and the SAE are float32 (but for
    /// the SAE's products on Turing, sm75, where TensorRT-RTX has no float32 products)
    #[arg(long, default_value_t = Precision::Float16)]
    precision: Precision,
    /// The largest batch, tiles; at most 256, the plugin's own limit
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=256))]
    max_batch: u32,
    /// The batch to be quickest at [default: the largest]
    #[arg(long, value_name = "N")]
    opt_batch: Option<u32>,
    /// The GPUs that it is for, such as sm86,sm89,sm120 (TensorRT-RTX) [default: this machine's first]
    #[arg(long, value_name = "SM", value_delimiter = ',')]
    target: Vec<ComputeCapability>,
    /// Threads of the builder [default: the library's choice]
    #[arg(long, value_name = "N")]
    threads: Option<u16>,
    /// The file to write; it is replaced when the new one is whole
    #[arg(long, value_name = "PLAN")]
    out: PathBuf,
}

/// Builds and writes a plan; the exit code is 130 after Ctrl-C.
pub(super) fn run(args: &BuildArgs, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let began = Instant::now();
    let mut line = Line::new();
    line.show("loading TensorRT");
    let library = super::load(&args.library)?;
    let site = Site::of(library, &args.target)?;
    line.show("reading the bundle");
    let bundle = Bundle::open(&scan::bundle_path(args.bundle.as_deref())?)?;
    line.show("composing the graph");
    let mut precision = args.precision;
    if library.flavor() == Flavor::Rtx && site.targets.contains(&ComputeCapability::SM75) {
        precision = precision.without_float32_products();
    }
    let graph = bundle.compose_apart(precision)?;
    let batch = batches(args, &graph);
    let key = key(&bundle, library, &site, precision, batch);
    drop(bundle);

    let progress = Progress::new();
    let on_signal = progress.clone();
    // Fails only where a handler exists already; then Ctrl-C ends the process, and nothing is half written.
    let _ = ctrlc::set_handler(move || on_signal.cancel());
    let built = watched(&mut line, &progress, || build(library, graph, &site, batch, args.threads, &progress));
    line.clear();
    let built = match built {
        Err(coverslip_tensorrt::Error::Cancelled) => {
            writeln!(out, "stopped: {} was not written", args.out.display())?;
            return Ok(ExitCode::from(130));
        }
        built => built?,
    };
    let digest = PlanFile::write(&args.out, &key, &built.plan)?;
    let bytes = std::fs::metadata(&args.out)?.len();
    report(out, &args.out, &key, bytes, began.elapsed())?;
    writeln!(out, "sha256 {digest}")?;
    Ok(ExitCode::SUCCESS)
}

/// What a plan is built for.
struct Site {
    targets: Vec<ComputeCapability>,
    /// Its one GPU, where a plan fits no other.
    gpu: Option<String>,
}

impl Site {
    /// The named targets, or this machine's first GPU, for which TensorRT builds.
    fn of(library: Library, named: &[ComputeCapability]) -> Result<Self, Box<dyn Error>> {
        if library.flavor() == Flavor::Rtx && !named.is_empty() {
            let mut targets = named.to_vec();
            targets.sort_by_key(|target| target.0);
            targets.dedup();
            if targets.len() > 1 && targets.contains(&ComputeCapability::SM75) {
                return Err("build for sm75 by itself: TensorRT-RTX has no float32 products there, so that its graph \
                            is another one, and a plan for it and others would be slower on all"
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
            Ok(Some(gpu)) => Ok(Self {
                targets: vec![gpu.compute_capability],
                gpu: (library.flavor() == Flavor::Enterprise).then_some(gpu.name),
            }),
            Ok(None) => Err("the driver does not describe its GPU: say for which to build, as in --target sm89".into()),
            Err(why) if library.flavor() == Flavor::Rtx => {
                Err(format!("say for which GPUs to build, as in --target sm86,sm89,sm120: here is none ({why})").into())
            }
            Err(why) => Err(why.into()),
        }
    }
}

/// From one tile to the largest batch; one where the model takes no more.
fn batches(args: &BuildArgs, graph: &ComposedGraph) -> Batch {
    let max = if graph.single_tile { 1 } else { args.max_batch };
    Batch { min: 1, opt: args.opt_batch.unwrap_or(max).clamp(1, max), max }
}

fn key(bundle: &Bundle, library: Library, site: &Site, precision: Precision, batch: Batch) -> PlanKey {
    PlanKey {
        bundle: bundle.digest(),
        composer: COMPOSER,
        precision,
        flavor: library.flavor().to_string(),
        version: library.version().to_string(),
        min_batch: batch.min,
        opt_batch: batch.opt,
        max_batch: batch.max,
        targets: site.targets.iter().map(ToString::to_string).collect(),
        gpu: site.gpu.clone(),
    }
}

fn build(
    library: Library,
    graph: ComposedGraph,
    site: &Site,
    batch: Batch,
    threads: Option<u16>,
    progress: &Arc<Progress>,
) -> coverslip_tensorrt::Result<Built> {
    let weights = Arc::new(graph.external.unwrap_or_default());
    let model = Model::new(&graph.onnx).weights(&weights, &graph.external_tensors);
    let mut recipe = Recipe { max_threads: threads, ..Recipe::new(model, batch) };
    if library.flavor() == Flavor::Rtx {
        recipe.targets = site.targets.clone();
    }
    plan::build(library, &recipe, progress)
}

/// Runs `build` on a thread of its own and keeps the line up to date.
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

/// `[######          ]  30 %`
fn bar(fraction: f64) -> String {
    const CELLS: usize = 24;
    let full = (fraction * CELLS as f64) as usize;
    format!("[{:CELLS$}] {:3.0} %", "#".repeat(full.min(CELLS)), 100.0 * fraction)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_wide_whatever_the_fraction() {
        assert_eq!(bar(0.0), format!("[{}]   0 %", " ".repeat(24)));
        assert_eq!(bar(0.5), format!("[{}{}]  50 %", "#".repeat(12), " ".repeat(12)));
        assert_eq!(bar(1.0), format!("[{}] 100 %", "#".repeat(24)));
    }
}
