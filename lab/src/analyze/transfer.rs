//! `coverslip analyze transfer`: chosen and fitted on one data set, reported on another.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::counts::{Resamples, best_feature, ridge_elsewhere, score};
use faer::Mat;
use serde::{Deserialize, Serialize};

use super::counts::{FOLDS, MethodArgs, Reported, range, reported, signed};
use super::representation::{Kind, Representation};
use super::study::{Features, LabelArgs, Study, tap};
use super::{Failure, Outcome, save};
use crate::term::paragraph;

/// Options of `coverslip analyze transfer`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Embeddings of the tiles to choose on
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    #[command(flatten)]
    labels: LabelArgs,
    /// Embeddings, by the same bundle, of the tiles to report on
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Their counts
    #[arg(long, value_name = "CSV")]
    to_labels: PathBuf,
    /// What makes their groups [default: as --group]
    #[arg(long, value_name = "COLUMN")]
    to_group: Option<String>,
    /// What they are called [default: the labels' folder]
    #[arg(long, value_name = "NAME")]
    to_dataset: Option<String>,
    /// The embedding beside the features, where the files have several
    #[arg(long)]
    tap: Option<String>,
    #[command(flatten)]
    method: MethodArgs,
    /// The folder to write transfer.json to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What `transfer.json` holds.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct TransferReport {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) tap: String,
    pub(crate) rows: Vec<TransferRow>,
}

/// A data set.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Place {
    pub(crate) dataset: String,
    pub(crate) tiles: usize,
    pub(crate) groups: usize,
}

/// One cell type, read in one way.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct TransferRow {
    pub(crate) cell_type: String,
    pub(crate) kind: Kind,
    /// Whether one column was chosen, or all were used by ridge.
    pub(crate) all_columns: bool,
    /// The column that was chosen.
    pub(crate) column: Option<String>,
    /// Its r where it was chosen: the best of many, too high.
    pub(crate) chosen_r: Option<f64>,
    /// On the other data set. Q2 is against that data set's own mean, and negative where the level of the counts differs.
    pub(crate) there: Reported,
}

/// Runs the analysis.
///
/// # Errors
/// When files cannot be read or written, labels do not match, or the data sets have no cell type in common.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Outcome {
    let from = Study::open(&args.embeddings, &args.labels)?;
    let to_labels = LabelArgs {
        labels: args.to_labels.clone(),
        group: args.to_group.clone().unwrap_or_else(|| args.labels.group.clone()),
        dataset: args.to_dataset.clone(),
        ..args.labels.clone()
    };
    let to = Study::open(&args.to, &to_labels)?;
    let tap = tap(&from.set, args.tap.as_deref(), None)?;
    let place = |study: &Study, dataset| Place { dataset, tiles: study.rows.len(), groups: study.groups.count() };
    let report = TransferReport {
        from: place(&from, args.labels.name()),
        to: place(&to, to_labels.name()),
        rows: transfer(&from, &to, &tap, &args.method)?,
        tap,
    };
    save(&args.out, "transfer.json", &report)?;
    Ok(write!(out, "{}", page(&report))?)
}

fn transfer(from: &Study, to: &Study, tap: &str, method: &MethodArgs) -> Result<Vec<TransferRow>, Failure> {
    let method = method.method();
    let resamples = Resamples::new(to.groups.count(), method.resamples, method.seed);
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
    let mut rows = Vec::new();
    for columns in Representation::all(from, tap)? {
        let Some(there) = same_columns(&columns, to, tap)? else { continue };
        let folds = from.groups.folds(FOLDS);
        let predicted = ridge_elsewhere(columns.values.as_ref(), from.y().as_ref(), &folds, there.as_ref())?;
        for &(a, b) in &common {
            let counts = &to.counts[b];
            // One fold of nothing: the choice sees every group.
            let mut none = vec![vec![0; columns.columns.len()]];
            none.push(columns.groups_firing.clone());
            let whole = vec![1; from.rows.len()];
            let (_, lines) =
                best_feature(columns.values.as_ref(), &from.counts[a].values, &whole, &none, method.least_groups);
            let line = lines[0];
            let one = (0..to.rows.len())
                .map(|row| line.map_or(0.0, |line| line.intercept + line.slope * there[(row, line.feature)]));
            for (all_columns, values) in [(false, one.collect()), (true, predicted[a].clone())] {
                let held_out = score(values, &counts.values, to.groups.of());
                rows.push(TransferRow {
                    cell_type: counts.name.clone(),
                    kind: columns.name,
                    all_columns,
                    column: line.filter(|_| !all_columns).map(|line| columns.columns[line.feature].clone()),
                    chosen_r: line.filter(|_| !all_columns).map(|line| line.r),
                    there: reported(to, &counts.values, &held_out, &resamples, None),
                });
            }
        }
    }
    Ok(rows)
}

/// The columns of a representation on other tiles. Principal components are those of the first data set only, and left
/// out.
fn same_columns(columns: &Representation, to: &Study, tap: &str) -> Result<Option<Mat<f64>>, Failure> {
    Ok(match columns.name {
        Kind::Feature => to.features()?.map(|features| aligned(&features, &columns.columns)),
        Kind::Dimension => Some(to.embedding(tap)?).filter(|there| there.ncols() == columns.columns.len()),
        Kind::Component => None,
        Kind::Colour => to.colour()?,
    })
}

fn aligned(features: &Features, wanted: &[String]) -> Mat<f64> {
    let place = |name: &String| name.parse::<usize>().ok().and_then(|index| features.index.binary_search(&index).ok());
    let places: Vec<Option<usize>> = wanted.iter().map(place).collect();
    Mat::from_fn(features.values.nrows(), wanted.len(), |row, column| {
        places[column].map_or(0.0, |place| features.values[(row, place)])
    })
}

fn page(report: &TransferReport) -> String {
    let (from, to) = (&report.from, &report.to);
    let mut page = paragraph(&format!(
        "chosen on {} ({} tiles, {} groups), reported on {} ({} tiles, {} groups)",
        from.dataset, from.tiles, from.groups, to.dataset, to.tiles, to.groups
    ));
    page.push('\n');
    let _ = writeln!(page, "{:14}{:28}{:>6}{:>8}{:>8}  95 % interval", "cell type", "from", "no.", "r first", "r then");
    for row in &report.rows {
        let what = if row.all_columns { format!("all {}s", row.kind.one()) } else { row.kind.one().to_owned() };
        let name: String = row.cell_type.chars().take(13).collect();
        let _ = writeln!(
            page,
            "{name:14}{what:28}{:>6}{:>8}{:>8}  {}",
            row.column.as_deref().unwrap_or("–"),
            signed(row.chosen_r),
            signed(row.there.r),
            range(row.there.interval)
        );
    }
    page
}
