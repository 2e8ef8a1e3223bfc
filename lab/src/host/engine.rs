//! Which engine runs the model, in the contract's terms.

use std::path::PathBuf;

#[derive(Clone, Debug, Default)]
pub(crate) struct EngineChoice {
    /// `COVERSLIP_ENGINE_*`.
    pub(crate) engine: i32,
    pub(crate) tensorrt_library: Option<PathBuf>,
    /// `COVERSLIP_ISOLATION_*`
    pub(crate) isolation: i32,
    pub(crate) plans: Option<PathBuf>,
    /// `COVERSLIP_PRECISION_*`.
    pub(crate) precision: i32,
    /// `COVERSLIP_CPU_PRECISION_*`.
    pub(crate) cpu_precision: i32,
    /// The file of `coverslip engine tune`.
    pub(crate) cpu_tuning: Option<PathBuf>,
    pub(crate) max_batch: u32,
}
