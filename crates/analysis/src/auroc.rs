//! The area under the ROC curve: how well a score separates two sets of tiles.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        assert_eq!(auroc(&[1.0, 3.0], &[2.0, 3.0]), (1.0 + 0.0 + 1.0 + 0.5) / 4.0);
        assert!(auroc(&[], &[1.0]).is_nan());
    }
}
