//! `coverslip bundle build`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_bundle::build::{Calibration, Recipe, write_bundle};
use coverslip_bundle::import::{
    ImportedModel, ImportedSae, ModelSpec, Precision, SaeOptions, import_model, import_sae, read_safetensors,
};
use coverslip_bundle::tensors::TensorFile;
use coverslip_bundle::{Agreement, Bundle, FORMAT, Manifest, ReferenceOutputs, Sae, SaeReference, Tap, Tolerance};
use serde_json::Value;

use super::engine::Engine;
use super::tiles::{self, Tiles};

/// Options of `coverslip bundle build`.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    /// The ViT's weights: safetensors in timm's names
    #[arg(long)]
    weights: PathBuf,
    /// What the weights do not say: num_heads, mpp, mean, std, taps (docs/bundle-format.md)
    #[arg(long, value_name = "JSON")]
    model: Option<PathBuf>,
    /// The SAE: a directory with SAELens' cfg.json and sae_weights.safetensors
    #[arg(long, value_name = "DIR")]
    sae: PathBuf,
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
    let spec = model_spec(args)?;
    let precision = match args.precision {
        StoredAs::Keep => Precision::Keep,
        StoredAs::F16 => Precision::Half,
        StoredAs::F32 => Precision::Single,
    };
    let model = import_model(&read_safetensors(&args.weights)?, &spec, precision)
        .map_err(|error| format!("{}: {error}", args.weights.display()))?;
    let options = SaeOptions { activation_scale: args.activation_scale, precision };
    let sae = import_sae(&args.sae, &options)?;
    let tiles = tiles::read(&args.tiles, model.side)?;
    for name in &model.left_out {
        writeln!(out, "left out: {name}, which no embedding needs")?;
    }

    let tile_bytes = model.side * model.side * 3;
    let kept = (args.reference_tiles * tile_bytes).min(tiles.pixels.len());
    let recipe = Recipe {
        manifest: manifest(args, &spec, &model, &sae)?,
        model: model.tensors,
        sae: sae.tensors,
        calibration: calibration(args, &tiles)?,
        reference_tiles: tiles.pixels[..kept].to_vec(),
        documents: documents(&args.document)?,
    };
    let mut engine = Engine::default();
    let bundle = write_bundle(&args.out, recipe, args.force, |graph, tiles, n| engine.run(graph, tiles, n))?;
    if let Some(file) = &tiles.file {
        compare_with_exporter(&bundle, file, out)?;
    }
    writeln!(out, "{}", args.out.display())?;
    Ok(write!(out, "{}", super::inspect::page(&bundle)?)?)
}

fn model_spec(args: &BuildArgs) -> Result<ModelSpec, Box<dyn Error>> {
    let mut spec: ModelSpec = match &args.model {
        Some(path) => from_json(path)?,
        None => ModelSpec::default(),
    };
    let replace = |slot: &mut Option<String>, flag: &Option<String>| {
        if flag.is_some() {
            slot.clone_from(flag);
        }
    };
    replace(&mut spec.name, &args.name);
    replace(&mut spec.description, &args.description);
    replace(&mut spec.licence, &args.licence);
    replace(&mut spec.source, &args.source);
    spec.mpp = args.mpp.or(spec.mpp);
    spec.num_heads = args.heads.or(spec.num_heads);
    Ok(spec)
}

fn from_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// A value that nothing can guess.
fn needed<T>(value: Option<T>, what: &str) -> Result<T, Box<dyn Error>> {
    value.ok_or_else(|| format!("not stated: {what}; expected it in model.json or as an option").into())
}

fn manifest(
    args: &BuildArgs,
    spec: &ModelSpec,
    model: &ImportedModel,
    sae: &ImportedSae,
) -> Result<Manifest, Box<dyn Error>> {
    let directory = args.out.file_name().map(|name| name.to_string_lossy().into_owned());
    let labels = args.labels.as_deref().map(from_json).transpose()?;
    Ok(Manifest {
        format: FORMAT.to_owned(),
        name: needed(spec.name.clone().or(directory), "the bundle's name (--name)")?,
        description: spec.description.clone().unwrap_or_default(),
        licence: needed(spec.licence.clone(), "the weights' licence (--licence, an SPDX expression)")?,
        source: needed(spec.source.clone(), "where weights and data come from (--source)")?,
        side: model.side,
        mpp: needed(spec.mpp, "the model's µm/px (--mpp)")?,
        mean: needed(spec.mean, "the preprocessing's \"mean\" of pixel/255, R G B")?,
        std: needed(spec.std, "the preprocessing's \"std\" of pixel/255, R G B")?,
        architecture: model.architecture.clone(),
        taps: model.taps.clone(),
        sae: Sae {
            tap: sae_tap(spec, &model.taps, sae)?,
            architecture: sae.architecture,
            d_in: sae.d_in,
            d_sae: sae.d_sae,
            k: sae.k,
            outputs: sae.k.unwrap_or(args.outputs.min(sae.d_sae)),
            apply_b_dec_to_input: sae.apply_b_dec_to_input,
            normalize_activations: sae.normalize_activations,
            rescale_acts_by_decoder_norm: sae.rescale_acts_by_decoder_norm,
            reference: SaeReference { mean_square_deviation: 1.0, error_quantiles: BTreeMap::new(), tiles: 0 },
            labels: labels.unwrap_or_default(),
        },
        files: BTreeMap::new(),
        annotations: BTreeMap::new(),
    })
}

/// The tap that the SAE reads: stated, or named by the SAE's own `hook_name`, or the last one.
fn sae_tap(spec: &ModelSpec, taps: &[Tap], sae: &ImportedSae) -> Result<String, Box<dyn Error>> {
    let hook = sae.hook_name.clone().filter(|hook| taps.iter().any(|tap| tap.name == *hook));
    let last = taps.last().map(|tap| tap.name.clone());
    needed(spec.sae_tap.clone().or(hook).or(last), "the model's \"taps\"")
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
