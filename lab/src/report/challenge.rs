//! The section of `profile challenge`: which faults a profile sees.

use super::html::{escape, number, paragraph, share, table};
use super::section::{Context, Section};
use crate::findings::challenge::ChallengeFindings;

impl Section for ChallengeFindings {
    fn about(&self) -> String {
        format!("{} tiles", self.tiles)
    }

    fn html(&self, _: &mut Context) -> String {
        section(self)
    }
}

/// Simulated faults on good slides.
fn section(found: &ChallengeFindings) -> String {
    let text = format!(
        "Faults of growing severity were put on {} tiles of good slides that the profile had not seen, and played as a scanner \
         would. Flagged is the share of tiles on which the flag that is there for the fault was raised; the area under the ROC \
         curve compares its score with that of the same tiles without the fault. The faults are simulations.",
        found.tiles
    );
    let mut rows = Vec::new();
    for fault in &found.faults {
        for level in &fault.levels {
            rows.push(vec![
                escape(&fault.fault),
                severity(level.severity),
                escape(&fault.severity_is),
                escape(&fault.flag.replace('_', " ")),
                share(level.flagged.get(&fault.flag).copied()),
                number(level.auroc.get(&fault.flag).copied().flatten()),
            ]);
        }
    }
    paragraph(&text)
        + &table("What the profile sees", &["fault", "severity", "which is", "flag", "flagged", "AUROC"], &rows)
}

/// As the file has it: 2.0, not 2; a dash where it has none.
fn severity(value: f64) -> String {
    if value.is_finite() { serde_json::Value::from(value).to_string() } else { "\u{2013}".into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_file_says_is_text_and_no_markup() {
        let level = json!({ "severity": 2.0, "tiles": 1, "flagged": {}, "auroc": { "novel": null }, "alerts": [] });
        let fault = json!({ "fault": "<b>2", "severity_is": "<b>3", "flag": "novel", "half_flagged_at": null,
            "levels": [level] });
        let found = json!({ "format": ChallengeFindings::FORMAT, "slides": [], "tiles": 1,
            "flagged_without_a_fault": {}, "faults": [fault] });
        let found = section(&serde_json::from_value(found).unwrap());
        assert!(!found.contains("<b>") && found.contains("&lt;b&gt;2") && found.contains("&lt;b&gt;3"), "{found}");
        assert!(found.contains("<td>2.0</td>"), "{found}");
    }
}
