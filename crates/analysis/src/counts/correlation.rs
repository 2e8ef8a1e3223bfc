//! Pearson's and Spearman's correlation.

use faer::{Mat, MatRef};

/// `values` less their mean, scaled to length 1: the inner product of two such is Pearson's r. `None` where they are
/// constant (to rounding) or fewer than two.
pub fn unit(values: &[f64]) -> Option<Vec<f64>> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let largest = values.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
    let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let length = centred.iter().map(|v| v * v).sum::<f64>().sqrt();
    // Below this, all that is left of a constant column is rounding.
    (values.len() > 1 && length > 1e-12 * largest * n.sqrt()).then(|| centred.into_iter().map(|v| v / length).collect())
}

/// Pearson's r; `None` where one side is constant.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let (x, y) = (unit(x)?, unit(y)?);
    Some(x.iter().zip(&y).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0))
}

/// Spearman's ρ: Pearson's r of the ranks, ties sharing their mean rank; `None` where one side is constant.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// Ranks from 1; ties share the mean of theirs.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    while first < order.len() {
        let tied = order[first..].iter().take_while(|&&row| values[row] == values[order[first]]).count();
        let rank = first as f64 + (tied as f64 + 1.0) / 2.0;
        order[first..first + tied].iter().for_each(|&row| ranks[row] = rank);
        first += tied;
    }
    ranks
}

/// The columns as ranks.
pub fn rank_columns(columns: MatRef<'_, f64>) -> Mat<f64> {
    map_columns(columns, |values| ranks(&values))
}

/// `unit` of every column; a constant one becomes 0 and correlates with nothing.
pub(super) fn unit_columns(columns: MatRef<'_, f64>) -> Mat<f64> {
    map_columns(columns, |values| unit(&values).unwrap_or_else(|| vec![0.0; values.len()]))
}

/// Pearson's r of every column of `x` \[n, p\] with every column of `y` \[n, t\]: \[p, t\]; 0 where one is constant.
pub fn correlations(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Mat<f64> {
    unit_columns(x).transpose() * unit_columns(y)
}

fn map_columns(columns: MatRef<'_, f64>, map: impl Fn(Vec<f64>) -> Vec<f64>) -> Mat<f64> {
    let mut mapped = Mat::zeros(columns.nrows(), columns.ncols());
    for (from, to) in columns.col_iter().zip(mapped.col_iter_mut()) {
        let values = map(from.iter().copied().collect());
        to.iter_mut().zip(values).for_each(|(to, value)| *to = value);
    }
    mapped
}
