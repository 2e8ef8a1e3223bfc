//! Which engine the host wants, checked.

use std::path::PathBuf;

use coverslip_vit::Choice;

use coverslip_base::thread::Placement;

/// Which engine to open, and on what.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// `COVERSLIP_ENGINE_*`.
    pub kind: i32,
    /// `COVERSLIP_FALLBACK_*`.
    pub fallback: i32,
    /// Threads of the CPU engine.
    pub cpu_lanes: usize,
    /// `COVERSLIP_CPU_PRECISION_*`.
    pub cpu_precision: i32,
    /// The kernels of the CPU engine, where the processor has some; else rten chooses its own.
    pub cpu_kernels: Option<Choice>,
    /// The host has named a file that may override the table.
    pub cpu_tuned: bool,
    /// Where its threads run.
    pub placement: Placement,
    /// What concerns the GPU alone.
    pub gpu: GpuConfig,
}

/// What concerns the GPU alone.
#[derive(Clone, Debug)]
pub struct GpuConfig {
    /// TensorRT's library, an absolute path.
    pub library: Option<PathBuf>,
    /// The loader may search for it.
    pub search: bool,
    /// Which GPU; None: the first.
    pub uuid: Option<String>,
    /// The folder of the plans, or one plan.
    pub plans: Option<PathBuf>,
    /// sha256 of the plan's file.
    pub plan_digest: Option<[u8; 32]>,
    /// Never build a plan.
    pub prebuilt_only: bool,
    /// `COVERSLIP_PRECISION_*`.
    pub precision: i32,
    /// Tiles per batch; 0: the plan's.
    pub max_batch: u32,
    /// Bytes of the GPU's memory; 0: no limit.
    pub memory_limit: u64,
    /// Plans are taken only from where nobody else can write: a plan is code, and is not signed.
    pub private_plans: bool,
}
