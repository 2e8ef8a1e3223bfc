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
}

impl Pace {
    /// `taken`: steps before this one.
    pub(super) fn new(rate: f32, taken: u64) -> Self {
        let t = taken as f64 + 1.0;
        let first = 1.0 - f64::from(BETA_1).powf(t);
        let second = 1.0 - f64::from(BETA_2).powf(t);
        Self { rate: (f64::from(rate) / first) as f32, second: (1.0 / second.sqrt()) as f32 }
    }
}

/// A step of a tensor whose rows are `width` long; `first` and `second` are its gradient's moments. `unit`: the rows keep
/// length 1; the gradient's part along a row, which would only change its length, is taken off before.
pub(super) fn step(
    pace: Pace,
    width: usize,
    unit: bool,
    values: &mut [f32],
    gradient: &mut [f32],
    (first, second): (&mut [f32], &mut [f32]),
) {
    let rows = CHUNK * width;
    let moments = first.par_chunks_mut(rows).zip(second.par_chunks_mut(rows));
    let chunks = values.par_chunks_mut(rows).zip(gradient.par_chunks_mut(rows)).zip(moments);
    chunks.for_each(|((values, gradient), (first, second))| {
        vectorised(|| {
            if unit {
                for (gradient, row) in gradient.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
                    let along = dot(gradient, row);
                    add_scaled(gradient, -along, row);
                }
            }
            let moments = first.iter_mut().zip(second);
            for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient.iter()).zip(moments) {
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
