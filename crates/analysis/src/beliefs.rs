//! What probes believe of rows that they were not fitted on, and how well that ranks them.

use std::collections::BTreeMap;

use crate::auroc::auroc;

/// A row's log-odds of a kind, and whether it is of this kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Belief {
    pub(crate) kind: usize,
    /// One probe read the rows of a fold.
    pub(crate) fold: usize,
    pub(crate) group: usize,
    pub(crate) odds: f64,
    pub(crate) truth: bool,
}

/// The beliefs of each group that has any.
pub(crate) fn by_group(beliefs: &[Belief], groups: usize) -> Vec<Vec<Belief>> {
    let mut found = vec![Vec::new(); groups];
    beliefs.iter().for_each(|one| found[one.group].push(*one));
    found.retain(|group| !group.is_empty());
    found
}

/// The area under the ROC curve, the mean over kinds; rows are compared that one probe read. NaN where none can be.
pub(crate) fn mean_auc(beliefs: &[Belief]) -> f64 {
    // By kind and fold: the scores of the rows that are not of the kind, and of those that are.
    let mut scores = BTreeMap::<usize, BTreeMap<usize, (Vec<f64>, Vec<f64>)>>::new();
    for one in beliefs {
        let (still, moved) = scores.entry(one.kind).or_default().entry(one.fold).or_default();
        if one.truth { moved.push(one.odds) } else { still.push(one.odds) }
    }
    let area = |folds: &BTreeMap<usize, (Vec<f64>, Vec<f64>)>| {
        let (mut won, mut pairs) = (0.0, 0.0);
        for (still, moved) in folds.values().filter(|(still, moved)| !still.is_empty() && !moved.is_empty()) {
            let here = (still.len() * moved.len()) as f64;
            won += here * auroc(still, moved);
            pairs += here;
        }
        won / pairs
    };
    let areas: Vec<f64> = scores.values().map(area).filter(|area| area.is_finite()).collect();
    areas.iter().sum::<f64>() / areas.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_of_one_probe_are_compared() {
        let one = |fold, odds, truth| Belief { kind: 1, fold, group: fold, odds, truth };
        // Within each fold the true row is above; fold 1 lies below fold 0 as a whole.
        let beliefs =
            [one(0, 5.0, true), one(0, 4.0, false), one(1, -4.0, true), one(1, -5.0, false), one(2, 9.0, false)];
        assert_eq!(mean_auc(&beliefs), 1.0);
        assert!(mean_auc(&beliefs[..1]).is_nan());
        assert_eq!(by_group(&beliefs, 9).len(), 3);
    }
}
