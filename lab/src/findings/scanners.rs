//! `scanners.json`: how much of the embeddings is the scanner's, tap by tap, before and after corrections.

use serde::{Deserialize, Serialize};

use super::absent::{MayBeAbsent, null_as_nan};
use super::file::Findings;

/// The whole analysis.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ScannersFindings {
    pub format: String,
    pub tiles: usize,
    pub scanners: Vec<Counted>,
    pub biology: Option<Vec<Counted>>,
    pub columns: Columns,
    pub settings: Settings,
    /// Shallow taps first.
    pub taps: Vec<TapFindings>,
    /// SAE features that follow the scanner, the surest first; `None` where the files have no features.
    pub features: Option<Vec<ScannerFeature>>,
}

impl ScannersFindings {
    /// What [`ScannersFindings::format`] says.
    pub const FORMAT: &'static str = "coverslip-scanners/2";
}

impl Findings for ScannersFindings {
    const FILE: &'static str = "scanners.json";
}

/// Tiles and groups of one scanner or one kind of biology.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Counted {
    pub name: String,
    pub tiles: usize,
    pub groups: usize,
}

/// Names of the table's columns that were used.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Columns {
    pub scanner: String,
    pub group: String,
    pub biology: Option<String>,
    pub pair: Option<String>,
}

/// What all taps are measured with.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct Settings {
    /// Neighbours of the robustness index.
    pub k: usize,
    /// Bootstraps of slides behind its interval.
    pub bootstraps: usize,
    /// Folds of whole groups, for probes and corrections.
    pub folds: usize,
    pub seed: u64,
}

/// One tap, as it is and corrected.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct TapFindings {
    pub tap: String,
    /// Values per tile.
    pub width: usize,
    /// The first is the tap as it is.
    pub versions: Vec<Version>,
}

/// A tap's embeddings behind one correction.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Version {
    pub correction: String,
    #[serde(flatten)]
    pub measurement: Measurement,
}

/// The numbers, or why the data cannot carry the correction.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measurement {
    Numbers(Box<Numbers>),
    Undefined(String),
}

impl Version {
    pub fn numbers(&self) -> Option<&Numbers> {
        match &self.measurement {
            Measurement::Numbers(numbers) => Some(numbers),
            Measurement::Undefined(_) => None,
        }
    }
}

/// A quantity, or why the data do not define it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Measured<T> {
    Undefined { undefined: String },
    Value(T),
}

impl<T> Measured<T> {
    pub fn value(&self) -> Option<&T> {
        match self {
            Measured::Value(value) => Some(value),
            Measured::Undefined { .. } => None,
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Measured::Value(_) => None,
            Measured::Undefined { undefined } => Some(undefined),
        }
    }
}

impl MayBeAbsent for Measured<f64> {
    type Read = Option<Measured<f64>>;

    fn from_read(read: Self::Read) -> Self {
        read.unwrap_or(Measured::Value(f64::NAN))
    }
}

/// All quantities of one version.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Numbers {
    pub scanner_probe_linear: Measured<ProbeFigures>,
    pub scanner_probe_neighbours: Measured<ProbeFigures>,
    /// The scanner read within each kind of biology, weighted by tiles.
    pub scanner_probe_within_biology: Measured<Corrected>,
    /// The biology, read in the same way: what a correction must not take away.
    pub biology_probe_linear: Measured<ProbeFigures>,
    pub robustness: Measured<RobustnessFigures>,
    /// CRoMa: how much nearer a tile's biology is than its scanner.
    pub margin: Measured<MarginFigures>,
    pub average_performance_drop: Measured<DropFigures>,
    /// Whether probabilities hold on a scanner that a probe was not fitted on.
    pub calibration: Measured<CalibrationFigures>,
    pub clustering: Measured<ClusteringFigures>,
    pub variance_shares: Measured<VarianceShares>,
    /// For every two scanners with places in common.
    pub retrieval: Vec<PairRetrieval>,
}

impl Numbers {
    /// Why single quantities are missing, in the order of their names.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        let reasons = [
            self.average_performance_drop.reason(),
            self.average_performance_drop.value().and_then(|drop| drop.degradation.reason()),
            self.biology_probe_linear.reason(),
            self.calibration.reason(),
            self.clustering.reason(),
            self.margin.reason(),
            self.robustness.reason(),
            self.scanner_probe_linear.reason(),
            self.scanner_probe_neighbours.reason(),
            self.scanner_probe_within_biology.reason(),
            self.variance_shares.reason(),
        ];
        reasons.into_iter().flatten()
    }
}

