//! `coverslip bundle build`.

mod memory;
pub(super) mod model;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_bundle::build::{Calibration, Recipe, write_bundle};
use coverslip_bundle::tensors::TensorFile;
use coverslip_bundle::{
    Agreement, Bundle, FORMAT, Manifest, Pooling, ReferenceOutputs, Sae, SaeReference, Tap, Tolerance,
};
use coverslip_import::{ImportedSae, SaeOptions, StoreAs, import_sae};
use serde_json::Value;

use super::engine;
use super::tiles::{self, Tiles};
use model::{About, Model};

/// Options of `coverslip bundle build`.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    /// The model: a directory as downloaded from a hub, .safetensors, .bin, .pt, .pth, or .onnx
    #[arg(long, value_name = "PATH")]
    weights: PathBuf,
    /// The model's config.json [default: the one beside the weights]
    #[arg(long, value_name = "JSON")]
    config: Option<PathBuf>,
    /// What neither says: mpp, mean, std, taps (docs/reference/import.md)
    #[arg(long, value_name = "JSON")]
    model: Option<PathBuf>,
    /// The SAE's directory or file: SAELens, sparsify, dictionary_learning, OpenAI, overcomplete [default: none; the bundle
    /// then gives embeddings alone, to train one on]
    #[arg(long, value_name = "PATH")]
    sae: Option<PathBuf>,
    /// Tiles for self-check and calibration: images, directories of images, or safetensors
    #[arg(long, required = true, num_args = 1..)]
    tiles: Vec<PathBuf>,
    /// The trainer's figures: mean, mean_squared_distance and error quantiles of the SAE's data
    #[arg(long, value_name = "JSON")]
    metrics: Option<PathBuf>,
    /// Feature names: [{"index": 3, "label": "…", "evidence": "…"}]
    #[arg(long, value_name = "JSON")]
    labels: Option<PathBuf>,
    /// Further files to put into the bundle (CARD.md, LICENSE)
    #[arg(long, num_args = 1..)]
    document: Vec<PathBuf>,
    /// The directory to write
    #[arg(long)]
    out: PathBuf,
    /// Replace an existing bundle
    #[arg(long)]
    force: bool,
    /// How to store the weights
    #[arg(long, value_enum, default_value = "keep")]
    precision: StoredAs,
    /// Features reported per tile (ReLU and JumpReLU; TopK reports its k)
    #[arg(long, default_value_t = 32)]
    outputs: usize,
    /// Scale of activations, for SAEs normalised by expected_average_only_in
    #[arg(long)]
    activation_scale: Option<f64>,
    /// k, for an overcomplete TopK SAE of which only the tensors were saved
    #[arg(long = "sae-k")]
    k: Option<usize>,
    /// Tiles kept for the self-check
    #[arg(long, default_value_t = 4)]
    reference_tiles: usize,
    /// The bundle's name [default: from model.json, else the directory's name]
    #[arg(long)]
    name: Option<String>,
    /// What the bundle is and is for
    #[arg(long)]
    description: Option<String>,
    /// Licence of the weights, an SPDX expression
    #[arg(long, visible_alias = "license")]
    licence: Option<String>,
    /// Where weights and data come from, with the attribution that their licences ask for
    #[arg(long)]
    source: Option<String>,
    /// Size of the model's input pixels, µm/px
    #[arg(long)]
    mpp: Option<f64>,
    /// Attention heads
    #[arg(long)]
    heads: Option<usize>,
    /// Pooling of the one tap behind the final norm, where no taps are stated
    #[arg(long, value_enum)]
    pooling: Option<PoolingName>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PoolingName {
    ClassToken,
    MeanPatchTokens,
    ClassAndMean,
}

