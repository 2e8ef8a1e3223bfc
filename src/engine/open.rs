//! Picks the engine, loads it and checks it on a thread of its own.
//!
//! The host's thread is not used, for two reasons. rten makes one thread pool per process, which inherits processors and
//! priority from the first thread that uses it. CUDA makes a context current on every thread that calls it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use coverslip_bundle::{Architecture, Bundle, Tolerance};
use coverslip_plugin_abi as abi;
use coverslip_vit::Choice;
use crossbeam_channel::{Sender, bounded};

use super::config::EngineConfig;
use super::cpu::CpuEngine;
use super::duty::Duty;
use super::selfcheck::self_check;
use super::vit::{self, VitEngine};
use super::{Engine, Failure, Loss, tensorrt};
use crate::error::{Result, error, from_bundle};
use crate::log::Log;
use crate::memory::with_room;
use crate::thread::spawn;

/// The engines, checked.
pub(crate) struct Opened {
    pub(crate) duty: Duty,
    /// The largest 1 − cosine of the self-check.
    pub(crate) self_check_error: f64,
}

/// Tells the host the progress of the opening. An error from it ends the opening.
pub(crate) type OnProgress<'a> = dyn FnMut(i32, f64) -> Result<()> + 'a;

/// Opens what `config` asks for, or what takes its place; `report` is called on this thread.
pub(crate) fn open(
    config: &EngineConfig,
    bundle: &Arc<Bundle>,
    log: &Arc<Log>,
    report: &mut OnProgress<'_>,
) -> Result<Opened> {
    let (tell, progress) = bounded(1);
    let (done, result) = bounded(1);
    let thread = spawn("load".into(), &Arc::new(config.placement.clone()), {
        let (config, bundle, log) = (config.clone(), bundle.clone(), log.clone());
        move || {
            let loader = Loader { config, bundle, log, tell: Listener(tell) };
            let _ = done.send(loader.load());
        }
    })?;
    // Until the thread drops its sender.
    let heard = progress.iter().try_for_each(|(stage, part)| report(stage, part));
    drop(progress);
    let _ = thread.join();
    if let Err(stop) = heard {
        // The engine may be open already: the loader goes on while its last report is heard.
        if let Ok(Ok(opened)) = result.try_recv() {
            let _ = spawn("unload".into(), &Arc::new(config.placement.clone()), move || drop(opened));
        }
        return Err(stop);
    }
    result.try_recv().unwrap_or_else(|_| {
        Err(error!(INTERNAL, "a defect was caught while the engine loaded the graph: report it with the bundle"))
    })
}

/// Reports to the host from the thread that loads.
#[derive(Clone)]
struct Listener(Sender<(i32, f64)>);

impl Listener {
    /// Waits until the host has heard. Fails when the host has cancelled.
    fn tell(&self, stage: i32, part: f64) -> Result<()> {
        self.0.send((stage, part)).map_err(|_| error!(CANCELLED, "nobody listens"))
    }
}

/// The self-check is repeated on TensorRT until a run that was recorded as a CUDA graph has passed it too.
const TENSORRT_ROUNDS: usize = 3;

struct Loader {
    config: EngineConfig,
    bundle: Arc<Bundle>,
    log: Arc<Log>,
    tell: Listener,
}

/// An engine that has passed the self-check, and its largest 1 − cosine.
type Checked = (Arc<dyn Engine>, f64);

impl Loader {
    fn load(&self) -> Result<Opened> {
        if self.config.kind == abi::ENGINE_CPU {
            let (engine, worst) = self.cpu()?;
            return Ok(Opened { duty: Duty::new(engine, None, None), self_check_error: worst });
        }
        match self.tensorrt() {
            Ok((engine, worst)) => {
                // The spare is loaded and checked now, because a running slide leaves no time for it.
                let on_cpu = self.config.fallback == abi::FALLBACK_ON_CPU;
                let spare = if on_cpu { Some(self.cpu()?.0) } else { None };
                Ok(Opened { duty: Duty::new(engine, spare, None), self_check_error: worst })
            }
            Err(loss) if self.may_fall_back(&loss) => {
                let (engine, worst) = self.cpu()?;
                Ok(Opened { duty: Duty::new(engine, None, Some(loss)), self_check_error: worst })
            }
            Err(loss) => Err(loss.error),
        }
    }

