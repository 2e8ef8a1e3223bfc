//! Weights of rows that a group of strange ones cannot move: the minimum regularised covariance determinant (Boudt,
//! Rousseeuw, Vanduffel & Verdonck, The minimum regularized covariance determinant estimator, Statistics and Computing 30
//! (2020) 113–128), with Ledoit and Wolf's shrinkage as the regularisation.
//!
//! Three quarters of the rows are sought whose covariance is smallest: rows are ranked by their distance under the
//! covariance of the last choice (a C-step) until the choice stays. What lies far out under the final one counts less, so
//! that a slide of ink neither widens the covariance nor turns its axes. Estimators by directions alone (Tyler's) do not
//! do: a group that lies in one direction breaks them from one row in d on.

use faer::prelude::Solve;
use faer::{Mat, MatRef, Side};

use super::covariance::ledoit_wolf;
use crate::undefined::Undefined;

/// The share of rows whose covariance is sought.
const HALF: f64 = 0.75;
/// C-steps from each start, at most.
const STEPS: usize = 12;
/// Rows that take part in the search, evenly spaced: its cost is rows × d² a step.
const MOST_ROWS: usize = 4096;
/// A row counts less from so many robust standard deviations of the rows' distances on, above their median.
const FAR: f64 = 3.0;
/// From the median absolute deviation to a normal's standard deviation.
const MAD_TO_SD: f64 = 1.482_602_218_505_602;

/// A weight from 0 to 1 of each row, whose robust centre is zero: 1 up to the distance that counts as far, and beyond it
/// the fourth power of that distance over the row's, so that what is very far adds nothing to the covariance.
///
/// # Errors
/// As [`ledoit_wolf`]; where the covariance has no inverse.
pub(super) fn weights(rows: MatRef<'_, f64>) -> Result<Vec<f64>, Undefined> {
    let distances = distances(rows)?;
    let middle = median(&distances);
    let spread = MAD_TO_SD * median(&distances.iter().map(|d| (d - middle).abs()).collect::<Vec<_>>());
    let far = middle + FAR * spread;
    Ok(distances.into_iter().map(|d| if d <= far { 1.0 } else { (far / d).powi(4) }).collect())
}

/// Each row's distance from zero under the smallest covariance that was found.
pub(super) fn distances(rows: MatRef<'_, f64>) -> Result<Vec<f64>, Undefined> {
    let n = rows.nrows();
    let stride = n.div_ceil(MOST_ROWS).max(1);
    let some = Mat::from_fn(n.div_ceil(stride), rows.ncols(), |row, column| rows[(row * stride, column)]);
    let mut best: Option<(f64, Mat<f64>)> = None;
    for ranks in [lengths(some.as_ref()), lengths_by_column(some.as_ref())] {
        let (volume, covariance) = concentrated(some.as_ref(), ranks)?;
        if best.as_ref().is_none_or(|(smallest, _)| volume < *smallest) {
            best = Some((volume, covariance));
        }
    }
    let Some((_, covariance)) = best else { return Err(Undefined("a covariance: no start".into())) };
    Ok(mahalanobis(rows, &covariance)?.0)
}

/// The covariance of the nearest rows, chosen again until the choice stays, and the logarithm of its determinant.
fn concentrated(rows: MatRef<'_, f64>, mut distances: Vec<f64>) -> Result<(f64, Mat<f64>), Undefined> {
    let mut chosen = nearest(&distances);
    for step in 1.. {
        let covariance = ledoit_wolf(picked(rows, &chosen).as_ref())?;
        let (found, volume) = mahalanobis(rows, &covariance)?;
        distances = found;
        let next = nearest(&distances);
        if next == chosen || step == STEPS {
            return Ok((volume, covariance));
        }
        chosen = next;
    }
    Err(Undefined("a covariance: the search has no end".into()))
}

/// The rows of the three quarters with the smallest distances, ascending.
fn nearest(distances: &[f64]) -> Vec<usize> {
    let count = ((distances.len() as f64 * HALF).ceil() as usize).max(2).min(distances.len());
    let mut order: Vec<usize> = (0..distances.len()).collect();
    order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(a.cmp(&b)));
    order.truncate(count);
    order.sort_unstable();
    order
}

fn picked(rows: MatRef<'_, f64>, chosen: &[usize]) -> Mat<f64> {
    Mat::from_fn(chosen.len(), rows.ncols(), |row, column| rows[(chosen[row], column)])
}

/// Distances of rows from zero, and the logarithm of the covariance's determinant.
fn mahalanobis(rows: MatRef<'_, f64>, covariance: &Mat<f64>) -> Result<(Vec<f64>, f64), Undefined> {
    let cholesky = covariance.llt(Side::Lower).map_err(|_| {
        Undefined("a covariance: expected one that can be inverted, found values beyond float64's range".into())
    })?;
    let solved = cholesky.solve(rows.transpose());
    let square = |row: usize| (0..rows.ncols()).map(|c| rows[(row, c)] * solved[(c, row)]).sum::<f64>();
    let distances = (0..rows.nrows()).map(|row| square(row).max(0.0).sqrt()).collect();
    let volume = (0..rows.ncols()).map(|i| 2.0 * cholesky.L()[(i, i)].ln()).sum();
    Ok((distances, volume))
}

