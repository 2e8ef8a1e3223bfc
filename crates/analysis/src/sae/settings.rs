//! The objective of a training, and its settings.

/// Which of the pre-activations p become features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Objective {
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
    /// As `BatchTopK`, and the first m / 2^(levels − 1), …, m / 2, m features have to reconstruct x each on their own: the
    /// loss is the mean over these prefixes. Few first features then say what is common, the later ones what is special.
    Matryoshka {
        /// Features active at once, on average.
        k: usize,
        /// Prefixes.
        levels: u32,
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

impl Objective {
    /// Features active at once, where that is stated.
    pub(super) fn k(self) -> Option<usize> {
        match self {
            Objective::TopK { k } | Objective::BatchTopK { k } | Objective::Matryoshka { k, .. } => Some(k),
            Objective::Relu { .. } | Objective::JumpRelu { .. } => None,
        }
    }

    /// k of an objective that chooses over the batch and is read with one threshold.
    pub(super) fn of_batch(self) -> Option<usize> {
        self.k().filter(|_| !matches!(self, Objective::TopK { .. }))
    }

    /// The numbers of first features that reconstruct x on their own, the last one all.
    pub(super) fn prefixes(self, features: usize) -> Vec<usize> {
        match self {
            Objective::Matryoshka { levels, .. } => {
                (0..levels.max(1)).rev().map(|halvings| (features >> halvings.min(63)).max(1)).collect()
            }
            _ => vec![features],
        }
    }
}

/// How an SAE is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The objective.
    pub objective: Objective,
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
    /// Weight of the auxiliary loss, in which dead features reconstruct what is left (objectives with k); 0: none.
    pub auxiliary: f32,
    /// Steps between two resamplings of dead features; 0: none.
    pub resample_every: u64,
    /// The decoder stays as it was drawn: a baseline.
    pub frozen_decoder: bool,
    /// Of everything random.
    pub seed: u64,
}

impl Settings {
    /// Settings for `features` features and `steps` steps: the step size by Gao et al.'s 1/√m law (2·10⁻⁴ at m = 2¹⁴), 5 %
    /// warm-up, 20 % decay; gradients of length 1; the auxiliary loss (weight 1/32) for top-k objectives, resampling for the others.
    pub fn new(objective: Objective, features: usize, steps: u64) -> Self {
        let top_k = objective.k().is_some();
        Self {
            objective,
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
            frozen_decoder: false,
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
