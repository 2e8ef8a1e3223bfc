//! Ridge regression on all features, with groups held out: the most that a linear reading of all of them can say.

use faer::prelude::Solve;
use faer::{Mat, MatRef, Side};

use super::held_out::{HeldOut, score};
use crate::rows::column_means;
use crate::undefined::Undefined;

/// The penalties λ that are tried, in units of the training rows' mean squared distance from their mean.
const PENALTIES: [f64; 13] = [1e-3, 3.2e-3, 1e-2, 3.2e-2, 1e-1, 3.2e-1, 1e0, 3.2e0, 1e1, 3.2e1, 1e2, 3.2e2, 1e3];

/// Why no penalty is the best.
const TOO_LARGE: &str =
    "expected counts whose squares add up to a finite number, found one that is NaN, infinite or too large";

/// Predicts every column of `y` \[n, t\] from all of `x` \[n, p\] (centred, not scaled; the intercept is not penalised),
/// for each fold from all others. λ is chosen inside these others: the one with the smallest squared error when each of
/// their folds is left out in turn, which the hat matrix H gives without fitting again: e = (I − H_gg)⁻¹ (y − ŷ)_g.
///
/// # Errors
/// With fewer than three folds, or values that are not finite.
pub fn ridge(x: MatRef<'_, f64>, y: MatRef<'_, f64>, folds: &[usize]) -> Result<Vec<HeldOut>, Undefined> {
    let count = folds.iter().max().map_or(0, |last| last + 1);
    if count < 3 {
        return Err(Undefined(format!("ridge with nested choice of λ needs three groups; found {count}")));
    }
    let mut predicted = vec![vec![0.0; y.nrows()]; y.ncols()];
    for fold in 0..count {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..y.nrows()).partition(|&row| folds[row] == fold);
        let fit = Spectrum::new(x, &train)?;
        let inner: Vec<usize> = train.iter().map(|&row| folds[row]).collect();
        let rows = Mat::from_fn(test.len(), x.ncols(), |i, j| x[(test[i], j)]);
        for (column, predicted) in predicted.iter_mut().enumerate() {
            let target: Vec<f64> = train.iter().map(|&row| y[(row, column)]).collect();
            let penalty = fit.choose(&target, &inner, count)?;
            let values = fit.predict(&target, penalty, rows.as_ref());
            test.iter().zip(values).for_each(|(&row, value)| predicted[row] = value);
        }
    }
    let truth = |column: usize| y.col(column).iter().copied().collect::<Vec<f64>>();
    Ok(predicted.into_iter().enumerate().map(|(column, p)| score(p, &truth(column), folds)).collect())
}

/// Fits every column of `y` \[n, t\] on all of `x` \[n, p\], with λ chosen as in [`ridge`], and predicts it for other
/// rows \[m, p\]: t vectors of m.
///
/// # Errors
/// As [`ridge`].
pub fn ridge_elsewhere(
    x: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    folds: &[usize],
    elsewhere: MatRef<'_, f64>,
) -> Result<Vec<Vec<f64>>, Undefined> {
    let count = folds.iter().max().map_or(0, |last| last + 1);
    let all: Vec<usize> = (0..y.nrows()).collect();
    let fit = Spectrum::new(x, &all)?;
    let predict = |column: usize| {
        let target: Vec<f64> = y.col(column).iter().copied().collect();
        Ok(fit.predict(&target, fit.choose(&target, folds, count)?, elsewhere))
    };
    (0..y.ncols()).map(predict).collect()
}

/// The training rows X = U S Vᵀ, centred.
struct Spectrum {
    mean: Vec<f64>,
    /// \[n, r\]
    u: Mat<f64>,
    /// r squared singular values.
    squares: Vec<f64>,
    /// \[p, r\]
    v: Mat<f64>,
    /// Mean squared distance of the rows from their mean.
    unit: f64,
}

