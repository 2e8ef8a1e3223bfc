//! The command line: one subcommand per task.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{analyze, bundle, doctor, embed, install, plans, profile, report, sae, scan};

/// SAE features and QC flags for every tile of a slide, as it is scanned
#[derive(Parser, Debug)]
#[command(name = "coverslip", version, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// Play a slide through the plugin as a scanner would, and write what it found
    Scan(scan::Args),
    /// Build, inspect, verify and export model bundles
    Bundle(bundle::Args),
    /// Build, inspect, verify, compare and challenge scanner profiles
    Profile(profile::Args),
    /// What embeddings and features say: cell counts, scanners, controls
    Analyze(analyze::Args),
    /// Build GPU plans ahead of time, and show what a plan is
    Engine(plans::Args),
    /// Say what is here to run on: driver, GPUs, TensorRT, and what would be chosen
    Doctor(doctor::Args),
    /// Everything the analyses found, as one HTML file
    Report(report::Args),
    /// Write the embeddings of tiles, images and slides
    Embed(embed::Args),
    /// Train sparse autoencoders on embeddings, and measure them
    Sae(sae::Args),
    /// Install the library, its headers and what CMake and pkg-config need
    Install(install::Args),
}

/// Parses the process's arguments and does what they say.
pub fn run() -> ExitCode {
    let outcome = match Command::parse().task {
        Task::Scan(args) => scan::run(args),
        Task::Bundle(args) => bundle::run(args).map(|()| ExitCode::SUCCESS),
        Task::Profile(args) => profile::run(args).map(|()| ExitCode::SUCCESS),
        Task::Analyze(args) => analyze::run(args).map(|()| ExitCode::SUCCESS),
        Task::Engine(args) => plans::run(args),
        Task::Doctor(args) => doctor::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Report(args) => report::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Embed(args) => embed::run(args),
        Task::Sae(args) => sae::run(args),
        Task::Install(args) => install::run(args).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        // Nothing is left to do if stderr is gone.
        let _ = writeln!(std::io::stderr(), "coverslip: {error}");
        ExitCode::FAILURE
    })
}
