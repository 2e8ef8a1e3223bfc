//! Seeded random numbers: the same seed gives the same numbers on every machine.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(Pcg64);

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed))
    }

    /// Uniform in `0..end`; `end` must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end as u64) as usize
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    /// Normal with mean 0 and variance 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Poisson with a mean of at most some hundred (Knuth's product of uniforms, in parts that do not underflow).
    pub fn poisson(&mut self, mean: f64) -> u64 {
        const PART: f64 = 30.0;
        if mean > PART {
            return self.poisson(PART) + self.poisson(mean - PART);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.uniform(), 0);
        while product > limit {
            product *= self.uniform();
            count += 1;
        }
        count
    }

    /// Puts `items` in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of many draws, against the distribution's own; the bounds are five standard errors.
    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(3);
        let mut moments = |draw: &mut dyn FnMut(&mut Random) -> f64| {
            let values: Vec<f64> = (0..40_000).map(|_| draw(&mut random)).collect();
            let mean = values.iter().sum::<f64>() / 4e4;
            (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 4e4)
        };
        let (mean, variance) = moments(&mut Random::normal);
        assert!(mean.abs() < 0.025 && (variance - 1.0).abs() < 0.036, "{mean} {variance}");
        let (mean, variance) = moments(&mut |random| random.poisson(47.0) as f64);
        assert!((mean - 47.0).abs() < 0.18 && (variance - 47.0).abs() < 1.7, "{mean} {variance}");
        let (mean, _) = moments(&mut |random| random.below(5) as f64);
        assert!((mean - 2.0).abs() < 0.036, "{mean}");
    }

    #[test]
    fn a_shuffle_keeps_every_item_and_the_seed_decides() {
        let shuffled = |seed| {
            let mut items: Vec<usize> = (0..50).collect();
            Random::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(1);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..50));
    }
}
