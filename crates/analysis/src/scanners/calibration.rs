//! Does what a probe believes still hold on another scanner? A probe of the biology is fitted on one scanner and read on
//! all: it may rank tiles as well as before (AUC) and still state probabilities that are wrong (calibration).
//!
//! Groups are never cut: a tile is read by probes that were fitted without its group, on its own scanner and on others
//! alike, so that the two are on one footing and the same place on two scanners does not tell.

use std::collections::BTreeSet;

use faer::{Mat, MatRef};

use super::probe::standard;
use crate::beliefs::{Belief, by_group, mean_auc};
use crate::categories::Categories;
use crate::folds::folds;
use crate::logistic::{Logistic, sigmoid, softplus};
use crate::pca::Pca;
use crate::random::Random;
use crate::resampled::intervals;
use crate::rows::select;
use crate::undefined::Undefined;

/// Scanners that are compared at most, those with the most groups; pairs grow with the square.
const SCANNERS: usize = 6;
/// Kinds of biology at most, those with the most groups.
const KINDS: usize = 8;
/// Bins of probability, of equal width.
const BINS: usize = 10;
/// Tables of labels drawn by the stated probabilities, for the error of a probe that is calibrated.
const DRAWS: u64 = 200;
/// Bootstraps behind intervals at most: each fits the slope again.
const BOOTSTRAPS: usize = 300;
/// Penalties per column that are tried: the log-odds of a tile then have a standard deviation of about 10, 3, 1, 0.3 before
/// anything is seen.
const PENALTIES: [f64; 4] = [0.01, 0.1, 1.0, 10.0];

/// A figure with the 2.5 and 97.5 % points over bootstraps of groups; NaN where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub interval: (f64, f64),
}

/// A probe fitted on one scanner and read on one.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub fitted_on: String,
    pub read_on: String,
    pub tiles: usize,
    pub groups: usize,
    /// The area under the ROC curve, the mean over kinds; tiles are compared that one probe read.
    pub auc: Estimate,
    /// The expected calibration error: |share that is true − mean probability| in ten bins of probability, weighted by
    /// tiles. It has no interval: every resampling adds to it.
    pub error: f64,
    /// The error that a calibrated probe with these probabilities has on so few tiles: the mean, and the 95 % point.
    pub error_by_chance: (f64, f64),
    /// Cox's slope of the truth on the log-odds: 1 where calibrated, below 1 where the probe is too sure.
    pub slope: Estimate,
    /// What has to be added to the log-odds so that the mean probability is the share that is true: 0 where calibrated,
    /// above 0 where the probe says too little.
    pub intercept: Estimate,
}

impl Reading {
    /// Whether the stated probabilities are wrong: the interval of slope or intercept leaves out what is calibrated.
    pub fn is_off(&self) -> bool {
        let without = |one: &Estimate, right: f64| one.interval.0 > right || one.interval.1 < right;
        without(&self.slope, 1.0) || without(&self.intercept, 0.0)
    }
}

/// All readings.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationShift {
    /// What the probe tells: of two kinds the second from the first, of more each from the others.
    pub kinds: Vec<String>,
    /// Scanners with fewer groups of each kind than two, or beyond the number that is compared.
    pub left_out: usize,
    /// By the scanner that was fitted on, then by the one that was read.
    pub readings: Vec<Reading>,
}

