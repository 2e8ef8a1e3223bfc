//! The gradient of the loss, by hand: a page of algebra, sparse from the decoder on.
//!
//! With B rows, e = x̂−x and E = (2/B)·e, for each active feature i of a row with value f_i:
//!
//! ```text
//! ∂/∂f_i = E·W_dec,i (+ λ/B for L1)   ∂/∂W_dec,i += f_i·E   ∂/∂W_enc,i += ∂/∂f_i·x'   ∂/∂b_enc,i += ∂/∂f_i
//! ∂/∂b_dec = Σ E − Σ_i ∂/∂b_enc,i · W_enc,i
//! ```
//!
//! Matryoshka's loss is the mean over prefixes l of the features of ‖e_l‖², e_l being the error of the first m_l features
//! alone: a feature's E is then the sum of those of the prefixes that have it, over their number.
//!
//! The auxiliary loss adds entries of dead features with an error of their own. JumpReLU's thresholds θ = exp t get
//! ∂/∂t_i += −(θ/ε)·1\[|p−θ| < ε/2\]·(θ·E·W_dec,i + λ/B), the straight-through estimate of arXiv 2407.14435.

use rayon::prelude::*;

use super::active::Entry;
use super::dense;
use super::forward::Sae;
use super::gradient::{Batch, Gradient, add_thresholds, by_decoder_bias, thresholds};
use super::kernels::{CHUNK, add_scaled, dot, vectorised};
use super::settings::Objective;

/// The part of the gradient from one active feature of one row.
#[derive(Clone, Copy)]
struct Term {
    feature: u32,
    /// Row of `errors`: the batch's row times `slots`, and the prefix or, behind them, the auxiliary loss.
    slot: u32,
    value: f32,
    gradient: f32,
}

/// The terms of a chunk of rows.
struct Part {
    terms: Vec<Term>,
    log_threshold: Vec<(u32, f32)>,
    squared_error: f64,
    reconstruction: f64,
    auxiliary: f64,
}

/// If more than one in this many features is active, matrix products are faster than single rows. This is the case at the
/// start of a run without k, before the penalty has made it sparse.
const DENSE: usize = 12;

/// The gradient of the mean loss of `batch`.
pub(super) fn gradient(batch: &Batch<'_>) -> Gradient {
    let all = batch.active.rows() * batch.sae.features;
    let nested = matches!(batch.objective, Objective::Matryoshka { .. });
    if batch.auxiliary.is_none() && !nested && batch.active.count() * DENSE > all {
        return dense::gradient(batch);
    }
    sparse(batch)
}

/// The gradient, feature by feature.
pub(super) fn sparse(batch: &Batch<'_>) -> Gradient {
    let (width, rows) = (batch.sae.width, batch.active.rows());
    let prefixes = batch.objective.prefixes(batch.sae.features);
    // Of each row: E of each prefix, and behind them that of the auxiliary loss.
    let slots = prefixes.len() + 1;
    let mut errors = vec![0.0; slots * rows * width];
    let chunks = errors.par_chunks_mut(CHUNK * slots * width).enumerate();
    let parts: Vec<Part> = chunks.map(|(chunk, errors)| vectorised(|| part(batch, &prefixes, chunk, errors))).collect();
    let mut gradient = by_feature(batch, slots, &errors, &parts);
    let near = parts.iter().flat_map(|part| &part.log_threshold);
    gradient.log_threshold = thresholds(batch, near);
    gradient.squared_error = parts.iter().map(|part| part.squared_error).sum();
    gradient.reconstruction = parts.iter().map(|part| part.reconstruction).sum();
    gradient.auxiliary = parts.iter().map(|part| part.auxiliary).sum();
    // The first prefix's E is the sum of all.
    let all = errors.chunks_exact(slots * width).map(|slots| &slots[..width]);
    gradient.b_dec = by_decoder_bias(batch.sae, all, &gradient.b_enc);
    gradient
}

