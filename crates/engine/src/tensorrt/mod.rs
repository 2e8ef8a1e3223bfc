//! TensorRT on the GPU.
//!
//! `device` finds the library and the GPU, `plans` a plan that fits, or `build` makes one; `signature` says what the
//! graph's inputs and outputs are; `lane` runs batches; `cuda` is all that they know of CUDA. Everything here happens on
//! threads of the plugin: the one that loads, the lanes, the one that unloads.

mod build;
mod cuda;
mod device;
mod lane;
mod plans;
mod private;
mod signature;

use std::path::PathBuf;

use coverslip_bundle::{Bundle, Manifest, PlanKey, PlanTarget, Precision};
use coverslip_plugin_abi as abi;
use coverslip_tensorrt as tensorrt;
use coverslip_tensorrt::{CudaGraphStrategy, Flavor, Library, RuntimeCache, RuntimeConfig, Severity};

use self::cuda::Device;
use self::device::unavailable;
use self::lane::{Bench, Pool, TensorRtLane, cuda_lost, lost};
use self::plans::{MOST_CACHE, Plan, Plans, no_graph, write_beside};
use self::signature::Signature;
use super::config::GpuConfig;
use super::{About, Engine, Failure, Lane, Loss, Tell};
use coverslip_base::error::error;
use coverslip_base::log::Log;
use coverslip_base::sync::{Arc, Mutex, PoisonError};

/// Two lanes: one copies while the other runs.
const LANES: usize = 2;
/// Tiles per batch of a plan that is built here, unless the host says otherwise.
const DEFAULT_BATCH: u32 = 32;

/// A plan on the GPU.
pub(super) struct TensorRtEngine {
    about: About,
    // Dropped in this order: the contexts, what made them, the engine, the device.
    pool: Arc<Pool>,
    by: Mutex<Option<RuntimeConfig>>,
    kept: Option<Kept>,
    signature: Arc<Signature>,
    engine: tensorrt::Engine,
    device: Arc<Device>,
}

/// What TensorRT-RTX has compiled, kept for the next start.
struct Kept {
    cache: Mutex<RuntimeCache>,
    path: PathBuf,
    before: Vec<u8>,
}

/// Why a plan is not on the GPU.
#[allow(clippy::large_enum_variant, reason = "lives from one call to the next, at open")]
enum Refusal {
    /// Another plan may work.
    Plan(String),
    Loss(Loss),
}

impl From<Loss> for Refusal {
    fn from(loss: Loss) -> Self {
        Refusal::Loss(loss)
    }
}

/// The precision that the host asks for.
pub(super) fn precision(config: &GpuConfig) -> Precision {
    match config.precision {
        abi::PRECISION_FLOAT32 => Precision::Float32,
        abi::PRECISION_BFLOAT16 => Precision::BFloat16,
        _ => Precision::Float16,
    }
}

/// Finds library and GPU, brings a plan onto the GPU and makes its lanes' contexts.
pub(super) fn open(
    config: &GpuConfig,
    bundle: &Bundle,
    log: &Arc<Log>,
    tell: &Tell<'_>,
) -> Result<TensorRtEngine, Loss> {
    let library = device::library(config)?;
    pass_on_log(library, log);
    let device = device::device(config)?;
    let plans = Plans::new(config, wanted(config, bundle, library, &device), log)?;
    let runtime = tensorrt::Runtime::new(library).map_err(|error| match error {
        tensorrt::Error::NoDriver(why) => unavailable!(REASON_NO_DRIVER, "{why}"),
        error => unavailable!(REASON_UNSUPPORTED_DEVICE, "TensorRT makes no runtime on {}: {error}", device.name),
    })?;
    let site = Site { config, manifest: bundle.manifest(), library, runtime, device };
    tell(abi::STAGE_ENGINE, 0.0).map_err(no_graph)?;
    if let Some(plan) = plans.find()? {
        match site.bring_up(&plan, &plans) {
            Ok(engine) => return Ok(engine),
            Err(Refusal::Plan(why)) => plans.give_up(&plan, &why)?,
            Err(Refusal::Loss(loss)) => return Err(loss),
        }
    }
    device::accepted(library, &site.device)?;
    let claim = plans.claim();
    let timings = plans.beside("timing", false);
    let bytes = build::build(library, bundle, plans.wanted(), timings.as_deref(), config.memory_limit, tell)?;
    let plan = plans.keep(bytes, claim);
    site.bring_up(&plan, &plans).map_err(|refusal| match refusal {
        Refusal::Plan(why) => unavailable!(REASON_PLAN_REFUSED, "the plan that was built does not work here: {why}"),
        Refusal::Loss(loss) => loss,
    })
}

