//! Probes: how well a label (the scanner, say) can be read from embeddings of groups that the probe has not seen.

use faer::prelude::Solve;
use faer::{Mat, MatRef, Side};

use super::neighbours::{nearest, normalised};
use crate::categories::Categories;
use crate::folds::folds;
use crate::rows::select;
use crate::undefined::Undefined;

/// The classifier of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Classifier {
    /// Ridge regression to ±1 for each class against the rest, on standardised columns, classes weighted equally;
    /// the penalty is 0.01 per row. scikit-learn's `RidgeClassifier(class_weight="balanced")`.
    Linear,
    /// The most frequent label among this many nearest neighbours by cosine; of equally frequent ones that of the
    /// nearest.
    Neighbours(usize),
}

/// The ridge penalty by rows: a hundredth of a standardised column's variance.
const PENALTY: f64 = 0.01;

/// How well the label was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Mean over classes of the share of rows that were read rightly.
    pub balanced_accuracy: f64,
    /// 1 / classes: the balanced accuracy of guessing.
    pub chance: f64,
    /// (accuracy − chance) / (1 − chance): 0 where nothing is read, 1 where everything is.
    pub corrected: f64,
    /// Classes with two groups or more: only these can be learnt from one and read in another.
    pub classes: usize,
    /// Classes that were left out.
    pub left_out: usize,
    /// Rows of the classes that took part.
    pub rows: usize,
    /// Folds of whole groups.
    pub folds: usize,
}

/// Reads `labels` of each fold's rows from all other folds. `groups` are never cut.
///
/// # Errors
/// With fewer than two classes that have rows in two groups.
pub fn probe(
    rows: MatRef<'_, f64>,
    labels: &Categories,
    groups: &Categories,
    classifier: Classifier,
    most_folds: usize,
    seed: u64,
) -> Result<Probe, Undefined> {
    let group_counts: Vec<usize> = labels.kinds_within(groups);
    let learnable = |code: usize| group_counts[code] >= 2;
    let kept: Vec<usize> = (0..labels.len()).filter(|&row| learnable(labels.codes()[row])).collect();
    let left_out = group_counts.iter().filter(|&&count| count < 2).count();
    let (inner, inner_groups) = (labels.select(&kept), groups.select(&kept));
    if inner.kinds() < 2 {
        return Err(Undefined(format!(
            "a probe: expected two classes with tiles in two groups each, found {} of {}",
            inner.kinds(),
            labels.kinds()
        )));
    }
    let rows = select(rows, &kept);
    let count = most_folds.min(inner_groups.kinds()).max(2);
    let fold_of = folds(&inner, &inner_groups, count, seed);
    let mut predicted = vec![usize::MAX; kept.len()];
    for fold in 0..count {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..kept.len()).partition(|&row| fold_of[row] == fold);
        if test.is_empty() || train.is_empty() {
            continue;
        }
        let known: Vec<usize> = train.iter().map(|&row| inner.codes()[row]).collect();
        let (seen, asked) = (select(rows.as_ref(), &train), select(rows.as_ref(), &test));
        let read = match classifier {
            Classifier::Linear => linear(seen.as_ref(), &known, inner.kinds(), asked.as_ref())?,
            Classifier::Neighbours(k) => neighbours(seen.as_ref(), &known, inner.kinds(), asked.as_ref(), k),
        };
        test.iter().zip(read).for_each(|(&row, label)| predicted[row] = label);
    }
    let right = |rows: &Vec<usize>| rows.iter().filter(|&&row| predicted[row] == inner.codes()[row]).count();
    let by_class = inner.rows();
    let share = by_class.iter().map(|rows| right(rows) as f64 / rows.len() as f64);
    let balanced_accuracy = share.sum::<f64>() / inner.kinds() as f64;
    let chance = 1.0 / inner.kinds() as f64;
    Ok(Probe {
        balanced_accuracy,
        chance,
        corrected: (balanced_accuracy - chance) / (1.0 - chance),
        classes: inner.kinds(),
        left_out,
        rows: kept.len(),
        folds: count,
    })
}