/// A classifier on groups that it was not trained on.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ProbeFigures {
    #[serde(deserialize_with = "null_as_nan")]
    pub balanced_accuracy: f64,
    /// The balanced accuracy of guessing.
    #[serde(deserialize_with = "null_as_nan")]
    pub chance: f64,
    /// Balanced accuracy on the scale on which 0 is chance and 1 is always right.
    #[serde(deserialize_with = "null_as_nan")]
    pub corrected: f64,
    pub classes: usize,
    /// Classes with tiles in one group only.
    pub classes_left_out: usize,
    pub tiles: usize,
    pub folds: usize,
}

/// A mean of several probes.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct Corrected {
    /// On the scale on which 0 is chance and 1 is always right.
    #[serde(deserialize_with = "null_as_nan")]
    pub corrected: f64,
}

/// PathoROB's robustness index.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct RobustnessFigures {
    pub k: usize,
    /// 1: neighbours share the biology across scanners. 0: they share the scanner across biologies.
    #[serde(deserialize_with = "null_as_nan")]
    pub index: f64,
    /// 95 % interval over slides; empty ends without bootstraps.
    pub interval: [Option<f64>; 2],
    /// Share of the tiles that have a neighbour which tells: the index rests on these.
    #[serde(deserialize_with = "null_as_nan")]
    pub support: f64,
    /// The index of neighbours drawn at random.
    #[serde(deserialize_with = "null_as_nan")]
    pub random: f64,
    pub same_biology_other_centre: u64,
    pub other_biology_same_centre: u64,
}

/// CRoMa's distribution over tiles: −1 (the scanner is nearer) to 1 (the biology is nearer).
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct MarginFigures {
    /// Neighbours of each kind.
    pub m: usize,
    #[serde(deserialize_with = "null_as_nan")]
    pub median: f64,
    /// 95 % intervals over slides; empty ends without bootstraps.
    pub interval: [Option<f64>; 2],
    /// The 10 % point.
    #[serde(deserialize_with = "null_as_nan")]
    pub quantile: f64,
    /// The mean of the worst tenth.
    #[serde(deserialize_with = "null_as_nan")]
    pub tail: f64,
    pub tail_interval: [Option<f64>; 2],
    /// Share of the tiles whose margin is not above 0.
    #[serde(deserialize_with = "null_as_nan")]
    pub fragile: f64,
    pub fragile_interval: [Option<f64>; 2],
    /// Tiles with a margin, of all.
    pub scored: usize,
    pub tiles: usize,
    /// Tiles with fewer than m neighbours of a kind.
    pub without_neighbours: usize,
    /// Tiles with all neighbours at distance 0.
    pub without_distance: usize,
}

/// Probes fitted on one scanner and read on each.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct CalibrationFigures {
    pub kinds: Vec<String>,
    /// Scanners without two groups of each kind, or beyond those that are compared.
    pub scanners_left_out: usize,
    pub readings: Vec<ReadingFigures>,
}

/// One probe on one scanner.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ReadingFigures {
    pub fitted_on: String,
    pub read_on: String,
    pub tiles: usize,
    pub groups: usize,
    pub auc: EstimateFigures,
    /// Expected calibration error in ten bins.
    #[serde(deserialize_with = "null_as_nan")]
    pub error: f64,
    /// That of a calibrated probe on so few tiles: the mean, and the 95 % point.
    #[serde(deserialize_with = "null_as_nan")]
    pub error_by_chance: [f64; 2],
    /// 1 where calibrated, below 1 where the probe is too sure.
    pub slope: EstimateFigures,
    /// 0 where calibrated, above 0 where the probe says too little.
    pub intercept: EstimateFigures,
    /// Whether the interval of slope or intercept leaves out what is calibrated.
    pub off: bool,
}

/// A figure and its 95 % interval over groups; empty where the data do not define it.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct EstimateFigures {
    pub value: Option<f64>,
    pub interval: [Option<f64>; 2],
}

