//! `coverslip sae`: train a sparse autoencoder on embeddings, and measure one.

mod checkpoint;
mod data;
mod eval;
mod files;
#[cfg(test)]
mod tests;
mod train;

use std::error::Error;
use std::process::ExitCode;

use clap::Subcommand;
pub(crate) use eval::{EvalReport, EvalRow};

/// Options of `coverslip sae`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train an SAE on the embeddings of a tap; writes SAELens' files
    Train(Box<train::Args>),
    /// FVU, L0, dead and dense features on held-out slides, beside as many principal components
    Eval(eval::Args),
}

/// Runs `coverslip sae`.
///
/// # Errors
/// Says what was expected, what was found and what to do.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    match args.command {
        Command::Train(args) => train::run(*args),
        Command::Eval(args) => eval::run(&args).map(|()| ExitCode::SUCCESS),
    }
}
