//! `coverslip analyze depth`: where in a model counts can be read, and where the scanner can.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_analysis::counts::Resamples;
use coverslip_analysis::scanners::{Classifier, Labels, Probe, probe};
use coverslip_bundle::{Architecture, Bundle};
use faer::Mat;
use serde::{Deserialize, Serialize};

use super::counts::{FOLDS, MethodArgs, Reported, predictions, reported, signed};
use super::representation::Representation;
use super::study::{self, LabelArgs, Study};
use super::{Failure, Outcome, save};
use crate::embeddings::EmbeddingSet;
use crate::term::{paragraph, shortened};

/// Options of `coverslip analyze depth`. `--bundle`, `--embeddings` and `--scanners` are given once for each model, in
/// the same order.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A model; once for each
    #[arg(long, value_name = "DIR", required = true)]
    bundle: Vec<PathBuf>,
    /// Its embeddings of the labelled tiles; once for each
    #[arg(long, value_name = "FILE", required = true)]
    embeddings: Vec<PathBuf>,
    /// Its embeddings of tiles from several scanners (column `scanner`), FILE,FILE where they are in several; once for
    /// each
    #[arg(long, value_name = "FILES")]
    scanners: Vec<String>,
    /// The column whose equal values are never split between learning to tell scanners apart and trying it
    #[arg(long, value_name = "COLUMN", default_value = "slide")]
    scanner_group: String,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    method: MethodArgs,
    /// The folder to write depth.json to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What `depth.json` holds.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct DepthReport {
    pub(crate) dataset: String,
    pub(crate) tiles: usize,
    pub(crate) groups: usize,
    /// The scanners that were told apart, and by what groups.
    pub(crate) scanners: Option<(Vec<String>, String)>,
    pub(crate) cell_types: Vec<String>,
    /// By model, then by depth.
    pub(crate) points: Vec<DepthPoint>,
}

/// One tap of one model.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct DepthPoint {
    pub(crate) model: String,
    pub(crate) tap: String,
    /// Share of the model's blocks behind which the tap lies, 0 to 1; of a graph without blocks the tap's rank.
    pub(crate) depth: f64,
    /// Ridge on the whole embedding, on groups held out, by cell type.
    pub(crate) counts: Vec<Reported>,
    /// Balanced accuracy of telling scanners apart, on groups held out.
    pub(crate) scanner_accuracy: Option<f64>,
    /// What guessing gives.
    pub(crate) scanner_chance: Option<f64>,
}

/// Runs the analysis.
///
/// # Errors
/// When files cannot be read or written, labels do not match, or models and files differ in number.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Outcome {
    let (models, files) = (args.bundle.len(), [args.embeddings.len(), args.scanners.len()]);
    if files[0] != models || ![0, models].contains(&files[1]) {
        return Err(format!(
            "expected --embeddings (and --scanners, if any) once for each of {models} bundles, found {} and {}",
            files[0], files[1]
        )
        .into());
    }
    let mut report = DepthReport {
        dataset: args.labels.name(),
        tiles: 0,
        groups: 0,
        scanners: None,
        cell_types: Vec::new(),
        points: Vec::new(),
    };
    for (model, bundle) in args.bundle.iter().enumerate() {
        let bundle = Bundle::open(bundle)?;
        let study = Study::open(&args.embeddings[model], &args.labels)?;
        let scanners = args.scanners.get(model).map(|files| Scanners::open(files, &args.scanner_group)).transpose()?;
        (report.tiles, report.groups) = (study.rows.len(), study.groups.count());
        report.cell_types = study.counts.iter().map(|counts| counts.name.clone()).collect();
        report.scanners = scanners.as_ref().map(|s| (s.labels.names().to_vec(), args.scanner_group.clone()));
        report.points.extend(points(&study, &bundle, scanners.as_ref(), &args.method)?);
    }
    save(&args.out, "depth.json", &report)?;
    Ok(write!(out, "{}", page(&report))?)
}

