//! Whether a label replicates: a feature is chosen for a count on half of the groups and tested on the other half.
//!
//! Both sides are what is left of them once the covariates (the tile's colour) are taken out by least squares, within each
//! half. The ten columns with the largest r on the choosing half are candidates. On the testing half the largest of them
//! has to exceed what the largest of ten reaches when whole groups exchange their counts ([`max_t`]); its p is adjusted for
//! all counts by Holm's method. Last it must not live on one group: its r is computed without each group in turn.

use std::collections::BTreeSet;

use faer::{Mat, MatRef};

use super::correlation::pearson;
use super::groups::Groups;
use super::max_t::max_t;
use crate::random::Random;
use crate::select;
use crate::undefined::Undefined;

/// Groups that each half must have.
pub const LEAST_GROUPS: usize = 10;
/// Columns that are carried from the choosing half to the testing half.
const CANDIDATES: usize = 10;

/// Groups in halves: to choose on, and to test on.
#[derive(Clone, Debug)]
pub struct Halves {
    choosing: Vec<usize>,
    testing: Vec<usize>,
    of: Groups,
}

/// What became of one count's best column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The column of x.
    pub column: usize,
    /// Its partial r on the choosing half.
    pub chosen: f64,
    /// Its partial r on the testing half.
    pub r: f64,
    /// The smallest partial r on the testing half without one of its groups.
    pub least: f64,
    /// Of the testing half, adjusted for the candidates and for all counts.
    pub p: f64,
}

impl Halves {
    /// Halves of the groups, drawn at random: the testing half has one more where their number is odd.
    ///
    /// # Errors
    /// When there are fewer than twenty groups.
    pub fn new(groups: &Groups, seed: u64) -> Result<Self, Undefined> {
        let count = groups.count();
        if count < 2 * LEAST_GROUPS {
            return Err(Undefined(format!(
                "a label needs {} groups, {LEAST_GROUPS} to choose a feature on and {LEAST_GROUPS} others to test it on; found \
                 {count}",
                2 * LEAST_GROUPS
            )));
        }
        let mut order: Vec<usize> = (0..count).collect();
        Random::new(seed).shuffle(&mut order);
        let rows = |some: &[usize]| {
            let mut rows: Vec<usize> = some.iter().flat_map(|&group| groups.rows()[group].iter().copied()).collect();
            rows.sort_unstable();
            rows
        };
        let (choosing, testing) = order.split_at(count / 2);
        Ok(Self { choosing: rows(choosing), testing: rows(testing), of: groups.clone() })
    }

    /// Rows of the choosing half, then of the testing half.
    pub fn rows(&self) -> [&[usize]; 2] {
        [&self.choosing, &self.testing]
    }

    /// Groups of the choosing half, then of the testing half.
    pub fn groups(&self) -> [usize; 2] {
        self.rows().map(|rows| self.groups_of(rows).count())
    }

    fn groups_of(&self, rows: &[usize]) -> Groups {
        Groups::new(&rows.iter().map(|&row| self.of.of()[row]).collect::<Vec<_>>())
    }

    /// Tries every column of `y` \[n, t\] with the columns of `x` \[n, p\], given `covariates` \[n, c\]: a trial for each
    /// count, or none where no column has a positive r on the choosing half.
    ///
    /// # Errors
    /// As [`max_t`].
    pub fn trials(
        &self,
        x: MatRef<'_, f64>,
        y: MatRef<'_, f64>,
        covariates: MatRef<'_, f64>,
        permutations: usize,
        seed: u64,
    ) -> Result<Vec<Option<Trial>>, Undefined> {
        let choosing = Partial::new(covariates, &self.choosing);
        let left: Vec<Vec<f64>> = (0..x.ncols()).map(|column| choosing.column(x, column)).collect();
        let mut trials = Vec::new();
        for t in 0..y.ncols() {
            let counts = choosing.column(y, t);
            let mut found: Vec<(usize, f64)> = left.iter().map(|column| r(column, &counts)).enumerate().collect();
            found.retain(|(_, r)| *r > 0.0);
            found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            found.truncate(CANDIDATES);
            trials.push(self.trial(x, (y, t), covariates, &found, permutations, seed)?);
        }
        holm(&mut trials);
        Ok(trials)
    }

