//! The table: a line per tap and correction, 80 columns.

use std::io::{self, Write};

use crate::findings::scanners::{
    EstimateFigures, Measured, Measurement, Numbers, ProbeFigures, ScannersFindings, TapFindings, Version,
};
use crate::term::paragraph;

/// Prints the numbers, and the reason for each missing number.
pub(super) fn print(out: &mut dyn Write, found: &ScannersFindings, groups: usize) -> io::Result<()> {
    writeln!(
        out,
        "{} tiles, {} scanners, {groups} groups; probes 0 = chance, 1 = always right",
        found.tiles,
        found.scanners.len()
    )?;
    writeln!(out)?;
    writeln!(
        out,
        "{:<17}{:<9}{:^13}{:^11}{:^12}{:^16}",
        "tap", "corrected", "scanner", "biology", "robustness", "variance, %"
    )?;
    writeln!(
        out,
        "{:<17}{:<9}{:>7}{:>6}{:>9}  {:>6}{:>6}{:>7}{:>6}{:>5}",
        "", "", "linear", "near", "linear", "index", "rand", "scan", "slide", "rest"
    )?;
    for tap in &found.taps {
        for (place, version) in tap.versions.iter().enumerate() {
            let name = if place == 0 { cut(&tap.tap, 16) } else { String::new() };
            let label = &version.correction;
            match version.numbers() {
                Some(numbers) => writeln!(out, "{name:<17}{label:<9}{}", line(numbers).trim_end())?,
                None => writeln!(out, "{name:<17}{label:<9}{:>7}", "-")?,
            }
        }
    }
    retrieval(out, &found.taps)?;
    depth(out, &found.taps)?;
    intervals(out, found)?;
    margins(out, &found.taps)?;
    degradation(out, &found.taps)?;
    calibration(out, &found.taps)?;
    reasons(out, &found.taps)
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

/// So many decimals, or a dash.
fn fixed(value: f64, decimals: usize) -> String {
    finite(value).map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}

fn number(value: Option<f64>, width: usize) -> String {
    value.and_then(finite).map_or_else(|| format!("{:>width$}", "-"), |value| format!("{value:>width$.2}"))
}

fn line(numbers: &Numbers) -> String {
    let corrected = |probe: &Measured<ProbeFigures>| probe.value().map(|probe| probe.corrected);
    let robustness = numbers.robustness.value();
    let shares = numbers.variance_shares.value();
    let percent = |share: Option<f64>, width: usize| match share.and_then(finite) {
        Some(share) => format!("{:>width$.0}", 100.0 * share),
        None => format!("{:>width$}", "-"),
    };
    format!(
        "{}{}{}  {}{}{}{}{}",
        number(corrected(&numbers.scanner_probe_linear), 7),
        number(corrected(&numbers.scanner_probe_neighbours), 6),
        number(corrected(&numbers.biology_probe_linear), 9),
        number(robustness.map(|found| found.index), 6),
        number(robustness.map(|found| found.random), 6),
        percent(shares.map(|shares| shares.scanner), 7),
        percent(shares.and_then(|shares| shares.slide), 6),
        percent(shares.map(|shares| shares.rest), 5)
    )
}

/// Every version that has numbers, with its tap's name.
fn measured(taps: &[TapFindings]) -> impl Iterator<Item = (String, &Version, &Numbers)> {
    let versions = taps.iter().flat_map(|tap| tap.versions.iter().map(move |version| (tap, version)));
    versions.filter_map(|(tap, version)| Some((cut(&tap.tap, 16), version, version.numbers()?)))
}

/// Retrieval, where there are pairs.
fn retrieval(out: &mut dyn Write, taps: &[TapFindings]) -> io::Result<()> {
    let mut first = true;
    for (tap, version, numbers) in measured(taps) {
        for pair in &numbers.retrieval {
            let Some(found) = pair.found.value() else { continue };
            if first {
                writeln!(out, "\nThe same place found by the other scanner (nearest by cosine), both ways")?;
                first = false;
            }
            writeln!(
                out,
                "{tap:<17}{:<9}{:>4} and {} of {}  cosine {} (others {})  {}",
                version.correction,
                found.hits[0].first_to_second,
                found.hits[0].second_to_first,
                found.pairs,
                fixed(found.pair_cosine, 3),
                fixed(found.other_cosine, 3),
                cut(&pair.scanners.join("/"), 12)
            )?;
        }
    }
    Ok(())
}

/// Where in the model the scanner disappears.
fn depth(out: &mut dyn Write, taps: &[TapFindings]) -> io::Result<()> {
    if taps.len() < 2 {
        return Ok(());
    }
    writeln!(out, "\nScanner by depth (linear probe)")?;
    for tap in taps {
        let raw = tap.versions.first().and_then(Version::numbers);
        let Some(probe) = raw.and_then(|numbers| numbers.scanner_probe_linear.value()) else { continue };
        let Some(value) = finite(probe.corrected) else { continue };
        let bar = "#".repeat((value.clamp(0.0, 1.0) * 50.0).round() as usize);
        writeln!(out, "{:<17}{value:>5.2} {bar}", cut(&tap.tap, 16))?;
    }
    Ok(())
}

/// The robustness index with its interval.
fn intervals(out: &mut dyn Write, found: &ScannersFindings) -> io::Result<()> {
    let mut first = true;
    for (tap, version, numbers) in measured(&found.taps) {
        let Some(robustness) = numbers.robustness.value() else { continue };
        if first {
            let (k, bootstraps) = (found.settings.k, found.settings.bootstraps);
            writeln!(out, "\nRobustness index at k {k}, 95 % interval over slides ({bootstraps} bootstraps)")?;
            first = false;
        }
        writeln!(
            out,
            "{tap:<17}{:<9}{}, random {}, support {} %",
            version.correction,
            within(Some(robustness.index), robustness.interval),
            fixed(robustness.random, 2),
            fixed(100.0 * robustness.support, 0)
        )?;
    }
    Ok(())
}

/// CRoMa: the middle and the worst tenth of the tiles' margins.
fn margins(out: &mut dyn Write, taps: &[TapFindings]) -> io::Result<()> {
    let mut first = true;
    for (tap, version, numbers) in measured(taps) {
        let Some(margin) = numbers.margin.value() else { continue };
        if first {
            writeln!(out, "\nCRoMa, m {}: above 0 the biology is nearer than the scanner (95 % interval)", margin.m)?;
            writeln!(out, "{:<26}{:<24}{:<24}{:>5}", "", "median", "worst tenth, mean", "tiles")?;
            first = false;
        }
        writeln!(
            out,
            "{tap:<17}{:<9}{:<24}{:<24}{:>3.0} %",
            version.correction,
            within(Some(margin.median), margin.interval),
            within(Some(margin.tail), margin.tail_interval),
            100.0 * margin.scored as f64 / margin.tiles as f64
        )?;
    }
    Ok(())
}

/// nIPD, beside the accuracies that it rests on.
fn degradation(out: &mut dyn Write, taps: &[TapFindings]) -> io::Result<()> {
    let mut first = true;
    for (tap, version, numbers) in measured(taps) {
        let Some(drop) = numbers.average_performance_drop.value() else { continue };
        let Some(lost) = drop.degradation.value() else { continue };
        if first {
            writeln!(out, "\nWhat a probe loses as biology and scanner are tied in training")?;
            writeln!(out, "(nIPD: 0 nothing, -0.5 an even fall to chance, {:.2})", drop.chance)?;
            first = false;
        }
        let accuracy = |place: usize| fixed(drop.accuracy.get(place).copied().flatten().unwrap_or(f64::NAN), 2);
        writeln!(
            out,
            "{tap:<17}{:<9}nIPD {:>5}  APD {:>5}  accuracy {} to {}",
            version.correction,
            fixed(*lost, 2),
            fixed(drop.drop, 2),
            accuracy(0),
            accuracy(drop.accuracy.len().saturating_sub(1))
        )?;
    }
    Ok(())
}

/// Probes on other scanners than their own, of each tap as it is; scanners.json has them after corrections too.
fn calibration(out: &mut dyn Write, taps: &[TapFindings]) -> io::Result<()> {
    let mut first = true;
    for (tap, _, numbers) in measured(taps).filter(|(_, version, _)| version.correction == "none") {
        let Some(found) = numbers.calibration.value() else { continue };
        if first {
            writeln!(out, "\nA probe of the biology, fitted on one scanner and read on another")?;
            writeln!(out, "(slope 1, intercept 0 and ECE as by chance: its probabilities hold)")?;
            writeln!(
                out,
                "{:<18}{:<16}{:>10}{:>16}{:>17}",
                "fitted, read on", "AUC", "ECE, by ch.", "slope", "intercept"
            )?;
            first = false;
        }
        writeln!(out, "{tap}")?;
        for one in &found.readings {
            writeln!(
                out,
                " {:<17}{:<16}{:>5} {:>4}{:>16}{:>17}{}",
                format!("{}, {}", cut(&one.fitted_on, 7), cut(&one.read_on, 7)),
                brief(&one.auc, 2),
                fixed(one.error, 2),
                fixed(one.error_by_chance[0], 2),
                brief(&one.slope, 1),
                brief(&one.intercept, 1),
                if one.off { " !" } else { "" }
            )?;
        }
    }
    Ok(())
}

/// `0.71 (0.52 to 0.83)`.
fn within(value: Option<f64>, interval: [Option<f64>; 2]) -> String {
    match (value.and_then(finite), interval) {
        (Some(value), [Some(low), Some(high)]) => format!("{value:.2} ({low:.2} to {high:.2})"),
        (Some(value), _) => format!("{value:.2}"),
        (None, _) => "-".into(),
    }
}

/// `0.71 (0.52,0.83)`, in as few columns as there are.
fn brief(one: &EstimateFigures, digits: usize) -> String {
    match (one.value, one.interval) {
        (Some(value), [Some(low), Some(high)]) => format!("{value:.digits$} ({low:.digits$},{high:.digits$})"),
        (Some(value), _) => format!("{value:.digits$}"),
        (None, _) => "-".into(),
    }
}

/// The reasons for missing numbers, each once.
fn reasons(out: &mut dyn Write, taps: &[TapFindings]) -> io::Result<()> {
    let mut said: Vec<String> = Vec::new();
    for version in taps.iter().flat_map(|tap| &tap.versions) {
        let whys: Vec<String> = match &version.measurement {
            Measurement::Undefined(why) => vec![format!("{}: {why}", version.correction)],
            Measurement::Numbers(numbers) => [
                numbers.scanner_probe_linear.reason(),
                numbers.robustness.reason(),
                numbers.margin.reason(),
                numbers.calibration.reason(),
                numbers.average_performance_drop.reason(),
                numbers.average_performance_drop.value().and_then(|drop| drop.degradation.reason()),
                numbers.variance_shares.reason(),
            ]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect(),
        };
        for why in whys {
            if !said.contains(&why) {
                writeln!(out)?;
                write!(out, "{}", paragraph(&why))?;
                said.push(why);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_does_not_exist_is_a_dash() {
        assert_eq!([fixed(f64::NAN, 2), fixed(0.256, 2)], ["-", "0.26"]);
        assert_eq!([number(Some(f64::NAN), 4), number(None, 4), number(Some(0.5), 6)], ["   -", "   -", "  0.50"]);
        assert_eq!(within(Some(f64::NAN), [Some(0.1), Some(0.2)]), "-");
        assert_eq!(within(Some(0.5), [None, None]), "0.50");
        assert_eq!(within(Some(0.5), [Some(0.25), Some(0.75)]), "0.50 (0.25 to 0.75)");
    }
}
