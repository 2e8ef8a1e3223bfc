//! The command line: one file or folder per command, with its options and the call into the topic's folder.

pub mod analyze;
pub mod bundle;
mod doctor;
mod embed;
mod engine;
mod install;
mod openslide;
mod options;
mod profile;
pub mod report;
pub mod sae;
mod scan;
mod sign;
mod trust;
#[cfg(target_os = "linux")]
mod validate;
mod wrong_option;

use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::term::{a_limit_is_an_error, screen, sentence};
use wrong_option::WrongOption;

/// SAE features and QC flags for every tile of a slide, as it is scanned
#[derive(Parser, Debug)]
#[command(name = "coverslip", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Play a slide through the plugin as a scanner would, and write what it found
    Scan(scan::Args),
    /// Build, inspect, verify and export model bundles
    Bundle(bundle::Args),
    /// Build, inspect, verify, compare and challenge scanner profiles
    Profile(profile::Args),
    /// Analyse embeddings and features: cell counts, scanners, controls
    Analyze(analyze::Args),
    /// Build GPU plans ahead of time, and show what a plan is
    Engine(engine::Args),
    /// Say what is here to run on: driver, GPUs, TensorRT, and what would be chosen
    Doctor(doctor::Args),
    /// Write everything the analyses found as one HTML file
    Report(report::Args),
    /// Write the embeddings of tiles, images and slides
    Embed(embed::Args),
    /// Train sparse autoencoders on embeddings, and measure them
    Sae(sae::Args),
    /// Sign bundles and profiles, and make the keys for it
    Sign(sign::Args),
    /// Install the library, its headers and what CMake and pkg-config need
    Install(install::Args),
    /// Read a slide for another command
    #[command(name = openslide::NAME, hide = true)]
    OpenSlide(openslide::Args),
    /// Check how a vendor's host keeps the contract
    #[cfg(target_os = "linux")]
    Validate(validate::Args),
}

/// The command line, to be walked through.
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// Parses the process's arguments and does what they say.
pub fn run() -> ExitCode {
    a_limit_is_an_error();
    openslide::stand_apart();
    let outcome = match CommandLine::parse().command {
        Command::Scan(args) => scan::run(args),
        Command::Bundle(args) => bundle::run(args).map(|()| ExitCode::SUCCESS),
        Command::Profile(args) => profile::run(args).map(|()| ExitCode::SUCCESS),
        Command::Analyze(args) => analyze::run(args, &mut screen()).map(|()| ExitCode::SUCCESS),
        Command::Engine(args) => engine::run(args),
        Command::Doctor(args) => doctor::run(args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(&args, &mut screen()).map(|()| ExitCode::SUCCESS),
        Command::Embed(args) => embed::run(args),
        Command::Sae(args) => sae::run(args, &mut screen()),
        Command::Sign(args) => sign::run(args).map(|()| ExitCode::SUCCESS),
        Command::Install(args) => install::run(args).map(|()| ExitCode::SUCCESS),
        Command::OpenSlide(args) => openslide::run(args).map(|()| ExitCode::SUCCESS),
        #[cfg(target_os = "linux")]
        Command::Validate(args) => validate::run(args),
    };
    outcome.unwrap_or_else(|error| {
        // Nothing is left to do if stderr is gone.
        let _ = writeln!(stderr(), "coverslip: {}", sentence(&error.to_string()));
        if error.is::<WrongOption>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}
