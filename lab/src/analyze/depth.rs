//! `coverslip analyze depth`: where in a model counts can be read, and where the scanner can.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::Categories;
use coverslip_analysis::counts::Resamples;
use coverslip_analysis::scanners::{Classifier, Probe, probe};
use coverslip_bundle::{Architecture, Bundle};

use super::held_out::{FOLDS, predictions, score};
use super::kinds::check_few;
use super::options::{CountOptions, Method};
use super::representation::Representation;
use super::study::{self, Study};
use super::text::signed;
use super::{Failure, Outcome};
use crate::claim;
use crate::embeddings::names::SCANNER;
use crate::embeddings::{EmbeddingSet, SlideColumn, stacked};
use crate::findings::file::Findings;
use crate::findings::models::{DepthFindings, DepthPoint};
use crate::findings::reading::Sample;
use crate::term::{paragraph, shortened};

/// `bundles`, `embeddings` and, if any, `scanners` have an entry for each model, in the same order.
pub(crate) struct Options {
    pub(crate) bundles: Vec<PathBuf>,
    /// Of the labelled tiles.
    pub(crate) embeddings: Vec<PathBuf>,
    /// Files of tiles from several scanners.
    pub(crate) scanners: Vec<Vec<PathBuf>>,
    /// The column whose equal values stay on one side of the probe.
    pub(crate) scanner_group: String,
    pub(crate) counts: CountOptions,
    /// The folder of the findings.
    pub(crate) out: PathBuf,
}

/// Runs the analysis.
///
/// # Errors
/// When files cannot be read or written, labels do not match, or models and files differ in number.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let (models, files) = (options.bundles.len(), [options.embeddings.len(), options.scanners.len()]);
    if files[0] != models || ![0, models].contains(&files[1]) {
        return Err(format!(
            "expected --embeddings (and --scanners, if any) once for each of {models} bundles, found {} and {}",
            files[0], files[1]
        )
        .into());
    }
    let _claim = claim::within(&options.out)?;
    let CountOptions { labels, method } = &options.counts;
    let mut found = DepthFindings {
        sample: Sample { dataset: labels.name(), tiles: 0, groups: 0 },
        scanners: None,
        cell_types: Vec::new(),
        points: Vec::new(),
    };
    for (model, bundle) in options.bundles.iter().enumerate() {
        let bundle = Bundle::open(bundle)?;
        let study = Study::open(&options.embeddings[model], labels)?;
        let files = options.scanners.get(model);
        let scanners = files
            .map(|files| Scanners::open(files, &options.scanner_group, &options.counts.labels.slides))
            .transpose()?;
        found.sample = study.sample(labels.name());
        found.cell_types = study.counts.iter().map(|counts| counts.name.clone()).collect();
        found.scanners = scanners.as_ref().map(|s| (s.scanners.names().to_vec(), options.scanner_group.clone()));
        found.points.extend(points(&study, &bundle, scanners.as_ref(), *method)?);
    }
    found.save(&options.out)?;
    Ok(write!(out, "{}", page(&found))?)
}

/// A model's taps, the shallowest first.
fn points(
    study: &Study,
    bundle: &Bundle,
    scanners: Option<&Scanners>,
    method: Method,
) -> Result<Vec<DepthPoint>, Failure> {
    let manifest = bundle.manifest();
    let resamples = Resamples::new(study.groups.count(), method.resamples, method.seed);
    let mut points = Vec::new();
    study::features_fit(&study.set, bundle)?;
    for (place, tap) in manifest.taps.iter().enumerate() {
        if study.set.taps().iter().all(|known| known.name != tap.name) {
            return Err(format!(
                "{}: the embeddings have no tap {}; expected those of this bundle",
                manifest.name, tap.name
            )
            .into());
        }
        study::tap_fits(&study.set, &tap.name, bundle)?;
        let [dimensions, _] = Representation::dense(study, &tap.name)?;
        let predicted = predictions(study, &dimensions, method)?;
        let counts = study.counts.iter().zip(&predicted);
        let scored = counts.map(|(counts, of)| score(study, &counts.values, &of.all, &resamples, None));
        let told = scanners.map(|scanners| scanners.told_apart(&tap.name, method.seed)).transpose()?;
        points.push(DepthPoint {
            model: manifest.name.clone(),
            tap: tap.name.clone(),
            depth: match (&manifest.architecture, tap.after_block()) {
                (Architecture::Vit(vit), Some(block)) => (block + 1) as f64 / vit.depth as f64,
                _ => (place + 1) as f64 / manifest.taps.len() as f64,
            },
            counts: scored.collect(),
            scanner_accuracy: told.as_ref().map(|probe| probe.balanced_accuracy),
            scanner_chance: told.as_ref().map(|probe| probe.chance),
        });
    }
    points.sort_by(|a, b| a.depth.total_cmp(&b.depth));
    Ok(points)
}

