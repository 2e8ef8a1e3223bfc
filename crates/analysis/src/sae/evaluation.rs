//! How well an autoencoder reconstructs rows that it was not trained on, compared with as many principal components.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};

use super::active::Active;

/// Features that are active on more than this share of the rows are dense.
const DENSE: f64 = 0.1;

/// Sums over the rows that were evaluated.
#[derive(Clone, Debug)]
pub struct Evaluation {
    rows: u64,
    squared_error: f64,
    active: Vec<u64>,
}

impl Evaluation {
    /// Of an autoencoder with `features` features.
    pub fn new(features: usize) -> Self {
        Self { rows: 0, squared_error: 0.0, active: vec![0; features] }
    }

    /// Adds rows `x`, their features and their reconstructions.
    pub fn add(&mut self, x: &[f32], active: &Active, decoded: &[f32]) {
        self.rows += active.rows() as u64;
        let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        self.squared_error += x.iter().zip(decoded).map(square).sum::<f64>();
        active.entries.iter().filter(|e| e.value != 0.0).for_each(|entry| self.active[entry.feature as usize] += 1);
    }

    /// Σ‖x−x̂‖² / Σ‖x−x̄‖², x̄ and the deviation those of the same rows. No variance: NaN.
    pub fn fvu(&self, moments: &Moments) -> f64 {
        self.squared_error / (moments.deviation() * moments.rows as f64)
    }

    /// Mean number of active features.
    pub fn l0(&self) -> f64 {
        self.active.iter().sum::<u64>() as f64 / self.rows as f64
    }

    /// Each feature's share of the rows.
    fn frequencies(&self) -> Vec<f64> {
        self.active.iter().map(|count| *count as f64 / self.rows as f64).collect()
    }

    /// Features that were active.
    pub fn living(&self) -> Vec<usize> {
        (0..self.active.len()).filter(|&feature| self.active[feature] > 0).collect()
    }

    /// Features that were never active.
    pub fn dead(&self) -> usize {
        self.active.iter().filter(|count| **count == 0).count()
    }

    /// Features that were active on more than a tenth of the rows.
    pub fn dense(&self) -> usize {
        self.frequencies().iter().filter(|frequency| **frequency > DENSE).count()
    }

    /// Features by log₁₀ of their frequency, in `bins` of half a decade from −5 to 0; those that were never active are left
    /// out, rarer ones than 10⁻⁵ are in the first.
    pub fn histogram(&self) -> Vec<(f64, usize)> {
        let mut bins: Vec<(f64, usize)> = (-10..0).map(|half| (f64::from(half) / 2.0, 0)).collect();
        for frequency in self.frequencies().into_iter().filter(|frequency| *frequency > 0.0) {
            let bin = ((frequency.log10() + 5.0) * 2.0).floor().clamp(0.0, 9.0);
            bins[bin as usize].1 += 1;
        }
        bins
    }
}

/// First and second moments of rows, in float64.
#[derive(Clone, Debug)]
pub struct Moments {
    rows: u64,
    sum: Vec<f64>,
    /// Σ x xᵀ
    outer: Mat<f64>,
}

impl Moments {
    /// Of rows `width` wide.
    pub fn new(width: usize) -> Self {
        Self { rows: 0, sum: vec![0.0; width], outer: Mat::zeros(width, width) }
    }

    /// Adds the rows of `x`.
    pub fn add(&mut self, x: &[f32]) {
        let width = self.sum.len();
        let rows = x.len() / width;
        let x = Mat::from_fn(rows, width, |row, column| f64::from(x[row * width + column]));
        matmul(&mut self.outer, Accum::Add, x.transpose(), &x, 1.0, Par::Seq);
        for column in 0..width {
            self.sum[column] += x.col(column).iter().sum::<f64>();
        }
        self.rows += rows as u64;
    }

