//! `coverslip analyze counts`: which features follow the counts of which cells, how surely, and what else does.

mod examined;
mod page;
mod replicated;
mod untrained;

use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::Bundle;
use coverslip_files::FileSet;

use super::count_table::CountColumn;
use super::options::{CountOptions, Method};
use super::representation::Representation;
use super::study::{self, Study};
use super::{Failure, Outcome};
use crate::claim;
use crate::findings::counts::{CellType, CountsFindings, Source, sae_digest};
use crate::findings::file::Findings;
use crate::findings::reading::ColumnKind;

/// The table of all features, for spreadsheets.
const TABLE_FILE: &str = "counts-features.csv";

pub(crate) struct Options {
    pub(crate) embeddings: PathBuf,
    /// The bundle that the embeddings come from.
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) tap: Option<String>,
    pub(crate) counts: CountOptions,
    /// Tables in which whole groups exchange their counts.
    pub(crate) shuffles: usize,
    /// Steps in which the encoder of a frozen random decoder is trained; 0: no such baseline.
    pub(crate) baseline_steps: u64,
    /// The folder of the findings.
    pub(crate) out: PathBuf,
}

/// Runs the analysis.
///
/// # Errors
/// When files cannot be read or written, labels do not match, or nothing can be tested.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let claim = claim::within(&options.out)?;
    let bundle = options.bundle.as_deref().map(Bundle::open).transpose()?;
    let study = Study::open(&options.embeddings, &options.counts.labels)?;
    let tap = study::tap(&study.set, options.tap.as_deref(), bundle.as_ref())?;
    if let Some(bundle) = &bundle {
        study::tap_fits(&study.set, &tap, bundle)?;
        study::features_fit(&study.set, bundle)?;
    }
    let source = source(options, &tap, bundle.as_ref());
    let (found, table) = analyse(&study, &source, options.counts.method, (options.shuffles, options.baseline_steps))?;
    let names: Vec<&str> = [CountsFindings::FILE].into_iter().chain(table.as_ref().map(|_| TABLE_FILE)).collect();
    let mut files = FileSet::prepare(&claim, &names)?;
    files.write(CountsFindings::FILE, |file| file.write_all(&found.text()?))?;
    if let Some(table) = table {
        files.write(TABLE_FILE, |file| file.write_all(table.as_bytes()))?;
    }
    files.commit()?;
    Ok(write!(out, "{}", page::page(&found))?)
}

fn source(options: &Options, tap: &str, bundle: Option<&Bundle>) -> Source {
    let labels = &options.counts.labels;
    let cut = labels.cut.map_or(String::new(), |end| format!(" up to the last {end}"));
    Source {
        dataset: labels.name(),
        embeddings: options.embeddings.display().to_string(),
        labels: labels.path.display().to_string(),
        tap: tap.to_owned(),
        bundle: bundle.map(|bundle| bundle.manifest().name.clone()),
        sae_digest: bundle.and_then(sae_digest),
        grouped_by: format!("{}{cut}", labels.group),
    }
}

/// The findings, and the table of all features where there are any.
fn analyse(
    study: &Study,
    source: &Source,
    method: Method,
    (shuffles, baseline_steps): (usize, u64),
) -> Result<(CountsFindings, Option<String>), Failure> {
    let mut found = CountsFindings {
        source: source.clone(),
        tiles: study.rows.len(),
        groups: study.groups.count(),
        group_sizes: sizes(study),
        least_groups: method.least_groups,
        permutations: method.permutations,
        resamples: method.resamples,
        cell_types: cell_types(study),
        representations: Vec::new(),
        replication: None,
        features: Vec::new(),
        shuffled: None,
    };
    let mut table = None;
    let mut all = Representation::all(study, &source.tap)?;
    if all[0].kind == ColumnKind::Feature {
        let untrained = untrained::untrained(study, &source.tap, &all[0], (baseline_steps, method.seed))?;
        // Of a random dictionary on few tiles nothing may fire often enough to be tested.
        let testable = |one: &Representation| !one.firing_in(method.least_groups).columns.is_empty();
        all.extend(untrained.into_iter().filter(testable));
    }
    for (place, columns) in all.iter().enumerate() {
        let examined = examined::examine(study, columns, method)?;
        if place == 0 && shuffles > 0 {
            found.shuffled = Some(examined.shuffled(study, shuffles, method)?);
        }
        if columns.kind == ColumnKind::Feature {
            found.replication = Some(replicated::replication(study, columns, method)?);
            for t in 0..study.counts.len() {
                let mut shown = examined.strongest(t, 10);
                shown.extend(
                    examined.discoveries(t).into_iter().filter(|column| !shown.contains(column)).collect::<Vec<_>>(),
                );
                found.features.extend(shown.into_iter().map(|column| examined.association(study, column, t)));
            }
            table = Some(page::csv(examined.every(study)));
        }
        found.representations.push(examined.findings);
    }
    Ok((found, table))
}

fn sizes(study: &Study) -> [usize; 3] {
    let mut sizes: Vec<usize> = study.groups.rows().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    [sizes[0], sizes[sizes.len() / 2], sizes[sizes.len() - 1]]
}

fn cell_types(study: &Study) -> Vec<CellType> {
    let summary = |counts: &CountColumn| {
        let values = &counts.values;
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let between = study.groups.rows().iter().map(|rows| {
            let sum: f64 = rows.iter().map(|&row| values[row] - mean).sum();
            sum * sum / rows.len() as f64
        });
        CellType {
            name: counts.name.clone(),
            mean,
            sd: (square / (n - 1.0)).sqrt(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            groups_with: study.groups.rows().iter().filter(|rows| rows.iter().any(|&row| values[row] != 0.0)).count(),
            between_groups: between.sum::<f64>() / square,
        }
    };
    study.counts.iter().map(summary).collect()
}
