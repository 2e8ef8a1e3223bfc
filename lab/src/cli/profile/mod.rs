//! `coverslip profile`.

mod build;
mod challenge;
mod sampling;

use std::error::Error;
use std::path::PathBuf;

use clap::Subcommand;
use coverslip_bundle::signature::Trust;
use coverslip_profile::PROFILE_FILE;

use super::trust::Keys;
use crate::profile;
use crate::sign::origin;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fit and calibrate a profile on good slides of each scanner
    Build(Box<build::Args>),
    /// Show what a profile knows, and how sure it is
    Inspect {
        /// The profile's directory
        profile: PathBuf,
        #[command(flatten)]
        keys: Keys,
    },
    /// Check a profile's digests and numbers, and that it belongs to a bundle
    Verify {
        /// The profile's directory
        profile: PathBuf,
        /// The bundle it is meant for
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
    },
    /// Say how far two profiles of one bundle lie apart: two scanners, or one scanner at two times
    Compare {
        /// The profile to measure by
        profile: PathBuf,
        /// The profile to measure
        other: PathBuf,
    },
    /// Put simulated faults on good slides and say from which severity on each flag detects them
    Challenge(Box<challenge::Args>),
}

pub(super) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut out = crate::term::screen();
    match args.command {
        Command::Build(args) => build::run(*args, &mut out),
        Command::Inspect { profile: path, keys } => {
            let trust = Trust { keys: keys.read()?, required: false };
            let (profile, digest, signed) = profile::open_trusted(&path, &trust)?;
            profile::inspect(&mut out, &profile, digest, &origin(&path, PROFILE_FILE, signed.as_ref()))
        }
        Command::Verify { profile, bundle } => profile::verify(&mut out, &profile, bundle.as_deref()),
        Command::Compare { profile, other } => {
            let (profile, _) = profile::open(&profile)?;
            let (other, _) = profile::open(&other)?;
            profile::compare(&mut out, &profile, &other)
        }
        Command::Challenge(args) => challenge::run(*args, &mut out),
    }
}
