//! Which of many correlations are more than chance: Westfall and Young's step-down max-T, permuting whole groups.
//!
//! **What is exchanged.** Under the null hypothesis the counts have nothing to do with the features: the block of counts
//! of one group could as well have come with the features of another. So the blocks are dealt out anew among the groups;
//! within a block nothing moves, which leaves the likeness of tiles of one group as it is, on both sides. For that the
//! blocks must be exchangeable, and blocks of different sizes are not: a group of 40 tiles cannot take the counts of a
//! group of 4. [`max_t`] therefore takes groups of equal size only ([`Groups::equalised`] makes them so), and what it
//! assumes is that the groups themselves are a sample of one population: images of two hospitals, of which one counts
//! more generously, are not, and need a test of their own each.
//!
//! **What is controlled.** The probability of one false discovery or more in the whole table of features and counts. The
//! counts of a group move together, so their dependence, and that of the features, is used and not assumed away.

use faer::{Mat, MatRef};

use super::Groups;
use super::correlation::unit_columns;
use crate::Undefined;
use crate::random::Random;

/// Permutations that are computed in one matrix product.
const BLOCK: usize = 64;

/// The result of the test.
#[derive(Debug, Clone)]
pub struct MaxT {
    /// Adjusted p of each column of x with each of y, \[p, t\]: at or below 0.05 is a discovery at a family-wise error
    /// of 5 %. Never below 1/(permutations + 1).
    pub adjusted: Mat<f64>,
    /// Over the permutations, ascending: the largest |r| in the table.
    pub maxima: Vec<f64>,
    /// Ways in which the blocks can lie, log10 of groups!. With less than 20 ways no p can fall to 0.05.
    pub arrangements_log10: f64,
}

impl MaxT {
    /// The |r| that chance alone exceeds anywhere in the table with probability 1 − `level`.
    pub fn critical(&self, level: f64) -> f64 {
        let at = (level * self.maxima.len() as f64).ceil() as usize;
        self.maxima[at.clamp(1, self.maxima.len()) - 1]
    }
}

/// Tests |Pearson's r| of every column of `x` \[n, p\] with every column of `y` \[n, t\] (give ranks for Spearman's ρ).
///
/// # Errors
/// When groups differ in size, there are fewer than two, or no permutations are asked for.
pub fn max_t(
    x: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    groups: &Groups,
    permutations: usize,
    seed: u64,
) -> Result<MaxT, Undefined> {
    if groups.count() < 2 || permutations == 0 {
        return Err(Undefined(format!(
            "a permutation test needs two groups and a permutation; found {} and {permutations}",
            groups.count()
        )));
    }
    if !groups.are_equal() {
        return Err(Undefined(
            "whole groups can be exchanged only where all have as many tiles; cut them first".into(),
        ));
    }
    let (x, y) = (unit_columns(x), unit_columns(y));
    let observed = magnitudes(&(x.transpose() * &y));
    let mut order: Vec<usize> = (0..observed.len()).collect();
    order.sort_by(|&a, &b| observed[b].total_cmp(&observed[a]));

    let mut random = Random::new(seed);
    let mut exceeded = vec![0_usize; observed.len()];
    let mut maxima = Vec::with_capacity(permutations);
    for first in (0..permutations).step_by(BLOCK) {
        let count = BLOCK.min(permutations - first);
        let table = x.transpose() * dealt(&y, groups, count, &mut random);
        for permutation in 0..count {
            let columns = table.subcols(permutation * y.ncols(), y.ncols());
            maxima.push(count_exceeding(&observed, &order, &magnitudes(&columns.to_owned()), &mut exceeded));
        }
    }
    maxima.sort_unstable_by(f64::total_cmp);
    let mut adjusted = Mat::zeros(x.ncols(), y.ncols());
    let mut least: f64 = 0.0;
    for &place in &order {
        // A hypothesis is never more significant than one with a larger statistic.
        least = least.max((1 + exceeded[place]) as f64 / (1 + permutations) as f64);
        adjusted[(place % x.ncols(), place / x.ncols())] = least;
    }
    let arrangements_log10 = (1..=groups.count()).map(|k| (k as f64).log10()).sum();
    Ok(MaxT { adjusted, maxima, arrangements_log10 })
}

/// `y` under `count` permutations of whole groups, side by side.
fn dealt(y: &Mat<f64>, groups: &Groups, count: usize, random: &mut Random) -> Mat<f64> {
    let mut dealt = Mat::zeros(y.nrows(), y.ncols() * count);
    let mut sources: Vec<usize> = (0..groups.count()).collect();
    for permutation in 0..count {
        random.shuffle(&mut sources);
        for (to, &from) in groups.rows().iter().zip(&sources) {
            for (&to, &from) in to.iter().zip(&groups.rows()[from]) {
                for column in 0..y.ncols() {
                    dealt[(to, permutation * y.ncols() + column)] = y[(from, column)];
                }
            }
        }
    }
    dealt
}

/// Step-down: each hypothesis is compared with the largest statistic among those that are not larger than its own.
/// Returns the largest of all.
fn count_exceeding(observed: &[f64], order: &[usize], permuted: &[f64], exceeded: &mut [usize]) -> f64 {
    let mut largest: f64 = 0.0;
    for &place in order.iter().rev() {
        largest = largest.max(permuted[place]);
        // Sums in another order may differ in the last bits where a permutation gives the same table.
        if largest >= observed[place] - 1e-10 {
            exceeded[place] += 1;
        }
    }
    largest
}

/// |r| of a table \[p, t\], column after column.
fn magnitudes(table: &Mat<f64>) -> Vec<f64> {
    table.col_iter().flat_map(|column| column.iter().map(|r| r.abs()).collect::<Vec<_>>()).collect()
}