/// PathoROB's average performance drop.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct DropFigures {
    #[serde(deserialize_with = "null_as_nan")]
    pub drop: f64,
    /// Mean accuracy by split, from balanced to fully confounded training data.
    pub accuracy: Vec<Option<f64>>,
    /// Cramér's V of biology and scanner in the training data of each split.
    #[serde(deserialize_with = "null_as_nan")]
    pub association: Vec<f64>,
    /// The accuracy of guessing.
    #[serde(deserialize_with = "null_as_nan")]
    pub chance: f64,
    /// nIPD: the share of what is known above chance that is lost, over the association. −0.5 is an even fall to chance.
    #[serde(deserialize_with = "null_as_nan")]
    pub degradation: Measured<f64>,
    pub biology: [String; 2],
    pub centres: [String; 2],
    pub training_tiles: usize,
    pub trials: usize,
}

/// Adjusted Rand indices of clusters.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ClusteringFigures {
    /// −1 (clusters are centres) to 1 (clusters are biology).
    #[serde(deserialize_with = "null_as_nan")]
    pub score: f64,
    #[serde(deserialize_with = "null_as_nan")]
    pub biology: f64,
    #[serde(deserialize_with = "null_as_nan")]
    pub centre: f64,
    pub k: usize,
}

/// Shares of the variance; their sum is 1.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct VarianceShares {
    #[serde(deserialize_with = "null_as_nan")]
    pub scanner: f64,
    /// `None` where every scanner has one slide, and the two cannot be told apart.
    pub slide: Option<f64>,
    #[serde(deserialize_with = "null_as_nan")]
    pub rest: f64,
}

/// How often a tile finds its own place among another scanner's tiles.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct PairRetrieval {
    pub scanners: [String; 2],
    #[serde(flatten)]
    pub found: Measured<RetrievalFigures>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct RetrievalFigures {
    /// Places that both scanners have.
    pub pairs: usize,
    /// By depth of the search.
    pub hits: Vec<Hits>,
    /// Mean cosine of the pairs.
    #[serde(deserialize_with = "null_as_nan")]
    pub pair_cosine: f64,
    /// Mean cosine of tiles that are no pair.
    #[serde(deserialize_with = "null_as_nan")]
    pub other_cosine: f64,
}

/// Queries whose own place is among the k nearest.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct Hits {
    pub k: usize,
    pub first_to_second: usize,
    pub second_to_first: usize,
    /// Share of the queries, both ways.
    pub accuracy: Option<f64>,
}

