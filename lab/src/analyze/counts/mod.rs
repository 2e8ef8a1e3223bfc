//! `coverslip analyze counts`: which features follow the counts of which cells, how surely, and what else does.

mod examine;
mod page;
mod report;
#[cfg(test)]
pub(super) mod tests;

use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::{Bundle, SAE_FILE};

pub(crate) use examine::ALPHA;
pub(super) use examine::{FOLDS, Method, chosen, predictions, reported};
pub(super) use page::{range, signed};
pub(crate) use report::{Association, CellType, CountsReport, Reported, Source};

use super::representation::{Kind, Representation};
use super::study::{self, LabelArgs, Study};
use super::{Failure, Outcome, save};
use coverslip_files::put;

/// Options of `coverslip analyze counts`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Embeddings and features of the tiles, from `coverslip embed`
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// The bundle that they come from: names the tap and the features
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The embedding beside the features [default: the one that the bundle's SAE reads]
    #[arg(long)]
    tap: Option<String>,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    method: MethodArgs,
    /// Also analyse so many tables in which whole groups have exchanged their counts, and count those with a discovery
    #[arg(long, value_name = "TABLES", default_value_t = 0)]
    shuffles: usize,
    /// The folder to write counts.json and counts-features.csv to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// How numbers are got: shared by the analyses of counts.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct MethodArgs {
    /// Features that fire in fewer groups are left out
    #[arg(long, value_name = "GROUPS", default_value_t = 3)]
    least_groups: usize,
    /// Permutations of whole groups behind each p
    #[arg(long, default_value_t = 9_999, value_parser = clap::value_parser!(u32).range(19..=1_000_000))]
    permutations: u32,
    /// Resamples of whole groups behind each interval
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    resamples: u32,
    /// The same seed gives the same numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl MethodArgs {
    pub(super) fn method(&self) -> Method {
        Method {
            least_groups: self.least_groups,
            permutations: self.permutations as usize,
            resamples: self.resamples as usize,
            seed: self.seed,
        }
    }
}

/// Runs the analysis.
///
/// # Errors
/// When files cannot be read or written, labels do not match, or nothing can be tested.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Outcome {
    let bundle = args.bundle.as_deref().map(Bundle::open).transpose()?;
    let study = Study::open(&args.embeddings, &args.labels)?;
    let tap = study::tap(&study.set, args.tap.as_deref(), bundle.as_ref())?;
    if let Some(bundle) = &bundle {
        study::tap_fits(&study.set, &tap, bundle)?;
        study::features_fit(&study.set, bundle)?;
    }
    let source = source(args, &tap, bundle.as_ref());
    let (report, table) = analyse(&study, &source, args.method.method(), args.shuffles)?;
    save(&args.out, "counts.json", &report)?;
    if let Some(table) = table {
        put(&args.out.join("counts-features.csv"), table.as_bytes())?;
    }
    Ok(write!(out, "{}", page::page(&report))?)
}

fn source(args: &Args, tap: &str, bundle: Option<&Bundle>) -> Source {
    let cut = args.labels.cut.map_or(String::new(), |end| format!(" up to the last {end}"));
    Source {
        dataset: args.labels.name(),
        embeddings: args.embeddings.display().to_string(),
        labels: args.labels.labels.display().to_string(),
        tap: tap.to_owned(),
        bundle: bundle.map(|bundle| bundle.manifest().name.clone()),
        sae_digest: bundle.and_then(sae_digest),
        grouped_by: format!("{}{cut}", args.labels.group),
    }
}

/// sha256 of a bundle's SAE, which stays what it is when the bundle is labelled.
pub(crate) fn sae_digest(bundle: &Bundle) -> Option<String> {
    bundle.manifest().files.get(SAE_FILE).map(|file| file.sha256.to_string())
}

/// The report, and the table of all features where there are any.
fn analyse(
    study: &Study,
    source: &Source,
    method: Method,
    shuffles: usize,
) -> Result<(CountsReport, Option<String>), Failure> {
    let mut report = CountsReport {
        source: source.clone(),
        tiles: study.rows.len(),
        groups: study.groups.count(),
        group_sizes: sizes(study),
        least_groups: method.least_groups,
        permutations: method.permutations,
        resamples: method.resamples,
        cell_types: cell_types(study),
        representations: Vec::new(),
        features: Vec::new(),
        shuffled: None,
    };
    let mut table = None;
    for (place, columns) in Representation::all(study, &source.tap)?.iter().enumerate() {
        let examined = examine::examine(study, columns, method)?;
        if place == 0 && shuffles > 0 {
            report.shuffled = Some(examined.shuffled(study, shuffles, method)?);
        }
        if columns.name == Kind::Feature {
            for t in 0..study.counts.len() {
                let mut shown = examined.strongest(t, 10);
                shown.extend(
                    examined.discoveries(t).into_iter().filter(|column| !shown.contains(column)).collect::<Vec<_>>(),
                );
                report.features.extend(shown.into_iter().map(|column| examined.association(study, column, t)));
            }
            table = Some(page::csv(examined.every(study)));
        }
        report.representations.push(examined.report);
    }
    Ok((report, table))
}

fn sizes(study: &Study) -> [usize; 3] {
    let mut sizes: Vec<usize> = study.groups.rows().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    [sizes[0], sizes[sizes.len() / 2], sizes[sizes.len() - 1]]
}

fn cell_types(study: &Study) -> Vec<CellType> {
    let summary = |counts: &super::labels::Counts| {
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
