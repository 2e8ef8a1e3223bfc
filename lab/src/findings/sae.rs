//! `sae-eval.json`: what SAEs keep of slides that they have not seen.

use serde::{Deserialize, Serialize};

use super::file::Findings;

/// All SAEs on one tap's held-out slides.
#[derive(Debug, Deserialize, Serialize)]
pub struct SaeFindings {
    pub embeddings: String,
    pub tap: String,
    /// Values per tile.
    pub width: usize,
    pub train_tiles: u64,
    pub held_out_tiles: u64,
    pub held_out_slides: usize,
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
    /// (log10 of the frequency at the bin's lower end, features), in bins of half a decade.
    pub histogram: Vec<(f64, usize)>,
}
