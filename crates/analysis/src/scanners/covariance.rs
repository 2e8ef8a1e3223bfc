//! Covariance within groups, shrunk so that it can be inverted: Ledoit & Wolf, A well-conditioned estimator for
//! large-dimensional covariance matrices, J. Multivariate Analysis 88 (2004) 365–411.

use faer::{Mat, MatRef};

use super::{Labels, Undefined};

/// A shrunk covariance: `(1 − shrinkage) · S + shrinkage · (tr S / d) · I`.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// d × d, symmetric.
    pub covariance: Mat<f64>,
    /// 0 (the sample covariance) to 1 (a sphere).
    pub shrinkage: f64,
}

/// Ledoit–Wolf covariance of rows whose mean is zero (n × d), as `sklearn.covariance.ledoit_wolf` with
/// `assume_centered`.
///
/// # Errors
/// With fewer than two rows, or where nothing varies.
pub fn ledoit_wolf(rows: MatRef<'_, f64>) -> Result<Shrunk, Undefined> {
    let (n, d) = (rows.nrows(), rows.ncols());
    if n < 2 || d == 0 {
        return Err(Undefined(format!("a covariance: expected at least two rows and one column, found {n} x {d}")));
    }
    let (count, width) = (n as f64, d as f64);
    let mut covariance = rows.transpose() * rows;
    for column in 0..d {
        covariance.col_as_slice_mut(column).iter_mut().for_each(|value| *value /= count);
    }
    let mean_variance = (0..d).map(|i| covariance[(i, i)]).sum::<f64>() / width;
    if mean_variance.is_nan() || mean_variance <= 0.0 {
        return Err(Undefined("a covariance: expected values that vary, found the same in every row".into()));
    }
    let squares: f64 = (0..d).flat_map(|column| covariance.col_as_slice(column)).map(|value| value * value).sum();
    // Σ over rows of ‖x‖⁴: the sum over i, j of x_i² x_j².
    let fourth: f64 = (0..n).map(|row| rows.row(row).squared_norm_l2().powi(2)).sum();
    let error = (fourth / count - squares) / (width * count);
    // Σ S² − 2 μ tr S + d μ², by d.
    let distance = squares / width - mean_variance * mean_variance;
    let shrinkage = if error <= 0.0 || distance <= 0.0 { 0.0 } else { (error / distance).min(1.0) };
    for column in 0..d {
        covariance.col_as_slice_mut(column).iter_mut().for_each(|value| *value *= 1.0 - shrinkage);
        covariance[(column, column)] += shrinkage * mean_variance;
    }
    Ok(Shrunk { covariance, shrinkage })
}

/// The mean row of each label (labels × d).
pub fn means_by(rows: MatRef<'_, f64>, labels: &Labels) -> Mat<f64> {
    let mut means = Mat::<f64>::zeros(labels.kinds(), rows.ncols());
    let mut counts = vec![0.0; labels.kinds()];
    labels.codes().iter().for_each(|&code| counts[code] += 1.0);
    for column in 0..rows.ncols() {
        for (row, &code) in labels.codes().iter().enumerate() {
            means[(code, column)] += rows[(row, column)];
        }
        counts.iter().enumerate().for_each(|(code, count)| means[(code, column)] /= count);
    }
    means
}

/// Rows less the mean of their label.
pub fn residuals(rows: MatRef<'_, f64>, labels: &Labels) -> Mat<f64> {
    let means = means_by(rows, labels);
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| rows[(row, column)] - means[(labels.codes()[row], column)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::mat;

    #[test]
    fn it_is_scikit_learns() {
        // tools/goldens/scanners.py: sklearn.covariance.ledoit_wolf(x, assume_centered=True).
        let rows = mat![[1.0, 2.0, -0.5], [-2.0, 0.5, 1.0], [0.5, -3.0, 0.25], [0.5, 0.5, -0.75]];
        let found = ledoit_wolf(rows.as_ref()).unwrap();
        assert!((found.shrinkage - 0.918_373_459_607_485).abs() < 1e-12, "{}", found.shrinkage);
        let (a, b, c) = (-0.005_101_658_774_532_19, -0.056_118_246_519_854_094, -0.033_160_782_034_459_24);
        let want = [1.709_823_657_148_562, a, b, a, 1.873_076_737_933_592_2, c, b, c, 1.635_849_604_917_845_3];
        for (place, value) in want.iter().enumerate() {
            let got = found.covariance[(place / 3, place % 3)];
            assert!((got - value).abs() < 1e-12, "{place}: {got}, not {value}");
        }
    }

    #[test]
    fn what_does_not_vary_has_none() {
        assert!(ledoit_wolf(Mat::<f64>::zeros(5, 3).as_ref()).is_err());
        assert!(ledoit_wolf(Mat::<f64>::zeros(1, 3).as_ref()).is_err());
    }

    #[test]
    fn residuals_have_no_mean() {
        let rows = mat![[1.0, 0.0], [3.0, 2.0], [10.0, 5.0]];
        let labels = Labels::new(&["a", "a", "b"]);
        let left = residuals(rows.as_ref(), &labels);
        assert_eq!(left, mat![[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]);
    }
}