    fn may_fall_back(&self, loss: &Loss) -> bool {
        self.config.kind == abi::ENGINE_AUTO
            && self.config.fallback != abi::FALLBACK_NONE
            && loss.error.code != abi::CANCELLED
    }

    /// A ViT has kernels of its own. Every other graph, and every processor without kernels, has rten.
    fn cpu(&self) -> Result<Checked> {
        self.tell.tell(abi::STAGE_COMPOSE, 0.0)?;
        match (&self.bundle.manifest().architecture, self.config.cpu_kernels) {
            (Architecture::Vit(_), Some(choice)) => self.vit(choice),
            _ => self.rten(),
        }
    }

    fn vit(&self, choice: Choice) -> Result<Checked> {
        self.tell.tell(abi::STAGE_ENGINE, 0.0)?;
        let engine = VitEngine::load(&self.bundle, choice, self.config.cpu_lanes)?;
        let worst = self.check(&engine, vit::tolerance(choice), 1)?;
        Ok((Arc::new(engine), worst))
    }

    fn rten(&self) -> Result<Checked> {
        if self.config.cpu_precision != abi::CPU_PRECISION_FLOAT32 {
            return Err(error!(
                UNSUPPORTED,
                "the bundle's model is an ONNX graph, which the CPU engine runs in float32 alone: set \
                 runtime_desc.cpu_precision to COVERSLIP_CPU_PRECISION_FLOAT32"
            ));
        }
        let manifest = self.bundle.manifest();
        let weights = usize::try_from(4 * (manifest.model_parameters() + manifest.sae_parameters()));
        let graph =
            with_room("the weights", weights.unwrap_or(usize::MAX), || self.bundle.compose())?.map_err(from_bundle)?;
        self.tell.tell(abi::STAGE_ENGINE, 0.0)?;
        let engine = CpuEngine::load(graph, self.config.cpu_lanes)?;
        let worst = self.check(&engine, Tolerance::FLOAT32_ANYWHERE, 1)?;
        Ok((Arc::new(engine), worst))
    }

    fn tensorrt(&self) -> Result<Checked, Loss> {
        // A broken library or driver may cause a panic.
        catch_unwind(AssertUnwindSafe(|| self.checked_tensorrt())).unwrap_or_else(|_| {
            let error = error!(INTERNAL, "a defect was caught while TensorRT was loaded: report it");
            Err(Loss { reason: abi::REASON_DEFECT, error })
        })
    }

    fn checked_tensorrt(&self) -> Result<Checked, Loss> {
        let tell = |stage, part| self.tell.tell(stage, part);
        let engine = tensorrt::open(&self.config.gpu, &self.bundle, &self.log, &tell)?;
        let tolerance = Tolerance::of(tensorrt::precision(&self.config.gpu));
        let worst = self.check(&engine, tolerance, TENSORRT_ROUNDS).map_err(|failure| match failure {
            Failure::Lost(loss) => loss,
            Failure::Batch(error) => Loss { reason: abi::REASON_SELF_CHECK_FAILED, error },
        })?;
        Ok((Arc::new(engine), worst))
    }

    fn check(&self, engine: &dyn Engine, tolerance: Tolerance, rounds: usize) -> Result<f64, Failure> {
        let reference = self.bundle.reference().map_err(from_bundle)?;
        let mut lane = engine.lane()?;
        // All batches have one size, so that a lane records it.
        let most = engine.about().max_batch.clamp(1, reference.count.max(1));
        let batch = (1..=most).rev().find(|batch| reference.count.is_multiple_of(*batch)).unwrap_or(1);
        let mut worst = 0.0_f64;
        for round in 0..rounds {
            let mut on_tile = |part| self.tell.tell(abi::STAGE_SELF_CHECK, (round as f64 + part) / rounds as f64);
            let manifest = self.bundle.manifest();
            worst = worst.max(self_check(&mut *lane, manifest, &reference, batch, tolerance, &mut on_tile)?);
        }
        Ok(worst)
    }
}
