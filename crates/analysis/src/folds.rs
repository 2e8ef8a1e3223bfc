//! Folds that keep groups whole.

use crate::categories::Categories;
use crate::random::{seeded, shuffled};

/// The fold of each row, 0 to `count` − 1: groups (slides, patients, places) are never cut, and each label's groups are
/// dealt out one by one, so that every fold has its share of every label. A group with several labels goes with its
/// most frequent one.
pub(crate) fn folds(labels: &Categories, groups: &Categories, count: usize, seed: u64) -> Vec<usize> {
    let mut random = seeded(seed);
    let mut votes = vec![vec![0_usize; labels.kinds()]; groups.kinds()];
    groups.codes().iter().zip(labels.codes()).for_each(|(&group, &label)| votes[group][label] += 1);
    let label_of = |group: usize| {
        let most = votes[group].iter().max().copied().unwrap_or(0);
        votes[group].iter().position(|&count| count == most).unwrap_or(0)
    };
    let mut order = shuffled(groups.kinds(), &mut random);
    order.sort_by_key(|&group| label_of(group));
    let mut fold_of = vec![0; groups.kinds()];
    order.iter().enumerate().for_each(|(place, &group)| fold_of[group] = place % count.max(1));
    groups.codes().iter().map(|&group| fold_of[group]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stay_whole_and_labels_are_spread() {
        let texts: Vec<(String, String)> =
            (0..60).map(|row| (format!("l{}", row / 30), format!("g{}", row / 5))).collect();
        let labels = Categories::new(&texts.iter().map(|text| &text.0).collect::<Vec<_>>());
        let groups = Categories::new(&texts.iter().map(|text| &text.1).collect::<Vec<_>>());
        let found = folds(&labels, &groups, 3, 1);
        for rows in groups.rows() {
            assert!(rows.iter().all(|&row| found[row] == found[rows[0]]));
        }
        for rows in labels.rows() {
            for fold in 0..3 {
                assert_eq!(rows.iter().filter(|&&row| found[row] == fold).count(), 10);
            }
        }
    }
}
