//! The same gradient by matrix products, for batches in which many features are active.

use rayon::prelude::*;

use super::gradient::{Batch, Gradient, add_thresholds, by_decoder_bias, thresholds};
use super::kernels::{CHUNK, add_scaled, dot, matrix, product, vectorised};

/// The gradient of the mean loss of `batch`, without the auxiliary loss.
pub(super) fn gradient(batch: &Batch<'_>) -> Gradient {
    let sae = batch.sae;
    let (width, m, rows) = (sae.width, sae.features, batch.active.rows());
    let mut errors = vec![0.0; rows * width];
    let mut features = vec![0.0; rows * m];
    // ∂/∂f, 0 where a feature is not active.
    let mut by_feature = vec![0.0; rows * m];
    let chunks = errors.par_chunks_mut(CHUNK * width).zip(features.par_chunks_mut(CHUNK * m));
    let chunks = chunks.zip(by_feature.par_chunks_mut(CHUNK * m)).enumerate();
    let parts: Vec<(f64, Vec<(u32, f32)>)> = chunks.map(|(chunk, ((e, f), g))| part(batch, chunk, e, f, g)).collect();

    let mut gradient = Gradient { w_enc: vec![0.0; m * width], w_dec: vec![0.0; m * width], ..Gradient::default() };
    let chunks = gradient.w_enc.par_chunks_mut(CHUNK * width).zip(gradient.w_dec.par_chunks_mut(CHUNK * width));
    chunks.enumerate().for_each(|(chunk, (w_enc, w_dec))| {
        let some = |values| matrix(values, m).subcols(chunk * CHUNK, w_enc.len() / width).transpose();
        let (g, f) = (some(&by_feature), some(&features));
        product(g, matrix(batch.centred, width), w_enc);
        product(f, matrix(&errors, width), w_dec);
    });
    gradient.b_enc = vectorised(|| {
        let mut sum = vec![0.0; m];
        by_feature.chunks_exact(m).for_each(|row| add_scaled(&mut sum, 1.0, row));
        sum
    });
    gradient.log_threshold = thresholds(batch, parts.iter().flat_map(|(_, near)| near));
    gradient.squared_error = parts.iter().map(|(error, _)| error).sum();
    gradient.reconstruction = gradient.squared_error;
    gradient.b_dec = by_decoder_bias(sae, errors.chunks_exact(width), &gradient.b_enc);
    gradient
}

/// Errors, features and ∂/∂f of a chunk of rows.
fn part(
    batch: &Batch<'_>,
    chunk: usize,
    errors: &mut [f32],
    features: &mut [f32],
    by_feature: &mut [f32],
) -> (f64, Vec<(u32, f32)>) {
    let sae = batch.sae;
    let (width, m) = (sae.width, sae.features);
    for (at, row) in features.chunks_exact_mut(m).enumerate() {
        for entry in batch.active.row(chunk * CHUNK + at) {
            row[entry.feature as usize] = entry.value;
        }
    }
    product(matrix(features, m), matrix(&sae.w_dec, width), errors);
    let (mut squared_error, mut near) = (0.0, Vec::new());
    vectorised(|| {
        for (at, error) in errors.chunks_exact_mut(width).enumerate() {
            let row = chunk * CHUNK + at;
            add_scaled(error, 1.0, &sae.b_dec);
            add_scaled(error, -1.0, &batch.x[row * width..][..width]);
            squared_error += f64::from(dot(error, error));
            error.iter_mut().for_each(|value| *value *= 2.0 / batch.active.rows() as f32);
            add_thresholds(batch, row, error, &mut near);
        }
    });
    product(matrix(errors, width), matrix(&sae.w_dec, width).transpose(), by_feature);
    let penalty = batch.penalty();
    for (gradient, feature) in by_feature.iter_mut().zip(features.iter()) {
        *gradient = if *feature == 0.0 { 0.0 } else { *gradient + penalty };
    }
    (squared_error, near)
}
