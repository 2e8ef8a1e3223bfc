//! From the bundle to a plan for this machine's GPU; the host hears of the progress.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use coverslip_bundle::{Bundle, PlanKey};
use coverslip_plugin_abi as abi;
use coverslip_tensorrt as tensorrt;
use coverslip_tensorrt::plan::{self, Batch, Progress, Recipe};
use coverslip_tensorrt::{Library, Model};

use super::device::unavailable;
use super::plans::{MOST_CACHE, no_graph, write_beside};
use crate::{Loss, Tell};
use coverslip_base::error::{Result, error, from_bundle};
use coverslip_base::thread::{NAME_PREFIX, STACK};

/// How often a build reports to the host.
const NEWS: Duration = Duration::from_millis(100);

/// Builds what `key` says for the GPU that is current on this thread. `timings` is TensorRT's timing cache, kept for
/// the next build; `memory` bounds one layer's scratch, 0: not at all.
pub(super) fn build(
    library: Library,
    bundle: &Bundle,
    key: &PlanKey,
    timings: Option<&Path>,
    memory: u64,
    tell: &Tell<'_>,
) -> Result<Vec<u8>, Loss> {
    tell(abi::STAGE_COMPOSE, 0.0).map_err(no_graph)?;
    let composed = match library.takes_weights_apart() {
        true => bundle.compose_apart(key.precision),
        false => bundle.compose_at(key.precision),
    };
    let mut graph = composed.map_err(|e| no_graph(from_bundle(e)))?;
    let weights = graph.external.take().map(Arc::new);
    let mut model = Model::new(&graph.onnx);
    if let Some(weights) = &weights {
        model = model.weights(weights, &graph.external_tensors);
    }
    // A cache that cannot be read is made again.
    let known = timings.and_then(|path| coverslip_files::read_at_most(path, MOST_CACHE).ok()).unwrap_or_default();
    let mut recipe = Recipe::new(model, Batch { min: key.min_batch, opt: key.opt_batch, max: key.max_batch });
    recipe.timing_cache = Some(&known);
    recipe.workspace = (memory > 0).then(|| usize::try_from(memory).unwrap_or(usize::MAX));
    let built = watched(tell, |progress| plan::build(library, &recipe, progress)).map_err(refused)?;
    if let (Some(path), Some(timings)) = (timings, &built.timing_cache) {
        write_beside(path, timings);
    }
    Ok(built.plan.to_vec())
}

/// Runs `work` while another thread tells the host how far it is, and stops it when the host no longer listens.
fn watched<T>(tell: &Tell<'_>, work: impl FnOnce(&Arc<Progress>) -> T) -> T {
    let progress = Progress::new();
    let over = AtomicBool::new(false);
    let watch = || {
        while !over.load(Ordering::Acquire) {
            if tell(abi::STAGE_ENGINE, progress.fraction()).is_err() {
                return progress.cancel();
            }
            std::thread::park_timeout(NEWS);
        }
    };
    std::thread::scope(|scope| {
        // If no thread can be started, the host hears nothing until the end.
        let watcher = std::thread::Builder::new()
            .name(format!("{NAME_PREFIX}watch"))
            .stack_size(STACK)
            .spawn_scoped(scope, watch);
        let _over = Over { over: &over, watcher: watcher.ok().map(|watcher| watcher.thread().clone()) };
        work(&progress)
    })
}

/// Lets the watcher end, also when a panic ends the work: the scope waits for both.
struct Over<'o> {
    over: &'o AtomicBool,
    watcher: Option<Thread>,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.watcher.iter().for_each(Thread::unpark);
    }
}

fn refused(error: tensorrt::Error) -> Loss {
    match error {
        tensorrt::Error::Cancelled => {
            no_graph(error!(CANCELLED, "the progress callback asked to stop while the plan was built"))
        }
        tensorrt::Error::NoDriver(why) => unavailable!(REASON_NO_DRIVER, "{why}"),
        error => unavailable!(REASON_PLAN_REFUSED, "no plan could be built: {error}"),
    }
}
