//! The program of the GPU check kit: one step a call, each a part of a page in Markdown on the standard output.
//!
//! `tools/gpu/check` calls the steps in their order. The exit code is 0 where all of a step holds, 77 where the step is left
//! out (no driver, no GPU), else 1; the page says why.

#![allow(clippy::print_stdout, reason = "the page is what this program is for")]

mod bundles;
mod card;
#[path = "../../../tests/fake/computed.rs"]
mod computed;
mod cuda;
mod figure;
#[path = "../../../tests/support/host.rs"]
mod host;
mod layer;
mod lost;
mod memory;
mod neighbour;
mod outcome;
mod outputs;
mod page;
mod play;
mod product;
mod site;
mod speed;
mod standin;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use outcome::Stop;
use site::On;

/// What only a machine with a GPU can show, step by step
#[derive(Parser, Debug)]
#[command(name = "coverslip-gpu-check", version)]
struct Command {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand, Debug)]
enum Step {
    /// The first GPU and its driver
    Card,
    /// The compute capability of the first GPU, as in sm89
    Target,
    /// Whether this TensorRT takes the first GPU
    Takes {
        #[arg(long, value_name = "FILE")]
        library: PathBuf,
    },
    /// CUDA without TensorRT: contexts, streams, pinned memory, copies, events, recorded graphs, limits
    Cuda(site::Pace),
    /// A kernel that faults: what is lost with its context, and, with a library, what the plugin makes of it
    Lost {
        /// A TensorRT library, or its stand-in
        #[arg(long, value_name = "FILE", requires = "bundle")]
        library: Option<PathBuf>,
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
    },
    /// The whole plugin on the driver, with a stand-in for TensorRT that computes on the CPU
    StandIn(On),
    /// The engine in a process of its own, on a stand-in: every tile, killed, crashed, and with its context lost
    Worker {
        #[command(flatten)]
        on: On,
        /// The worker's program
        #[arg(long, value_name = "FILE")]
        worker: PathBuf,
    },
    /// Tiles per second and latency in a process of its own, against this process
    WorkerSpeed {
        #[command(flatten)]
        on: On,
        /// The worker's program
        #[arg(long, value_name = "FILE")]
        worker: PathBuf,
    },
    /// Writes a bundle of random weights
    Bundle {
        #[arg(long, value_enum)]
        size: bundles::Size,
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Every output against the CPU at each precision
    Outputs(On),
    /// Tiles per second for batches of 1 to 64, and latency at 80 % of the best
    Speed(On),
    /// What the plugin takes of the card's memory, and gives back
    Memory(On),
    /// Another process that takes the card's memory, then its time
    Neighbour(On),
    /// That other process: prints a line when it has what it wants, and ends with its standard input
    Hog(neighbour::Hog),
}

fn main() -> ExitCode {
    let done = match Command::parse().step {
        Step::Card => card::run(),
        Step::Target => card::target(),
        Step::Takes { library } => card::takes(&library),
        Step::Cuda(pace) => layer::run(pace),
        Step::Lost { library, bundle } => lost::run(library.as_deref().zip(bundle.as_deref())),
        Step::StandIn(on) => standin::run(&on),
        Step::Worker { on, worker } => worker::run(&on, &worker),
        Step::WorkerSpeed { on, worker } => worker::speed(&on, &worker),
        Step::Bundle { size, out } => bundles::run(size, &out),
        Step::Outputs(on) => outputs::run(&on),
        Step::Speed(on) => speed::run(&on),
        Step::Memory(on) => memory::run(&on),
        Step::Neighbour(on) => neighbour::run(&on),
        Step::Hog(hog) => neighbour::hog(&hog),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::LeftOut(why)) => {
            println!("left out: {why}");
            ExitCode::from(77)
        }
        Err(Stop::Failed(why)) => {
            println!("\n**failed**: {why}");
            ExitCode::FAILURE
        }
    }
}