/// Lengths of rows.
fn lengths(rows: MatRef<'_, f64>) -> Vec<f64> {
    (0..rows.nrows()).map(|row| rows.row(row).norm_l2()).collect()
}

/// Lengths of rows whose columns are divided by their robust standard deviations.
fn lengths_by_column(rows: MatRef<'_, f64>) -> Vec<f64> {
    let mut squares = vec![0.0; rows.nrows()];
    for column in 0..rows.ncols() {
        let values: Vec<f64> = (0..rows.nrows()).map(|row| rows[(row, column)].abs()).collect();
        let scale = median(&values);
        if scale > 0.0 {
            squares.iter_mut().zip(values).for_each(|(square, value)| *square += (value / scale).powi(2));
        }
    }
    squares.into_iter().map(f64::sqrt).collect()
}

/// The point with the smallest sum of distances to rows (Weiszfeld): their spatial median.
pub(super) fn spatial_median(rows: MatRef<'_, f64>) -> Vec<f64> {
    const ROUNDS: usize = 200;
    let (n, d) = (rows.nrows(), rows.ncols());
    let mut centre: Vec<f64> = (0..d).map(|c| median(&(0..n).map(|r| rows[(r, c)]).collect::<Vec<_>>())).collect();
    for _ in 0..ROUNDS {
        let (mut sum, mut all) = (vec![0.0; d], 0.0);
        let mut length = 0.0_f64;
        for row in 0..n {
            let away = (0..d).map(|c| (rows[(row, c)] - centre[c]).powi(2)).sum::<f64>().sqrt();
            length = length.max(away);
            let weight = 1.0 / away.max(1e-12);
            (0..d).for_each(|c| sum[c] += weight * rows[(row, c)]);
            all += weight;
        }
        let moved = (0..d).map(|c| (sum[c] / all - centre[c]).powi(2)).sum::<f64>().sqrt();
        (0..d).for_each(|c| centre[c] = sum[c] / all);
        if moved <= 1e-9 * length {
            break;
        }
    }
    centre
}

/// The middle value; NaN of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// `n` standard normal rows of `d` values; the last `strange` of them lie `away` along the first two columns.
    fn rows(n: usize, d: usize, strange: usize, away: f64) -> Mat<f64> {
        let mut random = Random::new(3);
        let mut rows = Mat::<f64>::zeros(n, d);
        for row in 0..n {
            for column in 0..d {
                rows[(row, column)] = random.normal();
            }
            if row >= n - strange {
                rows[(row, 0)] += away;
                rows[(row, 1)] += away;
            }
        }
        rows
    }

    #[test]
    fn a_strange_group_counts_little_and_the_rest_in_full() {
        let weights = weights(rows(600, 40, 60, 12.0).as_ref()).unwrap();
        assert!(weights[540..].iter().all(|&w| w < 0.5), "{:?}", &weights[540..550]);
        let in_full = weights[..540].iter().filter(|&&w| w == 1.0).count();
        assert!(in_full > 520, "{in_full} of 540");
        // Fewer rows than columns.
        let few = super::weights(rows(60, 90, 6, 40.0).as_ref()).unwrap();
        assert!(few[54..].iter().all(|&w| w < 0.5), "{few:?}");
    }

    #[test]
    fn distances_are_those_of_numpy_and_scikit_learn() {
        // tools/goldens/robust.py: the same rows; the search transcribed to NumPy with sklearn's ledoit_wolf.
        let rows = Mat::from_fn(24, 3, |r, c| {
            let wave = ((r * 7 + c * 3) as f64 * 1.7).sin() + 0.3 * ((r * (c + 2)) as f64 * 0.9).cos();
            wave + if r >= 21 { 6.0 } else { 0.0 }
        });
        let found = distances(rows.as_ref()).unwrap();
        for (row, want) in DISTANCES.iter().enumerate() {
            assert!((found[row] - want).abs() < 1e-10 * want.max(1.0), "{row}: {} {want}", found[row]);
        }
        let centre = spatial_median(rows.as_ref());
        for (found, want) in centre.iter().zip(CENTRE) {
            assert!((found - want).abs() < 1e-7, "{centre:?}");
        }
    }

    const DISTANCES: [f64; 24] = [
        1.1476270304721312,
        1.7521696830258942,
        1.793031956354486,
        1.4809980850296842,
        1.432314142318639,
        1.752346311092734,
        1.2151264865235525,
        1.861578007889305,
        1.9900395517123803,
        1.2507378824834137,
        1.4807982853440194,
        1.3023321691296645,
        2.004563308477504,
        1.3040846129475254,
        2.117227145571622,
        1.0057449946393104,
        1.4362637451775355,
        1.841198636187538,
        1.8277832623713954,
        1.2130814974028503,
        1.6959949443952942,
        18.120131094728553,
        17.394994184422536,
        18.116750483799667,
    ];
    const CENTRE: [f64; 3] = [0.07008231219899044, 0.034179210661073246, 0.07372103139131107];
}
