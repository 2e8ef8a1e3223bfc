//! `counts.json`: which features follow the counts of which cells.

use coverslip_bundle::{Bundle, SAE_FILE};
use serde::{Deserialize, Serialize};

use super::absent::null_as_nan;
use super::file::{Findings, one_for_each};
use super::reading::{ColumnKind, HeldOutScore};

/// A discovery has an adjusted p of at most this.
pub const ALPHA: f64 = 0.05;

/// The whole analysis.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct CountsFindings {
    pub source: Source,
    pub tiles: usize,
    pub groups: usize,
    /// Tiles in the smallest, the middle and the largest group.
    pub group_sizes: [usize; 3],
    /// Columns that fire in fewer groups are not tested.
    pub least_groups: usize,
    /// Permutations of whole groups behind each p.
    pub permutations: usize,
    /// Resamples of whole groups behind each interval.
    pub resamples: usize,
    pub cell_types: Vec<CellType>,
    pub representations: Vec<RepresentationFindings>,
    /// A label for each count, tried on groups that had no part in choosing it; none where there are no features.
    #[serde(default)]
    pub replication: Option<Replication>,
    /// The SAE's features: the discoveries, and the ten strongest of every cell type.
    pub features: Vec<Association>,
    /// The control: the same analysis with the counts of whole groups exchanged.
    pub shuffled: Option<Shuffled>,
}

impl Findings for CountsFindings {
    const FILE: &'static str = "counts.json";

    fn check(&self) -> Result<(), String> {
        let types = &self.cell_types;
        for found in &self.representations {
            let what = format!("representation {}", found.kind.one());
            one_for_each(&what, found.rows.len(), types.len())?;
            let names = found.rows.iter().map(|row| row.cell_type.as_str());
            in_order(&what, names, types)?;
        }
        let tried = self.replication.as_ref().filter(|replication| replication.impossible.is_none());
        tried.map_or(Ok(()), |replication| {
            one_for_each("replication", replication.trials.len(), types.len())?;
            in_order("replication", replication.trials.iter().map(|trial| trial.cell_type.as_str()), types)
        })
    }
}

/// Refuses rows that are not of the cell types in their order: the report finds them by their place.
fn in_order<'a>(what: &str, rows: impl Iterator<Item = &'a str>, types: &[CellType]) -> Result<(), String> {
    let other = rows.zip(types).enumerate().find(|(_, (row, cell))| *row != cell.name);
    other.map_or(Ok(()), |(place, (row, cell))| {
        Err(format!("row {} of {what} is of {row}, expected {} as in the cell types", place + 1, cell.name))
    })
}

/// Where the numbers come from.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Source {
    pub dataset: String,
    pub embeddings: String,
    pub labels: String,
    pub tap: String,
    pub bundle: Option<String>,
    /// sha256 of the bundle's SAE, whose numbering the features have.
    pub sae_digest: Option<String>,
    /// What makes a group, in words.
    pub grouped_by: String,
}

/// sha256 of a bundle's SAE. It numbers the features, and stays the same when the bundle is labelled.
pub(crate) fn sae_digest(bundle: &Bundle) -> Option<String> {
    bundle.manifest().files.get(SAE_FILE).map(|file| file.sha256.to_string())
}

/// One column of counts.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct CellType {
    pub name: String,
    #[serde(deserialize_with = "null_as_nan")]
    pub mean: f64,
    /// Standard deviation between tiles.
    #[serde(deserialize_with = "null_as_nan")]
    pub sd: f64,
    #[serde(deserialize_with = "null_as_nan")]
    pub min: f64,
    #[serde(deserialize_with = "null_as_nan")]
    pub max: f64,
    /// Groups that have any.
    pub groups_with: usize,
    /// Share of the variance that lies between groups, 0 to 1.
    #[serde(deserialize_with = "null_as_nan")]
    pub between_groups: f64,
}

/// What the columns of one kind say about every cell type.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct RepresentationFindings {
    pub kind: ColumnKind,
    /// Columns that are not 0 everywhere.
    pub columns: usize,
    /// Columns that fire in enough groups to be tested.
    pub tested: usize,
    /// Tiles of the test: fewer than all where groups were cut to one size.
    pub tested_tiles: usize,
    pub tested_groups: usize,
    /// The |r| that chance alone exceeds somewhere in the table once in twenty times.
    #[serde(deserialize_with = "null_as_nan")]
    pub critical: f64,
    /// Pairs of column and cell type with p ≤ [`ALPHA`].
    pub discoveries: usize,
    /// One for each cell type, in their order.
    pub rows: Vec<TypeRow>,
}

/// One cell type in one representation.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct TypeRow {
    pub cell_type: String,
    /// The column with the largest |r| on all tiles: the best of many, so its r is too high.
    pub best: Option<Association>,
    /// One column, chosen on other groups than it is reported on.
    pub one: HeldOutScore,
    /// Ridge regression on all columns.
    pub all: HeldOutScore,
}

/// A column and a cell type.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Association {
    /// The feature's index, the dimension's, the component's, or a colour's name.
    pub column: String,
    pub cell_type: String,
    #[serde(deserialize_with = "null_as_nan")]
    pub pearson: f64,
    /// 95 % interval.
    #[serde(default, deserialize_with = "null_as_nan")]
    pub interval: Option<[f64; 2]>,
    pub spearman: Option<f64>,
    #[serde(default, deserialize_with = "null_as_nan")]
    pub spearman_interval: Option<[f64; 2]>,
    /// Adjusted for all columns and cell types of the table.
    #[serde(deserialize_with = "null_as_nan")]
    pub p: f64,
    pub tiles_firing: usize,
    pub groups_firing: usize,
}

