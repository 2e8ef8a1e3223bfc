//! `challenge.json`: which simulated faults a profile sees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::absent::null_as_nan;
use super::file::Findings;

/// All faults.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ChallengeFindings {
    pub format: String,
    pub slides: Vec<String>,
    /// Tiles with tissue.
    pub tiles: usize,
    /// Share of tiles that raise each flag without a fault, by the flag's name.
    #[serde(deserialize_with = "null_as_nan")]
    pub flagged_without_a_fault: BTreeMap<String, f64>,
    pub faults: Vec<FaultFindings>,
}

impl ChallengeFindings {
    /// What [`ChallengeFindings::format`] says.
    pub const FORMAT: &'static str = "coverslip-challenge/1";
}

impl Findings for ChallengeFindings {
    const FILE: &'static str = "challenge.json";
}

/// One fault at growing severity.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct FaultFindings {
    pub fault: String,
    /// The unit of the severity, in words.
    pub severity_is: String,
    /// The flag that is there for this fault.
    pub flag: String,
    /// The severity at which half of the tiles are flagged, if one was tried that high.
    pub half_flagged_at: Option<f64>,
    pub levels: Vec<FaultLevel>,
}

/// One severity.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct FaultLevel {
    #[serde(deserialize_with = "null_as_nan")]
    pub severity: f64,
    pub tiles: usize,
    /// Share of tiles that raise each flag, by the flag's name.
    #[serde(deserialize_with = "null_as_nan")]
    pub flagged: BTreeMap<String, f64>,
    /// Area under the ROC curve of each flag's score against the same tiles without the fault; `None` where no score is
    /// a number.
    pub auroc: BTreeMap<String, Option<f64>>,
    pub alerts: Vec<FaultAlert>,
}

/// An alert that a fault caused.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct FaultAlert {
    pub alert: String,
    pub after_tiles: usize,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::findings::absent::tests::each_number_may_be_absent;

    #[test]
    fn numbers_that_do_not_exist_are_read_as_they_were_written() {
        let level = json!({ "severity": 2.5, "tiles": 9, "flagged": { "novel": 0.5 }, "auroc": { "novel": 0.5 },
            "alerts": [] });
        let whole = json!({ "format": ChallengeFindings::FORMAT, "slides": ["s"], "tiles": 9,
            "flagged_without_a_fault": { "novel": 0.25 }, "faults": [{ "fault": "f", "severity_is": "x", "flag": "novel",
            "half_flagged_at": 2.5, "levels": [level] }] });
        each_number_may_be_absent::<ChallengeFindings>(&whole, &[]);
    }
}