/// A model's taps, the shallowest first.
fn points(
    study: &Study,
    bundle: &Bundle,
    scanners: Option<&Scanners>,
    method: &MethodArgs,
) -> Result<Vec<DepthPoint>, Failure> {
    let (manifest, method) = (bundle.manifest(), method.method());
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
        let counts = counts.map(|(counts, (_, all))| reported(study, &counts.values, all, &resamples, None)).collect();
        let told = scanners.map(|scanners| scanners.told_apart(&tap.name, method.seed)).transpose()?;
        points.push(DepthPoint {
            model: manifest.name.clone(),
            tap: tap.name.clone(),
            depth: match (&manifest.architecture, tap.after_block()) {
                (Architecture::Vit(vit), Some(block)) => (block + 1) as f64 / vit.depth as f64,
                _ => (place + 1) as f64 / manifest.taps.len() as f64,
            },
            counts,
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
    labels: Labels,
    groups: Labels,
}

impl Scanners {
    fn open(files: &str, group: &str) -> Result<Scanners, Failure> {
        let sets = files.split(',').map(|file| EmbeddingSet::open(Path::new(file))).collect::<Result<Vec<_>, _>>()?;
        let column = |name: &str| {
            let mut cells = Vec::new();
            for set in &sets {
                let found = set.rows().column(name);
                cells.extend_from_slice(found.ok_or_else(|| format!("{files}: expected a column {name}"))?);
            }
            study::filled(&format!("{files}: column {name}"), &cells)?;
            Ok::<_, Failure>(Labels::new(&cells))
        };
        let (labels, groups) = (column("scanner")?, column(group)?);
        Ok(Scanners { sets, labels, groups })
    }

    fn told_apart(&self, tap: &str, seed: u64) -> Result<Probe, Failure> {
        let parts = self.sets.iter().map(|set| set.matrix(tap)).collect::<Result<Vec<_>, _>>()?;
        let mut all = Mat::zeros(self.labels.len(), parts[0].ncols());
        let mut first = 0;
        for part in &parts {
            if part.ncols() != all.ncols() {
                return Err(
                    format!("tap {tap} has {} and {} values; expected one model", all.ncols(), part.ncols()).into()
                );
            }
            all.subrows_mut(first, part.nrows()).copy_from(part);
            first += part.nrows();
        }
        Ok(probe(all.as_ref(), &self.labels, &self.groups, Classifier::Linear, FOLDS, seed)?)
    }
}

fn page(report: &DepthReport) -> String {
    let mut page = paragraph(&format!(
        "{}: {} tiles in {} groups; r of counts that ridge predicts for groups held out",
        report.dataset, report.tiles, report.groups
    ));
    // As many cell types beside each other as fit into 80 columns.
    let beside = if report.scanners.is_some() { 4 } else { 5 };
    for first in (0..report.cell_types.len().max(1)).step_by(beside) {
        let shown = first..(first + beside).min(report.cell_types.len());
        let _ = write!(page, "\n{:14}{:14}{:>7}", "model", "tap", "depth");
        report.cell_types[shown.clone()].iter().for_each(|name| {
            let _ = write!(page, "{:>9}", shortened(name, 8));
        });
        page.push_str(if report.scanners.is_some() { "  scanner\n" } else { "\n" });
        for point in &report.points {
            let (model, tap) = (shortened(&point.model, 13), shortened(&point.tap, 13));
            let _ = write!(page, "{model:14}{tap:14}{:>6.0}%", 100.0 * point.depth);
            point.counts[shown.clone()].iter().for_each(|counts| {
                let _ = write!(page, "{:>9}", signed(counts.r));
            });
            let accuracy = point.scanner_accuracy.filter(|_| report.scanners.is_some());
            let _ = accuracy.map(|accuracy| write!(page, "{accuracy:>9.2}"));
            page.push('\n');
        }
    }
    if let Some((names, group)) = &report.scanners {
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

    #[test]
    fn many_cell_types_stay_within_80_columns() {
        let types: Vec<String> = (0..6).map(|n| format!("a long cell type {n}")).collect();
        let point = DepthPoint {
            model: "a model with a long name".into(),
            tap: "block10.class_token".into(),
            depth: 1.0,
            counts: vec![Reported { r: Some(-0.25), ..Reported::default() }; 6],
            scanner_accuracy: Some(0.5),
            scanner_chance: Some(0.5),
        };
        let mut report = DepthReport {
            dataset: "here".into(),
            tiles: 9,
            groups: 3,
            scanners: Some((vec!["one".into(), "two".into()], "slide".into())),
            cell_types: types,
            points: vec![point],
        };
        for scanners in [report.scanners.clone(), None] {
            report.scanners = scanners;
            let page = page(&report);
            assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
            assert_eq!(page.matches("-0.25").count(), 6, "{page}");
        }
    }
}