    /// Rows added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// x̄
    pub(super) fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|sum| sum / self.rows as f64).collect()
    }

    /// Mean ‖x−x̄‖².
    pub fn deviation(&self) -> f64 {
        let centre = self.mean();
        let about = self.about(&centre);
        (0..centre.len()).map(|i| about[(i, i)]).sum()
    }

    /// Mean (x−c)(x−c)ᵀ.
    fn about(&self, centre: &[f64]) -> Mat<f64> {
        let mean = self.mean();
        Mat::from_fn(mean.len(), mean.len(), |i, j| {
            self.outer[(i, j)] / self.rows as f64 - mean[i] * centre[j] - centre[i] * mean[j] + centre[i] * centre[j]
        })
    }
}

/// Principal components of the rows that the autoencoder was trained on.
#[derive(Clone, Debug)]
pub struct PcaBaseline {
    mean: Vec<f64>,
    /// Columns, the largest variance first.
    directions: Mat<f64>,
}

impl PcaBaseline {
    /// Fits it; `None` where the decomposition does not converge.
    pub fn fit(train: &Moments) -> Option<Self> {
        let mean = train.mean();
        let eigen = train.about(&mean).self_adjoint_eigen(Side::Lower).ok()?;
        let vectors = eigen.U();
        let width = mean.len();
        // faer's eigenvalues ascend.
        let directions = Mat::from_fn(width, width, |i, j| vectors[(i, width - 1 - j)]);
        Some(Self { mean, directions })
    }

    /// FVU on other rows with `components` of them, between whole numbers by interpolation.
    pub fn fvu(&self, held_out: &Moments, components: f64) -> f64 {
        let about = held_out.about(&self.mean);
        let rotated = self.directions.transpose() * about * &self.directions;
        let width = self.mean.len();
        let whole = |count: usize| (count.min(width)..width).map(|i| rotated[(i, i)]).sum::<f64>();
        let (below, part) = (components.floor().max(0.0), components.fract());
        let below = below as usize;
        (whole(below) * (1.0 - part) + whole(below + 1) * part) / held_out.deviation()
    }
}

#[cfg(test)]
mod tests {
    use super::super::active::Entry;
    use super::*;

    #[test]
    fn figures_of_a_case_worked_by_hand() {
        // Two rows: (1, 0) and (3, 4), mean (2, 2), deviations 1+4 and 1+4; errors 1 and 4.
        let x = [1.0, 0.0, 3.0, 4.0];
        let mut moments = Moments::new(2);
        moments.add(&x[..2]);
        moments.add(&x[2..]);
        assert_eq!((moments.mean(), moments.deviation()), (vec![2.0, 2.0], 5.0));
        let entry = |feature| Entry { feature, value: 1.0 };
        let active = Active::of_rows([vec![entry(0)], vec![entry(0), entry(2)]]);
        let mut evaluation = Evaluation::new(3);
        evaluation.add(&x, &active, &[1.0, 1.0, 1.0, 4.0]);
        assert_eq!((evaluation.fvu(&moments), evaluation.l0()), (0.5, 1.5));
        assert_eq!((evaluation.dead(), evaluation.dense()), (1, 2));
        assert_eq!(evaluation.histogram().iter().map(|(_, count)| count).sum::<usize>(), 2);
        // One direction holds all the variance of two points.
        let pca = PcaBaseline::fit(&moments).unwrap();
        assert!(pca.fvu(&moments, 1.0).abs() < 1e-12);
        assert!((pca.fvu(&moments, 0.0) - 1.0).abs() < 1e-12);
        assert!((pca.fvu(&moments, 0.25) - 0.75).abs() < 1e-12);
        // About another centre what is off the line counts whole: (0, 0) and (0, 2) have mean (0, 1); the line through
        // (2, 2) along (1, 2)/√5 leaves (−2, −2) and (−2, 0) with squares 8 − 36/5 and 4 − 4/5.
        let mut other = Moments::new(2);
        other.add(&[0.0, 0.0, 0.0, 2.0]);
        assert!((pca.fvu(&other, 1.0) - ((0.8 + 3.2) / 2.0)).abs() < 1e-12, "{}", pca.fvu(&other, 1.0));
    }
}
