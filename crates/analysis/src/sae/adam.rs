//! Adam (Kingma and Ba 2015) with β₁ 0.9, β₂ 0.999, ε 10⁻⁸, row by row over the threads.

use rayon::prelude::*;

use super::forward::normalise;
use super::kernels::{CHUNK, add_scaled, dot, vectorised};

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// What holds for a step of every tensor.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    rate: f32,
    /// 1/√(1 − β₂ᵗ)
    second: f32,
    /// What gradients are multiplied by.
    factor: f32,
}

impl Pace {
    /// `taken`: steps before this one. `factor`: what gradients are multiplied by.
    pub(super) fn new(rate: f32, taken: u64, factor: f32) -> Self {
        let t = taken as f64 + 1.0;
        let first = 1.0 - f64::from(BETA_1).powf(t);
        let second = 1.0 - f64::from(BETA_2).powf(t);
        Self { rate: (f64::from(rate) / first) as f32, second: (1.0 / second.sqrt()) as f32, factor }
    }
}

/// What brings a gradient of these tensors to length `clip`, if it is longer; `clip` 0: nothing is.
pub(super) fn clip(clip: f32, tensors: [&[f32]; 5]) -> f32 {
    // Parts of fixed length, so that the number of threads does not change the sum.
    let square = |part: &[f32]| vectorised(|| f64::from(dot(part, part)));
    let squares = |tensor: &[f32]| tensor.par_chunks(CHUNK * CHUNK).map(square).collect::<Vec<f64>>();
    let length = tensors.into_iter().flat_map(squares).sum::<f64>().sqrt() as f32;
    if clip > 0.0 && length > clip { clip / length } else { 1.0 }
}

/// Takes off the part of each row's gradient along the row, which would only change the row's length.
pub(super) fn keep_tangent(width: usize, values: &[f32], gradient: &mut [f32]) {
    let rows = CHUNK * width;
    values.par_chunks(rows).zip(gradient.par_chunks_mut(rows)).for_each(|(values, gradient)| {
        vectorised(|| {
            for (gradient, row) in gradient.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
                let along = dot(gradient, row);
                add_scaled(gradient, -along, row);
            }
        });
    });
}

/// A step of a tensor whose rows are `width` long; `first` and `second` are its gradient's moments. `unit`: the rows are
/// brought back to length 1.
pub(super) fn step(
    pace: Pace,
    width: usize,
    unit: bool,
    values: &mut [f32],
    gradient: &[f32],
    (first, second): (&mut [f32], &mut [f32]),
) {
    let rows = CHUNK * width;
    let moments = first.par_chunks_mut(rows).zip(second.par_chunks_mut(rows));
    let chunks = values.par_chunks_mut(rows).zip(gradient.par_chunks(rows)).zip(moments);
    chunks.for_each(|((values, gradient), (first, second))| {
        vectorised(|| {
            let moments = first.iter_mut().zip(second);
            for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
                let gradient = pace.factor * gradient;
                *first = BETA_1 * *first + (1.0 - BETA_1) * gradient;
                *second = BETA_2 * *second + (1.0 - BETA_2) * gradient * gradient;
                *value -= pace.rate * *first / (second.sqrt() * pace.second + EPSILON);
            }
            if unit {
                values.chunks_exact_mut(width).for_each(normalise);
            }
        });
    });
}
