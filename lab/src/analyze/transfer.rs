//! `coverslip analyze transfer`: features are chosen and fitted on one data set, and reported on another.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::counts::{Line, Resamples, best_feature, ridge_elsewhere};
use faer::Mat;

use super::held_out::{self, FOLDS};
use super::options::{CountOptions, LabelOptions, Method};
use super::representation::Representation;
use super::study::{FeatureTable, Study, tap};
use super::text::{cell_type, range, signed, source};
use super::{Failure, Outcome};
use crate::claim;
use crate::findings::file::Findings;
use crate::findings::models::{Transfer, TransferFindings};
use crate::findings::reading::{ColumnKind, Reading};
use crate::term::paragraph;

pub(crate) struct Options {
    /// Of the tiles to choose on.
    pub(crate) embeddings: PathBuf,
    pub(crate) counts: CountOptions,
    /// Embeddings of the tiles to report on.
    pub(crate) to: PathBuf,
    pub(crate) to_labels: LabelOptions,
    pub(crate) tap: Option<String>,
    /// The folder of the findings.
    pub(crate) out: PathBuf,
}

/// Runs the analysis.
///
/// # Errors
/// When files cannot be read or written, labels do not match, or the data sets have no cell type in common.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let _claim = claim::within(&options.out)?;
    let (labels, to_labels) = (&options.counts.labels, &options.to_labels);
    let from = Study::open(&options.embeddings, labels)?;
    let to = Study::open(&options.to, to_labels)?;
    let tap = tap(&from.set, options.tap.as_deref(), None)?;
    let found = TransferFindings {
        from: from.sample(labels.name()),
        to: to.sample(to_labels.name()),
        rows: transfer(&from, &to, &tap, options.counts.method)?,
        tap,
    };
    found.save(&options.out)?;
    Ok(write!(out, "{}", page(&found))?)
}

fn transfer(from: &Study, to: &Study, tap: &str, method: Method) -> Result<Vec<Transfer>, Failure> {
    let resamples = Resamples::new(to.groups.count(), method.resamples, method.seed);
    let common = common(from, to)?;
    let mut rows = Vec::new();
    for columns in Representation::all(from, tap)? {
        let Some(there) = same_columns(&columns, to, tap)? else { continue };
        let folds = from.groups.folds(FOLDS);
        let predicted = ridge_elsewhere(columns.values.as_ref(), from.y().as_ref(), &folds, there.as_ref())?;
        for &(a, b) in &common {
            let counts = &to.counts[b];
            let line = best_line(&columns, &from.counts[a].values, method.least_groups);
            let one = (0..to.rows.len())
                .map(|row| line.map_or(0.0, |line| line.intercept + line.slope * there[(row, line.feature)]));
            for (all_columns, values) in [(false, one.collect()), (true, predicted[a].clone())] {
                let held_out = coverslip_analysis::counts::score(values, &counts.values, to.groups.of());
                rows.push(Transfer {
                    reading: Reading { cell_type: counts.name.clone(), kind: columns.kind, all_columns },
                    column: line.filter(|_| !all_columns).map(|line| columns.columns[line.feature].clone()),
                    chosen_r: line.filter(|_| !all_columns).map(|line| line.r),
                    there: held_out::score(to, &counts.values, &held_out, &resamples, None),
                });
            }
        }
    }
    Ok(rows)
}

/// Cell types that both data sets have: their places in either.
fn common(from: &Study, to: &Study) -> Result<Vec<(usize, usize)>, Failure> {
    let common: Vec<(usize, usize)> = (from.counts.iter().enumerate())
        .filter_map(|(a, counts)| Some((a, to.counts.iter().position(|other| other.name == counts.name)?)))
        .collect();
    if common.is_empty() {
        let names = |study: &Study| study.counts.iter().map(|c| c.name.clone()).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "no cell type is in both tables of labels: {} against {}; expected columns of one name",
            names(from),
            names(to)
        )
        .into());
    }
    Ok(common)
}

/// The column with the largest |r| on all tiles, and the line on it.
fn best_line(columns: &Representation, counts: &[f64], least_groups: usize) -> Option<Line> {
    // Every tile is in fold 1, and fold 0 is empty: what is chosen for fold 0 is chosen on every group.
    let folds = vec![1; counts.len()];
    let firing = [vec![0; columns.columns.len()], columns.groups_firing.clone()];
    let (_, lines) = best_feature(columns.values.as_ref(), counts, &folds, &firing, least_groups);
    lines[0]
}

/// The columns of a representation on other tiles. Principal components are those of the first data set only, and left
/// out.
fn same_columns(columns: &Representation, to: &Study, tap: &str) -> Result<Option<Mat<f64>>, Failure> {
    Ok(match columns.kind {
        ColumnKind::Feature => to.features()?.map(|features| aligned(&features, &columns.columns)),
        ColumnKind::Dimension => Some(to.embedding(tap)?).filter(|there| there.ncols() == columns.columns.len()),
        ColumnKind::Component | ColumnKind::Random | ColumnKind::FrozenDecoder => None,
        ColumnKind::Colour => to.colour()?,
    })
}

fn aligned(features: &FeatureTable, wanted: &[String]) -> Mat<f64> {
    let place = |name: &String| name.parse::<usize>().ok().and_then(|index| features.index.binary_search(&index).ok());
    let places: Vec<Option<usize>> = wanted.iter().map(place).collect();
    Mat::from_fn(features.values.nrows(), wanted.len(), |row, column| {
        places[column].map_or(0.0, |place| features.values[(row, place)])
    })
}

fn page(found: &TransferFindings) -> String {
    let (from, to) = (&found.from, &found.to);
    let mut page = paragraph(&format!(
        "chosen on {} ({} tiles, {} groups), reported on {} ({} tiles, {} groups)",
        from.dataset, from.tiles, from.groups, to.dataset, to.tiles, to.groups
    ));
    page.push('\n');
    let _ = writeln!(page, "{:14}{:28}{:>6}{:>8}{:>8}  95 % interval", "cell type", "from", "no.", "r first", "r then");
    for row in &found.rows {
        let _ = writeln!(
            page,
            "{:14}{:28}{:>6}{:>8}{:>8}  {}",
            cell_type(&row.reading),
            source(&row.reading),
            row.column.as_deref().unwrap_or("–"),
            signed(row.chosen_r),
            signed(row.there.r),
            range(row.there.interval)
        );
    }
    page
}
