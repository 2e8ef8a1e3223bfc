//! k-sparse probing: how well is a label read from the k columns that differ most between its kinds? (Gurnee et al., Finding
//! Neurons in a Haystack, arXiv:2305.01610.) A dictionary whose single features mean something needs few of them.

use faer::{Mat, MatRef};

use crate::beliefs::{Belief, by_group, mean_auc};
use crate::categories::Categories;
use crate::folds::folds;
use crate::logistic::Logistic;
use crate::resampled::intervals;
use crate::rows::SparseRows;
use crate::undefined::Undefined;

/// The penalty of the regression on the k standardised columns.
const PENALTY: f64 = 1.0;

/// Numbers per row.
#[derive(Debug, Clone, Copy)]
pub enum Columns<'a> {
    Dense(MatRef<'a, f64>),
    /// Rows in which most of so many columns are 0.
    Sparse(SparseRows<'a>, usize),
}

/// How well k columns tell the label's kinds apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseProbe {
    pub k: usize,
    /// The area under the ROC curve on groups that were held out, the mean over kinds.
    pub auc: f64,
    /// Its 2.5 and 97.5 % points over bootstraps of groups.
    pub interval: (f64, f64),
}

impl Columns<'_> {
    fn count(&self) -> usize {
        match self {
            Columns::Dense(values) => values.ncols(),
            Columns::Sparse(_, columns) => *columns,
        }
    }

    /// Calls `each` with the columns of `row` that are not 0.
    fn row(&self, row: usize, mut each: impl FnMut(usize, f64)) {
        match self {
            Columns::Dense(values) => (0..values.ncols()).for_each(|column| each(column, values[(row, column)])),
            Columns::Sparse(rows, _) => {
                let start = if row == 0 { 0 } else { rows.ends[row - 1] };
                let (index, value) = (&rows.index[start..rows.ends[row]], &rows.value[start..rows.ends[row]]);
                index.iter().zip(value).for_each(|(&column, &value)| each(column as usize, f64::from(value)));
            }
        }
    }

    fn chosen(&self, rows: &[usize], columns: &[usize]) -> Mat<f64> {
        let mut found = Mat::zeros(rows.len(), columns.len());
        for (at, &row) in rows.iter().enumerate() {
            self.row(row, |column, value| {
                if let Some(place) = columns.iter().position(|&wanted| wanted == column) {
                    found[(at, place)] = value;
                }
            });
        }
        found
    }
}

/// Reads `labels` from `ks` columns each, of groups that neither chose the columns nor fitted the regression. Kinds with
/// rows in one group are left out.
///
/// # Errors
/// With fewer than two kinds that have rows in two groups.
pub fn sparse_probes(
    columns: Columns<'_>,
    labels: &Categories,
    groups: &Categories,
    ks: &[usize],
    most_folds: usize,
    bootstraps: usize,
    seed: u64,
) -> Result<Vec<SparseProbe>, Undefined> {
    let spread = labels.kinds_within(groups);
    let kept: Vec<usize> = (0..labels.len()).filter(|&row| spread[labels.codes()[row]] >= 2).collect();
    let (label, group) = (labels.select(&kept), groups.select(&kept));
    if label.kinds() < 2 {
        return Err(Undefined(format!(
            "k-sparse probing: expected two kinds with rows in two groups each, found {} of {}",
            label.kinds(),
            labels.kinds()
        )));
    }
    let count = most_folds.min(group.kinds()).max(2);
    let fold_of = folds(&label, &group, count, seed);
    let most = ks.iter().copied().max().unwrap_or(0);
    let mut beliefs: Vec<Vec<Belief>> = vec![Vec::new(); ks.len()];
    for fold in 0..count {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..kept.len()).partition(|&row| fold_of[row] == fold);
        let place = |rows: &[usize]| rows.iter().map(|&row| kept[row]).collect::<Vec<_>>();
        let codes: Vec<usize> = train.iter().map(|&row| label.codes()[row]).collect();
        let sums = Sums::of(&columns, &place(&train), &codes, label.kinds());
        // Of two kinds the second says all.
        for kind in if label.kinds() == 2 { 1..2 } else { 0..label.kinds() } {
            let best = sums.largest(kind, most);
            let (seen, asked) = (columns.chosen(&place(&train), &best), columns.chosen(&place(&test), &best));
            let truth: Vec<bool> = codes.iter().map(|&code| code == kind).collect();
            for (beliefs, &k) in beliefs.iter_mut().zip(ks) {
                let Some(odds) = read(&seen, &asked, k.min(best.len()), &truth) else { continue };
                beliefs.extend(test.iter().zip(odds).map(|(&row, odds)| {
                    let truth = label.codes()[row] == kind;
                    Belief { kind, fold, group: group.codes()[row], odds, truth }
                }));
            }
        }
    }
    let probe = |(beliefs, &k): (&Vec<Belief>, &usize)| {
        let own = by_group(beliefs, group.kinds());
        let [interval] = intervals(own.len(), bootstraps, seed, |drawn| {
            [mean_auc(&drawn.iter().flat_map(|&group| own[group].iter().copied()).collect::<Vec<_>>())]
        });
        SparseProbe { k, auc: mean_auc(beliefs), interval }
    };
    Ok(beliefs.iter().zip(ks).map(probe).collect())
}

