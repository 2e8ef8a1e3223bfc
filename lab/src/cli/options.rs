//! Which engine a command runs the model on, as a user says it.

use std::path::{Path, PathBuf};

use coverslip_plugin_abi as abi;

/// What runs the model
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct EngineArgs {
    /// What runs the model; auto takes TensorRT where it works, and an alert says so where it does not
    #[arg(long, value_enum, default_value_t = Engine::Cpu)]
    engine: Engine,
    /// TensorRT's library, an absolute path [default: where the loader looks]
    #[arg(long, value_name = "PATH")]
    tensorrt_library: Option<PathBuf>,
    /// The folder in which GPU plans are kept, or one plan of `coverslip engine build`, which is then used or nothing
    #[arg(long, value_name = "PATH")]
    plans: Option<PathBuf>,
    /// The precision on the GPU
    #[arg(long, value_enum, default_value_t = Precision::Float16)]
    precision: Precision,
    /// Tiles per batch on the GPU [default: the plan's, 32 when it is built]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    max_batch: u32,
}

/// The engines of the contract.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Cpu,
    Auto,
    #[value(name = "tensorrt")]
    TensorRt,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    #[value(name = "fp16", alias = "float16")]
    Float16,
    #[value(name = "bf16", alias = "bfloat16")]
    BFloat16,
    #[value(name = "fp32", alias = "float32")]
    Float32,
}

impl Engine {
    pub(crate) fn code(self) -> i32 {
        match self {
            Engine::Cpu => abi::ENGINE_CPU,
            Engine::Auto => abi::ENGINE_AUTO,
            Engine::TensorRt => abi::ENGINE_TENSORRT,
        }
    }
}

/// The contract's fields about engines.
#[derive(Clone, Debug, Default)]
pub(crate) struct EngineChoice {
    /// `COVERSLIP_ENGINE_*`.
    pub(crate) engine: i32,
    pub(crate) tensorrt_library: Option<PathBuf>,
    pub(crate) plans: Option<PathBuf>,
    /// `COVERSLIP_PRECISION_*`.
    pub(crate) precision: i32,
    pub(crate) max_batch: u32,
}

/// An engine with its defaults.
impl From<i32> for EngineChoice {
    fn from(engine: i32) -> Self {
        EngineChoice { engine, ..EngineChoice::default() }
    }
}

impl From<&EngineArgs> for EngineChoice {
    fn from(args: &EngineArgs) -> Self {
        // The plugin takes no path that depends on where the command is run.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        EngineChoice {
            engine: args.engine.code(),
            tensorrt_library: args.tensorrt_library.as_deref().map(absolute),
            plans: args.plans.as_deref().map(absolute),
            precision: match args.precision {
                Precision::Float16 => abi::PRECISION_FLOAT16,
                Precision::BFloat16 => abi::PRECISION_BFLOAT16,
                Precision::Float32 => abi::PRECISION_FLOAT32,
            },
            max_batch: args.max_batch,
        }
    }
}
