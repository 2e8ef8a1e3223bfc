//! Rows that belong together.

use std::collections::BTreeMap;

use crate::random::Random;

/// Which rows belong together: tiles of one image, one slide, one patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    of: Vec<usize>,
    rows: Vec<Vec<usize>>,
}

impl Groups {
    /// Groups of equal labels, numbered in the labels' order.
    pub fn new<L: Ord + Copy>(labels: &[L]) -> Groups {
        let mut numbers: BTreeMap<L, usize> = labels.iter().map(|label| (*label, 0)).collect();
        numbers.values_mut().enumerate().for_each(|(number, place)| *place = number);
        let of: Vec<usize> = labels.iter().map(|label| numbers[label]).collect();
        let mut rows = vec![Vec::new(); numbers.len()];
        of.iter().enumerate().for_each(|(row, group)| rows[*group].push(row));
        Groups { of, rows }
    }

    /// Number of groups.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// The group of each row.
    pub fn of(&self) -> &[usize] {
        &self.of
    }

    /// The rows of each group, ascending.
    pub fn rows(&self) -> &[Vec<usize>] {
        &self.rows
    }

    /// Whether all groups have the same number of rows.
    pub fn are_equal(&self) -> bool {
        self.rows.windows(2).all(|pair| pair[0].len() == pair[1].len())
    }

    /// Rows (ascending) of which every remaining group has equally many: the number that three of four groups reach.
    /// Smaller groups are left out, larger ones cut at random, before anybody looked at a result.
    pub fn equalised(&self, seed: u64) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.rows.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        let size = sizes.get(sizes.len() / 4).copied().unwrap_or(0);
        let mut random = Random::new(seed);
        let mut kept = Vec::new();
        for rows in self.rows.iter().filter(|rows| rows.len() >= size) {
            let mut rows = rows.clone();
            random.shuffle(&mut rows);
            kept.extend_from_slice(&rows[..size]);
        }
        kept.sort_unstable();
        kept
    }

    /// At most `most` folds of whole groups of about as many rows each; one per group where there are no more groups.
    /// Returns each row's fold.
    pub fn folds(&self, most: usize) -> Vec<usize> {
        if self.count() <= most {
            return self.of.clone();
        }
        let mut largest_first: Vec<usize> = (0..self.count()).collect();
        largest_first.sort_by_key(|&group| std::cmp::Reverse(self.rows[group].len()));
        let mut loads = vec![0; most];
        let mut fold = vec![0; self.of.len()];
        for group in largest_first {
            let lightest = (0..most).min_by_key(|&f| loads[f]).unwrap_or(0);
            loads[lightest] += self.rows[group].len();
            self.rows[group].iter().for_each(|&row| fold[row] = lightest);
        }
        fold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_makes_groups_equal_and_drops_the_smallest() {
        let labels: Vec<u32> =
            [9, 3, 5, 1, 4, 7, 6, 3].iter().enumerate().flat_map(|(g, &n)| vec![g as u32; n]).collect();
        let groups = Groups::new(&labels);
        let kept = groups.equalised(1);
        let left = Groups::new(&kept.iter().map(|&row| labels[row]).collect::<Vec<_>>());
        // Sorted sizes 1 3 3 4 5 6 7 9: three of four groups have at least 3 rows.
        assert!(left.are_equal() && left.rows()[0].len() == 3 && left.count() == 7, "{left:?}");
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
        assert_ne!(kept, groups.equalised(2));
    }

    #[test]
    fn folds_keep_groups_whole_and_are_about_equal() {
        let labels: Vec<u32> = (0..30_u32).flat_map(|g| vec![g; 1 + (g as usize * 7) % 11]).collect();
        let groups = Groups::new(&labels);
        let folds = groups.folds(5);
        let mut sizes = [0; 5];
        for rows in groups.rows() {
            assert!(rows.iter().all(|&row| folds[row] == folds[rows[0]]));
            sizes[folds[rows[0]]] += rows.len();
        }
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 2, "{sizes:?}");
        assert_eq!(groups.folds(30), groups.of());
    }
}
