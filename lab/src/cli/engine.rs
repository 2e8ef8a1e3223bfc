//! `coverslip engine`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use coverslip_bundle::Precision;
use coverslip_tensorrt::{ComputeCapability, Library};

use crate::engine::{self, Request};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a plan from a bundle; TensorRT-RTX needs no GPU for it
    Build(BuildArgs),
    /// Measure the CPU's kernels on this machine and write which are quickest: what hosts name in cpu_tuning_path
    Tune {
        /// The bundle's directory, of a ViT [default: bundles/demo of the workspace or of the installation]
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show what a plan was built from, and whether it fits a library
    Inspect {
        /// The plan, as `coverslip engine build` or the plugin wrote it
        plan: PathBuf,
        /// TensorRT's library, by an absolute path: asks it whether it would take the plan here
        #[arg(long, value_name = "FILE")]
        library: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct BuildArgs {
    /// The bundle's directory [default: bundles/demo of the workspace or of the installation]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// TensorRT's library: libtensorrt_rtx.so.1, libnvinfer.so.11 or libnvinfer.so.10
    #[arg(long, value_name = "FILE")]
    library: PathBuf,
    /// Precision of the model's products: fp16, bf16 or fp32. Norms, softmax and the SAE are float32; on Turing (sm75),
    /// where TensorRT-RTX has no float32 products, the SAE's products are float16
    #[arg(long, default_value_t = Precision::Float16)]
    precision: Precision,
    /// The largest batch, tiles; at most 256, the plugin's own limit
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=256))]
    max_batch: u32,
    /// The batch that should be fastest [default: the largest]
    #[arg(long, value_name = "N")]
    opt_batch: Option<u32>,
    /// The GPUs that the plan is for, such as sm86,sm89,sm120 (TensorRT-RTX) [default: this machine's first]
    #[arg(long, value_name = "SM", value_delimiter = ',')]
    target: Vec<ComputeCapability>,
    /// Threads of the builder [default: the library's choice]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// The file to write; an old one is replaced once the new one is whole
    #[arg(long, value_name = "PLAN")]
    out: PathBuf,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = crate::term::screen();
    match args.command {
        Command::Build(args) => {
            let request = Request {
                bundle: args.bundle,
                library: std::path::absolute(args.library)?,
                precision: args.precision,
                max_batch: args.max_batch,
                opt_batch: args.opt_batch,
                targets: args.target,
                threads: args.threads,
                out: args.out,
            };
            let built = engine::build(&request, &mut out)?;
            Ok(if built { ExitCode::SUCCESS } else { ExitCode::from(130) })
        }
        Command::Tune { bundle, out: path } => {
            engine::tune(bundle.as_deref(), &path, &mut out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Inspect { plan, library } => {
            let library = library.map(|path| Ok::<_, Box<dyn Error>>(Library::load(std::path::absolute(path)?)?));
            write!(out, "{}", engine::page(&plan, library.transpose()?)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