/// Reads the labels of `asked` by ridge regression on `seen`.
pub(super) fn linear(
    seen: MatRef<'_, f64>,
    known: &[usize],
    classes: usize,
    asked: MatRef<'_, f64>,
) -> Result<Vec<usize>, Undefined> {
    let (n, d) = (seen.nrows(), seen.ncols());
    let (means, deviations) = standard(seen);
    let mut counts = vec![0.0; classes];
    known.iter().for_each(|&code| counts[code] += 1.0);
    let present = counts.iter().filter(|&&count| count > 0.0).count() as f64;
    let weights: Vec<f64> = known.iter().map(|&code| n as f64 / (present * counts[code])).collect();
    let total: f64 = weights.iter().sum();
    let mut design = Mat::from_fn(n, d, |row, column| (seen[(row, column)] - means[column]) / deviations[column]);
    let mut target = Mat::from_fn(n, classes, |row, class| if known[row] == class { 1.0 } else { -1.0 });
    let centre = |matrix: &mut Mat<f64>| -> Vec<f64> {
        (0..matrix.ncols())
            .map(|column| {
                let values = matrix.col_as_slice_mut(column);
                let mean = values.iter().zip(&weights).map(|(value, weight)| value * weight).sum::<f64>() / total;
                values.iter_mut().zip(&weights).for_each(|(value, weight)| *value = (*value - mean) * weight.sqrt());
                mean
            })
            .collect()
    };
    let (design_mean, target_mean) = (centre(&mut design), centre(&mut target));
    let mut normal = design.transpose() * &design;
    (0..d).for_each(|i| normal[(i, i)] += PENALTY * n as f64);
    let factor = normal.llt(Side::Lower).map_err(|_| {
        Undefined("a linear probe: expected finite embeddings, found values beyond float64's range".into())
    })?;
    let slopes = factor.solve(design.transpose() * &target);
    let centred = Mat::from_fn(asked.nrows(), d, |row, column| {
        (asked[(row, column)] - means[column]) / deviations[column] - design_mean[column]
    });
    let scores = centred * slopes;
    let best = |row: usize| {
        let score = |class: usize| scores[(row, class)] + target_mean[class];
        (0..classes).filter(|&class| counts[class] > 0.0).max_by(|&a, &b| score(a).total_cmp(&score(b))).unwrap_or(0)
    };
    Ok((0..asked.nrows()).map(best).collect())
}

/// Each column's mean and standard deviation; 1 for a constant column.
pub(super) fn standard(rows: MatRef<'_, f64>) -> (Vec<f64>, Vec<f64>) {
    let n = rows.nrows() as f64;
    let mean = |column: usize| rows.col(column).iter().sum::<f64>() / n;
    let means: Vec<f64> = (0..rows.ncols()).map(mean).collect();
    let deviation = |column: usize| {
        let squares: f64 = rows.col(column).iter().map(|value| (value - means[column]).powi(2)).sum();
        let deviation = (squares / n).sqrt();
        if deviation > 1e-12 * means[column].abs() && deviation > 0.0 { deviation } else { 1.0 }
    };
    (means.clone(), (0..rows.ncols()).map(deviation).collect())
}