impl PoolingName {
    fn meant(self) -> Pooling {
        match self {
            Self::ClassToken => Pooling::ClassToken,
            Self::MeanPatchTokens => Pooling::MeanPatchTokens,
            Self::ClassAndMean => Pooling::ClassAndMean,
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StoredAs {
    /// As in the files
    Keep,
    /// float16
    F16,
    /// float32
    F32,
}

/// Builds, then says what was built.
pub(super) fn run(args: &BuildArgs, out: &mut impl Write) -> super::Outcome {
    let precision = match args.precision {
        StoredAs::Keep => StoreAs::Keep,
        StoredAs::F16 => StoreAs::Half,
        StoredAs::F32 => StoreAs::Single,
    };
    let model = model::read(args, precision)?;
    let options = SaeOptions { activation_scale: args.activation_scale, k: args.k, precision };
    let sae = args.sae.as_ref().map(|path| import_sae(path, &options)).transpose()?;
    let tiles = tiles::read(&args.tiles, model.side)?;
    if let Some(sae) = &sae {
        writeln!(out, "SAE in the files of {}", sae.format)?;
    }
    for note in model.notes.iter().chain(sae.iter().flat_map(|sae| &sae.notes)) {
        writeln!(out, "{note}")?;
    }
    let manifest = manifest(args, &model, sae.as_ref())?;
    memory::check(&manifest, model.weights.stored_bytes())?;

    let tile_bytes = model.side * model.side * 3;
    let kept = (args.reference_tiles * tile_bytes).min(tiles.pixels.len());
    let recipe = Recipe {
        manifest,
        model: model.weights,
        topology: model.topology,
        sae: sae.map(|sae| sae.tensors).unwrap_or_default(),
        calibration: calibration(args, &tiles)?,
        reference_tiles: tiles.pixels[..kept].to_vec(),
        documents: documents(&args.document)?,
    };
    let bundle = write_bundle(&args.out, recipe, args.force, engine::load)?;
    if let Some(file) = &tiles.file {
        compare_with_exporter(&bundle, file, out)?;
    }
    writeln!(out, "{}", args.out.display())?;
    Ok(write!(out, "{}", super::inspect::page(&bundle)?)?)
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// A value that nothing can guess.
fn needed<T>(value: Option<T>, what: &str) -> Result<T, Box<dyn Error>> {
    value.ok_or_else(|| format!("not stated: {what}; expected it in model.json or as an option").into())
}

fn manifest(args: &BuildArgs, model: &Model, sae: Option<&ImportedSae>) -> Result<Manifest, Box<dyn Error>> {
    let about = &model.about;
    let directory = args.out.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Manifest {
        format: FORMAT.to_owned(),
        name: needed(about.name.clone().or(directory), "the bundle's name (--name)")?,
        description: about.description.clone().unwrap_or_default(),
        licence: needed(about.licence.clone(), "the weights' licence (--licence, an SPDX expression)")?,
        source: needed(about.source.clone(), "where weights and data come from (--source)")?,
        side: model.side,
        mpp: needed(about.mpp, "the model's µm/px (--mpp)")?,
        mean: needed(about.mean, "the preprocessing's \"mean\" of pixel/255, R G B")?,
        std: needed(about.std, "the preprocessing's \"std\" of pixel/255, R G B")?,
        architecture: model.architecture.clone(),
        taps: model.taps.clone(),
        sae: declared_sae(args, model, sae)?,
        files: BTreeMap::new(),
        annotations: BTreeMap::new(),
    })
}

/// What the manifest says of the SAE; of none, where there is none.
fn declared_sae(args: &BuildArgs, model: &Model, sae: Option<&ImportedSae>) -> Result<Sae, Box<dyn Error>> {
    let Some(sae) = sae else {
        let tap = needed(model.taps.last(), "the model's \"taps\"")?;
        return Ok(Sae::none(&tap.name, tap.width(&model.architecture)));
    };
    Ok(Sae {
        tap: sae_tap(&model.about, &model.taps, sae)?,
        architecture: Some(sae.architecture),
        d_in: sae.d_in,
        d_sae: sae.d_sae,
        k: sae.k,
        outputs: sae.k.unwrap_or(args.outputs.min(sae.d_sae)),
        apply_b_dec_to_input: sae.apply_b_dec_to_input,
        input: sae.input.clone(),
        rescale_acts_by_decoder_norm: sae.rescale_acts_by_decoder_norm,
        pruned: sae.pruned,
        reference: SaeReference { mean_square_deviation: 1.0, error_quantiles: BTreeMap::new(), tiles: 0 },
        labels: args.labels.as_deref().map(from_json).transpose()?.unwrap_or_default(),
    })
}

/// The tap that the SAE reads: stated, or named by the SAE's own `hook_name`, or the last one.
fn sae_tap(about: &About, taps: &[Tap], sae: &ImportedSae) -> Result<String, Box<dyn Error>> {
    let hook = sae.hook_name.clone().filter(|hook| taps.iter().any(|tap| tap.name == *hook));
    let last = taps.last().map(|tap| tap.name.clone());
    needed(about.sae_tap.clone().or(hook).or(last), "the model's \"taps\"")
}

/// The trainer's figures, from `--metrics` and from the tensors beside the tiles.
fn calibration(args: &BuildArgs, tiles: &Tiles) -> Result<Calibration, Box<dyn Error>> {
    let metrics: Value = args.metrics.as_deref().map(from_json).transpose()?.unwrap_or_default();
    let reference = metrics.get("reference").unwrap_or(&metrics);
    let quantiles = reference
        .get("error_quantiles")
        .or_else(|| metrics.pointer("/sae/held_out_and_watch/error_quantiles"))
        .map(|value| serde_json::from_value(value.clone()))
        .transpose()
        .map_err(|error| format!("error_quantiles: {error}; expected {{\"0.5\": …, \"0.99\": …}}"))?;
    let mean = reference.get("mean").map(|value| serde_json::from_value(value.clone())).transpose()?;
    let beside = |name: &str| tiles.file.as_ref().and_then(|file| file.get(name));
    let stored_mean = beside("reference_mean").map(|tensor| tensor.to_f32()).transpose()?;
    let stored_square = beside("reference_mean_squared_distance").map(|tensor| tensor.to_f32()).transpose()?;
    let square = reference.get("mean_squared_distance").and_then(Value::as_f64);
    Ok(Calibration {
        mean: mean.or(stored_mean),
        mean_square_deviation: square.or(stored_square.and_then(|values| values.first().map(|v| f64::from(*v)))),
        error_quantiles: quantiles.unwrap_or_default(),
        stated_tiles: reference.get("n").and_then(Value::as_u64).unwrap_or(0),
        tiles: tiles.pixels.clone(),
    })
}

fn documents(paths: &[PathBuf]) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
    let mut documents = BTreeMap::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| format!("{}: no file name", path.display()))?;
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        documents.insert(name.to_owned(), bytes);
    }
    Ok(documents)
}

