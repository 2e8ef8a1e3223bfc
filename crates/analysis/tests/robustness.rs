//! CRoMa, the robustness index and nIPD against PyPI's croma, calibration against scikit-learn (tools/goldens/robustness.py).

use coverslip_analysis::logistic::Logistic;
use coverslip_analysis::scanners::{
    calibration_error, cox_intercept, cox_slope, nipd, robustness_index, robustness_margin,
};
use coverslip_analysis::{Categories, auroc};
use faer::Mat;
use serde_json::Value;

/// Both sides compute in float64 with some sixty terms; they differ in the last bits.
const ROUNDING: f64 = 1e-12;
/// scikit-learn stops at a gradient of 1e-12 by L-BFGS: its slopes are right to about the root of the rounding.
const FITTED: f64 = 1e-6;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/robustness.json")).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn vector(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn names(value: &Value) -> Categories {
    value.as_array().unwrap().iter().map(Value::to_string).collect()
}

fn features(golden: &Value) -> Mat<f64> {
    let rows: Vec<Vec<f64>> = golden["features"].as_array().unwrap().iter().map(vector).collect();
    Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j])
}

#[track_caller]
fn close(found: f64, expected: &Value, tolerance: f64) {
    let expected = number(expected);
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

#[test]
fn margins_and_indices_are_cromas() {
    let golden = golden();
    let rows = features(&golden);
    let [biology, centre, group] = ["labels", "centres", "groups"].map(|name| names(&golden[name]));
    for expected in golden["margins"].as_array().unwrap() {
        let m = number(&expected["m"]) as usize;
        let found = robustness_margin(rows.as_ref(), &biology, &centre, &group, m, 100, 1).unwrap();
        assert!((found.scored, found.without_neighbours) == (60, 0));
        close(found.median, &expected["median"], ROUNDING);
        close(found.quantile, &expected["quantile"], ROUNDING);
        close(found.tail, &expected["tail"], ROUNDING);
        close(found.fragile, &expected["fragile"], ROUNDING);
        assert!(found.interval.0 <= found.median && found.median <= found.interval.1, "{found:?}");
        assert!(found.tail_interval.0 < found.tail_interval.1 && found.tail < found.median, "{found:?}");
    }
    for expected in golden["indices"].as_array().unwrap() {
        let k = number(&expected["k"]) as usize;
        let found = robustness_index(rows.as_ref(), &biology, &centre, &group, k, 10, 1).unwrap();
        close(found.index, &expected["index"], ROUNDING);
        close(found.support, &expected["support"], ROUNDING);
    }
}

#[test]
fn the_degradation_is_cromas() {
    let golden = &golden()["nipd"];
    let trials = golden["accuracies"].as_array().unwrap();
    let mean = |row: &Value| vector(row).iter().sum::<f64>() / vector(row).len() as f64;
    let accuracy: Vec<f64> = trials.iter().map(mean).collect();
    let found = nipd(&accuracy, &vector(&golden["v"]), number(&golden["chance"])).unwrap();
    close(found, &golden["value"], ROUNDING);
}

#[test]
fn probabilities_are_scikit_learns() {
    let golden = golden();
    let labels = vector(&golden["labels"]);
    let truth: Vec<bool> = labels.iter().map(|label| *label == 1.0).collect();
    let expected = &golden["logistic"];
    let found = Logistic::fit(features(&golden).as_ref(), &truth, number(&expected["penalty"])).unwrap();
    let slopes = expected["slopes"].as_array().unwrap();
    found.slopes().iter().zip(slopes).for_each(|(slope, expected)| close(*slope, expected, FITTED));
    close(found.intercept(), &expected["intercept"], FITTED);

    let (odds, expected) = (vector(&golden["odds"]), &golden["calibration"]);
    let truth: Vec<bool> = golden["truth"].as_array().unwrap().iter().map(|value| value.as_bool().unwrap()).collect();
    close(calibration_error(&odds, &truth), &expected["error"], ROUNDING);
    close(cox_slope(&odds, &truth), &expected["slope"], FITTED);
    close(cox_intercept(&odds, &truth), &expected["intercept"], 1e-10);
    let of = |wanted: bool| -> Vec<f64> {
        odds.iter().zip(&truth).filter(|(_, is)| **is == wanted).map(|(z, _)| *z).collect()
    };
    close(auroc(&of(false), &of(true)), &expected["auc"], ROUNDING);
}
