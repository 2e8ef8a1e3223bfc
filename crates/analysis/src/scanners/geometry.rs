//! The scanner geometry of one tap: whitening by the covariance within scanners, and in whitened space the few
//! directions along which the scanners differ.

use faer::{Mat, MatRef, Side};

use super::covariance::ledoit_wolf;
use super::robust::{spatial_median, weights};
use crate::categories::Categories;
use crate::undefined::Undefined;

/// Whitening with a low-rank part: `z = rest · x + Uᵀ((scale − rest) ⊙ U x)` for a centred `x`. Along the `rank`
/// directions of largest variance it divides by the standard deviation; in all others by their common one.
#[derive(Debug, Clone)]
pub struct Whitening {
    /// U: orthonormal rows, rank × d.
    pub directions: Mat<f64>,
    /// One over the standard deviation along each direction, ascending.
    pub scales: Vec<f64>,
    /// One over the common standard deviation of everything else.
    pub rest: f64,
}

impl Whitening {
    /// From centred rows (n × d), with the `rank` directions of largest variance kept apart; with `rank` ≥ d the
    /// whitening is exact.
    ///
    /// # Errors
    /// With fewer than two rows, where nothing varies, or where the eigenvalues cannot be found (values beyond float64's
    /// range).
    pub(super) fn fit(centred: MatRef<'_, f64>, rank: usize) -> Result<Whitening, Undefined> {
        let covariance = ledoit_wolf(centred)?;
        let d = centred.ncols();
        let eigen = covariance.self_adjoint_eigen(Side::Lower).map_err(|_| {
            Undefined("whitening: expected a covariance with eigenvalues, found values that are not finite".into())
        })?;
        let (vectors, values) = (eigen.U(), eigen.S().column_vector());
        // Ascending: the largest come last. Never divide by less than rounding leaves of the largest.
        let floor = values[d - 1] * 1e-12;
        let value = |index: usize| values[index].max(floor);
        let rank = rank.min(d);
        let directions = Mat::from_fn(rank, d, |row, column| vectors[(column, d - 1 - row)]);
        let scales = (0..rank).map(|row| value(d - 1 - row).sqrt().recip()).collect();
        let left = d - rank;
        let rest = if left == 0 { 0.0 } else { (0..left).map(value).sum::<f64>() / left as f64 };
        let rest = if left == 0 { 1.0 } else { rest.sqrt().recip() };
        Ok(Whitening { directions, scales, rest })
    }

    /// Whitened rows, of centred ones.
    pub(super) fn apply(&self, centred: MatRef<'_, f64>) -> Mat<f64> {
        let mut along = centred * self.directions.transpose();
        for (column, scale) in self.scales.iter().enumerate() {
            along.col_as_slice_mut(column).iter_mut().for_each(|value| *value *= scale - self.rest);
        }
        let mut whitened = &along * &self.directions;
        for column in 0..centred.ncols() {
            let values = whitened.col_as_slice_mut(column);
            values.iter_mut().enumerate().for_each(|(row, value)| *value += self.rest * centred[(row, column)]);
        }
        whitened
    }
}

/// The directions along which scanners differ. Rows that are unlike the others count less (`super::robust`), so that
/// one strange slide moves neither means nor covariance.
#[derive(Debug, Clone)]
pub struct Geometry {
    /// The weighted mean of each scanner (scanners × d).
    pub means: Mat<f64>,
    /// By the covariance within scanners.
    pub whitening: Whitening,
    /// Orthonormal rows in whitened space, at most scanners − 1, the direction with the largest spread first.
    pub subspace: Mat<f64>,
    /// How far scanners spread along each: the root of the sum of squares of their whitened means, in standard
    /// deviations within a scanner.
    pub spread: Vec<f64>,
    /// The weight from 0 to 1 of each row.
    pub weights: Vec<f64>,
}

