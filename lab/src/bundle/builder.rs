//! Builds a bundle: reads its parts, calibrates, writes, and compares with the exporter's own outputs.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::build::{Calibration, Recipe, check_place, write_bundle};
use coverslip_bundle::tensors::TensorFile;
use coverslip_bundle::{
    Agreement, Bundle, ComposedGraph, FORMAT, Manifest, Pooling, ReferenceOutputs, Sae, SaeReference, Tap, Tolerance,
};
use coverslip_import::{ImportedSae, import_sae};
use serde_json::Value;

use super::model::{self, Model};
use super::request::{BuildRequest, Stated, from_json};
use super::tiles::{self, Tiles};
use super::{memory, page};
use crate::claim;

/// Builds a bundle and says what was built.
///
/// # Errors
/// Where a part cannot be read, something is not stated, the parts do not fit, or the bundle cannot be written.
pub(crate) fn run(request: &BuildRequest, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let claim = claim::beside(&request.out)?;
    check_place(claim.place(), request.force)?;
    let model = model::read(request, request.sae_options.precision)?;
    let sae = request.sae.as_ref().map(|path| import_sae(path, &request.sae_options)).transpose()?;
    let tiles = tiles::read(&request.tiles, model.side)?;
    if let Some(sae) = &sae {
        writeln!(out, "SAE in the files of {}", sae.format)?;
    }
    for note in model.notes.iter().chain(sae.iter().flat_map(|sae| &sae.notes)) {
        writeln!(out, "{note}")?;
    }
    let manifest = manifest(request, &model, sae.as_ref())?;
    memory::check(&manifest, model.weights.stored_bytes())?;

    let tile_bytes = model.side * model.side * 3;
    let kept = (request.reference_tiles * tile_bytes).min(tiles.pixels.len());
    let recipe = Recipe {
        manifest,
        model: model.weights,
        topology: model.topology,
        sae: sae.map(|sae| sae.tensors).unwrap_or_default(),
        calibration: calibration(request, &tiles)?,
        reference_tiles: tiles.pixels[..kept].to_vec(),
        documents: documents(&request.documents)?,
    };
    let bundle = write_bundle(claim, recipe, request.force, coverslip_runner::load)?;
    if let Some(file) = &tiles.file {
        compare_with_exporter(&bundle, file, out)?;
    }
    writeln!(out, "{}", request.out.display())?;
    Ok(write!(out, "{}", page::page(&bundle, "none")?)?)
}

/// A value that somebody has to state, in model.json or with the option, if there is one.
fn needed<T>(value: Option<T>, what: &str, option: Option<&str>) -> Result<T, Box<dyn Error>> {
    let option = option.map_or(String::new(), |option| format!(" or with {option}"));
    value.ok_or_else(|| format!("not stated: {what}; expected it in model.json{option}").into())
}

fn manifest(request: &BuildRequest, model: &Model, sae: Option<&ImportedSae>) -> Result<Manifest, Box<dyn Error>> {
    let stated = &model.stated;
    let directory = request.out.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Manifest {
        format: FORMAT.to_owned(),
        name: needed(stated.name.clone().or(directory), "the bundle's name", Some("--name"))?,
        description: stated.description.clone().unwrap_or_default(),
        licence: needed(stated.licence.clone(), "the weights' licence, an SPDX expression", Some("--licence"))?,
        source: needed(stated.source.clone(), "where weights and data come from", Some("--source"))?,
        side: model.side,
        mpp: needed(stated.mpp, "the model's µm/px", Some("--mpp"))?,
        mean: needed(stated.mean, "the preprocessing's \"mean\" of pixel/255, R G B", None)?,
        std: needed(stated.std, "the preprocessing's \"std\" of pixel/255, R G B", None)?,
        architecture: model.architecture.clone(),
        taps: model.taps.clone(),
        sae: declared_sae(request, model, sae)?,
        int8: None,
        files: BTreeMap::new(),
        annotations: BTreeMap::new(),
    })
}

/// What the manifest says of the SAE.
fn declared_sae(request: &BuildRequest, model: &Model, sae: Option<&ImportedSae>) -> Result<Sae, Box<dyn Error>> {
    let Some(sae) = sae else {
        let tap = needed(pooled(&model.taps).or(model.taps.last()), "the model's \"taps\"", Some("--pooling"))?;
        return Ok(Sae::none(&tap.name, tap.width(&model.architecture, model.side)));
    };
    Ok(Sae {
        tap: sae_tap(&model.stated, &model.taps, sae)?,
        architecture: Some(sae.architecture),
        d_in: sae.d_in,
        d_sae: sae.d_sae,
        k: sae.k,
        outputs: sae.k.unwrap_or(request.outputs.min(sae.d_sae)),
        apply_b_dec_to_input: sae.apply_b_dec_to_input,
        input: sae.input.clone(),
        rescale_acts_by_decoder_norm: sae.rescale_acts_by_decoder_norm,
        pruned: sae.pruned,
        reference: SaeReference { mean_square_deviation: 1.0, error_quantiles: BTreeMap::new(), tiles: 0 },
        labels: request.labels.as_deref().map(from_json).transpose()?.unwrap_or_default(),
    })
}

/// The tap that the SAE reads: as stated, or as the SAE's own `hook_name` says, or the last that is pooled.
fn sae_tap(stated: &Stated, taps: &[Tap], sae: &ImportedSae) -> Result<String, Box<dyn Error>> {
    let hook = sae.hook_name.clone().filter(|hook| taps.iter().any(|tap| tap.name == *hook));
    let last = pooled(taps).map(|tap| tap.name.clone());
    needed(stated.sae_tap.clone().or(hook).or(last), "a pooled tap among the model's \"taps\"", Some("--pooling"))
}

/// The last tap with one vector per tile.
fn pooled(taps: &[Tap]) -> Option<&Tap> {
    taps.iter().rfind(|tap| tap.pooling != Pooling::PatchTokens)
}

/// The trainer's figures, from `--metrics` and from the tensors beside the tiles.
fn calibration(request: &BuildRequest, tiles: &Tiles) -> Result<Calibration, Box<dyn Error>> {
    let metrics: Value = request.metrics.as_deref().map(from_json).transpose()?.unwrap_or_default();
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

/// Longest document, bytes: what a bundle has beside its weights.
const MOST_DOCUMENT: u64 = 256 << 20;

fn documents(paths: &[PathBuf]) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
    let mut documents = BTreeMap::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| format!("{}: no file name", path.display()))?;
        let bytes = coverslip_files::read_at_most(path, MOST_DOCUMENT)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        documents.insert(name.to_owned(), bytes);
    }
    Ok(documents)
}

/// Compares with the exporter's own embeddings, where the tiles came with them.
fn compare_with_exporter(bundle: &Bundle, file: &TensorFile, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let manifest = bundle.manifest();
    let ours = bundle.reference()?;
    let mut theirs = ReferenceOutputs { tiles: Vec::new(), ..ours.clone() };
    let mut found = 0;
    for (tap, embedding) in manifest.taps.iter().zip(&mut theirs.embeddings) {
        if let Some(stored) = file.get(&ComposedGraph::embedding(&tap.name)) {
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
