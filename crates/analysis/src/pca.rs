//! Principal components of a matrix's rows.

use faer::{Mat, MatRef, Side};

use crate::Undefined;

/// Mean and leading principal components of some rows.
#[derive(Debug, Clone)]
pub struct Pca {
    /// The rows' mean, d values.
    pub mean: Vec<f64>,
    /// Orthonormal directions \[k, d\], the largest variance first; the value of largest magnitude in each is positive.
    pub components: Mat<f64>,
    /// Variance along each direction, over n − 1.
    pub variances: Vec<f64>,
    /// The variance along all directions, over n − 1.
    pub total: f64,
}

impl Pca {
    /// The `count` leading components of `rows` \[n, d\]; fewer where the rows span fewer directions.
    ///
    /// They are eigenvectors of the covariance matrix or, where there are fewer rows than dimensions, of the matrix of
    /// the rows' inner products. Directions whose variance is below 1e-12 of the largest are left out.
    ///
    /// # Errors
    /// With fewer than two rows, a value that is not finite, or rows that are all the same.
    pub fn fit(rows: MatRef<'_, f64>, count: usize) -> Result<Pca, Undefined> {
        let (n, d) = (rows.nrows(), rows.ncols());
        if n < 2 || d == 0 {
            return Err(Undefined(format!("principal components need two rows with a column; found {n} × {d}")));
        }
        let mean = column_means(rows);
        let centred = Mat::from_fn(n, d, |i, j| rows[(i, j)] - mean[j]);
        let total = centred.squared_norm_l2() / (n - 1) as f64;
        if !total.is_finite() {
            return Err(Undefined("a value is NaN or infinite; expected finite rows".into()));
        }
        let gram = if n < d { &centred * centred.transpose() } else { centred.transpose() * &centred };
        let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| Undefined("no eigenvectors were found".into()))?;
        let size = gram.nrows();
        // Ascending in the decomposition.
        let value = |i: usize| eigen.S().column_vector()[size - 1 - i];
        let kept = (0..count.min(size)).take_while(|&i| value(i) > 1e-12 * value(0)).count();
        if kept == 0 && count > 0 {
            return Err(Undefined("all rows are the same; expected rows that differ".into()));
        }
        let leading = Mat::from_fn(size, kept, |i, j| eigen.U()[(i, size - 1 - j)]);
        let mut components = if n < d { leading.transpose() * &centred } else { leading.transpose().to_owned() };
        for row in components.row_iter_mut() {
            let largest = row.as_ref().iter().copied().fold(0.0_f64, |a, b| if b.abs() > a.abs() { b } else { a });
            let scale = largest.signum() / row.as_ref().norm_l2();
            row.iter_mut().for_each(|value| *value *= scale);
        }
        let variances = (0..kept).map(|i| value(i) / (n - 1) as f64).collect();
        Ok(Pca { mean, components, variances, total })
    }

    /// Coordinates \[n, k\] of rows \[n, d\] along the components.
    pub fn project(&self, rows: MatRef<'_, f64>) -> Mat<f64> {
        let mut coordinates = rows * self.components.transpose();
        let offset = &self.components * faer::Col::from_fn(self.mean.len(), |j| self.mean[j]);
        for row in coordinates.row_iter_mut() {
            row.iter_mut().zip(offset.iter()).for_each(|(value, offset)| *value -= offset);
        }
        coordinates
    }

    /// The rows \[n, d\] that have these coordinates \[n, k\].
    pub fn reconstruct(&self, coordinates: MatRef<'_, f64>) -> Mat<f64> {
        let mut rows = coordinates * &self.components;
        for row in rows.row_iter_mut() {
            row.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value += mean);
        }
        rows
    }
}

/// The mean of each column.
pub(crate) fn column_means(rows: MatRef<'_, f64>) -> Vec<f64> {
    let n = rows.nrows() as f64;
    rows.col_iter().map(|column| column.iter().sum::<f64>() / n).collect()
}
