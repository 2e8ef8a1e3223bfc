//! Whether a run that reached its end is worth anything.

use coverslip_analysis::sae::{Evaluation, Moments, Trainer};

/// A dictionary of which fewer features than this share were ever active is none.
const LIVING: f64 = 0.1;

/// What a run ends with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// FVU and L0 on held-out tiles; without any, of the last batch.
    pub(super) fvu: f64,
    pub(super) l0: f64,
    /// Features that were not active in the last `tiles` tiles.
    pub(super) silent: usize,
    pub(super) features: usize,
    /// As many as make a feature dead, or all of a shorter run.
    pub(super) tiles: u64,
}

/// FVU and L0 of a trainer's SAE, as it is, on some rows.
pub(super) fn fvu_and_l0(trainer: &Trainer, rows: &[f32]) -> (f64, f64) {
    let sae = trainer.sae();
    let active = sae.encode(trainer.settings().objective, rows);
    let (mut moments, mut evaluation) = (Moments::new(sae.width), Evaluation::new(sae.features));
    moments.add(rows);
    evaluation.add(rows, &active, &sae.decode(&active));
    (evaluation.fvu(&moments), evaluation.l0())
}

impl Verdict {
    /// `last` is FVU and L0 of the last batch; `trained`, how many tiles the run took in.
    pub(super) fn of(trainer: &Trainer, held_out: &[f32], last: (f64, f64), trained: u64) -> Self {
        let (state, settings) = (trainer.state(), trainer.settings());
        let tiles = settings.dead_after.min(trained);
        let silent = state.idle.iter().filter(|idle| **idle >= tiles).count();
        let (fvu, l0) = if held_out.is_empty() { last } else { fvu_and_l0(trainer, held_out) };
        Self { fvu, l0, silent, features: settings.features, tiles }
    }

    /// What went wrong, and what to do; None for a run that ended well.
    pub(super) fn failure(&self, learning_rate: f32) -> Option<String> {
        let Self { fvu, l0, silent, features, tiles } = *self;
        // NaN, where the tiles have no variance, is no success either.
        if fvu.is_nan() || fvu >= 1.0 {
            return Some(format!(
                "diverged: the SAE reconstructs tiles no better than their mean does (FVU {fvu:.4}, expected below 1): \
                 lower --learning-rate (now {learning_rate:e}), or train longer"
            ));
        }
        if l0 == 0.0 || (silent as f64) > (1.0 - LIVING) * features as f64 {
            return Some(format!(
                "died: {silent} of {features} features were not active in the last {tiles} tiles (L0 {l0:.1}): lower the \
                 penalty (--l1, or a larger --l0 or --k), --learning-rate (now {learning_rate:e}) or --expansion"
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_nothing_is_told_with_its_reason() {
        let good = Verdict { fvu: 0.2, l0: 32.0, silent: 300, features: 768, tiles: 100_000 };
        let told = |verdict: Verdict| verdict.failure(1.0).unwrap_or_default();
        assert_eq!(told(good), "");
        assert_eq!(told(Verdict { silent: 691, ..good }), "", "just a tenth lives");
        assert!(told(Verdict { silent: 692, ..good }).starts_with("died: 692 of 768"));
        assert!(told(Verdict { l0: 0.0, ..good }).starts_with("died"));
        for fvu in [1.0, 1.27, f64::INFINITY, f64::NAN] {
            assert!(told(Verdict { fvu, ..good }).starts_with("diverged"), "{fvu}");
        }
    }
}