impl Geometry {
    /// Fits to rows of at least two scanners. Directions along which the whitened means spread by less than a
    /// thousandth of a standard deviation are left out.
    ///
    /// # Errors
    /// With one scanner only, with fewer than two rows, or where nothing varies within scanners.
    pub fn fit(rows: MatRef<'_, f64>, scanners: &Categories, rank: usize) -> Result<Geometry, Undefined> {
        if scanners.kinds() < 2 {
            return Err(Undefined(format!(
                "a scanner subspace: expected tiles of two scanners or more, found {}",
                scanners.kinds()
            )));
        }
        let centres = by_scanner(rows, scanners, spatial_median);
        let weights = weights(less(rows, scanners, &centres).as_ref())?;
        let means = weighted_means(rows, scanners, &weights);
        let mut left = less(rows, scanners, &means);
        // Covariance sums squares: a row counts by its weight, and all weights together as many as there are rows.
        let all = weights.iter().sum::<f64>() / weights.len() as f64;
        let roots: Vec<f64> = weights.iter().map(|weight| (weight / all).sqrt()).collect();
        for column in 0..left.ncols() {
            left.col_as_slice_mut(column).iter_mut().zip(&roots).for_each(|(value, root)| *value *= root);
        }
        let whitening = Whitening::fit(left.as_ref(), rank)?;
        let (subspace, spread) = Self::between(&means, &whitening)?;
        Ok(Geometry { means, whitening, subspace, spread, weights })
    }

    /// The directions between whitened means.
    fn between(means: &Mat<f64>, whitening: &Whitening) -> Result<(Mat<f64>, Vec<f64>), Undefined> {
        let count = means.nrows();
        let centre = |column: usize| (0..count).map(|row| means[(row, column)]).sum::<f64>() / count as f64;
        let centres: Vec<f64> = (0..means.ncols()).map(centre).collect();
        let apart = Mat::from_fn(count, means.ncols(), |row, column| means[(row, column)] - centres[column]);
        let whitened = whitening.apply(apart.as_ref());
        let svd = whitened.thin_svd().map_err(|_| {
            Undefined("a scanner subspace: expected finite means, found values that are not finite".into())
        })?;
        let strengths = svd.S().column_vector();
        let kept = (0..(count - 1).min(means.ncols())).take_while(|&index| strengths[index] > 1e-3).count();
        let subspace = Mat::from_fn(kept, means.ncols(), |row, column| svd.V()[(column, row)]);
        Ok((subspace, (0..kept).map(|index| strengths[index]).collect()))
    }
}

/// What `centre` gives for the rows of each scanner (scanners × d).
fn by_scanner(rows: MatRef<'_, f64>, scanners: &Categories, centre: impl Fn(MatRef<'_, f64>) -> Vec<f64>) -> Mat<f64> {
    let mut centres = Mat::<f64>::zeros(scanners.kinds(), rows.ncols());
    for (scanner, own) in scanners.rows().iter().enumerate() {
        let own = Mat::from_fn(own.len(), rows.ncols(), |row, column| rows[(own[row], column)]);
        let found = centre(own.as_ref());
        (0..rows.ncols()).for_each(|column| centres[(scanner, column)] = found[column]);
    }
    centres
}

/// Rows less the centre of their scanner.
fn less(rows: MatRef<'_, f64>, scanners: &Categories, centres: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| {
        rows[(row, column)] - centres[(scanners.codes()[row], column)]
    })
}

