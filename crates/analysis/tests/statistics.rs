//! The statistics against SciPy, scikit-learn and NumPy (tools/goldens/analysis.py), and by simulation.

use coverslip_analysis::counts::{
    Groups, PairSums, Resamples, bca, best_feature, correlations, max_t, ridge, ridge_elsewhere,
};
use coverslip_analysis::pca::Pca;
use coverslip_analysis::random::Random;
use faer::Mat;
use serde_json::Value;

/// Both sides compute in float64; sums over some forty rows differ in the last bits.
const ROUNDING: f64 = 1e-10;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/statistics.json")).unwrap()
}

fn vector(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn matrix(value: &Value) -> Mat<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(vector).collect();
    Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j])
}

fn groups(value: &Value) -> Groups {
    Groups::new(&value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect::<Vec<_>>())
}

fn column(matrix: &Mat<f64>, j: usize) -> Vec<f64> {
    matrix.col(j).iter().copied().collect()
}

#[track_caller]
fn expect_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance, "differs by {worst:e}:\n{found:?}\n{expected:?}");
}

#[test]
fn intervals_are_scipys_on_the_same_resamples() {
    let golden = golden();
    let (x, y) = (column(&matrix(&golden["x"]), 3), column(&matrix(&golden["y"]), 0));
    let sums = PairSums::new(&x, &y, &groups(&golden["groups"]));
    let times = matrix(&golden["bca"]["times"]);
    let replicates: Vec<f64> = (0..times.nrows()).map(|i| sums.r(|g| times[(i, g)])).collect();
    expect_close(&replicates, &vector(&golden["bca"]["replicates"]), ROUNDING);
    expect_close(&sums.left_out(), &vector(&golden["bca"]["left_out"]), ROUNDING);
    let interval = bca(sums.r(|_| 1.0), &replicates, &sums.left_out(), 0.95).unwrap();
    // The normal distribution's quantile is an approximation on either side.
    expect_close(&[interval.low, interval.high], &vector(&golden["bca"]["ends"]), 1e-7);
}

#[test]
fn an_interval_holds_the_truth_about_as_often_as_it_says() {
    // 25 groups of 4 with ρ = 0.5 between and within groups; groups are independent, tiles are not.
    let (mut random, mut held) = (Random::new(11), 0);
    let groups = Groups::new(&(0..100).map(|row| row / 4).collect::<Vec<usize>>());
    for trial in 0..200 {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for _ in 0..25 {
            let shared = [random.normal(), random.normal()];
            for _ in 0..4 {
                let own = [random.normal(), random.normal()];
                let pair = [shared[0] + own[0], shared[1] + own[1]];
                x.push(pair[0]);
                y.push(0.5 * pair[0] + 0.75_f64.sqrt() * pair[1]);
            }
        }
        let resamples = Resamples::new(25, 400, trial);
        let interval = PairSums::new(&x, &y, &groups).interval(&resamples, 0.95).unwrap();
        held += usize::from(interval.low <= 0.5 && 0.5 <= interval.high);
    }
    // 95 % of 200 are 190; bootstrap intervals of few groups are known to be a little short.
    assert!((176..=199).contains(&held), "{held} of 200");
}

#[test]
fn ridge_is_scikit_learns_with_nested_choice() {
    let golden = golden();
    let (x, y) = (matrix(&golden["x"]), matrix(&golden["y"]));
    let folds = groups(&golden["groups"]).folds(20);
    let narrow = x.subcols(0, 5).to_owned();
    for (name, x) in [("wide", &x), ("tall", &narrow)] {
        for (t, found) in ridge(x.as_ref(), y.as_ref(), &folds).unwrap().iter().enumerate() {
            // Counts go up to some tens; the two solve the same systems in different ways.
            expect_close(&found.predicted, &vector(&golden["ridge"][name][t]), 1e-6);
        }
        // What is predicted for the first group from the others is what it is predicted to be elsewhere.
        let others = |m: &Mat<f64>| m.subrows(4, m.nrows() - 4).to_owned();
        let inner: Vec<usize> = folds[4..].iter().map(|fold| fold - 1).collect();
        let (from, to) = (others(x), x.subrows(0, 4));
        for (t, found) in ridge_elsewhere(from.as_ref(), others(&y).as_ref(), &inner, to).unwrap().iter().enumerate() {
            expect_close(found, &vector(&golden["ridge"][name][t])[..4], 1e-6);
        }
    }
}

