//! `coverslip bundle`: build, inspect, verify and export the model as one artefact.

mod build;
mod candidates;
mod check;
mod engine;
#[cfg(test)]
mod golden;
mod inspect;
mod label;
mod synthetic;
mod tiles;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
use coverslip_bundle::{Agreement, Bundle, ComposedGraph, Precision, ReferenceOutputs, Tolerance};
use coverslip_import::{OnnxFile, OnnxSpec};

/// Options of `coverslip bundle`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a bundle from a ViT in timm's names and an SAE in SAELens' files
    Build(Box<build::BuildArgs>),
    /// Show what a bundle is, or which values of an ONNX model could be tapped
    Inspect {
        /// The bundle's directory, or an .onnx file
        bundle: PathBuf,
        /// Width and height of the model's input, px, where the ONNX file does not say
        #[arg(long, value_name = "PX")]
        img_size: Option<usize>,
    },
    /// Check digests and tensors and run the reference tiles again
    Verify {
        /// The bundle's directory
        bundle: PathBuf,
    },
    /// Write what features mean into a copy of a bundle, which gets a digest of its own
    Label(label::LabelArgs),
    /// Write the composed ONNX graph
    ExportOnnx {
        /// The bundle's directory
        bundle: PathBuf,
        /// What the model's products are computed in: fp32, fp16 or bf16
        #[arg(long, default_value_t = Precision::Float32)]
        precision: Precision,
        /// Check the written file's structure, and (of fp32) its outputs against the reference tiles
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
        /// The file to write
        #[arg(long)]
        out: PathBuf,
    },
    /// Make a bundle with random weights, for tests and benches
    Synthetic(Box<synthetic::SyntheticArgs>),
}

/// What every command here returns.
type Outcome = Result<(), Box<dyn Error>>;

/// Runs `coverslip bundle`.
///
/// # Errors
/// Says what was expected, what was found and what to do.
pub(crate) fn run(args: Args) -> Outcome {
    let mut out = std::io::stdout().lock();
    match args.command {
        Command::Build(args) => build::run(&args, &mut out),
        Command::Inspect { bundle: path, img_size } if build::model::is_onnx(&path) => {
            let spec = OnnxSpec { img_size, ..OnnxSpec::default() };
            let found = coverslip_import::candidates(&OnnxFile::open(&path)?, &spec, &mut engine::load_probe)?;
            Ok(write!(out, "{}", candidates::page(&path.display().to_string(), &found))?)
        }
        Command::Inspect { bundle, .. } => {
            let bundle = Bundle::open(&bundle)?;
            Ok(write!(out, "{}", inspect::page(&bundle)?)?)
        }
        Command::Verify { bundle } => verify(&Bundle::open(&bundle)?, &mut out),
        Command::Label(args) => label::run(&args, &mut out),
        Command::ExportOnnx { bundle, precision, check, out: path } => {
            let bundle = Bundle::open(&bundle)?;
            export(&bundle.compose_at(precision)?, &path, &mut out)?;
            if check { check::run(&bundle, precision, &path, &mut out) } else { Ok(()) }
        }
        Command::Run { bundle, tiles, out: path } => {
            let bundle = Bundle::open(&bundle)?;
            let tiles = tiles::read(&tiles, bundle.manifest().side)?;
            let outputs = run_tiles(&bundle, &tiles.pixels)?;
            write_file(&path, &to_safetensors(&tensors(&bundle, &outputs))?)?;
            Ok(writeln!(out, "{}: outputs for {} tiles", path.display(), outputs.count)?)
        }
        Command::Synthetic(args) => synthetic::run(&args, &mut out),
    }
}

/// Everything was verified by opening; what is left is whether this machine computes the same.
fn verify(bundle: &Bundle, out: &mut impl Write) -> Outcome {
    let manifest = bundle.manifest();
    writeln!(out, "{}", bundle.digest())?;
    writeln!(out, "{} files have the stated sizes and sha256", manifest.files.len())?;
    writeln!(out, "all tensors are there, in shape and finite")?;
    let reference = bundle.reference()?;
    let found = run_tiles(bundle, &reference.tiles)?;
    let agreement = Agreement::between(manifest, &reference, &found)?;
    writeln!(out, "{} reference tiles: {agreement}", reference.count)?;
    if !agreement.is_within(Tolerance::FLOAT32) {
        return Err(format!(
            "the outputs differ from the stored ones by more than {:?}; expected them to agree on every \
             machine: build the bundle again, or report this processor",
            Tolerance::FLOAT32
        )
        .into());
    }
    Ok(writeln!(out, "verified")?)
}

/// The outputs of all `tiles`.
fn run_tiles(bundle: &Bundle, tiles: &[u8]) -> Result<ReferenceOutputs, Box<dyn Error>> {
    run_graph(bundle.compose()?, tiles)
}

/// The outputs of all `tiles`, a few at a time.
fn run_graph(graph: ComposedGraph, tiles: &[u8]) -> Result<ReferenceOutputs, Box<dyn Error>> {
    let mut all = ReferenceOutputs { embeddings: vec![Vec::new(); graph.taps.len()], ..ReferenceOutputs::default() };
    let tile_bytes = graph.side * graph.side * 3;
    let at_once = if graph.single_tile { 1 } else { coverslip_bundle::build::BATCH };
    let mut run = engine::load(graph).map_err(|e| e.to_string())?;
    for batch in tiles.chunks(at_once * tile_bytes) {
        let outputs = run(batch, batch.len() / tile_bytes).map_err(|e| e.to_string())?;
        all.append(outputs);
    }
    Ok(all)
}

/// The outputs under the graph's names.
fn tensors(bundle: &Bundle, outputs: &ReferenceOutputs) -> TensorMap {
    let (manifest, n) = (bundle.manifest(), outputs.count);
    let k = manifest.sae.outputs;
    let mut tensors = TensorMap::from([
        ("feature_index".to_owned(), Tensor::i32(&[n, k], &outputs.feature_index)),
        ("feature_value".to_owned(), Tensor::f32(&[n, k], &outputs.feature_value)),
        ("active_count".to_owned(), Tensor::i32(&[n], &outputs.active_count)),
        ("reconstruction_error".to_owned(), Tensor::f32(&[n], &outputs.reconstruction_error)),
    ]);
    for (tap, values) in manifest.taps.iter().zip(&outputs.embeddings) {
        let tensor = Tensor::f32(&[n, manifest.tap_width(tap)], values);
        tensors.insert(format!("embedding_{}", tap.name), tensor);
    }
    tensors
}

/// Writes the graph, and its weights beside it where they do not fit.
fn export(graph: &ComposedGraph, path: &std::path::Path, out: &mut impl Write) -> Outcome {
    write_file(path, &graph.onnx)?;
    writeln!(out, "{}: {} bytes", path.display(), graph.onnx.len())?;
    if let Some(weights) = &graph.external {
        let beside = path.with_file_name(ComposedGraph::EXTERNAL_FILE);
        write_file(&beside, weights)?;
        writeln!(out, "{}: {} bytes, the weights; keep it beside the model", beside.display(), weights.len())?;
    }
    Ok(())
}

fn write_file(path: &std::path::Path, bytes: &[u8]) -> Outcome {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()).into())
}
