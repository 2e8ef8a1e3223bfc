//! Models and data sets beside each other: `compare.json`, `transfer.json`, `depth.json`.

use serde::{Deserialize, Serialize};

use super::absent::null_as_nan;
use super::file::{Findings, one_for_each};
use super::reading::{HeldOutScore, Reading, Sample};

/// Two models on the same tiles.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct CompareFindings {
    #[serde(flatten)]
    pub sample: Sample,
    pub names: [String; 2],
    pub taps: [String; 2],
    pub rows: Vec<Comparison>,
}

impl Findings for CompareFindings {
    const FILE: &'static str = "compare.json";
}

/// One cell type, read in one way from both models, in groups that were held out.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Comparison {
    #[serde(flatten)]
    pub reading: Reading,
    pub a: HeldOutScore,
    pub b: HeldOutScore,
    /// r of the first less r of the second.
    pub difference: Option<f64>,
    /// 95 % interval of the difference, both models on the same resamples of groups.
    #[serde(default, deserialize_with = "null_as_nan")]
    pub interval: Option<[f64; 2]>,
}

/// Chosen and fitted on one data set, reported on another.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct TransferFindings {
    pub from: Sample,
    pub to: Sample,
    pub tap: String,
    pub rows: Vec<Transfer>,
}

impl Findings for TransferFindings {
    const FILE: &'static str = "transfer.json";
}

/// One cell type, read in one way.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Transfer {
    #[serde(flatten)]
    pub reading: Reading,
    /// The column that was chosen.
    pub column: Option<String>,
    /// Its r where it was chosen: the best of many, too high.
    pub chosen_r: Option<f64>,
    /// On the other data set. Q2 is against that data set's own mean, and negative where the level of the counts differs.
    pub there: HeldOutScore,
}

/// Where in models counts can be read, and where the scanner can.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct DepthFindings {
    #[serde(flatten)]
    pub sample: Sample,
    /// The scanners that were told apart, and the column that kept groups whole.
    pub scanners: Option<(Vec<String>, String)>,
    pub cell_types: Vec<String>,
    /// By model, then by depth.
    pub points: Vec<DepthPoint>,
}

impl Findings for DepthFindings {
    const FILE: &'static str = "depth.json";

    fn check(&self) -> Result<(), String> {
        for point in &self.points {
            let what = format!("tap {} of {}", point.tap, point.model);
            one_for_each(&what, point.counts.len(), self.cell_types.len())?;
            if !(0.0..=1.0).contains(&point.depth) {
                return Err(format!("{what} has the depth {:e}, expected a share from 0 to 1", point.depth));
            }
        }
        Ok(())
    }
}

/// One tap of one model.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct DepthPoint {
    pub model: String,
    pub tap: String,
    /// Share of the model's blocks behind which the tap lies, 0 to 1; in a graph without blocks, the tap's rank.
    pub depth: f64,
    /// Ridge regression on the whole embedding, in groups held out, by cell type.
    pub counts: Vec<HeldOutScore>,
    /// Balanced accuracy of telling scanners apart, in groups held out.
    pub scanner_accuracy: Option<f64>,
    /// The balanced accuracy of guessing.
    pub scanner_chance: Option<f64>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::findings::absent::tests::each_number_may_be_absent;

    fn score() -> Value {
        json!({ "r": 0.5, "interval": [0.1, 0.7], "q2": 0.25, "chosen": null, "folds": 4 })
    }

    fn depth(depth: f64, counts: &[Value]) -> Value {
        json!({ "dataset": "d", "tiles": 12, "groups": 4, "scanners": [["A", "B"], "slide"], "cell_types": ["a"],
            "points": [{ "model": "m", "tap": "last", "depth": depth, "counts": counts, "scanner_accuracy": 0.5,
                "scanner_chance": 0.5 }] })
    }

    #[test]
    fn numbers_that_do_not_exist_are_read_as_they_were_written() {
        let reading = json!({ "cell_type": "a", "kind": "feature", "all_columns": false, "a": score(), "b": score(),
            "difference": 0.5, "interval": [0.1, 0.7] });
        let compared = json!({ "dataset": "d", "tiles": 12, "groups": 4, "names": ["A", "B"], "taps": ["x", "y"],
            "rows": [reading] });
        each_number_may_be_absent::<CompareFindings>(&compared, &[]);
        let sample = json!({ "dataset": "d", "tiles": 12, "groups": 4 });
        let transferred = json!({ "from": sample, "to": sample, "tap": "last", "rows": [{ "cell_type": "a",
            "kind": "feature", "all_columns": false, "column": "5", "chosen_r": 0.5, "there": score() }] });
        each_number_may_be_absent::<TransferFindings>(&transferred, &[]);
        // A tap without a depth has no place on the curve.
        each_number_may_be_absent::<DepthFindings>(&depth(0.5, &[score()]), &["/depth"]);
    }

    #[test]
    fn taps_off_the_curve_and_scores_without_a_cell_type_are_refused() {
        let check = |value| serde_json::from_value::<DepthFindings>(value).unwrap().check();
        assert_eq!(check(depth(1.0, &[score()])), Ok(()));
        for (off, said) in [(1e308, "1e308"), (-0.25, "-2.5e-1")] {
            let expected = format!("tap last of m has the depth {said}, expected a share from 0 to 1");
            assert_eq!(check(depth(off, &[score()])), Err(expected));
        }
        let few = "tap last of m has 0 rows, expected one for each of 1 cell types";
        assert_eq!(check(depth(1.0, &[])), Err(few.to_owned()));
    }
}
