//! Rows of a matrix.

use faer::{Mat, MatRef};

/// Some rows of a matrix, in the order given.
pub fn select(matrix: MatRef<'_, f64>, rows: &[usize]) -> Mat<f64> {
    Mat::from_fn(rows.len(), matrix.ncols(), |row, column| matrix[(rows[row], column)])
}

/// The mean of each column.
pub(crate) fn column_means(rows: MatRef<'_, f64>) -> Vec<f64> {
    let n = rows.nrows() as f64;
    rows.col_iter().map(|column| column.iter().sum::<f64>() / n).collect()
}
