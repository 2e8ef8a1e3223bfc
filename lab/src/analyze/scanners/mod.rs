//! `coverslip analyze scanners`: how much of an embedding is the scanner's, at every tap, as it is and after corrections
//! that were fitted on other slides.

mod material;
mod measure;
mod table;

use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::Undefined;
use coverslip_analysis::scanners::{Correction, Labels, SparseRows, cross_fitted, scanner_effects};
use serde_json::{Value, json};

use super::Outcome;
use material::Material;
use measure::Numbers;

/// Options of `coverslip analyze scanners`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Embedding files of `coverslip embed`; SCANNER=FILE says which scanner all of a file's tiles are from
    #[arg(required = true, value_name = "[SCANNER=]FILE")]
    embeddings: Vec<String>,
    /// The folder that scanners.json is written to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The column that names the scanner (or the centre), where the files are not given with one
    #[arg(long, value_name = "COLUMN", default_value = "scanner")]
    scanner: String,
    /// The column whose tiles belong together and are never split: slides, patients, or places of one slide
    #[arg(long, value_name = "COLUMN", default_value = "slide")]
    group: String,
    /// The column that names the biology (tissue, tumour type): for the robustness index, APD and clustering
    #[arg(long, value_name = "COLUMN")]
    biology: Option<String>,
    /// The column that is the same for the same place on several scanners: for retrieval
    #[arg(long, value_name = "COLUMN")]
    pair: Option<String>,
    /// Only these taps [default: all]
    #[arg(long = "tap", value_name = "NAME")]
    taps: Vec<String>,
    /// Neighbours of the robustness index [default: 50, at most a tenth of the tiles]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    k: Option<u32>,
    /// Bootstraps of slides for the robustness index's interval
    #[arg(long, value_name = "N", default_value_t = 1000)]
    bootstraps: usize,
    /// Folds of whole groups, for probes and corrections
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1000))]
    folds: u32,
    /// The same seed gives the same numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What a tap's embeddings are before they are measured.
const VERSIONS: [(&str, Option<Correction>); 3] =
    [("none", None), ("centring", Some(Correction::Centring)), ("coral", Some(Correction::Coral))];

/// A tap, as it is and corrected; a correction that the data cannot carry has its reason.
struct Tap {
    name: String,
    width: usize,
    versions: Vec<(&'static str, Result<Numbers, Undefined>)>,
}

/// Measures, writes scanners.json and prints the table.
///
/// # Errors
/// When a file cannot be read, a column is missing, or there is one scanner only.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Outcome {
    let material = Material::open(args)?;
    std::fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let settings = measure::Settings {
        k: args.k.map_or_else(|| 50.min(material.len() / 10).max(1), |k| k as usize),
        bootstraps: args.bootstraps,
        folds: args.folds as usize,
        seed: args.seed,
    };
    let mut taps = Vec::new();
    for (name, width) in material.taps(&args.taps)? {
        let rows = material.matrix(&name)?;
        let versions = VERSIONS.map(|(label, correction)| {
            let numbers = match correction {
                None => Ok(measure::numbers(rows.as_ref(), &material, &settings)),
                Some(correction) => cross_fitted(
                    rows.as_ref(),
                    &material.scanners,
                    &material.groups,
                    correction,
                    settings.folds,
                    settings.seed,
                )
                .map(|corrected| measure::numbers(corrected.as_ref(), &material, &settings)),
            };
            (label, numbers)
        });
        taps.push(Tap { name, width, versions: versions.into() });
    }
    let features = features(&material)?;
    let report = json!({
        "format": "coverslip-scanners/1",
        "tiles": material.len(),
        "scanners": counted(&material.scanners, &material.groups),
        "biology": material.biology.as_ref().map(|labels| counted(labels, &material.groups)),
        "columns": { "scanner": args.scanner, "group": args.group, "biology": args.biology, "pair": args.pair },
        "settings": { "k": settings.k, "bootstraps": settings.bootstraps, "folds": settings.folds, "seed": settings.seed },
        "taps": taps.iter().map(tap_value).collect::<Vec<_>>(),
        "features": features,
    });
    let path = args.out.join("scanners.json");
    coverslip_files::whole(&path, |file| serde_json::to_writer_pretty(file, &report).map_err(Into::into))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    table::print(out, &material, &settings, &taps)?;
    Ok(writeln!(out, "{}", path.display())?)
}

/// Tiles and groups of each label.
fn counted(labels: &Labels, groups: &Labels) -> Value {
    let one = |(rows, name): (Vec<usize>, &String)| json!({ "name": name, "tiles": rows.len(), "groups": groups.select(&rows).kinds() });
    labels.rows().into_iter().zip(labels.names()).map(one).collect()
}

fn tap_value(tap: &Tap) -> Value {
    let version = |(label, numbers): &(&str, Result<Numbers, Undefined>)| match numbers {
        Ok(numbers) => json!({ "correction": label, "numbers": numbers.value() }),
        Err(why) => json!({ "correction": label, "undefined": why.0 }),
    };
    json!({ "tap": tap.name, "width": tap.width, "versions": tap.versions.iter().map(version).collect::<Vec<_>>() })
}

/// The SAE features that follow the scanner most surely, where the files have features.
fn features(material: &Material) -> Result<Value, Box<dyn std::error::Error>> {
    const MOST: usize = 50;
    let Some((ends, index, value)) = material.features()? else { return Ok(Value::Null) };
    let rows = SparseRows { ends: &ends, index: &index, value: &value };
    let effects = scanner_effects(rows, &material.scanners, &material.groups)?;
    let names = material.scanners.names();
    let one = |effect: &coverslip_analysis::scanners::Effect| {
        json!({
            "feature": effect.feature,
            "scanner": names[effect.scanner],
            "effect_size": effect.size,
            "least_without_a_slide": effect.least,
        })
    };
    Ok(effects.iter().filter(|effect| effect.least > 0.0).take(MOST).map(one).collect())
}
