//! The gradient of the loss, the batch that it is taken on, and the sums that the sparse and the dense way share.

use super::active::Active;
use super::forward::Sae;
use super::kernels::{add_scaled, dot, vectorised};
use super::settings::Objective;

/// The gradient, in the layout of [`Sae`], and the terms of the loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gradient {
    pub(super) w_enc: Vec<f32>,
    pub(super) b_enc: Vec<f32>,
    pub(super) w_dec: Vec<f32>,
    pub(super) b_dec: Vec<f32>,
    /// By t = ln θ; empty but for `JumpRelu`.
    pub(super) log_threshold: Vec<f32>,
    /// Σ ‖e‖² over the rows.
    pub(super) squared_error: f64,
    /// What the loss has of it: the same, or the mean over the prefixes of a `Matryoshka`.
    pub(super) reconstruction: f64,
    /// Σ ‖ê−e‖² of the auxiliary loss, weighted as it is in the loss.
    pub(super) auxiliary: f64,
}

/// An autoencoder, and a batch on its way through it.
pub(super) struct Batch<'a> {
    pub(super) sae: &'a Sae,
    pub(super) objective: Objective,
    pub(super) x: &'a [f32],
    pub(super) centred: &'a [f32],
    pub(super) p: &'a [f32],
    pub(super) active: &'a Active,
    /// Dead features that reconstruct the residual, and the weight of this auxiliary loss.
    pub(super) auxiliary: Option<(&'a Active, f32)>,
    /// λ at this step.
    pub(super) lambda: f32,
}

impl Batch<'_> {
    /// The L1 penalty's part of ∂/∂f of an active feature.
    pub(super) fn penalty(&self) -> f32 {
        match self.objective {
            Objective::Relu { .. } => self.lambda / self.active.rows() as f32,
            _ => 0.0,
        }
    }
}

/// Σ E − Σ_i ∂/∂b_enc,i · W_enc,i
pub(super) fn by_decoder_bias<'a>(sae: &Sae, errors: impl Iterator<Item = &'a [f32]>, b_enc: &[f32]) -> Vec<f32> {
    vectorised(|| {
        let mut sum = vec![0.0; sae.width];
        errors.for_each(|error| add_scaled(&mut sum, 1.0, error));
        for (row, amount) in sae.w_enc.chunks_exact(sae.width).zip(b_enc) {
            if *amount != 0.0 {
                add_scaled(&mut sum, -amount, row);
            }
        }
        sum
    })
}

/// The thresholds' gradient, summed over the rows; empty where thresholds are not trained.
pub(super) fn thresholds<'a>(batch: &Batch<'_>, near: impl Iterator<Item = &'a (u32, f32)>) -> Vec<f32> {
    if !matches!(batch.objective, Objective::JumpRelu { .. }) {
        return Vec::new();
    }
    let mut sums = vec![0.0; batch.sae.features];
    near.for_each(|(feature, amount)| sums[*feature as usize] += amount);
    sums
}

/// A row's part of the gradient of the thresholds within half a bandwidth of its p.
#[inline(always)]
pub(super) fn add_thresholds(batch: &Batch<'_>, row: usize, error: &[f32], out: &mut Vec<(u32, f32)>) {
    let Objective::JumpRelu { bandwidth, .. } = batch.objective else { return };
    let sae = batch.sae;
    let p = &batch.p[row * sae.features..][..sae.features];
    for (feature, (p, threshold)) in p.iter().zip(&sae.threshold).enumerate() {
        if (p - threshold).abs() < bandwidth / 2.0 {
            let along = dot(error, sae.decoder_row(feature as u32));
            let slope = threshold * along + batch.lambda / batch.active.rows() as f32;
            out.push((feature as u32, -threshold / bandwidth * slope));
        }
    }
}
