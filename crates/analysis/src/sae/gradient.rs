//! The gradient of the loss and the batch that it is of, and the sums that the sparse and the dense way have in common.

use super::Architecture;
use super::active::Active;
use super::forward::Sae;
use super::kernels::{add_scaled, dot, vectorised};

/// The gradient, in the layout of [`Sae`], and what was measured on the way.
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
    /// Σ ‖ê−e‖² of the auxiliary loss, weighted as it is in the loss.
    pub(super) auxiliary: f64,
}

/// A batch on its way.
pub(super) struct Batch<'a> {
    pub(super) x: &'a [f32],
    pub(super) centred: &'a [f32],
    pub(super) p: &'a [f32],
    pub(super) active: &'a Active,
    /// Dead features that reconstruct what is left, and the weight of that.
    pub(super) auxiliary: Option<(&'a Active, f32)>,
    /// λ as it is now.
    pub(super) lambda: f32,
}

impl Batch<'_> {
    /// What λ adds to ∂/∂f of an active feature.
    pub(super) fn penalty(&self, architecture: Architecture) -> f32 {
        match architecture {
            Architecture::Relu { .. } => self.lambda / self.active.rows() as f32,
            _ => 0.0,
        }
    }
}

/// Σ E − Σ_i ∂/∂b_enc,i · W_enc,i
pub(super) fn by_decoder_bias(sae: &Sae, errors: &[f32], b_enc: &[f32]) -> Vec<f32> {
    vectorised(|| {
        let mut sum = vec![0.0; sae.width];
        errors.chunks_exact(sae.width).for_each(|error| add_scaled(&mut sum, 1.0, error));
        for (row, amount) in sae.w_enc.chunks_exact(sae.width).zip(b_enc) {
            if *amount != 0.0 {
                add_scaled(&mut sum, -amount, row);
            }
        }
        sum
    })
}

/// Sums what rows add to the thresholds' gradient; empty where they are not trained.
pub(super) fn thresholds<'a>(
    sae: &Sae,
    architecture: Architecture,
    near: impl Iterator<Item = &'a (u32, f32)>,
) -> Vec<f32> {
    if !matches!(architecture, Architecture::JumpRelu { .. }) {
        return Vec::new();
    }
    let mut sums = vec![0.0; sae.features];
    near.for_each(|(feature, amount)| sums[*feature as usize] += amount);
    sums
}

/// What a row adds to the gradient of the thresholds that it comes near to.
#[inline(always)]
pub(super) fn add_thresholds(
    sae: &Sae,
    architecture: Architecture,
    batch: &Batch<'_>,
    row: usize,
    error: &[f32],
    out: &mut Vec<(u32, f32)>,
) {
    let Architecture::JumpRelu { bandwidth, .. } = architecture else { return };
    let p = &batch.p[row * sae.features..][..sae.features];
    for (feature, (p, threshold)) in p.iter().zip(&sae.threshold).enumerate() {
        if (p - threshold).abs() < bandwidth / 2.0 {
            let along = dot(error, sae.decoder_row(feature as u32));
            let slope = threshold * along + batch.lambda / batch.active.rows() as f32;
            out.push((feature as u32, -threshold / bandwidth * slope));
        }
    }
}
