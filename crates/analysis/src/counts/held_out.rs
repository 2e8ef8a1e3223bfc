//! Chosen on some groups, reported on others.

use faer::MatRef;

use super::pearson;

/// Predictions for rows whose groups had no part in what made them.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// Predicted count of each row.
    pub predicted: Vec<f64>,
    /// Pearson's r of predictions and counts; `None` where one is constant. Leaving groups out pulls it below the truth
    /// (a group with high counts lowers the mean of the others), so values a little below 0 mean nothing.
    pub r: Option<f64>,
    /// 1 − Σ(y − ŷ)² / Σ(y − ȳ)² with ȳ of the other groups: the share of squared error that knowing the features
    /// saves. 0: no better than the mean of the other groups; negative: worse.
    pub q2: f64,
}

/// Count ≈ `intercept` + `slope` · feature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The feature, a column of x.
    pub feature: usize,
    /// Pearson's r on the rows that it was fitted on.
    pub r: f64,
    /// Counts per unit of the feature.
    pub slope: f64,
    /// Count where the feature is 0.
    pub intercept: f64,
}

/// For each fold: on all other folds, the column of `x` with the largest |r| with `y` and the least-squares line on it;
/// then that line's predictions for the fold. `fires[fold][column]` is in how many groups of the fold a feature fires:
/// features that fire in fewer than `least` groups of the others are not chosen. Returns the line of each fold, `None`
/// where nothing could be chosen (the mean of the others is predicted then).
pub fn best_feature(
    x: MatRef<'_, f64>,
    y: &[f64],
    folds: &[usize],
    fires: &[Vec<usize>],
    least: usize,
) -> (HeldOut, Vec<Option<Line>>) {
    let count = folds.iter().max().map_or(0, |last| last + 1);
    let mut lines: Vec<Option<Line>> = vec![None; count];
    let base = FoldSums::new(y, y, folds, count);
    for (feature, column) in x.col_iter().enumerate() {
        let values: Vec<f64> = column.iter().copied().collect();
        let sums = FoldSums::new(&values, y, folds, count);
        let total: usize = fires.iter().map(|fold| fold[feature]).sum();
        for (fold, line) in lines.iter_mut().enumerate() {
            if total - fires[fold][feature] < least {
                continue;
            }
            let Some((r, slope, intercept)) = sums.line_without(fold) else { continue };
            if line.is_none_or(|best| r.abs() > best.r.abs()) {
                *line = Some(Line { feature, r, slope, intercept });
            }
        }
    }
    let means: Vec<f64> = (0..count).map(|fold| base.mean_without(fold)).collect();
    let predict = |(row, &fold): (usize, &usize)| match lines[fold] {
        Some(line) => line.intercept + line.slope * x[(row, line.feature)],
        None => means[fold],
    };
    let predicted = folds.iter().enumerate().map(predict).collect();
    (score(predicted, y, folds), lines)
}

/// How good predictions for held-out rows are.
pub fn score(predicted: Vec<f64>, y: &[f64], folds: &[usize]) -> HeldOut {
    let count = folds.iter().max().map_or(0, |last| last + 1);
    let base = FoldSums::new(y, y, folds, count);
    let (mut error, mut spread) = (0.0, 0.0);
    for ((value, guess), &fold) in y.iter().zip(&predicted).zip(folds) {
        error += (value - guess).powi(2);
        spread += (value - base.mean_without(fold)).powi(2);
    }
    HeldOut { r: pearson(&predicted, y), q2: 1.0 - error / spread, predicted }
}

/// n, Σx, Σy, Σx², Σy², Σxy of each fold and of all, x and y less their means.
struct FoldSums {
    folds: Vec<[f64; 6]>,
    all: [f64; 6],
    means: (f64, f64),
}

impl FoldSums {
    fn new(x: &[f64], y: &[f64], folds: &[usize], count: usize) -> FoldSums {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let means = (mean(x), mean(y));
        let (mut sums, mut all) = (vec![[0.0; 6]; count], [0.0; 6]);
        for ((x, y), &fold) in x.iter().zip(y).zip(folds) {
            let (a, b) = (x - means.0, y - means.1);
            for (place, term) in [1.0, a, b, a * a, b * b, a * b].into_iter().enumerate() {
                sums[fold][place] += term;
                all[place] += term;
            }
        }
        FoldSums { folds: sums, all, means }
    }

    fn without(&self, fold: usize) -> [f64; 6] {
        std::array::from_fn(|i| self.all[i] - self.folds[fold][i])
    }

    /// Mean of y in the other folds.
    fn mean_without(&self, fold: usize) -> f64 {
        let [n, _, y, ..] = self.without(fold);
        self.means.1 + y / n
    }

    /// r, slope and intercept on the other folds; `None` where a side is constant there.
    fn line_without(&self, fold: usize) -> Option<(f64, f64, f64)> {
        let [n, x, y, xx, yy, xy] = self.without(fold);
        let (var_x, var_y) = (xx - x * x / n, yy - y * y / n);
        if n < 2.0 || var_x <= 1e-9 * self.all[3] || var_y <= 1e-9 * self.all[4] {
            return None;
        }
        let covariance = xy - x * y / n;
        let slope = covariance / var_x;
        let intercept = self.means.1 + y / n - slope * (self.means.0 + x / n);
        Some((covariance / (var_x * var_y).sqrt(), slope, intercept))
    }
}
