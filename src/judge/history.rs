//! The slides of one scanner, one after the other: the betting e-process of SCANNER_DRIFT, whose unit is the slide.
//!
//! p_t is the rank of slide t's peak among the calibration slides' and those of all slides before it. If the slides are
//! exchangeable the ranks are independent and uniform, although the calibration slides are shared: they are the first of
//! one sequence. Half of the stake is put in at once, so that a scanner that is wrong from its first slide meets it, and
//! half slide by slide, so that a later change meets a stake that has not been lost:
//! W_t(ε) = (W_{t−1}(ε) + 1/2N)·ε·p_t^(ε−1), W_0 = 1/2, and mean over ε of W_t + (1 − t/N)/2 is a martingale that begins
//! at 1: within N slides it reaches 1/α with probability α at most (Ville). After N slides, a month of a scanner, it begins
//! anew. A peak never falls while a slide is scanned, so neither does what its rank wins: an alarm in the middle of a slide
//! is one at its end.

use coverslip_numerics::Draw;
use coverslip_profile::{MAX_SCORES, Profile, Scanner};

use coverslip_base::sync::{Mutex, MutexGuard, PoisonError};

/// The bets' exponents.
const EPSILONS: [f64; 10] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// N: the slides of a scanner's month.
const MONTH: usize = 1000;
/// The share of the stake that is put in at once.
const AT_ONCE: f64 = 0.5;
/// Wealth is not counted beyond.
const MOST: f64 = 1e100;

/// The histories of a profile's scanners since the runtime was opened. The judge alone uses them, one at a time.
#[derive(Debug)]
pub(crate) struct Histories(Vec<Mutex<History>>);

impl Histories {
    pub(crate) fn new(profile: &Profile) -> Histories {
        let of = |scanner: &Scanner| Mutex::new(History::new(scanner.slide_peak.scores().to_vec()));
        Histories(profile.scanners.iter().map(of).collect())
    }

    /// Of the scanner at this place in the profile.
    pub(super) fn of(&self, scanner: usize) -> MutexGuard<'_, History> {
        self.0[scanner].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Of calibration slides and slides so far, ascending.
    peaks: Vec<f32>,
    wealth: [f64; EPSILONS.len()],
    /// Slides of this month.
    slides: usize,
}

impl History {
    /// `peaks`: those of the calibration slides, ascending.
    pub(super) fn new(peaks: Vec<f32>) -> History {
        History { peaks, wealth: [AT_ONCE; EPSILONS.len()], slides: 0 }
    }

    /// Slides that a slide is ranked among.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.peaks.len()
    }

    /// The rank of a slide's peak, from the highest, over that of the lowest; ties by a draw.
    pub(super) fn rank(&self, peak: f32, draw: Draw) -> f64 {
        let below = self.peaks.partition_point(|&known| known < peak);
        let not_above = self.peaks.partition_point(|&known| known <= peak);
        let rank = 1 + (self.peaks.len() - not_above) as u64 + draw.below((not_above - below) as u64 + 1);
        rank as f64 / (self.peaks.len() as f64 + 1.0)
    }

    /// The martingale if the next slide ends with this rank.
    pub(super) fn with(&self, p: f64) -> f64 {
        let won = self.bets(p).iter().sum::<f64>() / EPSILONS.len() as f64;
        won + (1.0 - AT_ONCE) * (1.0 - (self.slides + 1) as f64 / MONTH as f64)
    }

    /// The next slide has ended.
    pub(super) fn absorb(&mut self, peak: f32, p: f64) {
        self.wealth = self.bets(p);
        self.slides += 1;
        if self.slides == MONTH {
            (self.wealth, self.slides) = ([AT_ONCE; EPSILONS.len()], 0);
        }
        // Beyond so many it is ranked and not remembered: a runtime may stay open for years.
        if self.peaks.len() < MAX_SCORES && self.peaks.try_reserve(1).is_ok() {
            let at = self.peaks.partition_point(|&known| known <= peak);
            self.peaks.insert(at, peak);
        }
    }

    fn bets(&self, p: f64) -> [f64; EPSILONS.len()] {
        let more = (1.0 - AT_ONCE) / MONTH as f64;
        std::array::from_fn(|i| ((self.wealth[i] + more) * EPSILONS[i] * p.powf(EPSILONS[i] - 1.0)).min(MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tools/goldens/wealth.py: the formula in NumPy.
    #[test]
    fn the_wealth_of_slides_is_numpys() {
        let mut history = History::new(vec![0.2, 0.4, 0.6, 0.8]);
        let found: Vec<f64> = [0.5, 0.9, 1.0, 0.1, 2.0, 3.0]
            .into_iter()
            .map(|peak| {
                let p = history.rank(peak, Draw::new(1));
                let value = history.with(p);
                history.absorb(peak, p);
                value
            })
            .collect();
        let expected: [f64; 6] = [
            0.7769596799904346,
            0.8072292535533911,
            0.8702725170885519,
            0.728587808369926,
            0.8022280476254429,
            0.9190997509107467,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn a_month_ends_and_a_higher_peak_never_wins_less() {
        let mut history = History::new((0..99).map(|i| i as f32).collect());
        let values: Vec<f64> =
            (0..120).map(|peak| history.with(history.rank(peak as f32 - 0.5, Draw::new(1)))).collect();
        assert!(values.windows(2).all(|pair| pair[0] <= pair[1]), "{values:?}");
        (0..MONTH).for_each(|_| history.absorb(500.0, 0.01));
        assert_eq!((history.slides, history.wealth[3], history.len()), (0, AT_ONCE, 99 + MONTH));
    }
}