/// Reads probes of the biology, logistic regressions on standardised columns, of each scanner on each. The penalty is
/// chosen by the loss on groups that were not fitted on.
///
/// # Errors
/// Where no two scanners have two kinds of biology with tiles in two groups each.
pub fn calibration_shift(
    rows: MatRef<'_, f64>,
    biology: &Categories,
    scanners: &Categories,
    groups: &Categories,
    most_folds: usize,
    bootstraps: usize,
    seed: u64,
) -> Result<CalibrationShift, Undefined> {
    let (chosen, kinds) = comparable(biology, scanners, groups).ok_or_else(|| {
        Undefined(
            "calibration by scanner: expected two scanners with two kinds of biology of two groups each, found none"
                .into(),
        )
    })?;
    let of_kind = |row: usize| kinds.iter().position(|&kind| kind == biology.codes()[row]);
    let kept: Vec<usize> =
        (0..biology.len()).filter(|&row| of_kind(row).is_some() && chosen.contains(&scanners.codes()[row])).collect();
    let (biology, scanner, group) = (biology.select(&kept), scanners.select(&kept), groups.select(&kept));
    let rows = select(rows, &kept);
    let count = most_folds.min(group.kinds()).max(2);
    let fold_of = folds(&biology, &group, count, seed);
    let mut readings = Vec::new();
    for fitted in 0..scanner.kinds() {
        let mut beliefs: Vec<Vec<Belief>> = vec![Vec::new(); scanner.kinds()];
        for fold in 0..count {
            let all = |of: &dyn Fn(usize) -> bool| (0..kept.len()).filter(|&row| of(row)).collect::<Vec<_>>();
            let train = all(&|row| fold_of[row] != fold && scanner.codes()[row] == fitted);
            let test = all(&|row| fold_of[row] == fold);
            let known: Vec<usize> = train.iter().map(|&row| biology.codes()[row]).collect();
            let read = read(&rows, &train, &known, &group.select(&train), &test, seed);
            for (kind, odds) in read {
                for (&row, odds) in test.iter().zip(odds) {
                    let truth = biology.codes()[row] == kind;
                    beliefs[scanner.codes()[row]].push(Belief { kind, fold, group: group.codes()[row], odds, truth });
                }
            }
        }
        for (place, beliefs) in beliefs.iter().enumerate() {
            let names = [fitted, place].map(|code| scanner.names()[code].clone());
            readings.extend(reading(names, beliefs, group.kinds(), bootstraps.min(BOOTSTRAPS), seed));
        }
    }
    if readings.is_empty() {
        return Err(Undefined(
            "calibration by scanner: expected a probe that can be fitted on one scanner, found none: every fold lacks a \
             kind of biology"
                .into(),
        ));
    }
    let left_out = scanners.kinds() - chosen.len();
    Ok(CalibrationShift { kinds: biology.names().to_vec(), left_out, readings })
}

/// The scanners and kinds that can be compared: the most kinds first, then every scanner that has two groups of each.
fn comparable(biology: &Categories, scanners: &Categories, groups: &Categories) -> Option<(Vec<usize>, Vec<usize>)> {
    let mut cells = vec![vec![BTreeSet::new(); biology.kinds()]; scanners.kinds()];
    for row in 0..biology.len() {
        cells[scanners.codes()[row]][biology.codes()[row]].insert(groups.codes()[row]);
    }
    let has = |scanner: usize, kind: usize| cells[scanner][kind].len() >= 2;
    let of_kind = |kind: usize| (0..scanners.kinds()).filter(|&scanner| has(scanner, kind)).count();
    let mut kinds: Vec<usize> = (0..biology.kinds()).filter(|&kind| of_kind(kind) >= 2).collect();
    let total = |kind: usize| cells.iter().map(|row| row[kind].len()).sum::<usize>();
    kinds.sort_by_key(|&kind| (std::cmp::Reverse(of_kind(kind)), std::cmp::Reverse(total(kind)), kind));
    kinds.truncate(KINDS);
    while kinds.len() >= 2 {
        let mut with: Vec<usize> =
            (0..scanners.kinds()).filter(|&scanner| kinds.iter().all(|&kind| has(scanner, kind))).collect();
        if with.len() >= 2 {
            let all = |scanner: usize| kinds.iter().map(|&kind| cells[scanner][kind].len()).sum::<usize>();
            with.sort_by_key(|&scanner| (std::cmp::Reverse(all(scanner)), scanner));
            with.truncate(SCANNERS);
            return Some((with, kinds));
        }
        kinds.pop();
    }
    None
}

/// The log-odds of each kind of the rows `test`, by regressions fitted on `train`; kinds without a fit are left out.
fn read(
    rows: &Mat<f64>,
    train: &[usize],
    known: &[usize],
    groups: &Categories,
    test: &[usize],
    seed: u64,
) -> Vec<(usize, Vec<f64>)> {
    let kinds = known.iter().max().map_or(0, |most| most + 1);
    // Of two kinds the second says all.
    let asked: Vec<usize> = if kinds <= 2 { vec![1] } else { (0..kinds).collect() };
    let Some((seen, read)) = coordinates(&select(rows.as_ref(), train), &select(rows.as_ref(), test)) else {
        return Vec::new();
    };
    let labels: Categories = known.iter().map(|kind| format!("{kind:06}")).collect();
    let half = folds(&labels, groups, 2, seed);
    let truth = |rows: &[usize], kind: usize| rows.iter().map(|&row| known[row] == kind).collect::<Vec<bool>>();
    let loss = |penalty: f64| -> f64 {
        let mut sum = 0.0;
        for side in 0..2 {
            let (other, own): (Vec<usize>, Vec<usize>) = (0..train.len()).partition(|&row| half[row] == side);
            for &kind in &asked {
                let fitted = Logistic::fit(select(seen.as_ref(), &own).as_ref(), &truth(&own, kind), penalty);
                let Ok(fitted) = fitted else { continue };
                let odds = fitted.log_odds(select(seen.as_ref(), &other).as_ref());
                let pairs = odds.iter().zip(truth(&other, kind));
                sum += pairs.map(|(&z, is)| softplus(if is { -z } else { z })).sum::<f64>();
            }
        }
        sum
    };
    let width = rows.ncols() as f64;
    let best = PENALTIES.map(|share| (loss(share * width), share * width));
    let penalty = best.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or(width, |found| found.1);
    let all: Vec<usize> = (0..train.len()).collect();
    let odds = |kind: usize| {
        let fitted = Logistic::fit(seen.as_ref(), &truth(&all, kind), penalty).ok()?;
        Some((kind, fitted.log_odds(read.as_ref())))
    };
    asked.iter().filter_map(|&kind| odds(kind)).collect()
}

