//! `coverslip engine`: GPU plans, built before a scanner needs them.

mod build;
mod inspect;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use coverslip_tensorrt::Library;

/// Options of `coverslip engine`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a plan from a bundle; TensorRT-RTX needs no GPU for it
    Build(build::BuildArgs),
    /// Show what a plan was built from, and whether it fits a library
    Inspect {
        /// The plan, as `coverslip engine build` or the plugin wrote it
        plan: PathBuf,
        /// TensorRT's library, by an absolute path: asks it whether it would take the plan here
        #[arg(long, value_name = "FILE")]
        library: Option<PathBuf>,
    },
}

/// Runs `coverslip engine`; the exit code is 130 after Ctrl-C.
///
/// # Errors
/// Says what was expected, what was found and what to do.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    match args.command {
        Command::Build(args) => build::run(&args, &mut out),
        Command::Inspect { plan, library } => {
            let library = library.as_deref().map(load).transpose()?;
            write!(out, "{}", inspect::page(&plan, library)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// TensorRT at a path as people type it.
fn load(path: &std::path::Path) -> Result<Library, Box<dyn Error>> {
    Ok(Library::load(std::path::absolute(path)?)?)
}
