//! Dead features begin again where the reconstruction is worst (Bricken et al. 2023).

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::active::Active;
use super::forward::{Sae, normalise};
use super::kernels::dot;

/// A new encoder, relative to the mean length of the living ones.
const ENCODER_LENGTH: f32 = 0.2;

/// Gives each feature of `dead` the direction of a row of `centred`, drawn with a probability proportional to ‖e‖², as
/// decoder, and as encoder with a fifth of the living encoders' mean length. Rows are not drawn twice; the features that
/// were given one are returned.
pub(super) fn resample(
    sae: &mut Sae,
    dead: &[u32],
    x: &[f32],
    centred: &[f32],
    active: &Active,
    threshold: f32,
    seed: u64,
) -> Vec<u32> {
    let width = sae.width;
    let decoded = sae.decode(active);
    let squares = x.chunks_exact(width).zip(decoded.chunks_exact(width));
    let square = |(a, b): (&[f32], &[f32])| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    let mut weights: Vec<f64> = squares.map(square).collect();
    let length = living_length(sae, dead);
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut given = Vec::new();
    for feature in dead {
        let Some(row) = draw(&weights, &mut random) else { break };
        weights[row] = 0.0;
        let mut direction = centred[row * width..][..width].to_vec();
        normalise(&mut direction);
        let at = *feature as usize;
        sae.w_dec[at * width..][..width].copy_from_slice(&direction);
        let encoder = sae.w_enc[at * width..][..width].iter_mut();
        encoder.zip(&direction).for_each(|(out, value)| *out = ENCODER_LENGTH * length * value);
        sae.b_enc[at] = 0.0;
        sae.threshold[at] = threshold;
        given.push(*feature);
    }
    given
}

/// Mean length of the encoders of features that are not dead; 1 where none is alive.
fn living_length(sae: &Sae, dead: &[u32]) -> f32 {
    let mut living = vec![true; sae.features];
    dead.iter().for_each(|feature| living[*feature as usize] = false);
    let rows = sae.w_enc.chunks_exact(sae.width).zip(&living).filter(|(_, living)| **living);
    let (sum, count) = rows.fold((0.0, 0), |(sum, count), (row, _)| (sum + dot(row, row).sqrt(), count + 1));
    if count == 0 { 1.0 } else { sum / count as f32 }
}

fn draw(weights: &[f64], random: &mut impl Rng) -> Option<usize> {
    let total: f64 = weights.iter().sum();
    let mut left = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * total;
    let drawn = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    drawn.filter(|_| total > 0.0)
}
