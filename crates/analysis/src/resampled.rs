//! Intervals over bootstraps of whole groups.

use rand::RngExt;

use crate::random::seeded;

/// The 2.5 and 97.5 % points of `statistics` of as many groups as there are, drawn with replacement; NaN where no draw
/// has the statistic.
pub(crate) fn intervals<const N: usize>(
    groups: usize,
    bootstraps: usize,
    seed: u64,
    mut statistics: impl FnMut(&[usize]) -> [f64; N],
) -> [(f64, f64); N] {
    let mut random = seeded(seed);
    let mut found: [Vec<f64>; N] = [const { Vec::new() }; N];
    for _ in 0..bootstraps {
        let drawn: Vec<usize> = (0..groups).map(|_| random.random_range(0..groups)).collect();
        found.iter_mut().zip(statistics(&drawn)).for_each(|(all, one)| {
            if one.is_finite() {
                all.push(one);
            }
        });
    }
    found.map(|mut values| {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values.get(((values.len() as f64 - 1.0) * share).round() as usize).copied();
        (at(0.025).unwrap_or(f64::NAN), at(0.975).unwrap_or(f64::NAN))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_many_groups_has_its_standard_error() {
        // Groups 0 to 99: a standard deviation of 28.87, of their mean 2.887.
        let mean = |drawn: &[usize]| [drawn.iter().sum::<usize>() as f64 / 100.0, f64::NAN];
        let [(low, high), (none, _)] = intervals(100, 4000, 1, mean);
        assert!(
            (low - (49.5 - 1.96 * 2.887)).abs() < 0.5 && (high - (49.5 + 1.96 * 2.887)).abs() < 0.5,
            "{low} {high}"
        );
        assert!(none.is_nan());
        assert!(intervals(3, 0, 1, |_| [1.0])[0].0.is_nan());
    }
}