/// The log-odds of `asked` by a regression on the first k columns, standardised as `seen` is.
fn read(seen: &Mat<f64>, asked: &Mat<f64>, k: usize, truth: &[bool]) -> Option<Vec<f64>> {
    let n = seen.nrows() as f64;
    let scale: Vec<(f64, f64)> = (0..k)
        .map(|column| {
            let mean = seen.col(column).iter().sum::<f64>() / n;
            let squares: f64 = seen.col(column).iter().map(|value| (value - mean).powi(2)).sum();
            (mean, (squares / n).sqrt().max(f64::MIN_POSITIVE))
        })
        .collect();
    let standard = |rows: &Mat<f64>| {
        Mat::from_fn(rows.nrows(), k, |row, column| (rows[(row, column)] - scale[column].0) / scale[column].1)
    };
    let fitted = Logistic::fit(standard(seen).as_ref(), truth, PENALTY).ok()?;
    Some(fitted.log_odds(standard(asked).as_ref()))
}

/// Sums over rows of each kind.
struct Sums {
    rows: Vec<f64>,
    /// By kind and column.
    sum: Vec<Vec<f64>>,
    squares: Vec<f64>,
}

impl Sums {
    fn of(columns: &Columns<'_>, rows: &[usize], codes: &[usize], kinds: usize) -> Sums {
        let width = columns.count();
        let mut sums = Sums { rows: vec![0.0; kinds], sum: vec![vec![0.0; width]; kinds], squares: vec![0.0; width] };
        for (&row, &code) in rows.iter().zip(codes) {
            sums.rows[code] += 1.0;
            columns.row(row, |column, value| {
                sums.sum[code][column] += value;
                sums.squares[column] += value * value;
            });
        }
        sums
    }

    /// The columns whose mean differs most between a kind and the others, in standard deviations; the largest first.
    fn largest(&self, kind: usize, most: usize) -> Vec<usize> {
        let n: f64 = self.rows.iter().sum();
        let (own, other) = (self.rows[kind], n - self.rows[kind]);
        let score = |column: usize| {
            let all: f64 = self.sum.iter().map(|sums| sums[column]).sum();
            let variance = self.squares[column] / n - (all / n).powi(2);
            let apart = self.sum[kind][column] / own - (all - self.sum[kind][column]) / other;
            if variance > 1e-12 * self.squares[column] / n { apart.abs() / variance.sqrt() } else { 0.0 }
        };
        let mut scored: Vec<(f64, usize)> = (0..self.squares.len()).map(|column| (score(column), column)).collect();
        scored.retain(|(score, _)| *score > 0.0);
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        scored.truncate(most);
        scored.into_iter().map(|(_, column)| column).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// 30 patients with 4 rows and 40 columns; columns 7 and 21 carry the label together.
    fn case() -> (Mat<f64>, Categories, Categories) {
        let mut random = Random::new(2);
        let rows = Mat::from_fn(120, 40, |row, column| {
            let shift = if row / 4 % 2 == 0 { 1.0 } else { -1.0 };
            random.normal() + if column == 7 || column == 21 { 0.8 * shift } else { 0.0 }
        });
        let label = (0..120).map(|row| if row / 4 % 2 == 0 { "t" } else { "n" }).collect();
        (rows, label, (0..120).map(|row| (row / 4).to_string()).collect())
    }

    #[test]
    fn two_columns_say_more_than_one_and_sparse_is_dense() {
        let (rows, label, patient) = case();
        let dense = Columns::Dense(rows.as_ref());
        let found = sparse_probes(dense, &label, &patient, &[1, 2, 5], 5, 200, 1).unwrap();
        // One column: Φ(1.6 / √2) = 0.87; both: Φ(1.6) = 0.945. Six standard errors are about 0.1.
        assert!((found[0].auc - 0.87).abs() < 0.1 && (found[1].auc - 0.945).abs() < 0.06, "{found:?}");
        assert!(found[1].auc > found[0].auc && found[2].interval.0 > 0.8, "{found:?}");
        let (mut ends, mut index, mut value) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..120 {
            (0..40).for_each(|column| {
                index.push(column as u32);
                value.push(rows[(row, column)] as f32);
            });
            ends.push(index.len());
        }
        let sparse = SparseRows { ends: &ends, index: &index, value: &value };
        let again = sparse_probes(Columns::Sparse(sparse, 40), &label, &patient, &[1, 2, 5], 5, 200, 1).unwrap();
        found.iter().zip(&again).for_each(|(a, b)| assert!((a.auc - b.auc).abs() < 1e-4, "{a:?} {b:?}"));
    }

    #[test]
    fn what_only_tells_the_patients_apart_is_chance() {
        let (_, _, patient) = case();
        let mut random = Random::new(3);
        let own: Vec<Vec<f64>> = (0..30).map(|_| (0..40).map(|_| random.normal()).collect()).collect();
        let rows = Mat::from_fn(120, 40, |row, column| own[row / 4][column]);
        let drawn: Vec<usize> = (0..30).map(|_| random.below(2)).collect();
        let label: Categories = (0..120).map(|row| drawn[row / 4].to_string()).collect();
        let found = sparse_probes(Columns::Dense(rows.as_ref()), &label, &patient, &[5], 5, 200, 1).unwrap();
        assert!(found[0].interval.0 < 0.5, "the label is drawn by patient: {found:?}");
        let one = Categories::new(&["p"; 120]);
        let refused = sparse_probes(Columns::Dense(rows.as_ref()), &label, &one, &[5], 5, 10, 1).unwrap_err();
        assert!(refused.0.contains("found 0 of 2"), "{refused}");
    }
}
