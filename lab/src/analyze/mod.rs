//! `coverslip analyze`: what embeddings and features say. Each analysis writes `DIR/<its name>.json`, which
//! `coverslip report` reads, and prints a table of at most 80 columns.

mod planted;
mod scanners;

use std::error::Error;

use clap::Subcommand;

/// Options of `coverslip analyze`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    analysis: Analysis,
}

#[derive(Debug, Subcommand)]
enum Analysis {
    /// Draw tiles with known counts of four kinds of nuclei: a control for the other analyses
    Planted(planted::Args),
    /// Measure how much of the embeddings is the scanner's, tap by tap, before and after corrections
    Scanners(Box<scanners::Args>),
}

/// What every analysis returns.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Runs `coverslip analyze`.
///
/// # Errors
/// Says what was expected, what was found and what to do.
pub(crate) fn run(args: Args) -> Outcome {
    let mut out = std::io::stdout().lock();
    match args.analysis {
        Analysis::Planted(args) => planted::run(&args, &mut out),
        Analysis::Scanners(args) => scanners::run(&args, &mut out),
    }
}
