//! False alarms by leaving slides out: each calibration slide is judged by the others, as a new slide will be judged by all
//! of them. The tiles of one slide are alike, so slides are counted and not tiles.

use coverslip_analysis::random::Random;
use coverslip_numerics::Draw;
use coverslip_profile::Calibration;
use serde::{Deserialize, Serialize};

/// The level that slides ask for unless their host says another.
pub(super) const ALPHA: f64 = 0.01;
/// Draws of as many slides, with replacement, for the interval.
const DRAWS: usize = 2000;

/// How often a check marks tiles of a slide that did not calibrate it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct FalseAlarms {
    /// Slides with a score.
    pub(super) slides: usize,
    /// The mean over slides of the share (0..1) of marked tiles.
    pub(super) rate: f64,
    /// Its 95 % interval, by slides.
    pub(super) interval: [f64; 2],
    /// The largest share of a slide, ...
    pub(super) worst: f64,
    /// ... and the share (0..1) of all marked tiles that lie on that slide.
    pub(super) of_all: f64,
}

impl FalseAlarms {
    /// From a check's scores on the tiles of each slide; None of fewer than two slides.
    pub(super) fn of(by_slide: &[Vec<f32>]) -> Option<FalseAlarms> {
        let by_slide: Vec<&Vec<f32>> = by_slide.iter().filter(|scores| !scores.is_empty()).collect();
        if by_slide.len() < 2 {
            return None;
        }
        let counts: Vec<usize> = (0..by_slide.len()).map(|left_out| marked(&by_slide, left_out)).collect();
        let shares: Vec<f64> =
            counts.iter().zip(&by_slide).map(|(&count, scores)| count as f64 / scores.len() as f64).collect();
        let worst = shares.iter().copied().fold(0.0, f64::max);
        let at = shares.iter().position(|&share| share == worst).unwrap_or(0);
        let all: usize = counts.iter().sum();
        Some(FalseAlarms {
            slides: shares.len(),
            rate: shares.iter().sum::<f64>() / shares.len() as f64,
            interval: interval(&shares),
            worst,
            of_all: if all == 0 { 0.0 } else { counts[at] as f64 / all as f64 },
        })
    }
}

/// Tiles of a slide that the others' scores would mark.
fn marked(by_slide: &[&Vec<f32>], left_out: usize) -> usize {
    let others = by_slide.iter().enumerate().filter(|(slide, _)| *slide != left_out);
    let calibration = Calibration::new(others.flat_map(|(_, scores)| scores.iter().copied()).collect());
    let level = calibration.supported(ALPHA);
    let draw = Draw::new(left_out as u64);
    let scores = by_slide[left_out].iter().enumerate();
    scores.filter(|&(tile, &score)| calibration.p_value(score, draw.of(tile as u64)) <= level).count()
}

/// The 95 % interval of a mean over slides: percentiles of means of slides drawn with replacement.
fn interval(shares: &[f64]) -> [f64; 2] {
    let mut random = Random::new(17);
    let mut means: Vec<f64> = (0..DRAWS)
        .map(|_| (0..shares.len()).map(|_| shares[random.below(shares.len())]).sum::<f64>() / shares.len() as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    [means[DRAWS / 40], means[DRAWS - 1 - DRAWS / 40]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve slides of 100 tiles; one of them lies higher than all others on nearly every tile.
    #[test]
    fn one_slide_that_carries_the_alarms_is_seen() {
        let score = |slide: usize, tile: usize| ((slide * 37 + tile * 101) % 997) as f32;
        let of = |higher: f32| -> Vec<Vec<f32>> {
            (0..12)
                .map(|s| (0..100).map(|t| score(s, t) + if s == 3 && t > 5 { higher } else { 0.0 }).collect())
                .collect()
        };
        let even = FalseAlarms::of(&of(0.0)).unwrap();
        assert!(even.slides == 12 && (0.002..0.02).contains(&even.rate) && even.worst < 0.05, "{even:?}");
        let one = FalseAlarms::of(&of(2000.0)).unwrap();
        assert!(one.worst > 0.93 && one.of_all > 0.9, "{one:?}");
        assert!(one.interval[0] < 0.01 && one.interval[1] > 0.2 && one.rate > 0.07, "{one:?}");
        assert_eq!(FalseAlarms::of(&of(0.0)[..1]), None);
    }
}
