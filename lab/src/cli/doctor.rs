//! `coverslip doctor`.

use std::error::Error;
use std::path::PathBuf;

use coverslip_plugin_abi as abi;

use super::trust::TrustArgs;
use crate::doctor;
use crate::host::{EngineChoice, Setup};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// TensorRT's library: libtensorrt_rtx.so.1, libnvinfer.so.11 or libnvinfer.so.10 [default: what the loader finds]
    #[arg(long, value_name = "FILE")]
    tensorrt: Option<PathBuf>,
    /// The bundle to ask about [default: bundles/demo of the workspace or of the installation]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The file of `coverslip engine tune` that the host names
    #[arg(long, value_name = "FILE")]
    cpu_tuning: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    /// The shared library [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let tensorrt_library = args.tensorrt.map(std::path::absolute).transpose()?;
    let cpu_tuning = args.cpu_tuning.map(std::path::absolute).transpose()?;
    let engine = EngineChoice { engine: abi::ENGINE_AUTO, tensorrt_library, cpu_tuning, ..EngineChoice::default() };
    let trust = args.trust.trust()?;
    doctor::run(&Setup { library: args.library, bundle: args.bundle, profile: None, trust, engine, threads: 0 })
}