/// When the tiles came with the exporter's own embeddings, they must be ours.
fn compare_with_exporter(bundle: &Bundle, file: &TensorFile, out: &mut impl Write) -> super::Outcome {
    let manifest = bundle.manifest();
    let ours = bundle.reference()?;
    let mut theirs = ReferenceOutputs { tiles: Vec::new(), ..ours.clone() };
    let mut found = 0;
    for (tap, embedding) in manifest.taps.iter().zip(&mut theirs.embeddings) {
        if let Some(stored) = file.get(&format!("embedding_{}", tap.name)) {
            let values = stored.to_f32()?;
            *embedding = values[..embedding.len().min(values.len())].to_vec();
            found += 1;
        }
    }
    if found == 0 {
        return Ok(());
    }
    let agreement = Agreement::between(manifest, &theirs, &ours)?;
    for (tap, distance) in &agreement.embeddings {
        writeln!(out, "against the exporter's own embedding: 1-cos of {tap} {distance:.1e}")?;
    }
    if agreement.embeddings.iter().any(|(_, distance)| *distance > Tolerance::FLOAT32.embeddings) {
        return Err(format!(
            "the composed graph does not compute what the exporter computed (1-cos above {:.0e}); the bundle \
             was written for inspection: check ε, preprocessing and taps in model.json",
            Tolerance::FLOAT32.embeddings
        )
        .into());
    }
    Ok(())
}
