//! Options that several commands share.

use std::path::{Path, PathBuf};

use coverslip_plugin_abi as abi;
use coverslip_slides::{ReaderKind, Selection};

use super::wrong_option::WrongOption;
use crate::embeddings::SlideColumn;
use crate::host::EngineChoice;

/// Which slide a tile is from
#[derive(clap::Args, Debug, Clone)]
pub(super) struct SlideColumnArg {
    /// The column of the embeddings' table that names the slide [default: slide, slide_id or sample_id]
    #[arg(long, value_name = "COLUMN")]
    slide_column: Option<String>,
}

impl SlideColumnArg {
    pub(super) fn column(&self) -> SlideColumn {
        SlideColumn::new(self.slide_column.clone())
    }
}

/// What runs the model
#[derive(clap::Args, Debug, Clone)]
pub(super) struct EngineArgs {
    /// What runs the model; auto takes TensorRT where it works, and an alert says so where it does not
    #[arg(long, value_enum, default_value_t = Engine::Cpu)]
    engine: Engine,
    /// TensorRT's library, an absolute path [default: where the loader looks]
    #[arg(long, value_name = "PATH")]
    tensorrt_library: Option<PathBuf>,
    /// The folder where GPU plans are kept, or one plan of `coverslip engine build`; then that plan is used or nothing
    #[arg(long, value_name = "PATH")]
    plans: Option<PathBuf>,
    /// The precision on the GPU
    #[arg(long, value_enum, default_value_t = Precision::Float16)]
    precision: Precision,
    /// The precision on the CPU: half and int8 are refused where the processor has no quick products of them, int8 also
    /// for a bundle that `bundle quantise` has not found near enough
    #[arg(long, value_enum, default_value_t = CpuPrecision::Float32)]
    cpu_precision: CpuPrecision,
    /// Where the model runs: auto runs TensorRT in a process of its own where coverslip-worker lies beside the library
    #[arg(long, value_enum, default_value_t = Isolation::Auto)]
    isolation: Isolation,
    /// The file of `coverslip engine tune` for this machine [default: kernels from a fixed table]
    #[arg(long, value_name = "FILE")]
    cpu_tuning: Option<PathBuf>,
    /// Tiles per batch on the GPU [default: the plan's, 32 when it is built]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    max_batch: Option<u32>,
}

/// The engines of the contract.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
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

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum CpuPrecision {
    #[value(name = "fp32", alias = "float32")]
    Float32,
    Half,
    Int8,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Isolation {
    Auto,
    /// In this process
    Never,
    /// In a process of its own, on the CPU too
    Always,
}

impl EngineArgs {
    pub(super) fn choice(&self) -> EngineChoice {
        // The plugin takes no path that depends on the folder where the command is run.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        EngineChoice {
            engine: match self.engine {
                Engine::Cpu => abi::ENGINE_CPU,
                Engine::Auto => abi::ENGINE_AUTO,
                Engine::TensorRt => abi::ENGINE_TENSORRT,
            },
            tensorrt_library: self.tensorrt_library.as_deref().map(absolute),
            plans: self.plans.as_deref().map(absolute),
            precision: match self.precision {
                Precision::Float16 => abi::PRECISION_FLOAT16,
                Precision::BFloat16 => abi::PRECISION_BFLOAT16,
                Precision::Float32 => abi::PRECISION_FLOAT32,
            },
            cpu_precision: match self.cpu_precision {
                CpuPrecision::Float32 => abi::CPU_PRECISION_FLOAT32,
                CpuPrecision::Half => abi::CPU_PRECISION_HALF,
                CpuPrecision::Int8 => abi::CPU_PRECISION_INT8,
            },
            isolation: match self.isolation {
                Isolation::Auto => abi::ISOLATION_AUTO,
                Isolation::Never => abi::ISOLATION_NEVER,
                Isolation::Always => abi::ISOLATION_ALWAYS,
            },
            cpu_tuning: self.cpu_tuning.as_deref().map(absolute),
            max_batch: self.max_batch.unwrap_or(0),
        }
    }
}

/// Which image of a file is read, and by what
#[derive(clap::Args, Debug, Clone)]
pub(super) struct SlideArgs {
    /// What reads the slide [default: Coverslip's own readers, and OpenSlide for what they do not read]
    #[arg(long, value_enum)]
    reader: Option<Reader>,
    /// One of several scenes of a file, by its number [default: the largest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    scene: Option<u32>,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Own,
    #[value(name = "openslide")]
    OpenSlide,
}

impl SlideArgs {
    pub(super) fn selection(&self) -> Selection {
        let reader = self.reader.map(|reader| match reader {
            Reader::Own => ReaderKind::Own,
            Reader::OpenSlide => ReaderKind::OpenSlide,
        });
        Selection { reader, scene: self.scene }
    }
}

/// `--mpp` in the range that the contract takes.
pub(super) fn checked_mpp(given: Option<f64>) -> Result<Option<f64>, WrongOption> {
    match given.filter(|mpp| !coverslip_slides::MPP_RANGE.contains(mpp)) {
        Some(mpp) => Err(WrongOption(format!("--mpp: expected 0.01 to 100 micrometres per pixel, found {mpp}"))),
        None => Ok(given),
    }
}
