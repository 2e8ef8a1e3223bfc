//! `coverslip profile build`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use super::sampling::SamplingArgs;
use crate::profile::{self, BuildRequest};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// A scanner's id and its slides, as in --scanner A=a1.svs a2.svs --scanner B=b1.svs b2.svs; a directory is one
    /// slide of tiles
    #[arg(long = "scanner", value_name = "ID=SLIDE", required = true, num_args = 1..)]
    scanners: Vec<String>,
    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The scanners' slides are the same, in the same order, registered to each other
    #[arg(long, conflicts_with = "single")]
    paired: bool,
    /// There is one scanner: simulate what others would do to its slides; the profile says so
    #[arg(long)]
    single: bool,
    /// Shown to people: site, stain, date [default: the scanners' ids]
    #[arg(long)]
    name: Option<String>,
    /// Leave UNSTABLE uncalibrated, so that the calibration slides are played once instead of twice
    #[arg(long)]
    skip_unstable: bool,
    /// Use tiles and slides that do not seem to belong all the same; the profile says so
    #[arg(long)]
    keep_all: bool,
    /// Replace a profile that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
}

pub(super) fn run(args: Args, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let request = BuildRequest {
        setup: args.sampling.setup(None)?,
        sampling: args.sampling.sampling()?,
        scanners: args.scanners,
        out: args.out,
        paired: args.paired,
        single: args.single,
        name: args.name,
        skip_unstable: args.skip_unstable,
        keep_all: args.keep_all,
        force: args.force,
    };
    profile::build(&request, out)
}