/// TensorRT's warnings go to the host's log. With several runtimes open, the one opened last gets them.
fn pass_on_log(library: Library, log: &Arc<Log>) {
    let log = log.clone();
    library.on_log(Severity::WARNING, move |severity, text| {
        let level = if severity == Severity::WARNING { abi::LOG_WARN } else { abi::LOG_ERROR };
        log.write(level, format_args!("TensorRT: {text}"));
    });
}

/// The key that a plan must have.
fn wanted(config: &GpuConfig, bundle: &Bundle, library: Library, device: &Device) -> PlanKey {
    let prebuilt = config.prebuilt_only || config.plan_digest.is_some();
    let max_batch = match config.max_batch {
        // The plan that is found decides.
        0 if prebuilt || config.plans.as_deref().is_some_and(std::path::Path::is_file) => 1,
        0 => DEFAULT_BATCH,
        asked => asked,
    };
    let (major, minor) = device.capability;
    let target = PlanTarget {
        flavor: library.flavor().to_string(),
        version: library.version().to_string(),
        capabilities: vec![format!("sm{major}{minor}")],
        gpu: Some(device.name.clone()),
    };
    // Batches are full when it matters: the plan is fastest at the largest.
    PlanKey::new(bundle, &target, precision(config), max_batch, None)
}

/// Where a plan is brought up.
struct Site<'s> {
    config: &'s GpuConfig,
    manifest: &'s Manifest,
    library: Library,
    runtime: tensorrt::Runtime,
    device: Arc<Device>,
}

