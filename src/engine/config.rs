//! Which engine the host wants, checked.

use std::path::PathBuf;

use coverslip_vit::Choice;

use crate::thread::Placement;

/// Which engine to open, and on what.
#[derive(Clone, Debug)]
pub(crate) struct EngineConfig {
    /// `COVERSLIP_ENGINE_*`.
    pub(crate) kind: i32,
    /// `COVERSLIP_FALLBACK_*`.
    pub(crate) fallback: i32,
    /// Threads of the CPU engine.
    pub(crate) cpu_lanes: usize,
    /// `COVERSLIP_CPU_PRECISION_*`.
    pub(crate) cpu_precision: i32,
    /// The kernels of the CPU engine, where the processor has some; else rten chooses its own.
    pub(crate) cpu_kernels: Option<Choice>,
    /// The host has named a file that may override the table.
    pub(crate) cpu_tuned: bool,
    pub(crate) placement: Placement,
    pub(crate) gpu: GpuConfig,
}

/// What concerns the GPU alone.
#[derive(Clone, Debug)]
pub(crate) struct GpuConfig {
    /// TensorRT's library, an absolute path.
    pub(crate) library: Option<PathBuf>,
    /// The loader may search for it.
    pub(crate) search: bool,
    /// Which GPU; None: the first.
    pub(crate) uuid: Option<String>,
    /// The folder of the plans, or one plan.
    pub(crate) plans: Option<PathBuf>,
    /// sha256 of the plan's file.
    pub(crate) plan_digest: Option<[u8; 32]>,
    /// Never build a plan.
    pub(crate) prebuilt_only: bool,
    /// `COVERSLIP_PRECISION_*`.
    pub(crate) precision: i32,
    /// Tiles per batch; 0: the plan's.
    pub(crate) max_batch: u32,
    /// Bytes of the GPU's memory; 0: no limit.
    pub(crate) memory_limit: u64,
    /// Plans are taken only from where nobody else can write: a plan is code, and is not signed.
    pub(crate) private_plans: bool,
}
