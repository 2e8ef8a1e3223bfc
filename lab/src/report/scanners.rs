//! The section of `analyze scanners`: how much of the embeddings is the scanner's.

use super::html::{escape, number, paragraph, table, with_range};
use super::plot::{Line, lines};
use super::section::{Context, Section};
use crate::findings::scanners::{
    Measured, Measurement, Numbers, ProbeFigures, ScannerFeature, ScannersFindings, TapFindings, Version,
};

impl Section for ScannersFindings {
    fn about(&self) -> String {
        format!("{} tiles", self.tiles)
    }

    fn html(&self, _: &mut Context) -> String {
        section(self)
    }
}

/// What is measured of every tap, as it is and corrected.
fn section(found: &ScannersFindings) -> String {
    let text = format!(
        "{} tiles by {} scanners (or centres). A probe reads the scanner from tiles of slides that it has not seen: 0 is \
         chance, 1 always right. The robustness index compares a tile's {} nearest neighbours on other slides: 1 where they \
         share its biology across scanners, 0 where they share its scanner across biologies; beside it stands what neighbours \
         drawn at random would give. Centring and CORAL were fitted on other slides. A correction is good where the scanner \
         goes and the biology stays; below 0 the scanner is read worse than by chance: what was fitted on few slides pushes \
         each slide away from its scanner's others.",
        found.tiles,
        found.scanners.len(),
        found.settings.k
    );
    let mut rows = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    for tap in &found.taps {
        for version in &tap.versions {
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
    let mut body = paragraph(&text) + &depth(&found.taps) + &table("The scanner in the embeddings", &headers, &rows);
    for reason in reasons {
        body.push_str(&format!("<p class=\"note\">{}</p>\n", escape(&reason)));
    }
    body + &features(found.features.as_deref().unwrap_or_default())
}

fn corrected(probe: &Measured<ProbeFigures>) -> Option<f64> {
    probe.value().map(|probe| probe.corrected)
}

fn row(tap: &TapFindings, version: &Version) -> Vec<String> {
    let numbers = version.numbers();
    let of = |quantity: fn(&Numbers) -> Option<f64>| number(numbers.and_then(quantity));
    let percent = |share: Option<f64>| {
        let share = share.filter(|share| share.is_finite());
        share.map_or("\u{2013}".into(), |share| format!("{:.0} %", 100.0 * share))
    };
    let robustness = numbers.and_then(|numbers| numbers.robustness.value());
    let interval = robustness.and_then(|found| Some([found.interval[0]?, found.interval[1]?]));
    let shares = numbers.and_then(|numbers| numbers.variance_shares.value());
    let retrieved = numbers.and_then(|numbers| numbers.retrieval.first()?.found.value()?.hits.first()?.accuracy);
    vec![
        escape(&tap.tap),
        escape(&version.correction),
        of(|numbers| corrected(&numbers.scanner_probe_linear)),
        of(|numbers| corrected(&numbers.scanner_probe_neighbours)),
        of(|numbers| Some(numbers.scanner_probe_within_biology.value()?.corrected)),
        of(|numbers| corrected(&numbers.biology_probe_linear)),
        with_range(robustness.map(|found| found.index), interval),
        number(robustness.map(|found| found.random)),
        format!(
            "{}, {}, {}",
            percent(shares.map(|shares| shares.scanner)),
            percent(shares.and_then(|shares| shares.slide)),
            percent(shares.map(|shares| shares.rest))
        ),
        percent(retrieved),
    ]
}

/// Why numbers are missing, each reason once.
fn collect_reasons(version: &Version, reasons: &mut Vec<String>) {
    let found: Vec<&str> = match &version.measurement {
        Measurement::Undefined(why) => vec![why],
        Measurement::Numbers(numbers) => numbers.reasons().collect(),
    };
    for reason in found {
        if !reasons.iter().any(|known| known == reason) {
            reasons.push(reason.to_owned());
        }
    }
}

/// The depth curve: where in the model does the scanner disappear?
fn depth(taps: &[TapFindings]) -> String {
    if taps.len() < 2 {
        return String::new();
    }
    let line = |name: &str, version: usize, quantity: fn(&Numbers) -> Option<f64>| {
        let points = taps.iter().enumerate().filter_map(|(place, tap)| {
            let value = quantity(tap.versions.get(version)?.numbers()?)?;
            Some((place as f64 / (taps.len() - 1) as f64, value))
        });
        Line { name: name.into(), points: points.collect(), minor: false }
    };
    let scanner: fn(&Numbers) -> Option<f64> = |numbers| corrected(&numbers.scanner_probe_linear);
    let drawn = [
        line("scanner, as it is", 0, scanner),
        line("scanner, centred", 1, scanner),
        line("biology, as it is", 0, |numbers| corrected(&numbers.biology_probe_linear)),
        line("robustness index", 0, |numbers| Some(numbers.robustness.value()?.index)),
    ];
    let drawn: Vec<Line> = drawn.into_iter().filter(|line| !line.points.is_empty()).collect();
    let description = "What can be read from the embeddings of each tap, from shallow to deep (0 is chance)";
    format!(
        "<figure>{}<figcaption>{description}.</figcaption></figure>\n",
        lines(description, "taps, from shallow to deep", -0.5, &drawn)
    )
}

/// SAE features that follow the scanner.
fn features(found: &[ScannerFeature]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let row = |effect: &ScannerFeature| {
        vec![
            effect.feature.to_string(),
            escape(&effect.scanner),
            number(Some(effect.effect_size)),
            number(Some(effect.least_without_a_slide)),
        ]
    };
    let headers = ["feature", "on scanner", "effect, sd", "least, whichever slide is left out"];
    table("SAE features that follow the scanner", &headers, &found.iter().take(15).map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_text_and_no_markup() {
        let effect =
            ScannerFeature { feature: 1, scanner: "<b>1".into(), effect_size: 1.0, least_without_a_slide: 0.5 };
        let found = features(&[effect]);
        assert!(!found.contains("<b>") && found.contains("&lt;b&gt;1"), "{found}");
    }
}