impl Site<'_> {
    fn bring_up(&self, plan: &Plan, plans: &Plans<'_>) -> Result<TensorRtEngine, Refusal> {
        let engine = self.runtime.deserialize(&plan.bytes).map_err(|error| match error {
            tensorrt::Error::PlanRefused { .. } => Refusal::Plan(error.to_string()),
            error => Refusal::Loss(lost(error)),
        })?;
        let max_batch = if self.config.max_batch == 0 { plan.key.max_batch } else { self.config.max_batch };
        let signature = Arc::new(Signature::new(self.manifest, max_batch.min(plan.key.max_batch) as usize));
        if let Some(why) = signature.misfit(&engine) {
            return Err(Refusal::Plan(why));
        }
        let lanes = self.lanes(&engine, &signature, plan.bytes.len())?;
        let (by, kept) = self.runtime_config(&engine, plans)?;
        let engine = TensorRtEngine {
            about: self.about(plan, &signature, lanes),
            pool: Arc::default(),
            by: Mutex::new(by),
            kept,
            signature,
            engine,
            device: self.device.clone(),
        };
        for _ in 0..lanes {
            engine.pool.put(engine.bench()?);
        }
        Ok(engine)
    }

    /// As many lanes as fit into the GPU's memory and the host's limit. The plan's weights are loaded already.
    fn lanes(&self, engine: &tensorrt::Engine, signature: &Signature, plan: usize) -> Result<usize, Loss> {
        let lane = engine.device_memory() + (signature.input_bytes() + signature.output_bytes()) as u64;
        let free = self.device.free_memory().map_err(cuda_lost)?;
        let limit = match self.config.memory_limit {
            0 => u64::MAX,
            limit => limit.saturating_sub(plan as u64),
        };
        let room = free.min(limit) / lane.max(1);
        match usize::try_from(room).unwrap_or(usize::MAX).min(LANES) {
            0 => {
                let mib = |bytes: u64| bytes >> 20;
                let error = error!(
                    OUT_OF_MEMORY,
                    "a lane on the GPU needs {} MiB beside the plan's {} MiB; {} MiB are free and gpu_memory_limit is \
                     {} MiB (0: none): free some, raise the limit or lower max_batch",
                    mib(lane),
                    mib(plan as u64),
                    mib(free),
                    mib(self.config.memory_limit)
                );
                Err(Loss { reason: abi::REASON_OUT_OF_MEMORY, error })
            }
            lanes => Ok(lanes),
        }
    }

    /// TensorRT-RTX records graphs by itself and caches what it compiles.
    fn runtime_config(
        &self,
        engine: &tensorrt::Engine,
        plans: &Plans<'_>,
    ) -> Result<(Option<RuntimeConfig>, Option<Kept>), Loss> {
        if self.library.flavor() != Flavor::Rtx {
            return Ok((None, None));
        }
        let mut by = engine.runtime_config().map_err(lost)?;
        by.set_cuda_graph_strategy(CudaGraphStrategy::WHOLE_GRAPH_CAPTURE).map_err(lost)?;
        let path = plans.beside("cache", true);
        let before =
            path.as_ref().and_then(|path| coverslip_files::read_at_most(path, MOST_CACHE).ok()).unwrap_or_default();
        let (cache, _) = by.set_runtime_cache(&before).map_err(lost)?;
        let kept = path.map(|path| Kept { cache: Mutex::new(cache), path, before });
        Ok((Some(by), kept))
    }

    fn about(&self, plan: &Plan, signature: &Signature, lanes: usize) -> About {
        About {
            kind: abi::ENGINE_TENSORRT,
            version: format!("{} {}", self.library.flavor(), self.library.version()),
            max_batch: signature.max_batch,
            lanes,
            shared_device: true,
            // Its buffers are made at open.
            run_bytes: 0,
            // What TensorRT and the driver take of the host's memory they do not say.
            memory_bytes: 0,
            precision: match plan.key.precision {
                Precision::Float32 => abi::PRECISION_FLOAT32,
                Precision::Float16 | Precision::Float16Sae => abi::PRECISION_FLOAT16,
                Precision::BFloat16 => abi::PRECISION_BFLOAT16,
            },
            driver: format!("CUDA {}", device::cuda_version(self.device.cuda_version)),
            gpu_uuid: self.device.uuid.clone(),
            plan_digest: plan.digest.as_ref().map_or([0; 32], |digest| digest.0),
            cpu_kernels: String::new(),
        }
    }
}

impl TensorRtEngine {
    /// Another context with its buffers.
    fn bench(&self) -> Result<Bench, Loss> {
        let by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        let context = match by.as_ref() {
            Some(by) => self.engine.context_by(by),
            None => self.engine.context(),
        };
        Bench::new(&self.device, context.map_err(lost)?, &self.signature, by.is_none())
    }
}

impl Engine for TensorRtEngine {
    fn lane(&self) -> Result<Box<dyn Lane>, Failure> {
        self.device.enter().map_err(cuda_lost)?;
        // A bench that was lost in a panic is made again.
        let bench = self.pool.take().map_or_else(|| self.bench(), Ok)?;
        Ok(Box::new(TensorRtLane::new(bench, &self.pool)?))
    }

    fn about(&self) -> &About {
        &self.about
    }
}

impl Drop for TensorRtEngine {
    /// On a thread of the plugin, when no lane runs any more.
    fn drop(&mut self) {
        let _ = self.device.enter();
        while let Some(bench) = self.pool.take() {
            drop(bench);
        }
        let Some(Kept { cache, path, before }) = &self.kept else { return };
        let cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(bytes) = cache.serialize()
            && *bytes != before[..]
        {
            write_beside(path, &bytes);
        }
    }
}