/// The mean of each scanner's rows by their weights.
fn weighted_means(rows: MatRef<'_, f64>, scanners: &Categories, weights: &[f64]) -> Mat<f64> {
    let mut means = Mat::<f64>::zeros(scanners.kinds(), rows.ncols());
    for (scanner, own) in scanners.rows().iter().enumerate() {
        let all: f64 = own.iter().map(|&row| weights[row]).sum();
        for column in 0..rows.ncols() {
            means[(scanner, column)] = own.iter().map(|&row| weights[row] * rows[(row, column)]).sum::<f64>() / all;
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::super::covariance::residuals;
    use super::*;
    use crate::random::seeded;
    use rand::RngExt;

    /// Rows with standard deviations 3, 1, 1, 0.1 and `step` added to column 1 for the second half.
    fn rows(n: usize, step: f64) -> (Mat<f64>, Categories) {
        let mut random = seeded(5);
        // The sum of twelve uniforms: variance 1.
        let mut normal = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let widths = [3.0, 1.0, 1.0, 0.1];
        let mut rows = Mat::<f64>::zeros(n, 4);
        for row in 0..n {
            for column in 0..4 {
                rows[(row, column)] = widths[column] * normal();
            }
            rows[(row, 1)] += if 2 * row >= n { step } else { 0.0 };
        }
        (rows, Categories::new(&(0..n).map(|row| if 2 * row >= n { "b" } else { "a" }).collect::<Vec<_>>()))
    }

    #[test]
    fn whitened_rows_have_unit_covariance() {
        let (rows, labels) = rows(4000, 2.0);
        let centred = residuals(rows.as_ref(), &labels);
        let whitened = Whitening::fit(centred.as_ref(), 4).unwrap().apply(centred.as_ref());
        let covariance = whitened.transpose() * &whitened;
        for i in 0..4 {
            for j in 0..4 {
                let want = f64::from(i == j);
                // Shrinkage moves them a little from 1: the narrow column most.
                assert!((covariance[(i, j)] / 4000.0 - want).abs() < 0.35, "{i} {j} {}", covariance[(i, j)] / 4000.0);
            }
        }
        let low = Whitening::fit(centred.as_ref(), 1).unwrap();
        let common = ((1.0 + 1.0 + 0.01) / 3.0_f64).sqrt().recip();
        assert!((low.rest - common).abs() < 0.05 && (low.scales[0] - 1.0 / 3.0).abs() < 0.02, "{low:?}");
    }

    /// Displacements of rows from a scanner's mean: (inside the subspace, outside of it), in standard deviations
    /// within a scanner.
    fn displacement(geometry: &Geometry, rows: MatRef<'_, f64>, scanner: usize) -> Vec<(f64, f64)> {
        let centred = Mat::from_fn(rows.nrows(), rows.ncols(), |r, c| rows[(r, c)] - geometry.means[(scanner, c)]);
        let whitened = geometry.whitening.apply(centred.as_ref());
        let inside = &whitened * geometry.subspace.transpose();
        let of = |row: usize| {
            let shift = inside.row(row).squared_norm_l2();
            let all = whitened.row(row).squared_norm_l2();
            (shift.sqrt(), (all - shift).max(0.0).sqrt())
        };
        (0..rows.nrows()).map(of).collect()
    }

    #[test]
    fn the_shift_is_inside_and_the_rest_outside() {
        let (rows, labels) = rows(4000, 2.0);
        let geometry = Geometry::fit(rows.as_ref(), &labels, 4).unwrap();
        assert_eq!(geometry.subspace.nrows(), 1);
        // Two means 2 sd apart lie 1 sd from their centre each: √2 together.
        assert!((geometry.spread[0] - 2.0_f64.sqrt()).abs() < 0.1, "{:?}", geometry.spread);
        let moved = faer::mat![[0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]];
        let found = displacement(&geometry, moved.as_ref(), 0);
        assert!(found[0].0 > 2.7 && found[0].1 < 0.5, "{found:?}");
        assert!(found[1].0 < 0.5 && found[1].1 > 2.7, "{found:?}");
    }

    /// A tenth of the rows of one scanner is a slide of something else.
    #[test]
    fn one_strange_slide_moves_nothing() {
        let (clean, labels) = rows(1200, 2.0);
        let mut inked = clean.clone();
        for row in 500..560 {
            inked[(row, 2)] += 30.0;
            inked[(row, 3)] += 30.0;
        }
        let [clean, inked] = [clean, inked].map(|rows| Geometry::fit(rows.as_ref(), &labels, 4).unwrap());
        for (found, want) in inked.whitening.scales.iter().zip(&clean.whitening.scales) {
            assert!((found / want - 1.0).abs() < 0.15, "{:?} {:?}", inked.whitening.scales, clean.whitening.scales);
        }
        assert!((inked.means[(0, 2)] - clean.means[(0, 2)]).abs() < 0.1, "{:?}", inked.means);
        assert!(inked.weights[500..560].iter().all(|&weight| weight < 0.2));
    }

    #[test]
    fn one_scanner_has_no_subspace() {
        let (rows, _) = rows(40, 0.0);
        let error = Geometry::fit(rows.as_ref(), &Categories::new(&["a"; 40]), 4).unwrap_err();
        assert!(error.0.contains("two scanners or more, found 1"), "{error}");
    }
}
