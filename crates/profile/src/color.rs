//! COLOR_SHIFT: how far a tile's white point and optical densities lie from a scanner's.

use serde::{Deserialize, Serialize};

use super::measurement::{DENSITY_MEAN, DENSITY_SPREAD, Measurements, WHITE_POINT};
use coverslip_bundle::{BundleError, fail};

/// Values of [`color_vector`].
pub const COLOR_VALUES: usize = 9;
/// Below this optical density stain cannot be told from glass; also keeps the logarithm finite.
const FAINTEST: f64 = 0.005;

/// What COLOR_SHIFT is judged by: the logarithms of mean and of spread of the optical density, whose differences are the
/// stain's hue, and the white point's optical density. None where there is no tissue or a value is not finite.
pub fn color_vector(m: &Measurements) -> Option<[f64; COLOR_VALUES]> {
    let log = |at: usize| f64::from(m[at]).max(FAINTEST).ln();
    let white = |at: usize| -(f64::from(m[at]).max(1.0) / 255.0).log10();
    let values = std::array::from_fn(|i| match i {
        0..3 => log(DENSITY_MEAN + i),
        3..6 => log(DENSITY_SPREAD + i - 3),
        _ => white(WHITE_POINT + i - 6),
    });
    // `max` hides a NaN: look at what went in.
    let measured =
        [DENSITY_MEAN, DENSITY_SPREAD, WHITE_POINT].iter().all(|&at| m[at..at + 3].iter().all(|v| v.is_finite()));
    measured.then_some(values)
}

/// A scanner's colours: the mean of [`color_vector`] and what whitens it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ColorBaseline {
    /// Mean.
    pub mean: [f64; COLOR_VALUES],
    /// L⁻¹ of the covariance's Cholesky factor L, lower triangle: ‖L⁻¹(v − mean)‖² is the squared Mahalanobis distance.
    pub whitening: [[f64; COLOR_VALUES]; COLOR_VALUES],
}

impl ColorBaseline {
    /// Fits the baseline to n tiles. Their covariance is shrunk to its diagonal by 9 / n (nine values; more would drown
    /// the hue, in which stains vary little), and each variance raised by 10⁻⁶: measurements of a synthetic scanner may
    /// be exactly dependent.
    ///
    /// # Errors
    /// `Invalid` with fewer than 30 tiles.
    pub fn fit(tiles: &[[f64; COLOR_VALUES]]) -> Result<ColorBaseline, BundleError> {
        const FEWEST: usize = 30;
        if tiles.len() < FEWEST {
            fail!(Invalid, "{} tiles with tissue, expected at least {FEWEST} to fit a scanner's colours", tiles.len());
        }
        let n = tiles.len() as f64;
        let shrinkage = COLOR_VALUES as f64 / n;
        let mean: [f64; COLOR_VALUES] = std::array::from_fn(|i| tiles.iter().map(|t| t[i]).sum::<f64>() / n);
        let mut covariance = [[0.0; COLOR_VALUES]; COLOR_VALUES];
        for tile in tiles {
            for i in 0..COLOR_VALUES {
                for j in 0..COLOR_VALUES {
                    covariance[i][j] += (tile[i] - mean[i]) * (tile[j] - mean[j]) / (n - 1.0);
                }
            }
        }
        for (i, row) in covariance.iter_mut().enumerate() {
            for (j, value) in row.iter_mut().enumerate() {
                *value = if i == j { *value + 1e-6 } else { *value * (1.0 - shrinkage) };
            }
        }
        Ok(ColorBaseline { mean, whitening: inverse_cholesky(&covariance) })
    }

    /// The squared Mahalanobis distance of a tile; None where it has no colours.
    pub fn score(&self, m: &Measurements) -> Option<f32> {
        let values = color_vector(m)?;
        let whitened = self
            .whitening
            .iter()
            .map(|row| row.iter().zip(values).zip(self.mean).map(|((w, value), mean)| w * (value - mean)).sum::<f64>());
        Some(whitened.map(|v| v * v).sum::<f64>() as f32)
    }
}

