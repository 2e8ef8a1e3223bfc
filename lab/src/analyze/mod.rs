//! `coverslip analyze`: what embeddings and features say. Each analysis writes `DIR/<its name>.json`, which
//! `coverslip report` reads, and prints a table of at most 80 columns.

pub(crate) mod compare;
pub(crate) mod counts;
pub(crate) mod depth;
pub(crate) mod features;
mod labels;
mod planted;
pub(crate) mod representation;
mod scanners;
mod study;
#[cfg(test)]
mod tests;
pub(crate) mod transfer;

use std::error::Error;
use std::path::Path;

use clap::Subcommand;

use coverslip_files::put;

/// Options of `coverslip analyze`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    analysis: Analysis,
}

#[derive(Debug, Subcommand)]
enum Analysis {
    /// Which features follow the counts of which cells, how surely, and what else does
    Counts(Box<counts::Args>),
    /// Two models on the same tiles
    Compare(Box<compare::Args>),
    /// Where in a model counts can be read, and where the scanner can
    Depth(Box<depth::Args>),
    /// Chosen on one data set, reported on another
    Transfer(Box<transfer::Args>),
    /// Where each feature fires most, how often, how strongly
    Features(features::Args),
    /// Draw tiles with known counts of four kinds of nuclei: a control for the other analyses
    Planted(planted::Args),
    /// Measure how much of the embeddings is the scanner's, tap by tap, before and after corrections
    Scanners(Box<scanners::Args>),
}

/// What can go wrong: a message for the user.
pub(crate) type Failure = Box<dyn Error>;

/// What every analysis returns.
pub(crate) type Outcome = Result<(), Failure>;

/// Runs `coverslip analyze`.
///
/// # Errors
/// Says what was expected, what was found and what to do.
pub(crate) fn run(args: Args) -> Outcome {
    let mut out = std::io::stdout().lock();
    match args.analysis {
        Analysis::Counts(args) => counts::run(&args, &mut out),
        Analysis::Compare(args) => compare::run(&args, &mut out),
        Analysis::Depth(args) => depth::run(&args, &mut out),
        Analysis::Transfer(args) => transfer::run(&args, &mut out),
        Analysis::Features(args) => features::run(&args, &mut out),
        Analysis::Planted(args) => planted::run(&args, &mut out),
        Analysis::Scanners(args) => scanners::run(&args, &mut out),
    }
}

/// Writes an analysis' result as `folder/name`.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn save(folder: &Path, name: &str, result: &impl serde::Serialize) -> Outcome {
    let path = folder.join(name);
    let mut text = serde_json::to_vec_pretty(result)?;
    text.push(b'\n');
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(put(&path, &text)?)
}
