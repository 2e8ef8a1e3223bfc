//! Exact nearest neighbours by cosine.

use faer::{Mat, MatRef};

/// Rows compared at a time: bounds the memory of similarities.
const BLOCK: usize = 512;

/// Rows scaled to length 1. A row of zeros stays as it is: it is like nothing.
pub fn normalised(rows: MatRef<'_, f64>) -> Mat<f64> {
    let scale: Vec<f64> = (0..rows.nrows())
        .map(|row| {
            let length = rows.row(row).norm_l2();
            if length > 0.0 { length.recip() } else { 0.0 }
        })
        .collect();
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| rows[(row, column)] * scale[row])
}

/// For each of `queries` the `k` rows of `pool` with the largest cosine among those that `allowed(query, row)`, nearest
/// first; fewer where there are fewer. Both are normalised. Equal similarities go by row.
pub fn nearest(
    queries: MatRef<'_, f64>,
    pool: MatRef<'_, f64>,
    k: usize,
    allowed: impl Fn(usize, usize) -> bool,
) -> Vec<Vec<usize>> {
    let mut all = Vec::with_capacity(queries.nrows());
    let mut candidates: Vec<(f64, usize)> = Vec::with_capacity(pool.nrows());
    for start in (0..queries.nrows()).step_by(BLOCK) {
        let count = BLOCK.min(queries.nrows() - start);
        // Pool by query: a query's similarities lie next to each other.
        let similar = pool * queries.subrows(start, count).transpose();
        for offset in 0..count {
            let query = start + offset;
            candidates.clear();
            let found = similar.col_as_slice(offset).iter().enumerate();
            candidates.extend(found.filter(|&(row, _)| allowed(query, row)).map(|(row, &value)| (value, row)));
            let order = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            let kept = k.min(candidates.len());
            if kept > 0 && kept < candidates.len() {
                candidates.select_nth_unstable_by(kept - 1, order);
            }
            candidates.truncate(kept);
            candidates.sort_by(order);
            all.push(candidates.iter().map(|&(_, row)| row).collect());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::mat;

    #[test]
    fn nearest_first_and_only_those_allowed() {
        let rows = normalised(mat![[1.0, 0.0], [2.0, 0.1], [1.0, 1.0], [0.0, 3.0], [0.0, 0.0]].as_ref());
        let found = nearest(rows.as_ref(), rows.as_ref(), 2, |query, row| query != row);
        assert_eq!(found, [[1, 2], [0, 2], [1, 0], [2, 1], [0, 1]]);
        let few = nearest(rows.as_ref(), rows.as_ref(), 9, |query, row| query == 0 && row > 2);
        assert_eq!(few[0], [3, 4], "both are at right angles");
        assert!(few[1].is_empty());
    }
}
