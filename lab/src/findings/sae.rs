//! `sae-eval.json`: what SAEs keep of slides that they have not seen.

use serde::{Deserialize, Serialize};

use super::file::Findings;

/// All SAEs on one tap's held-out slides.
#[derive(Debug, Deserialize, Serialize)]
pub struct SaeFindings {
    pub embeddings: String,
    pub tap: String,
    /// What a row is of: `tiles`, or patch `tokens` of them.
    #[serde(default = "tiles")]
    pub rows: String,
    /// Values per row.
    pub width: usize,
    pub train_tiles: u64,
    pub held_out_tiles: u64,
    pub held_out_slides: usize,
    /// The column whose equal values were held out together.
    #[serde(default = "slide")]
    pub grouped_by: String,
    /// Every two SAEs: whether they have the same features.
    #[serde(default)]
    pub agreement: Vec<AgreementFigures>,
    /// Labels read from few features, where a column was named.
    #[serde(default)]
    pub probes: Option<ProbeFindings>,
    /// (components, FVU) for 1, 2, 4 … principal components, fitted on the training tiles.
    pub pca: Vec<(f64, f64)>,
    pub saes: Vec<SaeFigures>,
}

impl Findings for SaeFindings {
    const FILE: &'static str = "sae-eval.json";
}

/// One SAE.
#[derive(Debug, Deserialize, Serialize)]
pub struct SaeFigures {
    /// The folder or file that it was read from.
    pub sae: String,
    pub architecture: String,
    pub features: usize,
    /// Share of the variance that is lost: 0 keeps all, 1 is no better than the mean.
    pub fvu: f64,
    /// Mean number of active features.
    pub l0: f64,
    /// Features that are never active on the held-out tiles.
    pub dead: usize,
    /// Features that are active on more than a tenth of them.
    pub dense: usize,
    /// FVU of as many principal components as L0.
    pub pca_fvu: f64,
    /// What it has to beat, with as many features and as many of them active.
    #[serde(default)]
    pub baselines: Vec<BaselineFigures>,
    /// (log10 of the frequency at the bin's lower end, features), in bins of half a decade.
    pub histogram: Vec<(f64, usize)>,
}

fn tiles() -> String {
    "tiles".into()
}

fn slide() -> String {
    "slide".into()
}

/// What keeps how much without having been trained for it.
#[derive(Debug, Deserialize, Serialize)]
pub struct BaselineFigures {
    pub name: String,
    pub fvu: f64,
    pub l0: f64,
}

/// Two SAEs beside each other.
#[derive(Debug, Deserialize, Serialize)]
pub struct AgreementFigures {
    pub saes: [String; 2],
    /// Of each feature's largest cosine with a decoder row of the other, both ways.
    pub median: f64,
    /// The same with random directions in the place of the other.
    pub chance: f64,
    /// Share of the features with a cosine of 0.7 or more.
    pub found_again: f64,
    /// Features that fire on the held-out tiles, of both.
    pub features: usize,
}

/// k-sparse probes of one column of labels on held-out tiles.
#[derive(Debug, Deserialize, Serialize)]
pub struct ProbeFindings {
    pub label: String,
    pub kinds: Vec<String>,
    /// The column whose equal values are never split.
    pub grouped_by: String,
    pub tiles: usize,
    pub groups: usize,
    /// SAEs with their baselines behind them, then what belongs to none.
    pub rows: Vec<ProbeRow>,
}

/// Probes of one set of columns.
#[derive(Debug, Deserialize, Serialize)]
pub struct ProbeRow {
    pub name: String,
    pub probes: Vec<ProbedFigures>,
    /// Why there are none.
    pub undefined: Option<String>,
}

/// A label read from k columns.
#[derive(Debug, Deserialize, Serialize)]
pub struct ProbedFigures {
    pub k: usize,
    /// Area under the ROC curve, the mean over kinds; 0.5 is chance.
    pub auc: Option<f64>,
    /// 95 % interval over groups.
    pub interval: [Option<f64>; 2],
}
