//! Models and data sets beside each other: `compare.json`, `transfer.json`, `depth.json`.

use serde::{Deserialize, Serialize};

use super::file::Findings;
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