/// Rows standardised as `seen` is; where it has fewer rows than columns, along the directions that its rows span: a
/// penalised fit is the same there.
fn coordinates(seen: &Mat<f64>, read: &Mat<f64>) -> Option<(Mat<f64>, Mat<f64>)> {
    if seen.nrows() == 0 {
        return None;
    }
    let (means, deviations) = standard(seen.as_ref());
    let standardised = |rows: &Mat<f64>| {
        Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| {
            (rows[(row, column)] - means[column]) / deviations[column]
        })
    };
    let (seen, read) = (standardised(seen), standardised(read));
    if seen.nrows() > seen.ncols() {
        return Some((seen, read));
    }
    let spanned = Pca::fit(seen.as_ref(), seen.nrows()).ok()?;
    Some((spanned.project(seen.as_ref()), spanned.project(read.as_ref())))
}

/// The figures of what was believed of one scanner's tiles.
fn reading(
    [fitted_on, read_on]: [String; 2],
    beliefs: &[Belief],
    groups: usize,
    bootstraps: usize,
    seed: u64,
) -> Option<Reading> {
    if beliefs.is_empty() {
        return None;
    }
    let kinds = beliefs.iter().map(|one| one.kind).collect::<BTreeSet<_>>().len();
    let by_group = by_group(beliefs, groups);
    let [auc, slope, intercept] = figures(beliefs);
    let found = intervals(by_group.len(), bootstraps, seed, |drawn| {
        figures(&drawn.iter().flat_map(|&group| by_group[group].iter().copied()).collect::<Vec<_>>())
    });
    Some(Reading {
        fitted_on,
        read_on,
        tiles: beliefs.len() / kinds,
        groups: by_group.len(),
        auc: Estimate { value: auc, interval: found[0] },
        error: calibration_error(&odds(beliefs), &truth(beliefs)),
        error_by_chance: error_by_chance(beliefs, seed),
        slope: Estimate { value: slope, interval: found[1] },
        intercept: Estimate { value: intercept, interval: found[2] },
    })
}

fn odds(beliefs: &[Belief]) -> Vec<f64> {
    beliefs.iter().map(|one| one.odds).collect()
}

fn truth(beliefs: &[Belief]) -> Vec<bool> {
    beliefs.iter().map(|one| one.truth).collect()
}

/// AUC, slope and intercept.
fn figures(beliefs: &[Belief]) -> [f64; 3] {
    let (odds, truth) = (odds(beliefs), truth(beliefs));
    [mean_auc(beliefs), cox_slope(&odds, &truth), cox_intercept(&odds, &truth)]
}

/// The expected calibration error of probabilities with log-odds `odds`.
pub fn calibration_error(odds: &[f64], truth: &[bool]) -> f64 {
    let mut bins = [0.0; BINS];
    for (&z, &is) in odds.iter().zip(truth) {
        let p = sigmoid(z);
        bins[((p * BINS as f64) as usize).min(BINS - 1)] += f64::from(u8::from(is)) - p;
    }
    bins.iter().map(|gap| gap.abs()).sum::<f64>() / odds.len() as f64
}

/// Cox's slope; NaN where the log-odds separate the two kinds, or there is one kind.
pub fn cox_slope(odds: &[f64], truth: &[bool]) -> f64 {
    let column = Mat::from_fn(odds.len(), 1, |row, _| odds[row]);
    Logistic::fit(column.as_ref(), truth, 0.0).map_or(f64::NAN, |fitted| fitted.slopes()[0])
}