fn neighbours(seen: MatRef<'_, f64>, known: &[usize], classes: usize, asked: MatRef<'_, f64>, k: usize) -> Vec<usize> {
    let (pool, queries) = (normalised(seen), normalised(asked));
    let vote = |found: Vec<usize>| {
        let mut votes = vec![0_usize; classes];
        found.iter().for_each(|&row| votes[known[row]] += 1);
        let most = votes.iter().max().copied().unwrap_or(0);
        found.iter().map(|&row| known[row]).find(|&label| votes[label] == most).unwrap_or(0)
    };
    nearest(queries.as_ref(), pool.as_ref(), k, |_, _| true).into_iter().map(vote).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thirty rows of three classes; class c is moved by c in the first column. Deterministic, not random.
    fn rows() -> (Mat<f64>, Categories, Categories) {
        let value = |row: usize, column: usize| {
            let wave = ((row * 7 + column * 3) as f64 * 1.7).sin();
            wave + if column == 0 { 1.2 * (row % 3) as f64 } else { 0.0 }
        };
        let labels: Vec<String> = (0..30).map(|row| format!("c{}", row % 3)).collect();
        let groups: Vec<String> = (0..30).map(|row| format!("g{}", row / 6)).collect();
        (Mat::from_fn(30, 4, value), Categories::new(&labels), Categories::new(&groups))
    }

    #[test]
    fn ridge_reads_what_scikit_learn_reads() {
        let (rows, labels, _) = rows();
        // An uneven training set: rows 0 to 19 and 21, 24 (class 0 has more).
        let train: Vec<usize> = (0..20).chain([21, 24]).collect();
        let known: Vec<usize> = train.iter().map(|&row| labels.codes()[row]).collect();
        let read = linear(select(rows.as_ref(), &train).as_ref(), &known, 3, rows.as_ref()).unwrap();
        assert_eq!(read, GOLDEN_RIDGE);
        let read = neighbours(select(rows.as_ref(), &train).as_ref(), &known, 3, rows.subrows(20, 10), 1);
        assert_eq!(read, GOLDEN_NEAREST);
    }

    // tools/goldens/scanners.py
    const GOLDEN_RIDGE: [usize; 30] =
        [0, 1, 2, 0, 0, 2, 0, 2, 2, 0, 1, 2, 0, 0, 2, 0, 2, 2, 0, 1, 2, 0, 0, 2, 0, 2, 2, 0, 1, 2];
    const GOLDEN_NEAREST: [usize; 10] = [2, 0, 1, 2, 0, 1, 2, 0, 1, 2];

    #[test]
    fn a_label_that_is_there_is_read_and_one_that_is_not_is_chance() {
        let value = |row: usize, column: usize| {
            let wave = ((row * 7 + column * 3) as f64 * 1.7).sin();
            if column == 0 { 3.0 * (row % 2) as f64 + 0.3 * wave } else { wave }
        };
        let rows = Mat::from_fn(80, 3, value);
        let there = Categories::new(&(0..80).map(|row| (row % 2).to_string()).collect::<Vec<_>>());
        let groups = Categories::new(&(0..80).map(|row| (row / 8).to_string()).collect::<Vec<_>>());
        for classifier in [Classifier::Linear, Classifier::Neighbours(3)] {
            let found = probe(rows.as_ref(), &there, &groups, classifier, 5, 1).unwrap();
            assert!(found.corrected > 0.9, "{classifier:?} {found:?}");
            assert_eq!((found.classes, found.rows, found.folds), (2, 80, 5));
        }
        let absent = Categories::new(&(0..80).map(|row| (row / 2 % 2).to_string()).collect::<Vec<_>>());
        let found = probe(rows.as_ref(), &absent, &groups, Classifier::Linear, 5, 1).unwrap();
        assert!(found.corrected.abs() < 0.35, "{found:?}");
    }

    #[test]
    fn a_class_in_one_group_cannot_be_read() {
        let (rows, _, groups) = rows();
        let labels: Vec<String> = (0..30).map(|row| if row < 6 { "x".into() } else { (row % 2).to_string() }).collect();
        let found = probe(rows.as_ref(), &Categories::new(&labels), &groups, Classifier::Neighbours(1), 5, 1).unwrap();
        assert_eq!((found.classes, found.left_out, found.rows), (2, 1, 24));
        let alone = Categories::new(&["g"; 30]);
        let error = probe(rows.as_ref(), &Categories::new(&labels), &alone, Classifier::Linear, 5, 1).unwrap_err();
        assert!(error.0.contains("two classes with tiles in two groups each, found 0 of 3"), "{error}");
    }
}
