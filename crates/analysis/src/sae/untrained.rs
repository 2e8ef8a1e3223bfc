//! Dictionaries that nobody trained, or only in part: what a trained SAE has to beat.

use super::{Objective, Sae, Settings, Trainer};

/// Rows per step of the encoder that is trained.
const BATCH: usize = 256;

/// Two dictionaries of the same random decoder.
pub struct Untrained {
    /// How both choose a row's active features.
    pub objective: Objective,
    /// The decoder with the encoder that it begins with.
    pub random: Sae,
    /// The decoder left as it is while the encoder is trained; none for no steps.
    pub frozen: Option<Sae>,
}

impl Untrained {
    /// Dictionaries of `features` directions, of which the `active` largest of a row fire (from 1 to all are taken).
    /// `sample`: rows of the training data, `width` values each; `fill(n, rows)` makes `rows` the next `n` of them, `steps` times.
    ///
    /// # Errors
    /// When the sample has no variance, and those of `fill`.
    pub fn new<E: From<String>>(
        (features, active): (usize, usize),
        (sample, width): (&[f32], usize),
        (steps, seed): (u64, u64),
        mut fill: impl FnMut(usize, &mut Vec<f32>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let objective = Objective::TopK { k: active.clamp(1, features) };
        let settings = Settings { seed, frozen_decoder: true, ..Settings::new(objective, features, steps.max(1)) };
        let mut trainer = Trainer::new(settings, sample, width)?;
        let random = trainer.sae();
        let mut batch = Vec::with_capacity(BATCH * width);
        for _ in 0..steps {
            fill(BATCH, &mut batch)?;
            trainer.step(&batch);
        }
        Ok(Self { objective, random, frozen: (steps > 0).then(|| trainer.sae()) })
    }
}
