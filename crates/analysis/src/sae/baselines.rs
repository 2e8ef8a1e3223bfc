//! What an SAE has to beat: the largest dimensions of each row as they are, and random features with the decoder that fits
//! them best.

use super::active::{Active, Entry};
use super::evaluation::Moments;
use super::forward::Sae;
use super::kernels::{add_scaled, vectorised};
use super::settings::Objective;

/// Steps of the conjugate gradient.
const STEPS: usize = 60;
/// A ridge, as a share of a feature's sum of squares: features that fire together are told apart no further.
const RIDGE: f64 = 1e-3;

/// Keeping of each row the dimensions that are farthest from the mean, and the mean of the others.
#[derive(Clone, Debug)]
pub struct RawDimensions {
    mean: Vec<f64>,
    kept: f64,
    left: f64,
}

impl RawDimensions {
    /// `kept` dimensions per row, between whole numbers by interpolation; the mean is that of `train`.
    pub fn new(train: &Moments, kept: f64) -> Self {
        Self { mean: train.mean(), kept, left: 0.0 }
    }

    /// Adds rows.
    pub fn add(&mut self, x: &[f32]) {
        let (whole, part) = (self.kept.floor() as usize, self.kept.fract());
        for row in x.chunks_exact(self.mean.len()) {
            let mut squares: Vec<f64> =
                row.iter().zip(&self.mean).map(|(value, mean)| (f64::from(*value) - mean).powi(2)).collect();
            squares.sort_by(|a, b| b.total_cmp(a));
            let rest: f64 = squares.iter().skip(whole).sum();
            self.left += rest - part * squares.get(whole).copied().unwrap_or(0.0);
        }
    }

    /// The share of the variance that is lost.
    pub fn fvu(&self, moments: &Moments) -> f64 {
        self.left / (moments.deviation() * moments.rows() as f64)
    }
}

impl Sae {
    /// The same features with the decoder and the offset that reconstruct the rows of `x` best in least squares, by
    /// conjugate gradients on all columns at once.
    pub fn refitted(&self, objective: Objective, x: &[f32]) -> Self {
        let active = self.encode(objective, x);
        let rows = Rows { active: &active, width: self.width, features: self.features };
        let weights = rows.solve(&self.centred(x));
        let (w_dec, offset) = weights.split_at(self.features * self.width);
        // The encoder reads x − b_dec: what is added to b_dec is added to its bias again.
        let mut fitted = Self { w_dec: w_dec.to_vec(), ..self.clone() };
        fitted.b_dec.iter_mut().zip(offset).for_each(|(value, added)| *value += added);
        for (bias, row) in fitted.b_enc.iter_mut().zip(self.w_enc.chunks_exact(self.width)) {
            *bias += row.iter().zip(offset).map(|(weight, added)| weight * added).sum::<f32>();
        }
        fitted
    }
}

/// Active features as a matrix of rows, with a column of ones behind them.
struct Rows<'a> {
    active: &'a Active,
    width: usize,
    features: usize,
}

