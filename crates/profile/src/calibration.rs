//! Conformal p-values: how usual a score is among those of calibration tiles (Vovk, Gammerman & Shafer, Algorithmic
//! Learning in a Random World, 2005, ch. 2; p = (1 + #{sᵢ ≥ s}) / (n + 1), ties broken by a seeded draw).
//!
//! If the tile and the calibration tiles are exchangeable, p is uniform on {1, …, n + 1} / (n + 1). It cannot be smaller
//! than 1 / (n + 1): a check with few calibration tiles runs at the level that it supports.

use coverslip_numerics::Draw;

/// The most scores that a calibration keeps.
pub const MAX_SCORES: usize = 16_384;

/// The scores of calibration tiles (or slides), ascending, all finite. Higher is more unusual.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    scores: Vec<f32>,
}

impl Calibration {
    /// Keeps the finite ones of `scores`; beyond [`MAX_SCORES`] every k-th of the sorted ones, evenly.
    pub fn new(mut scores: Vec<f32>) -> Calibration {
        scores.retain(|score| score.is_finite());
        scores.sort_by(f32::total_cmp);
        let n = scores.len();
        if n > MAX_SCORES {
            // The middle of each of MAX_SCORES equal stretches.
            scores = (0..MAX_SCORES).map(|i| scores[(2 * i + 1) * n / (2 * MAX_SCORES)]).collect();
        }
        Calibration { scores }
    }

    /// The scores, ascending.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Nothing to compare with.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// The level that a check asked for `alpha` runs at: `alpha`, or 1 / (n + 1) where that is more.
    pub fn supported(&self, alpha: f64) -> f64 {
        alpha.max(1.0 / (self.len() as f64 + 1.0))
    }

    /// The p-value of `score`, in 1 / (n + 1) ..= 1. NaN is the most unusual score.
    pub fn p_value(&self, score: f32, draw: Draw) -> f64 {
        let below = self.scores.partition_point(|&s| s < score);
        let not_above = self.scores.partition_point(|&s| s <= score);
        let (above, ties) = if score.is_nan() { (0, 0) } else { (self.len() - not_above, not_above - below) };
        let rank = 1 + above as u64 + draw.below(ties as u64 + 1);
        rank as f64 / (self.len() as f64 + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_hand() {
        let calibration = Calibration::new(vec![3.0, 1.0, f32::NAN, 2.0, f32::INFINITY]);
        assert_eq!(calibration.scores(), [1.0, 2.0, 3.0]);
        let p = |score| calibration.p_value(score, Draw::new(1));
        assert_eq!([p(0.0), p(1.5), p(2.5), p(9.0), p(f32::NAN)], [1.0, 0.75, 0.5, 0.25, 0.25]);
        assert_eq!((calibration.supported(0.01), calibration.supported(0.5)), (0.25, 0.5));
        assert_eq!(Calibration::default().p_value(5.0, Draw::new(1)), 1.0);
    }

    /// Many draws at a tie land on each of its ranks alike, and the same draw always on the same.
    #[test]
    fn ties_are_broken_evenly_and_repeatably() {
        let calibration = Calibration::new(vec![0.0; 9]);
        let mut counts = [0; 11];
        for tile in 0..10_000 {
            let draw = Draw::new(7).of(tile);
            let p = calibration.p_value(0.0, draw);
            assert_eq!(p, calibration.p_value(0.0, draw));
            counts[(p * 10.0).round() as usize] += 1;
        }
        assert_eq!(counts[0], 0);
        // Binomial(10000, 0.1): sd 30.
        assert!(counts[1..].iter().all(|n| (850..1150).contains(n)), "{counts:?}");
    }

    #[test]
    fn thinning_keeps_the_quantiles() {
        let calibration = Calibration::new((0..100_000).map(|i| i as f32).collect());
        assert_eq!(calibration.len(), MAX_SCORES);
        for score in [500.0, 50_000.0, 99_000.0] {
            let p = calibration.p_value(score, Draw::new(1));
            assert!((p - (1.0 - f64::from(score) / 1e5)).abs() < 2e-4, "{score}: {p}");
        }
    }
}
