//! The section of `analyze scanners`: how much of the embeddings is the scanner's.

use super::html::{escape, number, paragraph, share, table, with_range};
use super::plot::{Line, lines};
use super::section::{Context, Section};
use crate::findings::scanners::{
    EstimateFigures, Measured, Measurement, Numbers, ProbeFigures, ReadingFigures, ScannerFeature, ScannersFindings,
    TapFindings, Version,
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
    body + &robustness(&found.taps)
        + &calibration(&found.taps)
        + &features(found.features.as_deref().unwrap_or_default())
}

fn corrected(probe: &Measured<ProbeFigures>) -> Option<f64> {
    probe.value().map(|probe| probe.corrected)
}

fn row(tap: &TapFindings, version: &Version) -> Vec<String> {
    let numbers = version.numbers();
    let of = |quantity: fn(&Numbers) -> Option<f64>| number(numbers.and_then(quantity));
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
            share(shares.map(|shares| shares.scanner)),
            share(shares.and_then(|shares| shares.slide)),
            share(shares.map(|shares| shares.rest))
        ),
        share(retrieved),
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

fn both([low, high]: [Option<f64>; 2]) -> Option<[f64; 2]> {
    Some([low?, high?])
}

/// CRoMa and nIPD.
fn robustness(taps: &[TapFindings]) -> String {
    let row = |tap: &TapFindings, version: &Version| -> Option<Vec<String>> {
        let numbers = version.numbers()?;
        let (margin, drop) = (numbers.margin.value(), numbers.average_performance_drop.value());
        let support = share(numbers.robustness.value().map(|found| found.support));
        let accuracies = drop.map(|drop| {
            let at = |place: Option<&Option<f64>>| number(place.copied().flatten());
            format!("{} to {}", at(drop.accuracy.first()), at(drop.accuracy.last()))
        });
        let dash = || "\u{2013}".to_owned();
        (margin.is_some() || drop.is_some()).then(|| {
            vec![
                escape(&tap.tap),
                escape(&version.correction),
                with_range(margin.map(|found| found.median), margin.and_then(|found| both(found.interval))),
                with_range(margin.map(|found| found.tail), margin.and_then(|found| both(found.tail_interval))),
                share(margin.map(|found| found.fragile)),
                margin.map_or_else(dash, |found| format!("{} of {}", found.scored, found.tiles)),
                support,
                number(drop.and_then(|drop| drop.degradation.value().copied())),
                accuracies.unwrap_or_else(dash),
            ]
        })
    };
    let versions = taps.iter().flat_map(|tap| tap.versions.iter().map(move |version| (tap, version)));
    let rows: Vec<Vec<String>> = versions.filter_map(|(tap, version)| row(tap, version)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let text = "CRoMa asks of every tile how much nearer its own biology on other scanners is than other biology on its own \
        scanner: from \u{2212}1 to 1, above 0 where the biology is nearer. The median is the middle of the tiles; the mean of \
        the worst tenth says what happens where it goes wrong; fragile are tiles at 0 or below. Tiles without enough \
        neighbours of both kinds have no margin: the fewer tiles are scored, the less the figures say, and CRoMa's authors \
        give none then. The support of the robustness index is the share of tiles that have a neighbour which tells. nIPD is \
        the share of what a probe knows above chance that it loses as its training data tie the biology to the scanner: 0 \
        is nothing, \u{2212}0.5 an even fall to chance (0.50).";
    let headers = [
        "tap",
        "corrected",
        "CRoMa, median (95 % interval)",
        "worst tenth",
        "fragile",
        "tiles scored",
        "support of the index",
        "nIPD",
        "accuracy, balanced to tied",
    ];
    paragraph(text) + &table("Is the biology nearer than the scanner?", &headers, &rows)
}

/// What becomes of a probe's probabilities on another scanner, for each tap as it is.
fn calibration(taps: &[TapFindings]) -> String {
    let raw = |tap: &TapFindings| tap.versions.first()?.numbers()?.calibration.value().cloned();
    let estimate = |one: &EstimateFigures| with_range(one.value, both(one.interval));
    let row = |tap: &str, one: &ReadingFigures| {
        vec![
            escape(tap),
            escape(&one.fitted_on),
            escape(&one.read_on),
            format!("{}, {}", one.tiles, one.groups),
            estimate(&one.auc),
            format!(
                "{} ({}, {})",
                number(Some(one.error)),
                number(Some(one.error_by_chance[0])),
                number(Some(one.error_by_chance[1]))
            ),
            estimate(&one.slope),
            estimate(&one.intercept),
            if one.off { "<span class=\"yes\">off</span>".into() } else { "holds".into() },
        ]
    };
    let found = taps.iter().filter_map(|tap| Some((&tap.tap, raw(tap)?)));
    let rows: Vec<Vec<String>> =
        found.flat_map(|(tap, found)| found.readings.iter().map(|one| row(tap, one)).collect::<Vec<_>>()).collect();
    if rows.is_empty() {
        return String::new();
    }
    let text = "A probe of the biology, fitted on one scanner and read on each, always on groups that it has not seen. A probe \
        can rank tiles as well as before (AUC) and still state probabilities that are wrong on another scanner. The \
        calibration error (ECE) is the mean gap between what is stated and what is true; in brackets what a calibrated probe \
        has on so few tiles, in the mean and at its 95 % point. A slope below 1 says that the probe is too sure; an \
        intercept above 0, that it says too little. Off: the 95 % interval of one of the two leaves out what is calibrated. \
        Intervals are over whole groups.";
    let headers = ["tap", "fitted on", "read on", "tiles, groups", "AUC", "ECE", "slope", "intercept", "probabilities"];
    paragraph(text) + &table("Do probabilities hold on another scanner?", &headers, &rows)
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
