//! Training sparse autoencoders on embeddings, on the CPU.
//!
//! With x an embedding, in units in which mean ‖x−x̄‖² is the width d:
//!
//! ```text
//! x' = x − b_dec     p = x'·W_encᵀ + b_enc     f = the active ones of p     x̂ = f·W_dec + b_dec
//! loss = mean ‖x̂−x‖² + what keeps f sparse + what revives dead features
//! ```
//!
//! Rows of `w_enc` and `w_dec` are features, so that the gradient of an active feature touches one row of each: with k of m
//! features active, everything behind the encoder costs k/m of the dense products. The encoder is a matrix product.
//!
//! Sources of the objectives: L1 with unit-norm decoder, Bricken et al. 2023, "Towards Monosemanticity"; TopK and the
//! auxiliary loss, Gao et al. 2024 (arXiv 2406.04093); BatchTopK, Bussmann et al. 2024 (arXiv 2412.06410); JumpReLU,
//! Rajamanoharan et al. 2024 (arXiv 2407.14435).

mod active;
mod adam;
mod backward;
mod dense;
mod eval;
mod forward;
mod gradient;
mod kernels;
mod median;
mod order;
mod resample;
#[cfg(test)]
mod tests;
mod train;

pub use active::{Active, Entry};
pub use eval::{Evaluation, Moments, PcaBaseline};
pub use forward::Sae;
pub use median::geometric_median;
pub use order::{Order, Rows};
pub use train::{Report, Trainer, TrainerState};

/// Which of the pre-activations p become features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Architecture {
    /// The k largest of ReLU(p) in each row.
    TopK {
        /// Features active at once.
        k: usize,
    },
    /// The B·k largest of ReLU(p) in a batch of B rows; read with one threshold, the running mean of the smallest that was
    /// taken.
    BatchTopK {
        /// Features active at once, on average.
        k: usize,
    },
    /// ReLU(p), with λ·mean ‖f‖₁ in the loss.
    Relu {
        /// λ, in the trainer's units.
        l1: f32,
    },
    /// p·1\[p > θ\] with a threshold per feature, with λ·mean ‖f‖₀ in the loss and a straight-through estimate of its
    /// gradient by a rectangle of the given width.
    JumpRelu {
        /// λ, in the trainer's units.
        l0: f32,
        /// Width of the rectangle kernel, in units of p.
        bandwidth: f32,
    },
}

/// How an SAE is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The objective.
    pub architecture: Architecture,
    /// Features, m.
    pub features: usize,
    /// Steps in all: the schedules are laid over them.
    pub steps: u64,
    /// Adam's step size after the warm-up.
    pub learning_rate: f32,
    /// Steps in which the step size grows from 0.
    pub warmup: u64,
    /// Steps at the end in which it falls to 0.
    pub decay: u64,
    /// A gradient longer than this, over all weights, is brought to this length; 0: none is. Almost every step's is longer in
    /// the trainer's units: Adam then sees directions, and the long gradients of the first steps do not stay in its second
    /// moments, where they would hold back the steps after them.
    pub clip: f32,
    /// Steps in which λ grows from 0 (`Relu`, `JumpRelu`).
    pub sparsity_warmup: u64,
    /// A feature is dead when it was not active for this many rows.
    pub dead_after: u64,
    /// Weight of the auxiliary loss, in which dead features reconstruct what is left (`TopK`, `BatchTopK`); 0: none.
    pub auxiliary: f32,
    /// Steps between two resamplings of dead features; 0: none.
    pub resample_every: u64,
    /// Of everything random.
    pub seed: u64,
}

impl Settings {
    /// Settings for `features` features and `steps` steps: the step size by Gao et al.'s 1/√m law (2·10⁻⁴ at m = 2¹⁴), 5 %
    /// warm-up, 20 % decay; gradients of length 1; the auxiliary loss (weight 1/32) for top-k objectives, resampling for the others.
    pub fn new(architecture: Architecture, features: usize, steps: u64) -> Self {
        let top_k = matches!(architecture, Architecture::TopK { .. } | Architecture::BatchTopK { .. });
        Self {
            architecture,
            features,
            steps,
            learning_rate: 2e-4 * (f64::from(1 << 14) / features.max(1) as f64).sqrt() as f32,
            warmup: steps / 20,
            decay: steps / 5,
            clip: 1.0,
            sparsity_warmup: steps / 20,
            dead_after: 100_000,
            auxiliary: if top_k { 1.0 / 32.0 } else { 0.0 },
            resample_every: if top_k { 0 } else { (steps / 5).max(1) },
            seed: 0,
        }
    }

    /// Adam's step size at `step`, counted from 0.
    pub(crate) fn rate(&self, step: u64) -> f32 {
        let up = if self.warmup == 0 { 1.0 } else { ((step + 1) as f32 / self.warmup as f32).min(1.0) };
        let left = self.steps.saturating_sub(step);
        let down = if self.decay == 0 { 1.0 } else { (left as f32 / self.decay as f32).min(1.0) };
        self.learning_rate * up * down
    }

    /// λ's factor at `step`.
    pub(crate) fn sparsity(&self, step: u64) -> f32 {
        if self.sparsity_warmup == 0 { 1.0 } else { (step as f32 / self.sparsity_warmup as f32).min(1.0) }
    }
}
