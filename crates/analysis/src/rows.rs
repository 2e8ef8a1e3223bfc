//! Rows of a matrix.

use faer::{Mat, MatRef};

/// Features of tiles as they come from an SAE: for each tile the features that are active.
#[derive(Debug, Clone, Copy)]
pub struct SparseRows<'a> {
    /// Where each tile's entries end in `index` and `value`; as many as tiles.
    pub ends: &'a [usize],
    /// Features; each at most once in a tile.
    pub index: &'a [u32],
    /// Activations; a feature that is not listed is 0.
    pub value: &'a [f32],
}

/// Some rows of a matrix, in the order given.
pub fn select(matrix: MatRef<'_, f64>, rows: &[usize]) -> Mat<f64> {
    Mat::from_fn(rows.len(), matrix.ncols(), |row, column| matrix[(rows[row], column)])
}

/// The mean of each column.
pub(crate) fn column_means(rows: MatRef<'_, f64>) -> Vec<f64> {
    let n = rows.nrows() as f64;
    rows.col_iter().map(|column| column.iter().sum::<f64>() / n).collect()
}
