//! The e-process of a drift: bets on small p-values.
//!
//! p_t is the rank of unit t among the units before it (self-starting, so no calibration set is shared), and
//! W_t(ε) = (W_{t−1}(ε) + 1/N)·ε·p_t^(ε−1): N parts of the stake are put in one after the other, so that a change late in
//! the slide meets a stake that has not been lost. With exchangeable units, mean over ε of W_t + 1 − t/N is a
//! martingale that begins at 1: it reaches 1/α with probability α at most (Ville). Vovk, Nouretdinov & Gammerman, Testing
//! exchangeability on-line, ICML 2003; restarts as in Vovk, Testing randomness online, 2021.

use coverslip_numerics::Draw;

use coverslip_base::error::Result;
use coverslip_base::memory::reserve;

/// The bets' exponents.
const EPSILONS: [f64; 10] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Wealth is not counted beyond.
const MOST: f64 = 1e100;

pub(super) struct Wealth {
    /// The units so far, ascending.
    units: Vec<f32>,
    wealth: [f64; EPSILONS.len()],
    /// N.
    most: usize,
}

impl Wealth {
    /// For at most `most` units, which are reserved.
    pub(super) fn new(most: usize) -> Result<Wealth> {
        Ok(Wealth { units: reserve(most)?, wealth: [0.0; EPSILONS.len()], most })
    }

    /// The next unit; higher scores are what is bet on. Gives the martingale, which is at least 1/α with probability α at
    /// most, and the part of it that was won. Beyond N units nothing changes.
    pub(super) fn observe(&mut self, score: f32, draw: Draw) -> (f64, f64) {
        if self.units.len() < self.most {
            let below = self.units.partition_point(|&unit| unit < score);
            let not_above = self.units.partition_point(|&unit| unit <= score);
            let rank = 1 + (self.units.len() - not_above) as u64 + draw.below((not_above - below) as u64 + 1);
            self.units.insert(not_above, score);
            let p = rank as f64 / self.units.len() as f64;
            for (wealth, epsilon) in self.wealth.iter_mut().zip(EPSILONS) {
                *wealth = ((*wealth + 1.0 / self.most as f64) * epsilon * p.powf(epsilon - 1.0)).min(MOST);
            }
        }
        let won = self.wealth.iter().sum::<f64>() / EPSILONS.len() as f64;
        (won + 1.0 - self.units.len() as f64 / self.most as f64, won)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tools/goldens/wealth.py: the formula in NumPy.
    #[test]
    fn the_wealth_is_numpys() {
        let scores = [0.3, 0.1, 0.7, 0.2, 0.9, 1.5, 0.05, 2.0, 2.5, 3.0];
        let mut wealth = Wealth::new(20).unwrap();
        let found: Vec<f64> = scores.iter().map(|&s| wealth.observe(s, Draw::new(1)).0).collect();
        let expected: [f64; 10] = [
            0.97275,
            0.9370124999999999,
            0.9188847847561371,
            0.8724553361981269,
            0.8720088635588534,
            0.8854653945822224,
            0.7859815524537582,
            0.8264326476611491,
            0.9061215591212257,
            1.0553251130124304,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
}
