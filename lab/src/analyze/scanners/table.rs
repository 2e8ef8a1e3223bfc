//! The table: a line per tap and correction, 80 columns.

use std::io::{self, Write};

use coverslip_analysis::Undefined;

use super::Tap;
use super::material::Material;
use super::measure::{Numbers, Settings};
use crate::term::paragraph;

/// Prints what was measured, and why what is missing is missing.
pub(super) fn print(out: &mut dyn Write, material: &Material, settings: &Settings, taps: &[Tap]) -> io::Result<()> {
    writeln!(
        out,
        "{} tiles, {} scanners, {} groups; probes 0 = chance, 1 = always right",
        material.len(),
        material.scanners.kinds(),
        material.groups.kinds()
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
    for tap in taps {
        for (version, (label, numbers)) in tap.versions.iter().enumerate() {
            let name = if version == 0 { cut(&tap.name, 16) } else { String::new() };
            match numbers {
                Ok(numbers) => writeln!(out, "{name:<17}{label:<9}{}", line(numbers).trim_end())?,
                Err(_) => writeln!(out, "{name:<17}{label:<9}{:>7}", "-")?,
            }
        }
    }
    retrieval(out, taps)?;
    depth(out, taps)?;
    intervals(out, settings, taps)?;
    reasons(out, taps)
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn number(value: Option<f64>, width: usize) -> String {
    value.map_or_else(|| format!("{:>width$}", "-"), |value| format!("{value:>width$.2}"))
}

fn line(numbers: &Numbers) -> String {
    let corrected =
        |probe: &Result<coverslip_analysis::scanners::Probe, Undefined>| probe.as_ref().ok().map(|p| p.corrected);
    let robustness = numbers.robustness.as_ref().ok();
    let shares = numbers.variance.as_ref().ok().map(|found| (found.shares(), found.slide.is_nan()));
    let percent = |index: usize, width: usize| match shares {
        Some((_, true)) if index == 1 => format!("{:>width$}", "-"),
        Some((shares, _)) => format!("{:>width$.0}", 100.0 * shares[index]),
        None => format!("{:>width$}", "-"),
    };
    format!(
        "{}{}{}  {}{}{}{}{}",
        number(corrected(&numbers.linear), 7),
        number(corrected(&numbers.neighbours), 6),
        number(corrected(&numbers.biology), 9),
        number(robustness.map(|found| found.index), 6),
        number(robustness.map(|found| found.random), 6),
        percent(0, 7),
        percent(1, 6),
        percent(2, 5)
    )
}

/// Retrieval, where there are pairs.
fn retrieval(out: &mut dyn Write, taps: &[Tap]) -> io::Result<()> {
    let mut first = true;
    for tap in taps {
        for (label, numbers) in &tap.versions {
            let Ok(numbers) = numbers else { continue };
            for (scanners, found) in &numbers.retrieval {
                let Ok(found) = found else { continue };
                if first {
                    writeln!(out, "\nThe same place found by the other scanner (nearest by cosine), both ways")?;
                    first = false;
                }
                let (_, there, back) = found.hits[0];
                writeln!(
                    out,
                    "{:<17}{label:<9}{:>4} and {} of {}  cosine {:.3} (others {:.3})  {}",
                    cut(&tap.name, 16),
                    there,
                    back,
                    found.pairs,
                    found.pair_cosine,
                    found.other_cosine,
                    cut(&scanners.join("/"), 12)
                )?;
            }
        }
    }
    Ok(())
}

/// Where in the model the scanner disappears.
fn depth(out: &mut dyn Write, taps: &[Tap]) -> io::Result<()> {
    let raw = |tap: &Tap| tap.versions.first()?.1.as_ref().ok()?.linear.as_ref().ok().map(|probe| probe.corrected);
    if taps.len() < 2 {
        return Ok(());
    }
    writeln!(out, "\nScanner by depth (linear probe)")?;
    for tap in taps {
        let Some(value) = raw(tap) else { continue };
        let bar = "#".repeat((value.clamp(0.0, 1.0) * 50.0).round() as usize);
        writeln!(out, "{:<17}{value:>5.2} {bar}", cut(&tap.name, 16))?;
    }
    Ok(())
}

/// The robustness index with its interval.
fn intervals(out: &mut dyn Write, settings: &Settings, taps: &[Tap]) -> io::Result<()> {
    let mut first = true;
    for tap in taps {
        for (label, numbers) in &tap.versions {
            let Some(found) = numbers.as_ref().ok().and_then(|numbers| numbers.robustness.as_ref().ok()) else {
                continue;
            };
            if first {
                let (k, bootstraps) = (settings.k, settings.bootstraps);
                writeln!(out, "\nRobustness index at k {k}, 95 % interval over slides ({bootstraps} bootstraps)")?;
                first = false;
            }
            let (low, high) = found.interval;
            writeln!(
                out,
                "{:<17}{label:<9}{:.2} ({low:.2} to {high:.2}), random neighbours {:.2}",
                cut(&tap.name, 16),
                found.index,
                found.random
            )?;
        }
    }
    Ok(())
}

/// Why what is missing is missing, once each.
fn reasons(out: &mut dyn Write, taps: &[Tap]) -> io::Result<()> {
    let mut said: Vec<String> = Vec::new();
    for (label, numbers) in taps.iter().flat_map(|tap| &tap.versions) {
        let whys = match numbers {
            Err(why) => vec![format!("{label}: {why}")],
            Ok(numbers) => [
                numbers.linear.as_ref().err(),
                numbers.robustness.as_ref().err(),
                numbers.apd.as_ref().err(),
                numbers.variance.as_ref().err(),
            ]
            .into_iter()
            .flatten()
            .map(ToString::to_string)
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
