//! `coverslip analyze compare`: two models on the same tiles.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::counts::{PairSums, Resamples, bca};
use serde::{Deserialize, Serialize};

use super::counts::{MethodArgs, Reported, chosen, predictions, range, reported, signed};
use super::representation::{Kind, Representation};
use super::study::{LabelArgs, Study, tap};
use super::{Failure, Outcome, save};
use crate::term::paragraph;

/// Options of `coverslip analyze compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Embeddings of the first model
    a: PathBuf,
    /// Embeddings of the second model, of the same tiles
    b: PathBuf,
    /// The first model's embedding, where the file has several
    #[arg(long)]
    tap_a: Option<String>,
    /// The second model's embedding, where the file has several
    #[arg(long)]
    tap_b: Option<String>,
    /// What the models are called
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_values = ["A", "B"])]
    names: Vec<String>,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    method: MethodArgs,
    /// The folder to write compare.json to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What `compare.json` holds.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct CompareReport {
    pub(crate) dataset: String,
    pub(crate) names: [String; 2],
    pub(crate) taps: [String; 2],
    pub(crate) tiles: usize,
    pub(crate) groups: usize,
    pub(crate) rows: Vec<Comparison>,
}

/// One cell type, read in one way from both models, on groups that were held out.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Comparison {
    pub(crate) cell_type: String,
    pub(crate) kind: Kind,
    /// Whether one column was chosen, or all were used by ridge.
    pub(crate) all_columns: bool,
    pub(crate) a: Reported,
    pub(crate) b: Reported,
    /// r of the first less r of the second.
    pub(crate) difference: Option<f64>,
    /// 95 %, both models on the same resamples of groups.
    pub(crate) interval: Option<[f64; 2]>,
}

/// Runs the comparison.
///
/// # Errors
/// When files cannot be read or written, or labels do not match either.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Outcome {
    let [a, b] = &args.names[..] else {
        return Err(format!("--names: expected two names, A,B; found {}", args.names.len()).into());
    };
    let studies = [Study::open(&args.a, &args.labels)?, Study::open(&args.b, &args.labels)?];
    if studies[0].groups != studies[1].groups {
        return Err(
            "the two files put the tiles into different groups; take --group from a column of the labels".into()
        );
    }
    let taps = [tap(&studies[0].set, args.tap_a.as_deref(), None)?, tap(&studies[1].set, args.tap_b.as_deref(), None)?];
    let report = CompareReport {
        dataset: args.labels.name(),
        names: [a.clone(), b.clone()],
        tiles: studies[0].rows.len(),
        groups: studies[0].groups.count(),
        rows: compare(&studies, &taps, &args.method)?,
        taps,
    };
    save(&args.out, "compare.json", &report)?;
    Ok(write!(out, "{}", page(&report))?)
}

fn compare(studies: &[Study; 2], taps: &[String; 2], method: &MethodArgs) -> Result<Vec<Comparison>, Failure> {
    let method = method.method();
    let study = &studies[0];
    let resamples = Resamples::new(study.groups.count(), method.resamples, method.seed);
    let columns = [Representation::all(&studies[0], &taps[0])?, Representation::all(&studies[1], &taps[1])?];
    let mut rows = Vec::new();
    // Colour is the tiles' own, whatever the model.
    for a in columns[0].iter().filter(|columns| columns.name != Kind::Colour) {
        let Some(b) = columns[1].iter().find(|b| b.name == a.name) else { continue };
        let predicted = [predictions(&studies[0], a, method)?, predictions(&studies[1], b, method)?];
        for (t, counts) in study.counts.iter().enumerate() {
            for all_columns in [false, true] {
                let of = |model: usize| {
                    let ((one, _), all) = &predicted[model][t];
                    if all_columns { all } else { one }
                };
                let most = |model: usize, columns| match all_columns {
                    true => None,
                    false => chosen(columns, &predicted[model][t].0.1),
                };
                let sums = [0, 1].map(|model| PairSums::new(&of(model).predicted, &counts.values, &study.groups));
                let differences = |values: [Vec<f64>; 2]| -> Vec<f64> {
                    values[0].iter().zip(&values[1]).map(|(a, b)| a - b).collect()
                };
                let difference = of(0).r.zip(of(1).r).map(|(a, b)| a - b);
                let replicates = differences([0, 1].map(|model| sums[model].replicates(&resamples)));
                let left_out = differences([0, 1].map(|model| sums[model].left_out()));
                rows.push(Comparison {
                    cell_type: counts.name.clone(),
                    kind: a.name,
                    all_columns,
                    a: reported(study, &counts.values, of(0), &resamples, most(0, a)),
                    b: reported(study, &counts.values, of(1), &resamples, most(1, b)),
                    interval: difference
                        .and_then(|estimate| bca(estimate, &replicates, &left_out, 0.95))
                        .map(|interval| [interval.low, interval.high]),
                    difference,
                });
            }
        }
    }
    Ok(rows)
}

fn page(report: &CompareReport) -> String {
    let [a, b] = &report.names;
    let mut page = paragraph(&format!(
        "{}: {} tiles in {} groups; A is {a} ({}), B is {b} ({})",
        report.dataset, report.tiles, report.groups, report.taps[0], report.taps[1]
    ));
    page.push_str("\nr of predicted and true counts in groups that had no part in the prediction\n\n");
    let _ = writeln!(page, "{:14}{:24}{:>7}{:>7}{:>9}  95 % interval", "cell type", "from", "A", "B", "A − B");
    for row in &report.rows {
        let from = if row.all_columns { format!("all {}s", row.kind.one()) } else { row.kind.one().to_owned() };
        let name: String = row.cell_type.chars().take(13).collect();
        let _ = writeln!(
            page,
            "{name:14}{from:24}{:>7}{:>7}{:>9}  {}",
            signed(row.a.r),
            signed(row.b.r),
            signed(row.difference),
            range(row.interval)
        );
    }
    page
}
