//! The sections of `analyze scanners` and `profile challenge`: what the scanner does to embeddings, what a profile sees.

use serde_json::Value;

use super::html::{escape, number, paragraph, table, with_range};
use super::plot::{Line, lines};

/// What is measured of every tap, as it is and corrected.
pub(super) fn scanners(report: &Value) -> String {
    let names = |list: &Value| -> usize { list.as_array().map_or(0, Vec::len) };
    let text = format!(
        "{} tiles by {} scanners (or centres). A probe reads the scanner from tiles of slides that it has not seen: 0 is \
         chance, 1 always right. The robustness index compares a tile's {} nearest neighbours on other slides: 1 where they \
         share its biology across scanners, 0 where they share its scanner across biologies; beside it stands what neighbours \
         drawn at random would give. Centring and CORAL were fitted on other slides. A correction is good where the scanner \
         goes and the biology stays; below 0 the scanner is read worse than by chance: what was fitted on few slides pushes \
         each slide away from its scanner's others.",
        report["tiles"],
        names(&report["scanners"]),
        report["settings"]["k"]
    );
    let mut rows = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    let taps = report["taps"].as_array().map(Vec::as_slice).unwrap_or_default();
    for tap in taps {
        for version in tap["versions"].as_array().map(Vec::as_slice).unwrap_or_default() {
            rows.push(row(tap, version));
            collect_reasons(version, &mut reasons);
        }
    }
    let headers = [
        "tap",
        "corrected",
        "scanner, linear",
        "scanner, nearest",
        "within biology",
        "biology, linear",
        "robustness (95 % interval)",
        "random",
        "variance: scanner, slide, rest",
        "same place found",
    ];
    let mut body = paragraph(&text) + &depth(taps) + &table("The scanner in the embeddings", &headers, &rows);
    for reason in reasons {
        body.push_str(&format!("<p class=\"note\">{}</p>\n", escape(&reason)));
    }
    body + &features(&report["features"])
}

fn at(version: &Value, path: &str) -> Option<f64> {
    version.pointer(&format!("/numbers{path}")).and_then(Value::as_f64)
}

fn row(tap: &Value, version: &Value) -> Vec<String> {
    let cell = |path: &str| number(at(version, path));
    let interval = at(version, "/robustness/interval/0").zip(at(version, "/robustness/interval/1"));
    let share = |part: &str| {
        at(version, &format!("/variance_shares/{part}")).map_or("\u{2013}".into(), |s| format!("{:.0} %", 100.0 * s))
    };
    vec![
        escape(tap["tap"].as_str().unwrap_or_default()),
        escape(version["correction"].as_str().unwrap_or_default()),
        cell("/scanner_probe_linear/corrected"),
        cell("/scanner_probe_neighbours/corrected"),
        cell("/scanner_probe_within_biology/corrected"),
        cell("/biology_probe_linear/corrected"),
        with_range(at(version, "/robustness/index"), interval.map(|(low, high)| [low, high])),
        cell("/robustness/random"),
        format!("{}, {}, {}", share("scanner"), share("slide"), share("rest")),
        at(version, "/retrieval/0/hits/0/accuracy")
            .map_or("\u{2013}".into(), |share| format!("{:.0} %", 100.0 * share)),
    ]
}

/// Why numbers are missing, each reason once.
fn collect_reasons(version: &Value, reasons: &mut Vec<String>) {
    let whole = version["undefined"].as_str().map(str::to_owned);
    let parts = version["numbers"].as_object().into_iter().flat_map(|numbers| numbers.values());
    let found = whole.into_iter().chain(parts.filter_map(|part| part["undefined"].as_str().map(str::to_owned)));
    for reason in found {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
}

/// The depth curve: where in the model does the scanner disappear?
fn depth(taps: &[Value]) -> String {
    if taps.len() < 2 {
        return String::new();
    }
    let line = |name: &str, version: usize, path: &str, minor: bool| {
        let points = taps.iter().enumerate().filter_map(|(place, tap)| {
            Some((place as f64 / (taps.len() - 1) as f64, at(&tap["versions"][version], path)?))
        });
        Line { name: name.into(), points: points.collect(), minor }
    };
    let drawn = [
        line("scanner, as it is", 0, "/scanner_probe_linear/corrected", false),
        line("scanner, centred", 1, "/scanner_probe_linear/corrected", false),
        line("biology, as it is", 0, "/biology_probe_linear/corrected", false),
        line("robustness index", 0, "/robustness/index", false),
    ];
    let drawn: Vec<Line> = drawn.into_iter().filter(|line| !line.points.is_empty()).collect();
    let description = "What can be read from the embeddings of each tap, from shallow to deep (0 is chance)";
    format!(
        "<figure>{}<figcaption>{description}.</figcaption></figure>\n",
        lines(description, "taps, from shallow to deep", -0.5, &drawn)
    )
}

/// SAE features that follow the scanner.
fn features(found: &Value) -> String {
    let Some(found) = found.as_array().filter(|found| !found.is_empty()) else { return String::new() };
    let row = |effect: &Value| {
        vec![
            escape(&effect["feature"].to_string()),
            escape(effect["scanner"].as_str().unwrap_or_default()),
            number(effect["effect_size"].as_f64()),
            number(effect["least_without_a_slide"].as_f64()),
        ]
    };
    let headers = ["feature", "on scanner", "effect, sd", "least, whichever slide is left out"];
    table("SAE features that follow the scanner", &headers, &found.iter().take(15).map(row).collect::<Vec<_>>())
}

/// Simulated faults on good slides.
pub(super) fn challenge(report: &Value) -> String {
    let text = format!(
        "Faults of growing severity were put on {} tiles of good slides that the profile had not seen, and played as a scanner \
         would. Flagged is the share of tiles on which the flag that is there for the fault was raised; the area under the ROC \
         curve compares its score with that of the same tiles without the fault. The faults are simulations.",
        report["tiles"]
    );
    let mut rows = Vec::new();
    for fault in report["faults"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let flag = fault["flag"].as_str().unwrap_or_default();
        for level in fault["levels"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let share =
                level["flagged"][flag].as_f64().map_or("\u{2013}".into(), |share| format!("{:.0} %", 100.0 * share));
            rows.push(vec![
                escape(fault["fault"].as_str().unwrap_or_default()),
                escape(&level["severity"].to_string()),
                escape(fault["severity_is"].as_str().unwrap_or_default()),
                escape(&flag.replace('_', " ")),
                share,
                number(level["auroc"][flag].as_f64()),
            ]);
        }
    }
    paragraph(&text)
        + &table("What the profile sees", &["fault", "severity", "which is", "flag", "flagged", "AUROC"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_file_says_is_text_and_no_markup() {
        let found = features(&json!([{ "feature": "<b>1", "scanner": "a" }]));
        assert!(!found.contains("<b>") && found.contains("&lt;b&gt;1"), "{found}");
        let level = json!({ "severity": "<b>2", "flagged": {}, "auroc": {} });
        let found = challenge(&json!({ "tiles": 1, "faults": [{ "fault": "f", "flag": "novel", "levels": [level] }] }));
        assert!(!found.contains("<b>") && found.contains("&lt;b&gt;2"), "{found}");
    }
}
