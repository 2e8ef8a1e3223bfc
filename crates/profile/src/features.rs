//! Scores from SAE features.

/// SCANNER_FEATURES: the share (0..=1) of a tile's activation that sits on features which other scanners switch on more
/// (`effects` below 0). `marked` ascends, `effects` belong to it; 0 where nothing is active.
pub fn scanner_mass(marked: &[u32], effects: &[f32], active: impl Iterator<Item = (u32, f32)>) -> f32 {
    let (mut foreign, mut all) = (0.0f64, 0.0f64);
    for (index, value) in active {
        let value = f64::from(value.abs());
        all += value;
        let effect = marked.binary_search(&index).ok().and_then(|at| effects.get(at));
        if effect.is_some_and(|&effect| effect < 0.0) {
            foreign += value;
        }
    }
    // Not a comparison that NaN fails: NaN must come out as NaN.
    if all == 0.0 { 0.0 } else { (foreign / all) as f32 }
}

/// UNSTABLE: 1 − Σ min / Σ max over the features of a tile and of its perturbed copy (the weighted Jaccard distance,
/// 0..=1); 0 where neither has any. A feature occurs once on each side.
pub fn instability(
    before: impl Iterator<Item = (u32, f32)> + Clone,
    after: impl Iterator<Item = (u32, f32)> + Clone,
) -> f32 {
    let (mut common, mut either) = (0.0f64, 0.0f64);
    for (index, a) in before.clone() {
        let b = after.clone().find(|&(other, _)| other == index).map_or(0.0, |(_, b)| b);
        // Signed features agree only where their signs do.
        let (a, b) = (f64::from(a), f64::from(b));
        common += if a * b > 0.0 { a.abs().min(b.abs()) } else { 0.0 };
        either += if a * b < 0.0 { a.abs() + b.abs() } else { a.abs() + b.abs() - a.abs().min(b.abs()) };
    }
    let mut missing = after.filter(|&(index, _)| before.clone().all(|(other, _)| other != index));
    either += missing.by_ref().map(|(_, b)| f64::from(b.abs())).sum::<f64>();
    if either == 0.0 { 0.0 } else { (1.0 - common / either) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mass_is_of_what_others_switch_on() {
        let (marked, effects) = ([3, 8, 20], [-1.0, 0.7, -0.2]);
        let mass = |pairs: &[(u32, f32)]| scanner_mass(&marked, &effects, pairs.iter().copied());
        assert_eq!(mass(&[(3, 1.0), (8, 1.0), (9, 2.0)]), 0.25);
        assert_eq!(mass(&[(20, 5.0)]), 1.0);
        assert_eq!(mass(&[]), 0.0);
        assert!(mass(&[(1, f32::NAN)]).is_nan());
    }

    #[test]
    fn instability_by_hand() {
        let of = |a: &[(u32, f32)], b: &[(u32, f32)]| instability(a.iter().copied(), b.iter().copied());
        assert_eq!(of(&[(1, 2.0), (2, 1.0)], &[(1, 2.0), (2, 1.0)]), 0.0);
        // min: 1 + 0, max: 2 + 1 + 3.
        assert!((of(&[(1, 2.0), (2, 1.0)], &[(1, 1.0), (5, 3.0)]) - (1.0 - 1.0 / 6.0)).abs() < 1e-6);
        assert_eq!(of(&[(1, 2.0)], &[(1, -2.0)]), 1.0);
        assert_eq!(of(&[], &[]), 0.0);
    }
}
