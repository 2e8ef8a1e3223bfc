//! The gradient of the loss, by hand: a page of algebra, sparse from the decoder on.
//!
//! With B rows, e = x̂−x and E = (2/B)·e, for each active feature i of a row with value f_i:
//!
//! ```text
//! ∂/∂f_i = E·W_dec,i (+ λ/B for L1)   ∂/∂W_dec,i += f_i·E   ∂/∂W_enc,i += ∂/∂f_i·x'   ∂/∂b_enc,i += ∂/∂f_i
//! ∂/∂b_dec = Σ E − Σ_i ∂/∂b_enc,i · W_enc,i
//! ```
//!
//! The auxiliary loss adds entries of dead features with an error of their own. JumpReLU's thresholds θ = exp t get
//! ∂/∂t_i += −(θ/ε)·1\[|p−θ| < ε/2\]·(θ·E·W_dec,i + λ/B), the straight-through estimate of arXiv 2407.14435.

use rayon::prelude::*;

use super::Architecture;
use super::active::Entry;
use super::dense;
use super::forward::Sae;
use super::gradient::{Batch, Gradient, add_thresholds, by_decoder_bias, thresholds};
use super::kernels::{CHUNK, add_scaled, dot, vectorised};

/// What an active feature of a row adds to the gradient.
#[derive(Clone, Copy)]
struct Term {
    feature: u32,
    /// Row of `errors`; modulo the batch, row of x'.
    row: u32,
    value: f32,
    gradient: f32,
}

/// What a chunk of rows gives.
struct Part {
    terms: Vec<Term>,
    log_threshold: Vec<(u32, f32)>,
    squared_error: f64,
    auxiliary: f64,
}

/// Where more than one in so many features is active, matrix products are faster than single rows. That is so at the
/// beginning of a run without k, before the penalty has made it sparse.
const DENSE: usize = 12;

/// The gradient of the mean loss of `batch`.
pub(super) fn gradient(sae: &Sae, architecture: Architecture, batch: &Batch<'_>) -> Gradient {
    let all = batch.active.rows() * sae.features;
    if batch.auxiliary.is_none() && batch.active.count() * DENSE > all {
        return dense::gradient(sae, architecture, batch);
    }
    sparse(sae, architecture, batch)
}

pub(super) fn sparse(sae: &Sae, architecture: Architecture, batch: &Batch<'_>) -> Gradient {
    let (width, rows) = (sae.width, batch.active.rows());
    // Behind the rows' errors those of the auxiliary loss.
    let mut errors = vec![0.0; 2 * rows * width];
    let (main, auxiliary) = errors.split_at_mut(rows * width);
    let chunks = main.par_chunks_mut(CHUNK * width).zip(auxiliary.par_chunks_mut(CHUNK * width)).enumerate();
    let parts: Vec<Part> = chunks
        .map(|(chunk, (errors, auxiliary))| vectorised(|| part(sae, architecture, batch, chunk, errors, auxiliary)))
        .collect();
    let mut gradient = by_feature(sae, batch, &errors, &parts);
    let near = parts.iter().flat_map(|part| &part.log_threshold);
    gradient.log_threshold = thresholds(sae, architecture, near);
    gradient.squared_error = parts.iter().map(|part| part.squared_error).sum();
    gradient.auxiliary = parts.iter().map(|part| part.auxiliary).sum();
    gradient.b_dec = by_decoder_bias(sae, &errors[..rows * width], &gradient.b_enc);
    gradient
}

/// Errors and terms of a chunk of rows.
#[inline(always)]
fn part(
    sae: &Sae,
    architecture: Architecture,
    batch: &Batch<'_>,
    chunk: usize,
    errors: &mut [f32],
    auxiliary: &mut [f32],
) -> Part {
    let (width, rows) = (sae.width, batch.active.rows());
    let (scale, penalty) = (2.0 / rows as f32, batch.penalty(architecture));
    let mut part = Part { terms: Vec::new(), log_threshold: Vec::new(), squared_error: 0.0, auxiliary: 0.0 };
    for (at, error) in errors.chunks_exact_mut(width).enumerate() {
        let row = chunk * CHUNK + at;
        error.copy_from_slice(&sae.b_dec);
        sae.add_decoded(batch.active.row(row), error);
        add_scaled(error, -1.0, &batch.x[row * width..][..width]);
        part.squared_error += f64::from(dot(error, error));
        if let Some((dead, weight)) = batch.auxiliary {
            let rest = &mut auxiliary[at * width..][..width];
            // ê − (x−x̂) = ê + e
            rest.copy_from_slice(error);
            sae.add_decoded(dead.row(row), rest);
            part.auxiliary += f64::from(weight * dot(rest, rest));
            rest.iter_mut().for_each(|value| *value *= scale * weight);
            add_terms(sae, dead.row(row), rest, 0.0, (rows + row) as u32, &mut part.terms);
        }
        error.iter_mut().for_each(|value| *value *= scale);
        add_terms(sae, batch.active.row(row), error, penalty, row as u32, &mut part.terms);
        add_thresholds(sae, architecture, batch, row, error, &mut part.log_threshold);
    }
    part
}

#[inline(always)]
fn add_terms(sae: &Sae, entries: &[Entry], error: &[f32], penalty: f32, row: u32, terms: &mut Vec<Term>) {
    for Entry { feature, value } in entries {
        let gradient = dot(error, sae.decoder_row(*feature)) + penalty;
        terms.push(Term { feature: *feature, row, value: *value, gradient });
    }
}

/// Sums the terms of each feature, in the order of the rows.
fn by_feature(sae: &Sae, batch: &Batch<'_>, errors: &[f32], parts: &[Part]) -> Gradient {
    let (width, m, rows) = (sae.width, sae.features, batch.active.rows());
    let mut starts = vec![0_u32; m + 1];
    for term in parts.iter().flat_map(|part| &part.terms) {
        starts[term.feature as usize + 1] += 1;
    }
    for feature in 0..m {
        starts[feature + 1] += starts[feature];
    }
    let mut next = starts.clone();
    let mut sorted = vec![Term { feature: 0, row: 0, value: 0.0, gradient: 0.0 }; starts[m] as usize];
    for term in parts.iter().flat_map(|part| &part.terms) {
        let place = &mut next[term.feature as usize];
        sorted[*place as usize] = *term;
        *place += 1;
    }
    let mut gradient = Gradient {
        w_enc: vec![0.0; m * width],
        b_enc: vec![0.0; m],
        w_dec: vec![0.0; m * width],
        ..Gradient::default()
    };
    let encoder = gradient.w_enc.par_chunks_mut(CHUNK * width).zip(gradient.b_enc.par_chunks_mut(CHUNK));
    encoder.zip(gradient.w_dec.par_chunks_mut(CHUNK * width)).enumerate().for_each(
        |(chunk, ((w_enc, b_enc), w_dec))| {
            vectorised(|| {
                for (at, bias) in b_enc.iter_mut().enumerate() {
                    let feature = chunk * CHUNK + at;
                    let (w_enc, w_dec) = (&mut w_enc[at * width..][..width], &mut w_dec[at * width..][..width]);
                    for term in &sorted[starts[feature] as usize..starts[feature + 1] as usize] {
                        let row = term.row as usize;
                        *bias += term.gradient;
                        add_scaled(w_enc, term.gradient, &batch.centred[row % rows * width..][..width]);
                        add_scaled(w_dec, term.value, &errors[row * width..][..width]);
                    }
                }
            });
        },
    );
    gradient
}