/// Errors and terms of a chunk of rows.
#[inline(always)]
fn part(batch: &Batch<'_>, prefixes: &[usize], chunk: usize, errors: &mut [f32]) -> Part {
    let sae = batch.sae;
    let (width, rows, levels) = (sae.width, batch.active.rows(), prefixes.len());
    let (scale, penalty) = (2.0 / rows as f32, batch.penalty());
    let mut part =
        Part { terms: Vec::new(), log_threshold: Vec::new(), squared_error: 0.0, reconstruction: 0.0, auxiliary: 0.0 };
    for (at, slots) in errors.chunks_exact_mut((levels + 1) * width).enumerate() {
        let row = chunk * CHUNK + at;
        let slot = (row * (levels + 1)) as u32;
        let (nested, rest) = slots.split_at_mut(levels * width);
        let entries = batch.active.row(row);
        let within = |level: usize| entries.partition_point(|entry| (entry.feature as usize) < prefixes[level]);
        let own = |level: usize| if level == 0 { 0..within(0) } else { within(level - 1)..within(level) };
        for level in 0..levels {
            let (before, now) = nested.split_at_mut(level * width);
            let now = &mut now[..width];
            now.copy_from_slice(if level == 0 { &sae.b_dec } else { &before[(level - 1) * width..] });
            sae.add_decoded(&entries[own(level)], now);
        }
        for (level, error) in nested.chunks_exact_mut(width).enumerate() {
            add_scaled(error, -1.0, &batch.x[row * width..][..width]);
            let square = f64::from(dot(error, error));
            part.reconstruction += square / levels as f64;
            // Only all features together are the SAE.
            part.squared_error += if level + 1 == levels { square } else { 0.0 };
        }
        if let Some((dead, weight)) = batch.auxiliary {
            // ê − (x−x̂) = ê + e
            rest.copy_from_slice(&nested[(levels - 1) * width..]);
            sae.add_decoded(dead.row(row), rest);
            part.auxiliary += f64::from(weight * dot(rest, rest));
            rest.iter_mut().for_each(|value| *value *= scale * weight);
            add_terms(sae, dead.row(row), rest, 0.0, slot + levels as u32, &mut part.terms);
        }
        let share = scale / levels as f32;
        nested.iter_mut().for_each(|value| *value *= share);
        for level in (1..levels).rev() {
            let (lower, upper) = nested.split_at_mut(level * width);
            add_scaled(&mut lower[(level - 1) * width..], 1.0, &upper[..width]);
        }
        for level in 0..levels {
            let error = &nested[level * width..][..width];
            add_terms(sae, &entries[own(level)], error, penalty, slot + level as u32, &mut part.terms);
        }
        add_thresholds(batch, row, &nested[(levels - 1) * width..], &mut part.log_threshold);
    }
    part
}

#[inline(always)]
fn add_terms(sae: &Sae, entries: &[Entry], error: &[f32], penalty: f32, slot: u32, terms: &mut Vec<Term>) {
    for Entry { feature, value } in entries {
        let gradient = dot(error, sae.decoder_row(*feature)) + penalty;
        terms.push(Term { feature: *feature, slot, value: *value, gradient });
    }
}

/// Sums the terms of each feature, in the order of the rows.
fn by_feature(batch: &Batch<'_>, slots: usize, errors: &[f32], parts: &[Part]) -> Gradient {
    let (width, m) = (batch.sae.width, batch.sae.features);
    let mut starts = vec![0_u32; m + 1];
    for term in parts.iter().flat_map(|part| &part.terms) {
        starts[term.feature as usize + 1] += 1;
    }
    for feature in 0..m {
        starts[feature + 1] += starts[feature];
    }
    let mut next = starts.clone();
    let mut sorted = vec![Term { feature: 0, slot: 0, value: 0.0, gradient: 0.0 }; starts[m] as usize];
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
                        let slot = term.slot as usize;
                        *bias += term.gradient;
                        add_scaled(w_enc, term.gradient, &batch.centred[slot / slots * width..][..width]);
                        add_scaled(w_dec, term.value, &errors[slot * width..][..width]);
                    }
                }
            });
        },
    );
    gradient
}