    /// The best of the candidates on the testing half.
    fn trial(
        &self,
        x: MatRef<'_, f64>,
        (y, t): (MatRef<'_, f64>, usize),
        covariates: MatRef<'_, f64>,
        candidates: &[(usize, f64)],
        permutations: usize,
        seed: u64,
    ) -> Result<Option<Trial>, Undefined> {
        let r_without = |column: usize, without: Option<usize>| {
            let kept = |row: &usize| without.is_none_or(|group| self.of.of()[*row] != group);
            let rows: Vec<usize> = self.testing.iter().copied().filter(kept).collect();
            let partial = Partial::new(covariates, &rows);
            r(&partial.column(x, column), &partial.column(y, t))
        };
        let tested = candidates.iter().map(|&(column, chosen)| (column, chosen, r_without(column, None)));
        let Some((place, (column, chosen, best))) = tested.enumerate().max_by(|a, b| a.1.2.total_cmp(&b.1.2)) else {
            return Ok(None);
        };
        let groups = self.groups_of(&self.testing);
        let equal: Vec<usize> = match groups.are_equal() {
            true => self.testing.clone(),
            false => groups.equalised(seed).into_iter().map(|place| self.testing[place]).collect(),
        };
        let partial = Partial::new(covariates, &equal);
        let columns: Vec<Vec<f64>> = candidates.iter().map(|(column, _)| partial.column(x, *column)).collect();
        let (counts, table) = (partial.column(y, t), Mat::from_fn(equal.len(), columns.len(), |i, j| columns[j][i]));
        let counts = Mat::from_fn(equal.len(), 1, |i, _| counts[i]);
        let test = max_t(table.as_ref(), counts.as_ref(), &self.groups_of(&equal), permutations, seed)?;
        let members: BTreeSet<usize> = self.testing.iter().map(|&row| self.of.of()[row]).collect();
        let least = members.iter().map(|&group| r_without(column, Some(group))).fold(f64::INFINITY, f64::min);
        Ok(Some(Trial { column, chosen, r: best, least, p: test.adjusted[(place, 0)] }))
    }
}

fn r(x: &[f64], y: &[f64]) -> f64 {
    pearson(x, y).unwrap_or(0.0)
}

/// Holm's step-down adjustment over the counts; a count without a trial is a hypothesis that was not rejected.
fn holm(trials: &mut [Option<Trial>]) {
    let count = trials.len();
    let mut found: Vec<&mut Trial> = trials.iter_mut().flatten().collect();
    found.sort_by(|a, b| a.p.total_cmp(&b.p));
    let mut least: f64 = 0.0;
    for (place, trial) in found.into_iter().enumerate() {
        least = least.max((trial.p * (count - place) as f64).min(1.0));
        trial.p = least;
    }
}

/// Columns without what the covariates explain of them, on some rows.
struct Partial<'r> {
    rows: &'r [usize],
    /// Orthonormal: the constant and the covariates.
    basis: Vec<Vec<f64>>,
}

impl<'r> Partial<'r> {
    fn new(covariates: MatRef<'_, f64>, rows: &'r [usize]) -> Self {
        let mut partial = Self { rows, basis: vec![vec![(rows.len() as f64).sqrt().recip(); rows.len()]] };
        let covariates = select(covariates, rows);
        for column in covariates.col_iter() {
            let values: Vec<f64> = column.iter().copied().collect();
            let size = norm(&values);
            let left = partial.left(partial.left(values));
            let length = norm(&left);
            // A constant covariate, or one that the others give, takes out nothing more.
            if length > 1e-9 * size {
                partial.basis.push(left.into_iter().map(|value| value / length).collect());
            }
        }
        partial
    }

    fn column(&self, of: MatRef<'_, f64>, column: usize) -> Vec<f64> {
        let values: Vec<f64> = self.rows.iter().map(|&row| of[(row, column)]).collect();
        let (size, left) = (norm(&values), self.left(values));
        // What is left of a column that the covariates explain is rounding.
        if norm(&left) > 1e-9 * size { left } else { vec![0.0; left.len()] }
    }

