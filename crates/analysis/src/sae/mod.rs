//! Training sparse autoencoders on embeddings, on the CPU.
//!
//! With x an embedding, in units in which mean ‖x−x̄‖² is the width d:
//!
//! ```text
//! x' = x − b_dec     p = x'·W_encᵀ + b_enc     f = the active ones of p     x̂ = f·W_dec + b_dec
//! loss = mean ‖x̂−x‖² + sparsity penalty + auxiliary loss for dead features
//! ```
//!
//! Rows of `w_enc` and `w_dec` are features, so that the gradient of an active feature touches one row of each: with k of m
//! features active, everything after the encoder costs k/m of the dense products. The encoder is a matrix product.
//!
//! Sources of the objectives: L1 with unit-norm decoder, Bricken et al. 2023, "Towards Monosemanticity"; TopK and the
//! auxiliary loss, Gao et al. 2024 (arXiv 2406.04093); BatchTopK, Bussmann et al. 2024 (arXiv 2412.06410); Matryoshka,
//! Bussmann et al. 2025 (arXiv 2503.17547); JumpReLU,
//! Rajamanoharan et al. 2024 (arXiv 2407.14435).

mod active;
mod adam;
mod agreement;
mod backward;
mod baselines;
mod dense;
mod evaluation;
mod forward;
mod gradient;
mod kernels;
mod median;
mod order;
mod resampling;
mod settings;
#[cfg(test)]
mod tests;
mod trainer;
mod untrained;

pub use active::Active;
pub use agreement::{Agreement, agreement};
pub use baselines::RawDimensions;
pub use evaluation::{Evaluation, Moments, PcaBaseline};
pub use forward::Sae;
pub use order::{Fill, Order};
pub use settings::{Objective, Settings};
pub use trainer::{StepFigures, Trainer, TrainerState};
pub use untrained::Untrained;
