//! Options of the profile commands that play slides.

use std::error::Error;
use std::path::PathBuf;

use super::super::options::{EngineArgs, checked_mpp};
use super::super::trust::TrustArgs;
use super::super::wrong_option::WrongOption;
use crate::host::Setup;
use crate::profile::Sampling;

#[derive(clap::Args, Debug, Clone)]
pub(super) struct SamplingArgs {
    /// The model
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// The shared library [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Micrometres per pixel of every slide; overrides the files
    #[arg(long, value_name = "UM")]
    mpp: Option<f64>,
    /// Threads of the engine [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,
    /// The most tiles that are kept of a slide, drawn from all of its tissue
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tiles_per_slide: u32,
    /// The same seed draws the same slides and tiles
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    trust: TrustArgs,
}

impl SamplingArgs {
    /// With a profile where one is given.
    pub(super) fn setup(&self, profile: Option<PathBuf>) -> Result<Setup, Box<dyn Error>> {
        Ok(Setup {
            library: self.library.clone(),
            bundle: Some(self.bundle.clone()),
            profile,
            trust: self.trust.trust()?,
            engine: self.engine.choice(),
            threads: self.threads.unwrap_or(0),
        })
    }

    pub(super) fn sampling(&self) -> Result<Sampling, WrongOption> {
        let mpp = checked_mpp(self.mpp)?;
        Ok(Sampling { mpp, tiles_per_slide: self.tiles_per_slide as usize, seed: self.seed })
    }
}