    fn left(&self, mut values: Vec<f64>) -> Vec<f64> {
        for direction in &self.basis {
            let along: f64 = values.iter().zip(direction).map(|(a, b)| a * b).sum();
            values.iter_mut().zip(direction).for_each(|(value, d)| *value -= along * d);
        }
        values
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tiles of groups, with a count, a covariate and columns of which the first follows the count.
    struct Table {
        x: Mat<f64>,
        y: Mat<f64>,
        colour: Mat<f64>,
        groups: Groups,
    }

    /// `signal` is how much of the count is in column 0, `tint` how much of the colour is in count and column 1.
    fn table(groups: usize, tiles: usize, signal: f64, tint: f64, seed: u64) -> Table {
        let mut random = Random::new(seed);
        let n = groups * tiles;
        let mut draw = |n: usize| (0..n).map(|_| random.normal()).collect::<Vec<f64>>();
        let (count, colour, noise) = (draw(n), draw(n), draw(n * 6));
        let x = Mat::from_fn(n, 6, |row, column| {
            let own = noise[row * 6 + column];
            match column {
                0 => signal * count[row] + own,
                1 => tint * colour[row] + own,
                _ => own,
            }
        });
        let y = Mat::from_fn(n, 1, |row, _| count[row] + tint * colour[row]);
        let labels: Vec<usize> = (0..n).map(|row| row / tiles).collect();
        Table { x, y, colour: Mat::from_fn(n, 1, |row, _| colour[row]), groups: Groups::new(&labels) }
    }

    fn try_it(table: &Table, seed: u64) -> Option<Trial> {
        let halves = Halves::new(&table.groups, seed).unwrap();
        let (x, y, colour) = (table.x.as_ref(), table.y.as_ref(), table.colour.as_ref());
        halves.trials(x, y, colour, 499, seed).unwrap()[0]
    }

    #[test]
    fn what_follows_a_count_replicates() {
        let trial = try_it(&table(24, 6, 2.0, 1.0, 1), 3).unwrap();
        assert_eq!(trial.column, 0);
        assert!(trial.r > 0.7 && trial.least > 0.6 && trial.p <= 0.01, "{trial:?}");
    }

    #[test]
    fn what_follows_the_colour_alone_does_not() {
        let table = table(24, 6, 0.0, 3.0, 2);
        // Without the colour taken out, column 1 would be a discovery.
        let halves = Halves::new(&table.groups, 3).unwrap();
        let none = Mat::zeros(table.x.nrows(), 0);
        let blind = halves.trials(table.x.as_ref(), table.y.as_ref(), none.as_ref(), 499, 3).unwrap()[0].unwrap();
        assert!(blind.column == 1 && blind.p <= 0.01, "{blind:?}");
        assert!(try_it(&table, 3).is_none_or(|trial| trial.p > 0.05));
    }

    #[test]
    fn chance_passes_as_seldom_as_the_level_says() {
        let tables = 200;
        let passed = (0..tables)
            .filter(|&seed| try_it(&table(20, 4, 0.0, 0.0, 100 + seed), seed).is_some_and(|trial| trial.p <= 0.05));
        // 200 tables at 5 %: 23 and more would be seen once in a thousand times.
        assert!(passed.count() < 23);
    }

    #[test]
    fn one_group_makes_no_label() {
        let mut table = table(20, 6, 0.0, 0.0, 5);
        let halves = Halves::new(&table.groups, 7).unwrap();
        // In one group of each half the count and column 2 are both high.
        for rows in halves.rows() {
            let group = table.groups.of()[rows[0]];
            for &row in table.groups.rows()[group].clone().iter() {
                (table.x[(row, 2)], table.y[(row, 0)]) = (20.0, 20.0);
            }
        }
        let trial = try_it(&table, 7).unwrap();
        assert!(trial.column == 2 && trial.r > 0.9 && trial.least < 0.5, "{trial:?}");
    }

    #[test]
    fn halves_share_no_group_and_too_few_groups_are_refused() {
        let table = table(21, 3, 0.0, 0.0, 1);
        let halves = Halves::new(&table.groups, 1).unwrap();
        assert_eq!(halves.groups(), [10, 11]);
        let groups = |rows: &[usize]| rows.iter().map(|&row| table.groups.of()[row]).collect::<Vec<_>>();
        let [choosing, testing] = halves.rows().map(groups);
        assert!(choosing.iter().all(|group| !testing.contains(group)));
        let few = Groups::new(&(0..19).collect::<Vec<_>>());
        assert!(Halves::new(&few, 1).unwrap_err().to_string().contains("found 19"));
    }

    #[test]
    fn holm_adjusts_in_order() {
        let trial = |p| Some(Trial { column: 0, chosen: 0.0, r: 0.0, least: 0.0, p });
        let mut trials = [trial(0.01), None, trial(0.04), trial(0.03)];
        holm(&mut trials);
        let found: Vec<Option<f64>> = trials.iter().map(|trial| trial.map(|trial| trial.p)).collect();
        assert_eq!(found, [Some(0.04), None, Some(0.09), Some(0.09)]);
    }
}
