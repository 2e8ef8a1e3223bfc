//! `coverslip bundle`.

mod build;
pub mod label;
mod pooling;
mod quantise;
mod synthetic;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use coverslip_bundle::signature::Trust;
use coverslip_bundle::{Bundle, MANIFEST_FILE, Precision};
use coverslip_import::{OnnxFile, OnnxSpec};
use coverslip_vit::Choice;

use super::trust::Keys;
use crate::bundle;
use crate::sign::origin;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a bundle from a model's weights and an SAE
    Build(Box<build::Args>),
    /// Show what a bundle is, or which values of an ONNX model can be tapped
    Inspect {
        /// The bundle's directory, or an .onnx file
        bundle: PathBuf,
        /// Width and height of the model's input, px, where the ONNX file does not say
        #[arg(long, value_name = "PX")]
        img_size: Option<usize>,
        #[command(flatten)]
        keys: Keys,
    },
    /// Check digests and tensors and run the reference tiles again
    Verify {
        /// The bundle's directory
        bundle: PathBuf,
    },
    /// Write feature labels into a copy of a bundle, which gets a digest of its own
    Label(label::Args),
    /// Choose the layers that a CPU may run in int8, and measure what that costs
    Quantise(quantise::Args),
    /// Write the composed ONNX graph
    ExportOnnx {
        /// The bundle's directory
        bundle: PathBuf,
        /// Precision of the model's products: fp32, fp16 or bf16
        #[arg(long, default_value_t = Precision::Float32)]
        precision: Precision,
        /// Check the written file's structure, and with fp32 its outputs on the reference tiles
        #[arg(long)]
        check: bool,
        /// The file to write
        #[arg(long, default_value = "model.onnx")]
        out: PathBuf,
    },
    /// Run tiles through a bundle and write its outputs as safetensors
    Run {
        /// The bundle's directory
        bundle: PathBuf,
        /// Images, a directory of images, or a .safetensors with `tiles` u8 [n, side, side, 3]
        #[arg(long, required = true, num_args = 1..)]
        tiles: Vec<PathBuf>,
        /// The CPU engine's kernels, by their name, in place of rten: plain, avx2, avx512, avx512-bf16,
        /// avx512-fp16, neon or neon-fp16; before a blank, those of int8: plain-int8, avx-vnni, avx512-vnni or neon-dotprod
        #[arg(long, value_name = "KERNELS")]
        kernels: Option<Choice>,
        /// The file to write
        #[arg(long)]
        out: PathBuf,
    },
    /// Make a bundle with random weights, for tests and benches
    Synthetic(Box<synthetic::Args>),
}

pub(super) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut out = crate::term::screen();
    match args.command {
        Command::Build(args) => build::run(*args, &mut out),
        Command::Inspect { bundle: path, img_size, .. } if bundle::is_onnx(&path) => {
            let spec = OnnxSpec { img_size, ..OnnxSpec::default() };
            let file = OnnxFile::open(&path)?;
            let found = coverslip_import::candidates(&file, &spec, &mut coverslip_runner::load_probe)?;
            Ok(write!(out, "{}", bundle::candidates(&path.display().to_string(), &found))?)
        }
        Command::Inspect { bundle: path, keys, .. } => {
            let bundle = Bundle::open_trusted(&path, &Trust { keys: keys.read()?, required: false })?;
            Ok(write!(out, "{}", bundle::page(&bundle, &origin(&path, MANIFEST_FILE, bundle.signed()))?)?)
        }
        Command::Verify { bundle } => bundle::verify(&Bundle::open(&bundle)?, &mut out),
        Command::Quantise(args) => quantise::run(args, &mut out),
        Command::Label(args) => label::run(args, &mut out),
        Command::ExportOnnx { bundle: folder, precision, check, out: path } => {
            let bundle = Bundle::open(&folder)?;
            bundle::export((&bundle, &folder), precision, &path, &mut out)?;
            if check { bundle::check(&bundle, precision, &path, &mut out) } else { Ok(()) }
        }
        Command::Run { bundle: folder, tiles, kernels, out: path } => {
            bundle::run_tiles((&Bundle::open(&folder)?, &folder), &tiles, kernels, &path, &mut out)
        }
        Command::Synthetic(args) => synthetic::run(&args, &mut out),
    }
}