#[test]
fn the_best_feature_is_chosen_without_the_group_it_is_reported_on() {
    let golden = golden();
    let (x, y) = (matrix(&golden["x"]), matrix(&golden["y"]));
    let folds = groups(&golden["groups"]).folds(20);
    let fires = vec![vec![1; x.ncols()]; 7];
    for t in 0..2 {
        let (held_out, lines) = best_feature(x.as_ref(), &column(&y, t), &folds, &fires, 3);
        let expected = &golden["best"][t];
        let chosen: Vec<f64> = lines.iter().map(|line| line.unwrap().feature as f64).collect();
        expect_close(&chosen, &vector(&expected["chosen"]), 0.0);
        expect_close(&held_out.predicted, &vector(&expected["predicted"]), 1e-8);
    }
    // A feature that fires in three groups only fires in two of the others when one of them is left out.
    let mut rare = vec![vec![0; x.ncols()]; 7];
    (0..3).for_each(|g| rare[g] = vec![1; x.ncols()]);
    let (_, lines) = best_feature(x.as_ref(), &column(&y, 0), &folds, &rare, 3);
    let there: Vec<bool> = lines.iter().map(Option::is_some).collect();
    assert_eq!(there, [false, false, false, true, true, true, true]);
}

#[test]
fn principal_components_are_scikit_learns() {
    let golden = golden();
    let x = matrix(&golden["x"]);
    let narrow = x.subcols(0, 5).to_owned();
    for (name, x, count) in [("wide", &x, 6), ("tall", &narrow, 5)] {
        let coordinates = Pca::fit(x.as_ref(), count).unwrap().project(x.as_ref());
        expect_close(&variances(&coordinates), &vector(&golden["pca"][name]["variances"]), 1e-9);
        let expected = matrix(&golden["pca"][name]["magnitudes"]);
        for j in 0..count {
            let found: Vec<f64> = column(&coordinates, j).iter().map(|v| v.abs()).collect();
            expect_close(&found, &column(&expected, j), 1e-8);
        }
    }
    let all = Pca::fit(x.as_ref(), 99).unwrap().project(x.as_ref());
    assert_eq!(all.ncols(), x.nrows() - 1, "31 rows span 30 directions");
    // Coordinates along all directions have the inner products of the rows less their mean.
    let mean = |j: usize| column(&x, j).iter().sum::<f64>() / x.nrows() as f64;
    let centred = Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] - mean(j));
    assert!((&all * all.transpose() - &centred * centred.transpose()).norm_max() < 1e-9);
    let total = centred.squared_norm_l2() / (x.nrows() - 1) as f64;
    assert!((variances(&all).iter().sum::<f64>() - total).abs() < 1e-9);
}

/// The variance of each column, over n − 1; principal components have mean 0.
fn variances(coordinates: &Mat<f64>) -> Vec<f64> {
    coordinates.col_iter().map(|column| column.squared_norm_l2() / (coordinates.nrows() - 1) as f64).collect()
}

#[test]
fn adjusted_p_is_that_of_all_arrangements() {
    let golden = &golden()["max_t"];
    let (x, y) = (matrix(&golden["x"]), matrix(&golden["y"]));
    let found = max_t(x.as_ref(), y.as_ref(), &groups(&golden["groups"]), 40_000, 1).unwrap();
    let found: Vec<f64> = (0..2).flat_map(|t| column(&found.adjusted, t)).collect();
    // Sampled instead of enumerated: at most √(p(1−p)/40,000) = 0.0025 a standard error; four of them.
    expect_close(&found, &vector(&golden["adjusted"]), 0.01);
}

