//! `coverslip analyze compare`: two models on the same tiles.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::counts::{PairSums, Resamples, bca};

use super::count_table::CountColumn;
use super::held_out::{LEVEL, Predicted, chosen, ends, predictions, score};
use super::options::{CountOptions, Method};
use super::representation::Representation;
use super::study::{Study, tap};
use super::text::{cell_type, range, signed, source};
use super::{Failure, Outcome};
use crate::claim;
use crate::findings::file::Findings;
use crate::findings::models::{CompareFindings, Comparison};
use crate::findings::reading::{ColumnKind, Reading};
use crate::term::paragraph;

pub(crate) struct Options {
    /// Of the same tiles, by either model.
    pub(crate) embeddings: [PathBuf; 2],
    pub(crate) taps: [Option<String>; 2],
    /// Names of the models.
    pub(crate) names: [String; 2],
    pub(crate) counts: CountOptions,
    /// The folder of the findings.
    pub(crate) out: PathBuf,
}

/// Runs the comparison.
///
/// # Errors
/// When files cannot be read or written, or labels do not match either.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let _claim = claim::within(&options.out)?;
    let (labels, [a, b]) = (&options.counts.labels, &options.embeddings);
    let studies = [Study::open(a, labels)?, Study::open(b, labels)?];
    if studies[0].groups != studies[1].groups {
        return Err(
            "the two files put the tiles into different groups; take --group from a column of the labels".into()
        );
    }
    let [tap_a, tap_b] = &options.taps;
    let taps = [tap(&studies[0].set, tap_a.as_deref(), None)?, tap(&studies[1].set, tap_b.as_deref(), None)?];
    let found = CompareFindings {
        sample: studies[0].sample(labels.name()),
        names: options.names.clone(),
        rows: compare(&studies, &taps, options.counts.method)?,
        taps,
    };
    found.save(&options.out)?;
    Ok(write!(out, "{}", page(&found))?)
}

fn compare(studies: &[Study; 2], taps: &[String; 2], method: Method) -> Result<Vec<Comparison>, Failure> {
    let study = &studies[0];
    let resamples = Resamples::new(study.groups.count(), method.resamples, method.seed);
    let columns = [Representation::all(&studies[0], &taps[0])?, Representation::all(&studies[1], &taps[1])?];
    let mut rows = Vec::new();
    // Colour is the tiles' own, whatever the model.
    for a in columns[0].iter().filter(|columns| columns.kind != ColumnKind::Colour) {
        let Some(b) = columns[1].iter().find(|b| b.kind == a.kind) else { continue };
        let (by_a, by_b) = (predictions(&studies[0], a, method)?, predictions(&studies[1], b, method)?);
        for (counts, (by_a, by_b)) in study.counts.iter().zip(by_a.iter().zip(&by_b)) {
            for all_columns in [false, true] {
                rows.push(comparison(study, counts, all_columns, [(a, by_a), (b, by_b)], &resamples));
            }
        }
    }
    Ok(rows)
}

/// One cell type, read from the columns of either model.
fn comparison(
    study: &Study,
    counts: &CountColumn,
    all_columns: bool,
    models: [(&Representation, &Predicted); 2],
    resamples: &Resamples,
) -> Comparison {
    let of = models.map(|(_, predicted)| if all_columns { &predicted.all } else { &predicted.one });
    let most = |(columns, predicted): (&Representation, &Predicted)| match all_columns {
        true => None,
        false => chosen(columns, &predicted.lines),
    };
    let sums = of.map(|held_out| PairSums::new(&held_out.predicted, &counts.values, &study.groups));
    let less = |values: [Vec<f64>; 2]| -> Vec<f64> { values[0].iter().zip(&values[1]).map(|(a, b)| a - b).collect() };
    let difference = of[0].r.zip(of[1].r).map(|(a, b)| a - b);
    let replicates = less(sums.each_ref().map(|sums| sums.replicates(resamples)));
    let left_out = less(sums.each_ref().map(PairSums::left_out));
    Comparison {
        reading: Reading { cell_type: counts.name.clone(), kind: models[0].0.kind, all_columns },
        a: score(study, &counts.values, of[0], resamples, most(models[0])),
        b: score(study, &counts.values, of[1], resamples, most(models[1])),
        interval: difference.and_then(|estimate| bca(estimate, &replicates, &left_out, LEVEL)).map(ends),
        difference,
    }
}

fn page(found: &CompareFindings) -> String {
    let [a, b] = &found.names;
    let sample = &found.sample;
    let mut page = paragraph(&format!(
        "{}: {} tiles in {} groups; A is {a} ({}), B is {b} ({})",
        sample.dataset, sample.tiles, sample.groups, found.taps[0], found.taps[1]
    ));
    page.push_str("\nr of predicted and true counts in groups that had no part in the prediction\n\n");
    let _ = writeln!(page, "{:14}{:24}{:>7}{:>7}{:>9}  95 % interval", "cell type", "from", "A", "B", "A − B");
    for row in &found.rows {
        let _ = writeln!(
            page,
            "{:14}{:24}{:>7}{:>7}{:>9}  {}",
            cell_type(&row.reading),
            source(&row.reading),
            signed(row.a.r),
            signed(row.b.r),
            signed(row.difference),
            range(row.interval)
        );
    }
    page
}