/// L⁻¹ where A = L·Lᵀ. A is positive definite: a covariance with a diagonal that was raised.
fn inverse_cholesky(a: &[[f64; COLOR_VALUES]; COLOR_VALUES]) -> [[f64; COLOR_VALUES]; COLOR_VALUES] {
    let mut l = [[0.0; COLOR_VALUES]; COLOR_VALUES];
    for i in 0..COLOR_VALUES {
        for j in 0..=i {
            let rest = a[i][j] - (0..j).map(|k| l[i][k] * l[j][k]).sum::<f64>();
            l[i][j] = if i == j { rest.max(1e-12).sqrt() } else { rest / l[j][j] };
        }
    }
    let mut inverse = [[0.0; COLOR_VALUES]; COLOR_VALUES];
    for (i, factors) in l.iter().enumerate() {
        let row = std::array::from_fn(|column| {
            let known: f64 = factors[..i].iter().zip(&inverse).map(|(l, above)| l * above[column]).sum();
            (f64::from(u8::from(i == column)) - known) / factors[i]
        });
        inverse[i] = row;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use coverslip_numerics::Draw;

    fn measurements(density: [f32; 3], white: [f32; 3]) -> Measurements {
        let mut m = [f32::NAN; super::super::MEASUREMENTS];
        m[DENSITY_MEAN..DENSITY_MEAN + 3].copy_from_slice(&density);
        m[DENSITY_SPREAD..DENSITY_SPREAD + 3].copy_from_slice(&[0.1; 3]);
        m[WHITE_POINT..WHITE_POINT + 3].copy_from_slice(&white);
        m
    }

    /// The whitening of a covariance that is not diagonal: W·A·Wᵀ = 1.
    #[test]
    fn whitening_whitens() {
        let entry = |i: usize, j: usize| if i == j { 2.0 + i as f64 } else { 0.3 / (1.0 + i.abs_diff(j) as f64) };
        let a = std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j)));
        let w = inverse_cholesky(&a);
        for i in 0..COLOR_VALUES {
            for j in 0..COLOR_VALUES {
                let product: f64 = (0..COLOR_VALUES)
                    .flat_map(|k| (0..COLOR_VALUES).map(move |l| (k, l)))
                    .map(|(k, l)| w[i][k] * a[k][l] * w[j][l])
                    .sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12, "{i} {j} {product}");
            }
        }
    }

    #[test]
    fn a_change_of_hue_scores_more_than_one_of_strength() {
        // Thickness varies by a third and takes all channels along; their ratio varies by 3 %.
        let wobble = |i: u64, n: u64| Draw::new(i).of(n).below(1000) as f32 / 1000.0 - 0.5;
        let tiles: Vec<_> = (0..500)
            .map(|i| {
                let thickness = 1.0 + 0.6 * wobble(i, 0);
                let channel = |n: u64, v: f32| v * thickness * (1.0 + 0.06 * wobble(i, n));
                let m = measurements([channel(1, 0.3), channel(2, 0.5), channel(3, 0.25)], [240.0, 239.0, 241.0]);
                color_vector(&m).unwrap()
            })
            .collect();
        let baseline = ColorBaseline::fit(&tiles).unwrap();
        let score = |d: [f32; 3]| baseline.score(&measurements(d, [240.0, 239.0, 241.0])).unwrap();
        let (strength, hue) = (score([0.36, 0.6, 0.3]), score([0.36, 0.5, 0.25]));
        assert!(hue > 5.0 * strength, "{hue} {strength}");
        assert!(baseline.score(&[f32::NAN; super::super::MEASUREMENTS]).is_none());
        assert!(ColorBaseline::fit(&tiles[..29]).is_err());
    }
}