/// Features and counts of 14 groups of 4, both alike within groups and independent of each other.
fn unrelated(random: &mut Random, columns: usize) -> Mat<f64> {
    let mut matrix = Mat::zeros(56, columns);
    for mut column in matrix.col_iter_mut() {
        for group in 0..14 {
            let shared = random.normal();
            (0..4).for_each(|tile| column[group * 4 + tile] = shared + 0.5 * random.normal());
        }
    }
    matrix
}

#[test]
fn at_five_percent_about_one_in_twenty_unrelated_tables_has_a_discovery() {
    let mut random = Random::new(5);
    let groups = Groups::new(&(0..56).map(|row| row / 4).collect::<Vec<usize>>());
    let tiles = Groups::new(&(0..56).collect::<Vec<usize>>());
    let (mut by_group, mut by_tile) = (0, 0);
    for trial in 0..200 {
        let (x, y) = (unrelated(&mut random, 40), unrelated(&mut random, 3));
        let any = |groups: &Groups| {
            let found = max_t(x.as_ref(), y.as_ref(), groups, 199, trial).unwrap();
            usize::from(found.adjusted.col_iter().any(|column| column.iter().any(|p| *p <= 0.05)))
        };
        by_group += any(&groups);
        by_tile += any(&tiles);
    }
    // Of 200 true nulls at 5 %, more than 18 come up with probability 0.5 %.
    assert!(by_group <= 18, "{by_group} of 200");
    assert!(by_tile > 100, "tiles of a group are not exchangeable one by one, and that must show: {by_tile} of 200");
}

#[test]
fn planted_features_are_found_and_no_others() {
    let mut random = Random::new(9);
    let groups = Groups::new(&(0..56).map(|row| row / 4).collect::<Vec<usize>>());
    let (mut x, mut y) = (unrelated(&mut random, 300), unrelated(&mut random, 4));
    for (t, counts) in y.col_iter_mut().enumerate() {
        for (row, count) in counts.iter_mut().enumerate() {
            *count = random.poisson((1.5 + 0.5 * *count).exp()) as f64;
            // Feature 10 t + 7 rises with count t, half of them fall with it.
            let sign = if t % 2 == 0 { 1.0 } else { -1.0 };
            x[(row, 10 * t + 7)] = sign * (*count + 1.0).ln() + 0.15 * random.normal();
        }
    }
    let found = max_t(x.as_ref(), y.as_ref(), &groups, 999, 2).unwrap();
    let discoveries: Vec<(usize, usize)> =
        (0..4).flat_map(|t| (0..300).map(move |j| (j, t))).filter(|&(j, t)| found.adjusted[(j, t)] <= 0.05).collect();
    assert_eq!(discoveries, [(7, 0), (17, 1), (27, 2), (37, 3)]);
    let r = correlations(x.as_ref(), y.as_ref());
    assert!(r[(7, 0)] > 0.8 && r[(17, 1)] < -0.8 && found.critical(0.95) < 0.95);
}

#[test]
fn what_cannot_be_tested_says_so() {
    let x = Mat::from_fn(6, 2, |i, j| (i * (j + 1)) as f64);
    let unequal = Groups::new(&[0, 0, 0, 0, 1, 1]);
    assert!(max_t(x.as_ref(), x.as_ref(), &unequal, 9, 1).unwrap_err().0.contains("cut them first"));
    let one = Groups::new(&[0; 6]);
    assert!(max_t(x.as_ref(), x.as_ref(), &one, 9, 1).unwrap_err().0.contains("two groups"));
    assert!(ridge(x.as_ref(), x.as_ref(), unequal.of()).unwrap_err().0.contains("three groups"));
    assert!(Pca::fit(Mat::<f64>::zeros(3, 2).as_ref(), 1).unwrap_err().0.contains("same"));
}
