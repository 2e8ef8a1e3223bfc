//! How well a score separates two sets of tiles.

use rand::RngExt;

use super::seeded;

/// The probability that a score of `moved` exceeds one of `still`, ties counted half: the area under the ROC curve.
/// NaN where one set is empty.
pub fn auroc(still: &[f64], moved: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        still.iter().map(|&score| (score, false)).chain(moved.iter().map(|&score| (score, true))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins, mut start) = (0.0, 0.0, 0);
    while start < all.len() {
        let end = start + all[start..].iter().take_while(|one| one.0 == all[start].0).count();
        let positives = all[start..end].iter().filter(|one| one.1).count() as f64;
        let negatives = (end - start) as f64 - positives;
        wins += positives * (below + 0.5 * negatives);
        below += negatives;
        start = end;
    }
    wins / (still.len() as f64 * moved.len() as f64)
}

/// One-sided p-value that differences of pairs have a mean of zero or less, by flipping their signs: exact up to 16
/// pairs, else from 100,000 draws; (1 + hits) / (1 + draws), so never 0.
pub fn paired_sign_test(differences: &[f64], seed: u64) -> f64 {
    let n = differences.len();
    let seen: f64 = differences.iter().sum();
    let slack = 1e-12 * differences.iter().map(|value| value.abs()).sum::<f64>();
    let sum = |flips: u64| -> f64 {
        let signed = |(i, value): (usize, &f64)| if flips >> (i % 64) & 1 == 1 { -value } else { *value };
        differences.iter().enumerate().map(signed).sum()
    };
    if n <= 16 {
        let all = 1_u64 << n;
        return (0..all).filter(|&flips| sum(flips) >= seen - slack).count() as f64 / all as f64;
    }
    let mut random = seeded(seed);
    let draws = 100_000;
    let draw = |random: &mut rand_pcg::Pcg64| -> f64 {
        differences.iter().map(|value| if random.random::<bool>() { -value } else { *value }).sum()
    };
    let hits = (0..draws).filter(|_| draw(&mut random) >= seen - slack).count();
    (1 + hits) as f64 / (1 + draws) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        assert_eq!(auroc(&[1.0, 3.0], &[2.0, 3.0]), (1.0 + 0.0 + 1.0 + 0.5) / 4.0);
        assert!(auroc(&[], &[1.0]).is_nan());
    }

    #[test]
    fn signs_by_hand() {
        // Of eight ways to sign 1, 2, 3 only the one with all signs kept reaches 6.
        assert_eq!(paired_sign_test(&[1.0, 2.0, 3.0], 1), 1.0 / 8.0);
        assert_eq!(paired_sign_test(&[0.0; 5], 1), 1.0);
        let p = paired_sign_test(&[0.1; 20], 1);
        assert!(p < 1e-4, "{p}");
        let even: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!((paired_sign_test(&even, 1) - 0.588).abs() < 0.02, "a coin: P(at least 10 of 20)");
    }
}
