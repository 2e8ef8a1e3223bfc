//! Intervals by resampling whole groups.

use statrs::distribution::{ContinuousCDF, Normal};

use super::correlation::spearman;
use super::groups::Groups;
use crate::quantile::quantile;
use crate::random::Random;

/// How often each group is drawn in each resample. The same resamples for everything keep differences paired.
#[derive(Debug, Clone)]
pub struct Resamples {
    times: Vec<Vec<u32>>,
}

impl Resamples {
    /// `count` resamples of `groups` groups, with replacement.
    pub fn new(groups: usize, count: usize, seed: u64) -> Resamples {
        let mut random = Random::new(seed);
        let mut draw = || {
            let mut times = vec![0; groups];
            (0..groups).for_each(|_| times[random.below(groups)] += 1);
            times
        };
        Resamples { times: (0..count).map(|_| draw()).collect() }
    }

    /// How often each group is drawn, by resample.
    pub fn times(&self) -> &[Vec<u32>] {
        &self.times
    }
}

/// An interval for a statistic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The bias-corrected and accelerated interval (Efron 1987, as SciPy computes it): quantiles of the `replicates` at
/// levels that their median bias and the statistic's skewness, seen by leaving one group out, move. Where either is
/// undefined (every replicate on one side of the estimate, no spread) the plain percentiles are taken. `None` where
/// fewer than half of the replicates are defined.
pub fn bca(estimate: f64, replicates: &[f64], left_out: &[f64], level: f64) -> Option<Interval> {
    let mut sorted: Vec<f64> = replicates.iter().copied().filter(|value| value.is_finite()).collect();
    if sorted.len() < 2 || sorted.len() * 2 < replicates.len() {
        return None;
    }
    sorted.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    let levels = corrected(estimate, &sorted, left_out, tail).unwrap_or([tail, 1.0 - tail]);
    let [low, high] = levels.map(|level| quantile(&sorted, level));
    Some(Interval { low, high })
}

/// The levels of the corrected interval's ends.
fn corrected(estimate: f64, sorted: &[f64], left_out: &[f64], tail: f64) -> Option<[f64; 2]> {
    let normal = Normal::standard();
    let below = sorted.iter().filter(|value| **value < estimate).count();
    let at_most = sorted.iter().filter(|value| **value <= estimate).count();
    let bias = normal.inverse_cdf((below + at_most) as f64 / (2 * sorted.len()) as f64);
    let left_out: Vec<f64> = left_out.iter().copied().filter(|value| value.is_finite()).collect();
    let mean = left_out.iter().sum::<f64>() / left_out.len() as f64;
    let moment = |power| left_out.iter().map(|value| (mean - value).powi(power)).sum::<f64>();
    let acceleration = moment(3) / (6.0 * moment(2).powf(1.5));
    let levels = [tail, 1.0 - tail].map(|level| {
        let shifted = bias + normal.inverse_cdf(level);
        normal.cdf(bias + shifted / (1.0 - acceleration * shifted))
    });
    levels.iter().all(|level| level.is_finite()).then_some(levels)
}

/// Each group's share in the sums that Pearson's r is made of: a resample costs as many steps as there are groups.
#[derive(Debug, Clone)]
pub struct PairSums {
    /// n, Σx, Σy, Σx², Σy², Σxy of each group, x and y less their means.
    sums: Vec<[f64; 6]>,
}

impl PairSums {
    /// The sums of x and y.
    pub fn new(x: &[f64], y: &[f64], groups: &Groups) -> PairSums {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (mean_x, mean_y) = (mean(x), mean(y));
        let of_group = |rows: &Vec<usize>| {
            rows.iter().fold([0.0; 6], |sums, &row| {
                let (a, b) = (x[row] - mean_x, y[row] - mean_y);
                let terms = [1.0, a, b, a * a, b * b, a * b];
                std::array::from_fn(|i| sums[i] + terms[i])
            })
        };
        PairSums { sums: groups.rows().iter().map(of_group).collect() }
    }

    /// Pearson's r with each group counted `times(group)` times; NaN where a side is constant.
    pub fn r(&self, times: impl Fn(usize) -> f64) -> f64 {
        let mut sums = [0.0; 6];
        for (group, terms) in self.sums.iter().enumerate() {
            let weight = times(group);
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += weight * term);
        }
        let [n, x, y, xx, yy, xy] = sums;
        let (var_x, var_y) = (xx - x * x / n, yy - y * y / n);
        if var_x <= 1e-12 * xx || var_y <= 1e-12 * yy {
            return f64::NAN;
        }
        ((xy - x * y / n) / (var_x * var_y).sqrt()).clamp(-1.0, 1.0)
    }

    /// r in each resample.
    pub fn replicates(&self, resamples: &Resamples) -> Vec<f64> {
        resamples.times().iter().map(|times| self.r(|group| f64::from(times[group]))).collect()
    }

    /// r without each group in turn.
    pub fn left_out(&self) -> Vec<f64> {
        (0..self.sums.len()).map(|out| self.r(|group| f64::from(u8::from(group != out)))).collect()
    }

    /// The interval of r at `level`, 0.95 for instance.
    pub fn interval(&self, resamples: &Resamples, level: f64) -> Option<Interval> {
        bca(self.r(|_| 1.0), &self.replicates(resamples), &self.left_out(), level)
    }
}

/// The interval of Spearman's ρ at `level`; ranks are taken anew in each resample.
pub fn spearman_interval(x: &[f64], y: &[f64], groups: &Groups, resamples: &Resamples, level: f64) -> Option<Interval> {
    let of_rows = |times: &dyn Fn(usize) -> u32| {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for (group, rows) in groups.rows().iter().enumerate() {
            for _ in 0..times(group) {
                a.extend(rows.iter().map(|&row| x[row]));
                b.extend(rows.iter().map(|&row| y[row]));
            }
        }
        spearman(&a, &b).unwrap_or(f64::NAN)
    };
    let replicates: Vec<f64> = resamples.times().iter().map(|times| of_rows(&|group| times[group])).collect();
    let left_out: Vec<f64> = (0..groups.count()).map(|out| of_rows(&|group| u32::from(group != out))).collect();
    bca(spearman(x, y)?, &replicates, &left_out, level)
}
