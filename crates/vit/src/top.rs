//! The k largest of many, in order.

/// A reported feature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Feature {
    /// Its number in the SAE.
    pub index: u32,
    /// Its activation.
    pub value: f32,
}

/// Fills `kept` with the `k` largest of `values`, the largest first; of equal values the smaller index comes first. It
/// allocates nothing if `kept` has room for `k`.
pub(crate) fn largest(values: &[f32], k: usize, kept: &mut Vec<Feature>) {
    kept.clear();
    let mut least = f32::NEG_INFINITY;
    for (index, value) in values.iter().enumerate() {
        let full = kept.len() == k;
        if value.is_nan() || (full && *value <= least) {
            continue;
        }
        if full {
            kept.pop();
        }
        let place = kept.partition_point(|other| other.value >= *value);
        kept.insert(place, Feature { index: index as u32, value: *value });
        least = kept.last().map_or(least, |last| last.value);
    }
}

#[cfg(test)]
mod tests {
    use coverslip_numerics::SplitMix64;

    use super::*;

    #[test]
    fn it_is_a_stable_sorts_beginning() {
        let mut random = SplitMix64::new(3);
        for (n, k) in [(1, 1), (5, 5), (40, 7), (3000, 32)] {
            // Few distinct values, so that many are equal.
            let values: Vec<f32> = (0..n).map(|_| (random.bits() % 50) as f32 - 25.0).collect();
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            let mut kept = Vec::with_capacity(k);
            largest(&values, k, &mut kept);
            let found: Vec<usize> = kept.iter().map(|feature| feature.index as usize).collect();
            assert_eq!(found, order[..k]);
            assert!(kept.iter().all(|feature| feature.value == values[feature.index as usize]));
        }
        let mut kept = Vec::with_capacity(2);
        largest(&[f32::NAN, 1.0, f32::NAN], 2, &mut kept);
        assert_eq!(kept, [Feature { index: 1, value: 1.0 }]);
    }
}