/// What to add to the log-odds so that the mean probability is the share that is true; NaN where there is one kind.
pub fn cox_intercept(odds: &[f64], truth: &[bool]) -> f64 {
    let wanted = truth.iter().filter(|&&is| is).count() as f64;
    if wanted == 0.0 || wanted == truth.len() as f64 {
        return f64::NAN;
    }
    let sum = |added: f64| odds.iter().map(|z| sigmoid(z + added)).sum::<f64>();
    let bound = odds.iter().fold(0.0_f64, |most, z| most.max(z.abs())) + (truth.len() as f64).ln() + 1.0;
    let (mut low, mut high) = (-bound, bound);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if sum(middle) < wanted { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The calibration error where labels are drawn by the probabilities themselves: the mean, and the 95 % point.
fn error_by_chance(beliefs: &[Belief], seed: u64) -> (f64, f64) {
    let odds = odds(beliefs);
    let mut random = Random::new(seed);
    let draw = |_| {
        let truth: Vec<bool> = odds.iter().map(|&z| random.uniform() < sigmoid(z)).collect();
        calibration_error(&odds, &truth)
    };
    let mut errors: Vec<f64> = (0..DRAWS).map(draw).collect();
    errors.sort_by(f64::total_cmp);
    (errors.iter().sum::<f64>() / DRAWS as f64, errors[DRAWS as usize * 95 / 100])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two scanners with the same 200 places; column 0 carries the biology, and the second scanner adds to it.
    fn shift(added: f64, stretched: f64) -> CalibrationShift {
        let mut random = Random::new(4);
        let places: Vec<(bool, f64, f64)> =
            (0..200).map(|place| (place % 2 == 0, random.normal(), random.normal())).collect();
        let column = |row: usize, column: usize| {
            let (is, noise, other) = places[row % 200];
            let value = if is { 1.0 } else { -1.0 } + 0.9 * noise;
            match (column, row < 200) {
                (0, true) => value,
                (0, false) => stretched * value + added,
                _ => other,
            }
        };
        let rows = Mat::from_fn(400, 3, column);
        let name = |of: &dyn Fn(usize) -> String| (0..400).map(of).collect::<Categories>();
        let biology = name(&|row| if places[row % 200].0 { "tumour".into() } else { "none".into() });
        let scanner = name(&|row| if row < 200 { "a".into() } else { "b".into() });
        let place = name(&|row| (row % 200).to_string());
        calibration_shift(rows.as_ref(), &biology, &scanner, &place, 5, 200, 1).unwrap()
    }

    fn of<'s>(found: &'s CalibrationShift, fitted: &str, read: &str) -> &'s Reading {
        found.readings.iter().find(|one| one.fitted_on == fitted && one.read_on == read).unwrap()
    }

    #[test]
    fn a_scanner_that_moves_the_direction_breaks_calibration_and_not_auc() {
        let same = shift(0.0, 1.0);
        assert_eq!((same.readings.len(), same.left_out, same.kinds.len()), (4, 0, 2));
        assert!(!of(&same, "a", "b").is_off(), "{:?}", of(&same, "a", "b"));
        let moved = shift(1.5, 1.0);
        let (own, other) = (of(&moved, "a", "a"), of(&moved, "a", "b"));
        assert!(!own.is_off() && other.is_off(), "{own:?}\n{other:?}");
        // Adding the same to every tile keeps their order.
        assert!((own.auc.value - other.auc.value).abs() < 1e-9, "{own:?}\n{other:?}");
        assert!(other.intercept.interval.1 < -1.0, "the probe now says tumour too often: {other:?}");
        assert!(own.error < own.error_by_chance.1 && other.error > 2.0 * other.error_by_chance.1, "{own:?}\n{other:?}");
    }

    #[test]
    fn a_scanner_with_more_contrast_makes_a_probe_too_sure() {
        let found = shift(0.0, 3.0);
        let other = of(&found, "a", "b");
        assert!(other.slope.interval.1 < 0.7 && other.is_off(), "{other:?}");
        assert!(of(&found, "b", "a").slope.interval.0 > 1.5, "and one fitted there too unsure here");
    }

    #[test]
    fn without_two_kinds_on_two_scanners_there_is_none() {
        let rows = Mat::from_fn(4, 1, |row, _| row as f64);
        let text = |names: &[&str]| Categories::new(names);
        let error = calibration_shift(
            rows.as_ref(),
            &text(&["t", "t", "n", "n"]),
            &text(&["a", "a", "b", "b"]),
            &text(&["1", "2", "3", "4"]),
            5,
            10,
            1,
        );
        assert!(error.unwrap_err().0.contains("found none"));
    }
}
