//! Loads an engine and checks it with the bundle's reference tiles.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use coverslip_base::error::{Result, error, from_bundle};
use coverslip_base::log::Log;
use coverslip_base::memory::with_room;
use coverslip_bundle::{Architecture, Bundle, Tolerance};
use coverslip_plugin_abi as abi;
use coverslip_vit::Choice;

use crate::config::EngineConfig;
use crate::cpu::CpuEngine;
use crate::selfcheck::self_check;
use crate::vit::{self, VitEngine};
use crate::{Engine, Failure, Loss, Tell, tensorrt};

/// The self-check is repeated on TensorRT until a run that was recorded as a CUDA graph has passed it too.
const TENSORRT_ROUNDS: usize = 3;

/// An engine that has passed the self-check.
pub struct Checked {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The largest 1 − cosine of the self-check.
    pub worst: f64,
}

/// What an engine is loaded from.
pub struct Loader<'l> {
    /// Which engine, and on what.
    pub config: &'l EngineConfig,
    /// The model.
    pub bundle: &'l Bundle,
    /// Gets what the engine's library says.
    pub log: &'l Arc<Log>,
    /// Hears the progress.
    pub tell: &'l Tell<'l>,
}

impl Loader<'_> {
    /// The CPU engine. A ViT has kernels of its own. Every other graph, and every processor without kernels, has rten.
    ///
    /// # Errors
    /// SELF_CHECK_FAILED, OUT_OF_MEMORY, UNSUPPORTED, the bundle's, and what `tell` answers.
    pub fn cpu(&self) -> Result<Checked> {
        (self.tell)(abi::STAGE_COMPOSE, 0.0)?;
        for fault in Choice::faults() {
            self.log.write(abi::LOG_WARN, format_args!("{fault}"));
        }
        match (&self.bundle.manifest().architecture, self.config.cpu_kernels) {
            (Architecture::Vit(_), Some(choice)) => self.vit(choice),
            _ => self.rten(),
        }
    }

    /// TensorRT.
    ///
    /// # Errors
    /// Why it does not run here; a defect in it that was caught.
    pub fn tensorrt(&self) -> Result<Checked, Loss> {
        // A broken library or driver may cause a panic.
        catch_unwind(AssertUnwindSafe(|| self.checked_tensorrt())).unwrap_or_else(|_| {
            let error = error!(INTERNAL, "a defect was caught while TensorRT was loaded: report it");
            Err(Loss { reason: abi::REASON_DEFECT, error })
        })
    }

    fn vit(&self, choice: Choice) -> Result<Checked> {
        (self.tell)(abi::STAGE_ENGINE, 0.0)?;
        let engine = VitEngine::load(self.bundle, choice, self.config.cpu_lanes)?;
        let worst = self.check(&engine, vit::tolerance(choice), 1)?;
        Ok(Checked { engine: Arc::new(engine), worst })
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
        (self.tell)(abi::STAGE_ENGINE, 0.0)?;
        let engine = CpuEngine::load(graph, self.config.cpu_lanes, &self.config.placement)?;
        let worst = self.check(&engine, Tolerance::FLOAT32_ANYWHERE, 1)?;
        Ok(Checked { engine: Arc::new(engine), worst })
    }

    fn checked_tensorrt(&self) -> Result<Checked, Loss> {
        let engine = tensorrt::open(&self.config.gpu, self.bundle, self.log, self.tell)?;
        let tolerance = Tolerance::of(tensorrt::precision(&self.config.gpu));
        let worst = self.check(&engine, tolerance, TENSORRT_ROUNDS).map_err(|failure| match failure {
            Failure::Lost(loss) => loss,
            Failure::Batch(error) => Loss { reason: abi::REASON_SELF_CHECK_FAILED, error },
        })?;
        Ok(Checked { engine: Arc::new(engine), worst })
    }

    fn check(&self, engine: &dyn Engine, tolerance: Tolerance, rounds: usize) -> Result<f64, Failure> {
        let reference = self.bundle.reference().map_err(from_bundle)?;
        let mut lane = engine.lane()?;
        // All batches have one size, so that a lane records it.
        let most = engine.about().max_batch.clamp(1, reference.count.max(1));
        let batch = (1..=most).rev().find(|batch| reference.count.is_multiple_of(*batch)).unwrap_or(1);
        let mut worst = 0.0_f64;
        for round in 0..rounds {
            let mut on_tile = |part| (self.tell)(abi::STAGE_SELF_CHECK, (round as f64 + part) / rounds as f64);
            let manifest = self.bundle.manifest();
            worst = worst.max(self_check(&mut *lane, manifest, &reference, batch, tolerance, &mut on_tile)?);
        }
        Ok(worst)
    }
}