impl Spectrum {
    fn new(x: MatRef<'_, f64>, train: &[usize]) -> Result<Spectrum, Undefined> {
        let rows = Mat::from_fn(train.len(), x.ncols(), |i, j| x[(train[i], j)]);
        let mean = column_means(rows.as_ref());
        let centred = Mat::from_fn(rows.nrows(), rows.ncols(), |i, j| rows[(i, j)] - mean[j]);
        let unit = centred.squared_norm_l2() / train.len() as f64;
        if !unit.is_finite() {
            return Err(Undefined("a feature is NaN or infinite; expected finite values".into()));
        }
        let wide = centred.nrows() < centred.ncols();
        let gram = if wide { &centred * centred.transpose() } else { centred.transpose() * &centred };
        let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| Undefined("no eigenvectors were found".into()))?;
        let size = gram.nrows();
        let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
        // Smaller eigenvalues do not change a prediction, even at the smallest penalty.
        let first = values.iter().position(|&value| value > 1e-12 * values[size - 1]).unwrap_or(size);
        let squares = values[first..].to_vec();
        let known = eigen.U().subcols(first, size - first).to_owned();
        let mut other = if wide { centred.transpose() * &known } else { &centred * &known };
        for (column, square) in other.col_iter_mut().zip(&squares) {
            column.iter_mut().for_each(|value| *value /= square.sqrt());
        }
        let (u, v) = if wide { (known, other) } else { (other, known) };
        Ok(Spectrum { mean, u, squares, v, unit })
    }

    /// The index in [`PENALTIES`] with the smallest squared error over inner folds.
    fn choose(&self, y: &[f64], inner: &[usize], count: usize) -> Result<f64, Undefined> {
        let n = y.len();
        let mean = y.iter().sum::<f64>() / n as f64;
        let projected = self.u.transpose() * Mat::from_fn(n, 1, |i, _| y[i] - mean);
        let mut best = (f64::INFINITY, PENALTIES[0]);
        for penalty in PENALTIES {
            let shrink: Vec<f64> = self.squares.iter().map(|s| s / (s + penalty * self.unit)).collect();
            let mut error = 0.0;
            for fold in 0..count {
                let rows: Vec<usize> = (0..n).filter(|&row| inner[row] == fold).collect();
                if rows.is_empty() {
                    continue;
                }
                error += self.left_out_error(y, mean, &projected, &shrink, &rows);
            }
            if error < best.0 {
                best = (error, penalty);
            }
        }
        if best.0.is_finite() { Ok(best.1) } else { Err(Undefined(TOO_LARGE.into())) }
    }

    /// Squared error on `rows` of the fit without them.
    fn left_out_error(&self, y: &[f64], mean: f64, projected: &Mat<f64>, shrink: &[f64], rows: &[usize]) -> f64 {
        let (m, r) = (rows.len(), shrink.len());
        let u = Mat::from_fn(m, r, |i, j| self.u[(rows[i], j)]);
        let shrunk = Mat::from_fn(m, r, |i, j| u[(i, j)] * shrink[j]);
        let fitted = &shrunk * projected;
        let hat = &shrunk * u.transpose();
        let share = 1.0 / y.len() as f64;
        let rest = Mat::from_fn(m, m, |i, j| f64::from(u8::from(i == j)) - hat[(i, j)] - share);
        let residual = Mat::from_fn(m, 1, |i, _| y[rows[i]] - mean - fitted[(i, 0)]);
        rest.partial_piv_lu().solve(&residual).squared_norm_l2()
    }

    /// The fit to `y`, at other rows.
    fn predict(&self, y: &[f64], penalty: f64, elsewhere: MatRef<'_, f64>) -> Vec<f64> {
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        let projected = self.u.transpose() * Mat::from_fn(y.len(), 1, |i, _| y[i] - mean);
        let scaled = Mat::from_fn(self.squares.len(), 1, |i, _| {
            projected[(i, 0)] * self.squares[i].sqrt() / (self.squares[i] + penalty * self.unit)
        });
        let weights = &self.v * scaled;
        let centred = Mat::from_fn(elsewhere.nrows(), elsewhere.ncols(), |i, j| elsewhere[(i, j)] - self.mean[j]);
        (centred * weights).col(0).iter().map(|value| mean + value).collect()
    }
}
