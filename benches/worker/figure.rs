//! Quantiles, and their differences with an interval.

use coverslip_numerics::Draw;

/// Resamplings of an interval.
const DRAWS: usize = 1000;

/// This share of the values is at most so large.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    let at = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1;
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

/// The values of all turns.
pub(crate) fn all(turns: &[Vec<f64>]) -> Vec<f64> {
    turns.concat()
}

/// How much larger the quantile of `second` is than that of `first`, over all turns, with the interval of 95 % that comes from
/// drawing turns, each with its partner. The values of one turn are no independent draws; turns are nearly so.
pub(crate) fn difference(first: &[Vec<f64>], second: &[Vec<f64>], share: f64) -> String {
    let of = |turns: &[usize]| {
        let pool = |of: &[Vec<f64>]| turns.iter().flat_map(|&turn| of[turn].iter().copied()).collect::<Vec<f64>>();
        quantile(&mut pool(second), share) - quantile(&mut pool(first), share)
    };
    let count = first.len();
    let found = of(&(0..count).collect::<Vec<_>>());
    let draw = |at: usize| {
        let turn = |i: usize| Draw::new(14).of(at as u64).of(i as u64).below(count as u64) as usize;
        of(&(0..count).map(turn).collect::<Vec<_>>())
    };
    let mut drawn: Vec<f64> = (0..DRAWS).map(draw).collect();
    format!("{found:+.2} ({:+.2} to {:+.2})", quantile(&mut drawn, 0.025), quantile(&mut drawn, 0.975))
}

/// The median of the ratios of each turn, with the least and the greatest.
pub(crate) fn ratio(first: &[f64], second: &[f64]) -> String {
    let mut ratios: Vec<f64> = first.iter().zip(second).map(|(first, second)| second / first).collect();
    let (least, most) = (quantile(&mut ratios, 0.0), quantile(&mut ratios, 1.0));
    format!("{:.3} ({least:.3} to {most:.3})", quantile(&mut ratios, 0.5))
}
