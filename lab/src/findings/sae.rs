//! `sae-eval.json`: what SAEs keep of slides that they have not seen.

use serde::{Deserialize, Serialize};

use super::absent::null_as_nan;
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
    #[serde(deserialize_with = "null_as_nan")]
    pub pca: Vec<(f64, f64)>,
    pub saes: Vec<SaeFigures>,
}

impl Findings for SaeFindings {
    const FILE: &'static str = "sae-eval.json";

    fn check(&self) -> Result<(), String> {
        self.saes.iter().try_for_each(SaeFigures::check)
    }
}

/// log10 of the smallest frequency that a histogram has: one row of all that 64 bits can count.
const RAREST: f64 = -20.0;
/// Most bins of a histogram: half decades from there to 1.
const MOST_BINS: usize = 40;

/// One SAE.
#[derive(Debug, Deserialize, Serialize)]
pub struct SaeFigures {
    /// The folder or file that it was read from.
    pub sae: String,
    pub architecture: String,
    pub features: usize,
    /// Share of the variance that is lost: 0 keeps all, 1 is no better than the mean.
    #[serde(deserialize_with = "null_as_nan")]
    pub fvu: f64,
    /// Mean number of active features.
    #[serde(deserialize_with = "null_as_nan")]
    pub l0: f64,
    /// Features that are never active on the held-out tiles.
    pub dead: usize,
    /// Features that are active on more than a tenth of them.
    pub dense: usize,
    /// FVU of as many principal components as L0.
    #[serde(deserialize_with = "null_as_nan")]
    pub pca_fvu: f64,
    /// What it has to beat, with as many features and as many of them active.
    #[serde(default)]
    pub baselines: Vec<BaselineFigures>,
    /// (log10 of the frequency at the bin's lower end, features), in bins of half a decade.
    pub histogram: Vec<(f64, usize)>,
}

impl SaeFigures {
    fn check(&self) -> Result<(), String> {
        let (sae, bins) = (&self.sae, self.histogram.len());
        if bins > MOST_BINS {
            return Err(format!("the histogram of {sae} has {bins} bins, expected at most {MOST_BINS}"));
        }
        let off = self.histogram.iter().find(|(low, _)| !(RAREST..=0.0).contains(low));
        off.map_or(Ok(()), |(low, _)| {
            Err(format!(
                "a bin in the histogram of {sae} begins at {low:e}, expected log10 of a frequency, {RAREST} to 0"
            ))
        })
    }
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
    #[serde(deserialize_with = "null_as_nan")]
    pub fvu: f64,
    #[serde(deserialize_with = "null_as_nan")]
    pub l0: f64,
}

/// Two SAEs beside each other.
#[derive(Debug, Deserialize, Serialize)]
pub struct AgreementFigures {
    pub saes: [String; 2],
    /// Of each feature's largest cosine with a decoder row of the other, both ways.
    #[serde(deserialize_with = "null_as_nan")]
    pub median: f64,
    /// The same with random directions in the place of the other.
    #[serde(deserialize_with = "null_as_nan")]
    pub chance: f64,
    /// Share of the features with a cosine of 0.7 or more.
    #[serde(deserialize_with = "null_as_nan")]
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::findings::absent::tests::each_number_may_be_absent;

    fn whole(histogram: &[(f64, usize)]) -> Value {
        json!({ "embeddings": "e", "tap": "last", "width": 9, "train_tiles": 9, "held_out_tiles": 9, "held_out_slides": 3,
            "pca": [[1.0, 0.9]],
            "agreement": [{ "saes": ["a", "b"], "median": 0.5, "chance": 0.25, "found_again": 0.5, "features": 9 }],
            "probes": { "label": "tissue", "kinds": ["x", "y"], "grouped_by": "slide", "tiles": 9, "groups": 3, "rows": [
                { "name": "a", "probes": [{ "k": 1, "auc": 0.5, "interval": [0.25, 0.75] }], "undefined": null }] },
            "saes": [{ "sae": "a", "architecture": "topk", "features": 9, "fvu": 0.5, "l0": 4.5, "dead": 1, "dense": 1,
                "pca_fvu": 0.5, "baselines": [{ "name": "random", "fvu": 0.75, "l0": 4.5 }], "histogram": histogram }] })
    }

    #[test]
    fn numbers_that_do_not_exist_are_read_as_they_were_written() {
        each_number_may_be_absent::<SaeFindings>(&whole(&[(-0.5, 3)]), &["/histogram"]);
    }

    #[test]
    fn histograms_of_what_is_no_frequency_are_refused() {
        let check = |bins: &[(f64, usize)]| serde_json::from_value::<SaeFindings>(whole(bins)).unwrap().check();
        assert_eq!(check(&[(-5.0, 0), (-0.5, 3)]), Ok(()));
        for (low, said) in [(-400.0, "-4e2"), (308.5, "3.085e2")] {
            let expected =
                format!("a bin in the histogram of a begins at {said}, expected log10 of a frequency, -20 to 0");
            assert_eq!(check(&[(low, 1)]), Err(expected));
        }
        let many = "the histogram of a has 41 bins, expected at most 40";
        assert_eq!(check(&[(-0.5, 1); 41]), Err(many.to_owned()));
    }
}