/// Tiles of several scanners.
struct Scanners {
    sets: Vec<EmbeddingSet>,
    scanners: Categories,
    groups: Categories,
}

impl Scanners {
    fn open(files: &[PathBuf], group: &str, slides: &SlideColumn) -> Result<Scanners, Failure> {
        let sets = files.iter().map(|file| EmbeddingSet::open(file, slides)).collect::<Result<Vec<_>, _>>()?;
        let column = |name: &str| {
            let mut cells = Vec::new();
            for set in &sets {
                cells.extend_from_slice(set.filled_column(name)?);
            }
            Ok::<_, Failure>(Categories::new(&cells))
        };
        let (scanners, groups) = (column(SCANNER)?, column(group)?);
        check_few(SCANNER, "scanners", &scanners)?;
        Ok(Scanners { sets, scanners, groups })
    }

    fn told_apart(&self, tap: &str, seed: u64) -> Result<Probe, Failure> {
        let rows = stacked(&self.sets, tap)?;
        Ok(probe(rows.as_ref(), &self.scanners, &self.groups, Classifier::Linear, FOLDS, seed)?)
    }
}

fn page(found: &DepthFindings) -> String {
    let mut page = paragraph(&format!(
        "{}: {} tiles in {} groups; r of counts that ridge predicts for groups held out",
        found.sample.dataset, found.sample.tiles, found.sample.groups
    ));
    // As many cell types beside each other as fit into 80 columns.
    let beside = if found.scanners.is_some() { 4 } else { 5 };
    for first in (0..found.cell_types.len().max(1)).step_by(beside) {
        let shown = first..(first + beside).min(found.cell_types.len());
        let _ = write!(page, "\n{:14}{:14}{:>7}", "model", "tap", "depth");
        found.cell_types[shown.clone()].iter().for_each(|name| {
            let _ = write!(page, "{:>9}", shortened(name, 8));
        });
        page.push_str(if found.scanners.is_some() { "  scanner\n" } else { "\n" });
        for point in &found.points {
            let (model, tap) = (shortened(&point.model, 13), shortened(&point.tap, 13));
            let _ = write!(page, "{model:14}{tap:14}{:>6.0}%", 100.0 * point.depth);
            point.counts[shown.clone()].iter().for_each(|counts| {
                let _ = write!(page, "{:>9}", signed(counts.r));
            });
            let accuracy = point.scanner_accuracy.filter(|_| found.scanners.is_some());
            let _ = accuracy.map(|accuracy| write!(page, "{accuracy:>9.2}"));
            page.push('\n');
        }
    }
    if let Some((names, group)) = &found.scanners {
        let chance = 1.0 / names.len() as f64;
        page.push('\n');
        page.push_str(&paragraph(&format!(
            "scanner: balanced accuracy of telling {} apart, learnt and tested on different values of {group}; guessing \
             gives {chance:.2}",
            names.join(", ")
        )));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::reading::HeldOutScore;

    #[test]
    fn many_cell_types_stay_within_80_columns() {
        let types: Vec<String> = (0..6).map(|n| format!("a long cell type {n}")).collect();
        let point = DepthPoint {
            model: "a model with a long name".into(),
            tap: "block10.class_token".into(),
            depth: 1.0,
            counts: vec![HeldOutScore { r: Some(-0.25), ..HeldOutScore::default() }; 6],
            scanner_accuracy: Some(0.5),
            scanner_chance: Some(0.5),
        };
        let mut found = DepthFindings {
            sample: Sample { dataset: "here".into(), tiles: 9, groups: 3 },
            scanners: Some((vec!["one".into(), "two".into()], "slide".into())),
            cell_types: types,
            points: vec![point],
        };
        for scanners in [found.scanners.clone(), None] {
            found.scanners = scanners;
            let page = page(&found);
            assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
            assert_eq!(page.matches("-0.25").count(), 6, "{page}");
        }
    }
}
