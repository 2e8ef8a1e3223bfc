//! The autoencoder itself: weights, features, reconstructions.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use super::active::{Active, Entry, above, batch_bar, largest};
use super::kernels::{CHUNK, add_scaled, dot, matrix, product, vectorised};
use super::settings::{Objective, Settings};

/// Weights of an autoencoder. Rows of both matrices are features.
#[derive(Clone, Debug, PartialEq)]
pub struct Sae {
    /// Width of an embedding.
    pub width: usize,
    /// Features, m.
    pub features: usize,
    /// \[m, width\]: SAELens' `W_enc`, transposed.
    pub w_enc: Vec<f32>,
    /// \[m\]
    pub b_enc: Vec<f32>,
    /// \[m, width\], rows of length 1.
    pub w_dec: Vec<f32>,
    /// \[width\]
    pub b_dec: Vec<f32>,
    /// \[m\]: a feature is active where p exceeds it. `JumpRelu`: trained; `BatchTopK`, `Matryoshka`: one value for all; others: 0.
    pub threshold: Vec<f32>,
}

impl Sae {
    /// Random directions of length 1 for the decoder, the same for the encoder, and `centre` as `b_dec`.
    pub(super) fn new(settings: &Settings, centre: &[f32]) -> Self {
        let (width, m) = (centre.len(), settings.features);
        let mut random = Pcg64Mcg::seed_from_u64(settings.seed);
        let mut w_dec: Vec<f32> = (0..m * width).map(|_| normal(&mut random)).collect();
        w_dec.chunks_exact_mut(width).for_each(normalise);
        let threshold = match settings.objective {
            Objective::JumpRelu { bandwidth, .. } => bandwidth,
            _ => 0.0,
        };
        Self {
            width,
            features: m,
            w_enc: w_dec.clone(),
            b_enc: vec![0.0; m],
            w_dec,
            b_dec: centre.to_vec(),
            threshold: vec![threshold; m],
        }
    }

    /// Multiplies the encoder of a new autoencoder by the one number with which it reconstructs the rows of `x` best,
    /// Σ x'·r / Σ ‖r‖² for reconstructions r of x'. At length 1 the features that are active, far from orthogonal, add up to
    /// several times x', and a run spends its first steps on undoing that. Which features are active does not depend on the
    /// number; but for `JumpRelu`, whose encoder stays in the units of its thresholds.
    pub(super) fn fit_encoder(&mut self, objective: Objective, x: &[f32]) {
        if matches!(objective, Objective::JumpRelu { .. }) {
            return;
        }
        let centred = self.centred(x);
        let active = self.choose_in_training(objective, &self.pre_activations(&centred));
        let decoded = self.centred(&self.decode(&active));
        let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let factor = (sum(&centred, &decoded) / sum(&decoded, &decoded)) as f32;
        if factor.is_finite() && factor > 0.0 {
            self.w_enc.iter_mut().for_each(|value| *value *= factor);
        }
    }

    /// x − b_dec for every row of `x`.
    pub(super) fn centred(&self, x: &[f32]) -> Vec<f32> {
        let mut centred = x.to_vec();
        for row in centred.chunks_exact_mut(self.width) {
            row.iter_mut().zip(&self.b_dec).for_each(|(value, bias)| *value -= bias);
        }
        centred
    }

    /// p for centred rows: \[n, m\].
    pub(super) fn pre_activations(&self, centred: &[f32]) -> Vec<f32> {
        let mut p = vec![0.0; centred.len() / self.width * self.features];
        let chunks = centred.par_chunks(CHUNK * self.width).zip(p.par_chunks_mut(CHUNK * self.features));
        chunks.for_each(|(x, p)| {
            product(matrix(x, self.width), matrix(&self.w_enc, self.width).transpose(), p);
            for row in p.chunks_exact_mut(self.features) {
                row.iter_mut().zip(&self.b_enc).for_each(|(value, bias)| *value += bias);
            }
        });
        p
    }

    /// The active features of every row, as in training: `BatchTopK` chooses over the batch.
    pub(super) fn choose_in_training(&self, objective: Objective, p: &[f32]) -> Active {
        match objective.of_batch() {
            Some(k) => {
                let bar = batch_bar(p, p.len() / self.features * k);
                // At least the bar, and positive.
                self.choose_rows(p, |row| above(row, |_| bar.next_down().max(0.0)))
            }
            None => self.choose(objective, p),
        }
    }

    /// The active features of every row, each on its own.
    pub(super) fn choose(&self, objective: Objective, p: &[f32]) -> Active {
        match objective {
            Objective::TopK { k } => self.choose_rows(p, |row| largest(row, k, |_| true)),
            Objective::Relu { .. } => self.choose_rows(p, |row| above(row, |_| 0.0)),
            Objective::BatchTopK { .. } | Objective::Matryoshka { .. } | Objective::JumpRelu { .. } => {
                self.choose_rows(p, |row| above(row, |feature| self.threshold[feature].max(0.0)))
            }
        }
    }

    pub(super) fn choose_rows(&self, p: &[f32], choose: impl Fn(&[f32]) -> Vec<Entry> + Sync) -> Active {
        let chunks: Vec<Vec<Vec<Entry>>> = p
            .par_chunks(CHUNK * self.features)
            .map(|chunk| vectorised(|| chunk.chunks_exact(self.features).map(&choose).collect()))
            .collect();
        Active::of_rows(chunks.into_iter().flatten())
    }

    /// Features of the rows of `x` \[n, width\], as a reader of the trained SAE has them.
    pub fn encode(&self, objective: Objective, x: &[f32]) -> Active {
        self.choose(objective, &self.pre_activations(&self.centred(x)))
    }

    /// x̂ of every row.
    pub fn decode(&self, active: &Active) -> Vec<f32> {
        let mut out = vec![0.0; active.rows() * self.width];
        out.par_chunks_mut(CHUNK * self.width).enumerate().for_each(|(chunk, out)| {
            vectorised(|| {
                for (at, out) in out.chunks_exact_mut(self.width).enumerate() {
                    out.copy_from_slice(&self.b_dec);
                    self.add_decoded(active.row(chunk * CHUNK + at), out);
                }
            });
        });
        out
    }

    /// out += Σ value · decoder row.
    #[inline(always)]
    pub(super) fn add_decoded(&self, entries: &[Entry], out: &mut [f32]) {
        for entry in entries {
            add_scaled(out, entry.value, self.decoder_row(entry.feature));
        }
    }

    #[inline(always)]
    pub(super) fn decoder_row(&self, feature: u32) -> &[f32] {
        &self.w_dec[feature as usize * self.width..][..self.width]
    }

    /// The same autoencoder for embeddings that were divided by `scale` before they came here: features come out `scale`
    /// times as large, and the decoder keeps its unit rows.
    pub fn rescaled(&self, scale: f32) -> Self {
        let times = |values: &[f32]| values.iter().map(|value| value * scale).collect();
        Self { b_enc: times(&self.b_enc), b_dec: times(&self.b_dec), threshold: times(&self.threshold), ..self.clone() }
    }
}

/// To length 1; a row of zeros stays.
#[inline(always)]
pub(super) fn normalise(row: &mut [f32]) {
    let norm = dot(row, row).sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|value| *value /= norm);
    }
}

/// A standard normal number, by Box and Muller.
pub(super) fn normal(random: &mut impl Rng) -> f32 {
    let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let (radius, angle) = (unit(random.next_u64()), unit(random.next_u64()));
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
}
