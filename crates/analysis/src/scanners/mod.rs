//! What scanners do to embeddings: where in space they lie apart, how much of the neighbourhood they explain, how
//! well they can be told apart, and what is left of that after correction.
//!
//! Rows of a matrix are tiles, columns the embedding's dimensions. Labels (scanner, slide, biology) are [`Labels`], one
//! per row. A quantity that the data do not define is [`Undefined`], with the reason, and never a number.

mod apd;
mod clustering;
mod correction;
mod covariance;
mod effects;
mod folds;
mod geometry;
mod neighbours;
mod probe;
mod retrieval;
mod robustness;
mod shift;
mod variance;

use std::collections::BTreeMap;

pub use crate::Undefined;
pub use apd::{Apd, average_performance_drop};
pub use clustering::{Clustering, adjusted_rand_index, clustering_score};
pub use correction::{Correction, cross_fitted};
pub use covariance::{Shrunk, ledoit_wolf, means_by, residuals};
pub use effects::{Effect, SparseRows, scanner_effects};
pub use folds::folds;
pub use geometry::{Geometry, Whitening};
pub use neighbours::{nearest, normalised};
pub use probe::{Classifier, Probe, probe};
pub use retrieval::{Retrieval, retrieve};
pub use robustness::{Robustness, robustness_index};
pub use shift::{auroc, paired_sign_test};
pub use variance::{Components, variance_components};

/// One label per row: an index into the names, which are sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    codes: Vec<usize>,
    names: Vec<String>,
}

impl Labels {
    /// Labels from their texts, in the order of the rows.
    pub fn new<S: AsRef<str>>(texts: &[S]) -> Labels {
        let mut places: BTreeMap<&str, usize> = texts.iter().map(|text| (text.as_ref(), 0)).collect();
        places.values_mut().enumerate().for_each(|(code, place)| *place = code);
        let codes = texts.iter().map(|text| places[text.as_ref()]).collect();
        Labels { codes, names: places.into_keys().map(str::to_owned).collect() }
    }

    /// The labels of some rows. Names without a row are left out.
    pub fn select(&self, rows: &[usize]) -> Labels {
        Labels::new(&rows.iter().map(|&row| self.name(row)).collect::<Vec<_>>())
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// True without a row.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Different labels.
    pub fn kinds(&self) -> usize {
        self.names.len()
    }

    /// Each row's label, as an index into [`Labels::names`].
    pub fn codes(&self) -> &[usize] {
        &self.codes
    }

    /// The different labels, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The label of a row.
    pub fn name(&self, row: usize) -> &str {
        &self.names[self.codes[row]]
    }

    /// Rows of each label.
    pub fn rows(&self) -> Vec<Vec<usize>> {
        let mut rows = vec![Vec::new(); self.names.len()];
        self.codes.iter().enumerate().for_each(|(row, &code)| rows[code].push(row));
        rows
    }
}

/// Some rows of a matrix, in the order given.
pub fn select(matrix: faer::MatRef<'_, f64>, rows: &[usize]) -> faer::Mat<f64> {
    faer::Mat::from_fn(rows.len(), matrix.ncols(), |row, column| matrix[(rows[row], column)])
}

/// Every kind in `outer` has rows with at least `least` kinds of `inner`.
fn kinds_within(outer: &Labels, inner: &Labels) -> Vec<usize> {
    let mut seen = vec![std::collections::BTreeSet::new(); outer.kinds()];
    outer.codes().iter().zip(inner.codes()).for_each(|(&out, &kind)| {
        seen[out].insert(kind);
    });
    seen.into_iter().map(|kinds| kinds.len()).collect()
}

/// A seeded permutation of `0..n`.
fn shuffled(n: usize, random: &mut rand_pcg::Pcg64) -> Vec<usize> {
    use rand::RngExt;
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, random.random_range(0..=last));
    }
    order
}

/// The generator of every routine that draws, from the caller's seed.
fn seeded(seed: u64) -> rand_pcg::Pcg64 {
    rand_pcg::Pcg64::new(u128::from(seed), 0x5eed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_selected() {
        let labels = Labels::new(&["b", "a", "b", "c"]);
        assert_eq!((labels.codes(), labels.kinds()), (&[1, 0, 1, 2][..], 3));
        assert_eq!(labels.rows(), [vec![1], vec![0, 2], vec![3]]);
        let some = labels.select(&[3, 0]);
        assert_eq!((some.codes(), some.names().len(), some.name(0)), (&[1, 0][..], 2, "c"));
    }

    #[test]
    fn a_permutation_has_everything_once() {
        let mut order = shuffled(50, &mut seeded(3));
        assert_ne!(order, (0..50).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}