/// A feature that is stronger or weaker on one scanner.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ScannerFeature {
    pub feature: u32,
    pub scanner: String,
    /// Difference from the other scanners' mean, in standard deviations within scanners.
    #[serde(deserialize_with = "null_as_nan")]
    pub effect_size: f64,
    /// The smallest |effect|, whichever slide is left out.
    #[serde(deserialize_with = "null_as_nan")]
    pub least_without_a_slide: f64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::findings::absent::tests::each_number_may_be_absent;

    /// All findings of one tap with these numbers.
    fn whole(numbers: &Value) -> Value {
        json!({ "format": ScannersFindings::FORMAT, "tiles": 9,
            "scanners": [{ "name": "a", "tiles": 9, "groups": 3 }], "biology": null,
            "columns": { "scanner": "scanner", "group": "slide", "biology": null, "pair": null },
            "settings": { "k": 5, "bootstraps": 9, "folds": 3, "seed": 1 },
            "taps": [{ "tap": "last", "width": 3, "versions": [{ "correction": "none", "numbers": numbers }] }],
            "features": [{ "feature": 5, "scanner": "a", "effect_size": 1.5, "least_without_a_slide": 0.5 }] })
    }

    #[test]
    fn numbers_that_do_not_exist_are_read_as_they_were_written() {
        let estimate = json!({ "value": 0.5, "interval": [0.25, 0.75] });
        let probe = json!({ "balanced_accuracy": 0.9, "chance": 0.5, "corrected": 0.8, "classes": 2,
            "classes_left_out": 1, "tiles": 9, "folds": 3 });
        let reading = json!({ "fitted_on": "a", "read_on": "b", "tiles": 9, "groups": 3, "auc": estimate, "error": 0.1,
            "error_by_chance": [0.1, 0.2], "slope": estimate, "intercept": estimate, "off": false });
        let numbers = json!({
            "scanner_probe_linear": probe, "scanner_probe_neighbours": probe,
            "scanner_probe_within_biology": { "corrected": 0.25 }, "biology_probe_linear": probe,
            "robustness": { "k": 5, "index": 0.5, "interval": [0.25, 0.75], "support": 0.75, "random": 0.5,
                "same_biology_other_centre": 3, "other_biology_same_centre": 3 },
            "margin": { "m": 5, "median": 0.25, "interval": [0.1, 0.2], "quantile": -0.5, "tail": -0.75,
                "tail_interval": [-0.9, -0.5], "fragile": 0.25, "fragile_interval": [0.1, 0.5], "scored": 8, "tiles": 9,
                "without_neighbours": 1, "without_distance": 0 },
            "average_performance_drop": { "drop": -0.25, "accuracy": [0.5, 0.25], "association": [0.5, 1.0],
                "chance": 0.5, "degradation": 0.25, "biology": ["x", "y"], "centres": ["a", "b"], "training_tiles": 4,
                "trials": 2 },
            "calibration": { "kinds": ["x", "y"], "scanners_left_out": 0, "readings": [reading] },
            "clustering": { "score": 0.5, "biology": 0.75, "centre": 0.25, "k": 3 },
            "variance_shares": { "scanner": 0.5, "slide": 0.25, "rest": 0.25 },
            "retrieval": [{ "scanners": ["a", "c"], "pairs": 2, "pair_cosine": 0.75, "other_cosine": 0.5,
                "hits": [{ "k": 1, "first_to_second": 1, "second_to_first": 2, "accuracy": 0.75 }] }],
        });
        each_number_may_be_absent::<ScannersFindings>(&whole(&numbers), &[]);
    }

    #[test]
    fn reasons_and_nulls_come_back_as_they_were_written() {
        let probe = json!({ "undefined": "expected two scanners" });
        let numbers = json!({
            "scanner_probe_linear": { "balanced_accuracy": 0.9, "chance": 0.5, "corrected": 0.8, "classes": 2,
                "classes_left_out": 1, "tiles": 9, "folds": 3 },
            "scanner_probe_neighbours": probe, "scanner_probe_within_biology": { "corrected": 0.25 },
            "biology_probe_linear": probe, "clustering": probe, "calibration": probe,
            "margin": { "m": 5, "median": 0.25, "interval": [null, null], "quantile": -0.5, "tail": -0.75,
                "tail_interval": [-0.9, -0.5], "fragile": 0.25, "fragile_interval": [0.0, 0.5], "scored": 8, "tiles": 9,
                "without_neighbours": 1, "without_distance": 0 },
            "average_performance_drop": { "drop": -0.25, "accuracy": [0.5, 0.25], "association": [0.0, 1.0],
                "chance": 0.5, "degradation": probe, "biology": ["x", "y"], "centres": ["a", "b"], "training_tiles": 4,
                "trials": 2 },
            "robustness": { "k": 5, "index": 0.5, "interval": [null, null], "support": 0.75, "random": null,
                "same_biology_other_centre": 3, "other_biology_same_centre": 3 },
            "variance_shares": { "scanner": 0.5, "slide": null, "rest": 0.5 },
            "retrieval": [
                { "scanners": ["a", "b"], "undefined": "no pairs" },
                { "scanners": ["a", "c"], "pairs": 2, "pair_cosine": null, "other_cosine": 0.5,
                    "hits": [{ "k": 1, "first_to_second": 1, "second_to_first": 2, "accuracy": 0.75 }] },
            ],
        });
        let versions = json!([
            { "correction": "none", "numbers": numbers },
            { "correction": "coral", "undefined": "expected two slides" },
        ]);
        let read: Vec<Version> = serde_json::from_value(versions.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), versions);
        assert!(read[1].numbers().is_none());
        let numbers = read[0].numbers().unwrap();
        assert_eq!(numbers.reasons().count(), 5);
        assert!(numbers.robustness.value().unwrap().random.is_nan());
        assert_eq!(numbers.retrieval[0].found.reason(), Some("no pairs"));
        assert_eq!(numbers.retrieval[1].found.value().unwrap().hits[0].accuracy, Some(0.75));
    }
}