/// Labels that were chosen on half of the groups and tested on the other half.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub struct Replication {
    /// Why no label can be tried.
    pub impossible: Option<String>,
    pub choosing_groups: usize,
    pub testing_groups: usize,
    pub testing_tiles: usize,
    /// Columns of the tiles' table that are taken out of features and counts.
    pub partial_on: Vec<String>,
    /// One for each cell type, in their order.
    pub trials: Vec<LabelTrial>,
}

/// What became of the label of one cell type.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub struct LabelTrial {
    pub cell_type: String,
    /// The best of ten candidates; none where no feature has a positive r on the choosing half.
    pub feature: Option<String>,
    /// Partial r on the choosing half.
    pub chosen: Option<f64>,
    /// Partial r on the testing half.
    pub r: Option<f64>,
    /// The smallest partial r on the testing half without one of its groups.
    pub least: Option<f64>,
    /// Adjusted for the candidates (largest of them, whole groups permuted) and for the cell types (Holm).
    pub p: Option<f64>,
    /// What the label did not pass; empty: it replicates.
    pub failed: Vec<String>,
}

/// Tables in which nothing can be found: what is found there is chance.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct Shuffled {
    pub tables: usize,
    /// Tables in which any SAE feature (or dimension, where there are no features) was a discovery.
    pub with_discovery: usize,
}

#[cfg(test)]
mod tests {
    use coverslip_testkit::Scratch;
    use serde_json::{Value, json};

    use super::*;
    use crate::findings::absent::tests::each_number_may_be_absent;

    /// Two cell types in one representation.
    fn whole() -> Value {
        let association = json!({ "column": "5", "cell_type": "a", "pearson": 0.7, "interval": [0.5, 0.8],
            "spearman": 0.6, "spearman_interval": [0.4, 0.7], "p": 0.01, "tiles_firing": 9, "groups_firing": 3 });
        let score = json!({ "r": 0.5, "interval": [0.1, 0.7], "q2": 0.25, "chosen": ["5", 3], "folds": 4 });
        let cell = |name: &str| json!({ "name": name, "mean": 2.5, "sd": 1.5, "min": 0.0, "max": 9.0, "groups_with": 3, "between_groups": 0.5 });
        let row = |name: &str| json!({ "cell_type": name, "best": association, "one": score, "all": score });
        let trial = |name: &str| json!({ "cell_type": name, "feature": "5", "chosen": 0.5, "r": 0.4, "least": 0.3, "p": 0.02, "failed": [] });
        json!({
            "source": { "dataset": "d", "embeddings": "e", "labels": "l", "tap": "last", "bundle": null,
                "sae_digest": null, "grouped_by": "slide" },
            "tiles": 12, "groups": 4, "group_sizes": [3, 3, 3], "least_groups": 3, "permutations": 99, "resamples": 100,
            "cell_types": [cell("a"), cell("b")],
            "representations": [{ "kind": "feature", "columns": 9, "tested": 8, "tested_tiles": 12, "tested_groups": 4,
                "critical": 0.75, "discoveries": 1, "rows": [row("a"), row("b")] }],
            "replication": { "impossible": null, "choosing_groups": 2, "testing_groups": 2, "testing_tiles": 6,
                "partial_on": [], "trials": [trial("a"), trial("b")] },
            "features": [association], "shuffled": null,
        })
    }

    fn read(value: &Value) -> Result<CountsFindings, String> {
        let scratch = Scratch::new("findings-counts");
        let path = scratch.path().join(CountsFindings::FILE);
        std::fs::write(&path, value.to_string()).unwrap();
        CountsFindings::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_that_do_not_exist_are_read_as_they_were_written() {
        each_number_may_be_absent::<CountsFindings>(&whole(), &[]);
        let mut found: CountsFindings = serde_json::from_value(whole()).unwrap();
        found.cell_types[0].between_groups = f64::NAN;
        found.features[0].interval = Some([f64::NAN, 0.5]);
        let found = read(&serde_json::from_slice(&found.text().unwrap()).unwrap()).unwrap();
        assert!(found.cell_types[0].between_groups.is_nan() && found.features[0].interval.is_none());
    }

    #[test]
    fn rows_that_do_not_match_the_cell_types_are_refused() {
        assert!(read(&whole()).is_ok());
        let refused = |change: fn(&mut Value), expected: &str| {
            let mut value = whole();
            change(&mut value);
            let found = read(&value).unwrap_err();
            assert!(found.contains("counts.json: ") && found.contains(expected), "{expected:?} in {found:?}");
            assert!(found.ends_with("; run the analysis again"), "{found}");
        };
        let pop = |value: &mut Value| drop(value["representations"][0]["rows"].as_array_mut().unwrap().pop());
        refused(pop, "representation SAE feature has 1 rows, expected one for each of 2 cell types");
        let push = |value: &mut Value| {
            let cell = value["cell_types"][0].clone();
            value["cell_types"].as_array_mut().unwrap().push(cell);
        };
        refused(push, "representation SAE feature has 2 rows, expected one for each of 3 cell types");
        let pop = |value: &mut Value| drop(value["replication"]["trials"].as_array_mut().unwrap().pop());
        refused(pop, "replication has 1 rows, expected one for each of 2 cell types");
        let swap = |value: &mut Value| value["representations"][0]["rows"].as_array_mut().unwrap().swap(0, 1);
        refused(swap, "row 1 of representation SAE feature is of b, expected a as in the cell types");
    }
}
