//! `coverslip profile challenge`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use super::sampling::SamplingArgs;
use crate::profile::{self, ChallengeRequest};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Good slides that the profile has not seen
    #[arg(required = true)]
    slides: Vec<PathBuf>,
    /// The profile
    #[arg(long, value_name = "DIR")]
    profile: PathBuf,
    /// The scanner that took the slides, as the profile names it
    #[arg(long, value_name = "ID")]
    scanner: String,
    /// The folder for challenge.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only these faults [default: all]
    #[arg(long = "fault", value_name = "NAME")]
    faults: Vec<String>,
    /// Also let each fault begin in the middle of a slide, and count the tiles until an alert
    #[arg(long)]
    alerts: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
}

pub(super) fn run(args: Args, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let request = ChallengeRequest {
        setup: args.sampling.setup(Some(args.profile))?,
        sampling: args.sampling.sampling()?,
        slides: args.slides,
        scanner: args.scanner,
        out: args.out,
        faults: args.faults,
        alerts: args.alerts,
    };
    profile::challenge(&request, out)
}
