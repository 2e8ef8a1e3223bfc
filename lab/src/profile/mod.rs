//! `coverslip profile`: what a site's scanners look like to a bundle. Built from their slides, looked at, compared.

mod build;
mod calibrate;
mod challenge;
mod compare;
mod fit;
mod given;
mod inspect;
mod sample;
mod single;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use coverslip_bundle::Digest;
use coverslip_profile::Profile;

/// Options of `coverslip profile`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
        /// The profile that is the measure
        profile: PathBuf,
        /// The profile that is measured
        other: PathBuf,
    },
    /// Put simulated faults on good slides and say at which severity each flag sees them
    Challenge(Box<challenge::Args>),
}

/// What every command here returns.
type Outcome = Result<(), Box<dyn Error>>;

/// Runs `coverslip profile`.
///
/// # Errors
/// Says what was expected, what was found and what to do.
pub(crate) fn run(args: Args) -> Outcome {
    let mut out = std::io::stdout().lock();
    match args.command {
        Command::Build(args) => build::run(&args, &mut out),
        Command::Inspect { profile } => {
            let (profile, digest) = open(&profile)?;
            inspect::print(&mut out, &profile, digest)
        }
        Command::Verify { profile, bundle } => verify(&mut out, &profile, bundle.as_deref()),
        Command::Compare { profile, other } => {
            let (profile, _) = open(&profile)?;
            let (other, _) = open(&other)?;
            compare::print(&mut out, &profile, &other)
        }
        Command::Challenge(args) => challenge::run(&args, &mut out),
    }
}

fn open(path: &Path) -> Result<(Profile, Digest), Box<dyn Error>> {
    Profile::open(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn verify(out: &mut dyn Write, path: &Path, bundle: Option<&Path>) -> Outcome {
    let (profile, digest) = open(path)?;
    writeln!(out, "{}: digests, shapes and numbers are right; profile {digest}", path.display())?;
    match bundle {
        None => writeln!(out, "made for the bundle {} (not checked: give it with --bundle)", profile.bundle)?,
        Some(bundle) => {
            let opened = coverslip_bundle::Bundle::open(bundle)?;
            profile.check_bundle(opened.manifest(), opened.digest())?;
            writeln!(out, "made for this bundle: `{}`, {}", opened.manifest().name, opened.digest())?;
        }
    }
    Ok(())
}