impl Rows<'_> {
    fn each(&self, mut of: impl FnMut(usize, &[Entry])) {
        for row in 0..self.active.rows() {
            of(row, self.active.row(row));
        }
    }

    /// Fᵀ·y for rows y.
    fn transposed(&self, y: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; (self.features + 1) * self.width];
        vectorised(|| {
            self.each(|row, entries| {
                let y = &y[row * self.width..][..self.width];
                for entry in entries {
                    add_scaled(&mut out[entry.feature as usize * self.width..][..self.width], entry.value, y);
                }
                add_scaled(&mut out[self.features * self.width..], 1.0, y);
            });
        });
        out
    }

    /// F·w, row by row.
    fn times(&self, w: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.active.rows() * self.width];
        vectorised(|| {
            self.each(|row, entries| {
                let out = &mut out[row * self.width..][..self.width];
                out.copy_from_slice(&w[self.features * self.width..]);
                for entry in entries {
                    add_scaled(out, entry.value, &w[entry.feature as usize * self.width..][..self.width]);
                }
            });
        });
        out
    }

    /// Fᵀ·F·w = Fᵀ·y with a ridge, preconditioned by the diagonal.
    fn solve(&self, y: &[f32]) -> Vec<f32> {
        let mut diagonal = vec![0.0_f64; self.features + 1];
        self.each(|_, entries| {
            entries.iter().for_each(|entry| diagonal[entry.feature as usize] += f64::from(entry.value).powi(2));
            diagonal[self.features] += 1.0;
        });
        // A feature that never fires keeps a weight of 0.
        let diagonal: Vec<f32> = diagonal.iter().map(|sum| if *sum > 0.0 { *sum as f32 } else { 1.0 }).collect();
        let width = self.width;
        let scaled = |values: &[f32]| -> Vec<f32> {
            let row = |(row, scale): (&[f32], &f32)| row.iter().map(|value| value / scale).collect::<Vec<f32>>();
            values.chunks_exact(width).zip(&diagonal).flat_map(row).collect()
        };
        // Σ a·b of each column.
        let dots = |a: &[f32], b: &[f32]| {
            let mut sums = vec![0.0_f64; width];
            for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
                sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += f64::from(*a) * f64::from(*b));
            }
            sums
        };
        let mut residual = self.transposed(y);
        let mut weights = vec![0.0_f32; residual.len()];
        let mut ahead = scaled(&residual);
        let mut direction = ahead.clone();
        let mut size = dots(&residual, &ahead);
        let first = size.clone();
        for _ in 0..STEPS {
            let mut image = self.transposed(&self.times(&direction));
            for ((image, direction), scale) in
                image.chunks_exact_mut(width).zip(direction.chunks_exact(width)).zip(&diagonal)
            {
                add_scaled(image, RIDGE as f32 * scale, direction);
            }
            let curvature = dots(&direction, &image);
            let step: Vec<f32> = (size.iter().zip(&curvature))
                .map(|(size, curvature)| if *curvature > 0.0 { (size / curvature) as f32 } else { 0.0 })
                .collect();
            let advance = |values: &mut [f32], along: &[f32], sign: f32| {
                for (values, along) in values.chunks_exact_mut(width).zip(along.chunks_exact(width)) {
                    values.iter_mut().zip(along).zip(&step).for_each(|((value, a), step)| *value += sign * step * a);
                }
            };
            advance(&mut weights, &direction, 1.0);
            advance(&mut residual, &image, -1.0);
            ahead = scaled(&residual);
            let next = dots(&residual, &ahead);
            let turn: Vec<f32> = (next.iter().zip(&size))
                .map(|(next, size)| if *size > 0.0 { (next / size) as f32 } else { 0.0 })
                .collect();
            for (direction, ahead) in direction.chunks_exact_mut(width).zip(ahead.chunks_exact(width)) {
                direction.iter_mut().zip(ahead).zip(&turn).for_each(|((value, a), turn)| *value = a + turn * *value);
            }
            size = next;
            if size.iter().zip(&first).all(|(now, first)| *now <= 1e-12 * first) {
                break;
            }
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::super::trainer::Trainer;
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_largest_dimensions_are_kept() {
        let mut train = Moments::new(3);
        train.add(&[0.0, 0.0, 0.0, 2.0, 4.0, 6.0]);
        // About the mean (1, 2, 3): deviations 1, 2, 3 of both rows; 14 each.
        let left = |kept: f64| {
            let mut raw = RawDimensions::new(&train, kept);
            raw.add(&[0.0, 0.0, 0.0, 2.0, 4.0, 6.0]);
            raw.fvu(&train)
        };
        assert!((left(1.0) - 5.0 / 14.0).abs() < 1e-12 && (left(1.5) - 3.0 / 14.0).abs() < 1e-12);
        assert!(left(3.0).abs() < 1e-12 && (left(0.0) - 1.0).abs() < 1e-12);
    }

    /// Against the normal equations, solved whole.
    #[test]
    fn a_refitted_decoder_is_that_of_least_squares() {
        use faer::prelude::Solve;
        use faer::{Mat, Side};
        let (rows, width, m) = (300, 6, 12);
        let mut random = Random::new(7);
        let x: Vec<f32> = (0..rows * width).map(|_| random.normal() as f32 + 0.5).collect();
        let objective = Objective::TopK { k: 4 };
        let sae = Trainer::new(Settings::new(objective, m, 10), &x, width).unwrap().sae();
        let fitted = sae.refitted(objective, &x);
        let active = sae.encode(objective, &x);
        assert_eq!(fitted.encode(objective, &x).count(), active.count(), "the features are the same");
        let mut f = Mat::<f64>::zeros(rows, m + 1);
        for row in 0..rows {
            f[(row, m)] = 1.0;
            active.row(row).iter().for_each(|entry| f[(row, entry.feature as usize)] = f64::from(entry.value));
        }
        let y = Mat::from_fn(rows, width, |row, at| f64::from(x[row * width + at]));
        let mut normal = f.transpose() * &f;
        for at in 0..=m {
            normal[(at, at)] *= 1.0 + RIDGE;
        }
        let centred = Mat::from_fn(rows, width, |row, at| y[(row, at)] - f64::from(sae.b_dec[at]));
        let best = normal.llt(Side::Lower).unwrap().solve(f.transpose() * centred);
        for feature in 0..m {
            for at in 0..width {
                let found = f64::from(fitted.w_dec[feature * width + at]);
                // float32 conjugate gradients on weights of about 0.5.
                assert!((found - best[(feature, at)]).abs() < 1e-3, "{found} {}", best[(feature, at)]);
            }
        }
        let error = |sae: &Sae| {
            let decoded = sae.decode(&sae.encode(objective, &x));
            decoded.iter().zip(&x).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        assert!(error(&fitted) < 0.95 * error(&sae));
    }
}
