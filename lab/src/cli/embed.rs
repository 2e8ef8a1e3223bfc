//! `coverslip embed`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::value_parser;

use super::options::{EngineArgs, SlideArgs, checked_mpp};
use super::trust::TrustArgs;
use crate::embed::{self, Cutting, Field, Naming, Request, TokensAsked};
use crate::host::Setup;

#[derive(clap::Args, Debug, Clone)]
pub(super) struct Args {
    /// Slides, images, and directories of these
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// The model [default: bundles/demo of the workspace or of the installation]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The file to write: .safetensors (with a .csv beside it) or .parquet. A run that was cut off goes on
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that is there already, and the .csv beside it
    #[arg(long)]
    force: bool,
    /// Which part of an image is a tile
    #[arg(long, value_enum, default_value_t = Field::Grid)]
    field: Field,
    /// Micrometres per pixel; overrides the files
    #[arg(long, value_name = "UM")]
    mpp: Option<f64>,
    /// Take inputs that are more than 10 % coarser than the model, and enlarge their pixels
    #[arg(long)]
    stretch: bool,
    /// Embed tiles without tissue too
    #[arg(long)]
    background: bool,
    /// Images `SLIDE<SEPARATOR>REST.png` belong to SLIDE, the part before the last separator [default: each image is a
    /// slide of its own]
    #[arg(long, value_name = "SEPARATOR")]
    slide_separator: Option<String>,
    /// Write patch tokens of this tap, a row each, instead of pooled embeddings. The bundle's tap has the pooling
    /// `patch_tokens`
    #[arg(long, value_name = "TAP")]
    patch_tokens: Option<String>,
    /// Tokens that are drawn of each tile at random
    #[arg(long, value_name = "N", default_value_t = 16, requires = "patch_tokens", value_parser = value_parser!(u32).range(1..))]
    tokens_per_tile: u32,
    /// The same seed draws the same tokens
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "patch_tokens")]
    token_seed: u64,
    /// Name of the scanner, for the column `scanner`
    #[arg(long, value_name = "NAME", default_value = "")]
    scanner: String,
    /// The shared library [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    #[command(flatten)]
    which: SlideArgs,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Threads of the engine [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=256))]
    threads: Option<u32>,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let whole = embed::run(&Request {
        inputs: args.inputs,
        out: args.out,
        force: args.force,
        cutting: Cutting {
            selection: args.which.selection(),
            field: args.field,
            mpp: checked_mpp(args.mpp)?,
            stretch: args.stretch,
        },
        background: args.background,
        tokens: args.patch_tokens.map(|tap| TokensAsked {
            tap,
            per_tile: args.tokens_per_tile as usize,
            seed: args.token_seed,
        }),
        naming: Naming { slide_separator: args.slide_separator, scanner: args.scanner },
        setup: Setup {
            library: args.library,
            bundle: args.bundle,
            profile: None,
            trust: args.trust.trust()?,
            engine: args.engine.choice(),
            threads: args.threads.unwrap_or(0),
        },
    })?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(130) })
}
