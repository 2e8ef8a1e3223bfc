//! `coverslip analyze scanners`: how much of an embedding is the scanner's, at every tap, as it is and after corrections
//! that were fitted on other slides.

mod material;
mod numbers;
mod options;
mod table;

use std::io::Write;

use coverslip_analysis::Categories;
use coverslip_analysis::scanners::{Correction, Effect, cross_fitted, scanner_effects};
use faer::Mat;

use self::material::Material;
pub(crate) use self::options::Options;
use super::{Failure, Outcome};
use crate::claim;
use crate::findings::file::Findings;
use crate::findings::scanners::{
    Counted, Measurement, ScannerFeature, ScannersFindings, Settings, TapFindings, Version,
};

/// The corrections that are measured, by name.
const VERSIONS: [(&str, Option<Correction>); 3] =
    [("none", None), ("centring", Some(Correction::Centring)), ("coral", Some(Correction::Coral))];

/// Measures, writes scanners.json and prints the table.
///
/// # Errors
/// When a file cannot be read, a column is missing, or there is one scanner only.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let material = Material::open(options)?;
    let _claim = claim::within(&options.out)?;
    let settings = Settings {
        k: options.k.unwrap_or_else(|| 50.min(material.len() / 10).max(1)),
        bootstraps: options.bootstraps,
        folds: options.folds,
        seed: options.seed,
    };
    let mut taps = Vec::new();
    for (tap, width) in material.taps(&options.taps)? {
        let rows = material.matrix(&tap)?;
        let versions = VERSIONS.map(|(correction, kind)| Version {
            correction: correction.into(),
            measurement: measured(&rows, kind, &material, settings),
        });
        taps.push(TapFindings { tap, width, versions: versions.into() });
    }
    let found = ScannersFindings {
        format: ScannersFindings::FORMAT.into(),
        tiles: material.len(),
        scanners: counted(&material.scanners, &material.groups),
        biology: material.biology.as_ref().map(|biology| counted(biology, &material.groups)),
        columns: options.columns.clone(),
        settings,
        taps,
        features: features(&material)?,
    };
    found.save(&options.out)?;
    table::print(out, &found, material.groups.kinds())?;
    Ok(writeln!(out, "{}", options.out.join(ScannersFindings::FILE).display())?)
}

/// A tap's numbers after a correction that was fitted on other groups.
fn measured(rows: &Mat<f64>, correction: Option<Correction>, material: &Material, settings: Settings) -> Measurement {
    let numbers = |rows: &Mat<f64>| Measurement::Numbers(Box::new(numbers::numbers(rows.as_ref(), material, settings)));
    let Some(correction) = correction else { return numbers(rows) };
    let (scanners, groups) = (&material.scanners, &material.groups);
    match cross_fitted(rows.as_ref(), scanners, groups, correction, settings.folds, settings.seed) {
        Ok(corrected) => numbers(&corrected),
        Err(why) => Measurement::Undefined(why.0),
    }
}

/// Tiles and groups of each category.
fn counted(categories: &Categories, groups: &Categories) -> Vec<Counted> {
    let one = |(rows, name): (Vec<usize>, &String)| Counted {
        name: name.clone(),
        tiles: rows.len(),
        groups: groups.select(&rows).kinds(),
    };
    categories.rows().into_iter().zip(categories.names()).map(one).collect()
}

/// The SAE features that follow the scanner most surely, where the files have features.
fn features(material: &Material) -> Result<Option<Vec<ScannerFeature>>, Failure> {
    const MOST: usize = 50;
    let Some(features) = material.features()? else { return Ok(None) };
    let effects = scanner_effects(features.rows(), &material.scanners, &material.groups)?;
    let one = |effect: &Effect| ScannerFeature {
        feature: effect.feature,
        scanner: material.scanners.names()[effect.scanner].clone(),
        effect_size: effect.size,
        least_without_a_slide: effect.least,
    };
    Ok(Some(effects.iter().filter(|effect| effect.least > 0.0).take(MOST).map(one).collect()))
}
