//! A profile for people: what it was made from, which level each check can run at, what is missing.

use std::error::Error;
use std::io::Write;

use coverslip_bundle::Digest;
use coverslip_profile::{Arithmetic, Check, Profile, Scanner};

use super::left_out::{ALPHA, FalseAlarms};
use super::screening::Told;
use super::set_aside;
use crate::term::{shortened, wrapped};

/// Notes in a profile: what was set aside when it was built, or would have been; and how often flags are raised on
/// slides that are left out.
pub(super) const SET_ASIDE: &str = "set_aside";
pub(super) const KEPT: &str = "kept_although_strange";
pub(super) const FALSE_ALARMS: &str = "false_alarms_by_slide";

/// Prints a profile, 80 columns wide where names are short.
/// `origin` says who made it.
pub(crate) fn print(
    out: &mut dyn Write,
    profile: &Profile,
    digest: Digest,
    origin: &str,
) -> Result<(), Box<dyn Error>> {
    writeln!(out, "profile   {} ({})", profile.name, &digest.to_string()[..12])?;
    for (place, line) in wrapped(origin, 70).iter().enumerate() {
        writeln!(out, "{:10}{line}", if place == 0 { "signature" } else { "" })?;
    }
    writeln!(out, "bundle    {}", &profile.bundle.to_string()[..12])?;
    let how = match (profile.provenance.simulated, profile.provenance.paired) {
        (true, _) => "SIMULATED: other scanners were simulated from this one's slides",
        (false, true) => "the scanners saw the same slides",
        (false, false) => "each scanner saw its own slides: tissue may be taken for a scanner",
    };
    writeln!(out, "scanners  {}; {how}", profile.scanners.len())?;
    writeln!(out, "precision {}", precision(profile.provenance.precision))?;
    for (place, tap) in profile.taps.iter().enumerate() {
        writeln!(
            out,
            "tap       {}: {} values, {} axes, {} scanner directions",
            shortened(&tap.name, 20),
            tap.width,
            tap.variances.len(),
            tap.scanner_rank()
        )?;
        if place == profile.judged_tap {
            writeln!(out, "          tiles are judged by it")?;
        }
    }
    writeln!(out, "features  {} follow a scanner whichever slide is left out", profile.features.len())?;
    for scanner in &profile.scanners {
        one(out, profile, scanner)?;
    }
    Ok(())
}

/// How the engine multiplied on the slides that made the profile.
fn precision(known: Option<Arithmetic>) -> &'static str {
    match known {
        Some(Arithmetic::Float32) => "float32",
        Some(Arithmetic::Float16) => "float16",
        Some(Arithmetic::BFloat16) => "bfloat16",
        Some(Arithmetic::Int8) => "int8",
        None => "not known",
    }
}

fn one(out: &mut dyn Write, profile: &Profile, scanner: &Scanner) -> Result<(), Box<dyn Error>> {
    writeln!(out)?;
    writeln!(
        out,
        "{}: fitted on {} slides ({} tiles), calibrated on {} others",
        scanner.id,
        scanner.fitted_slides.len(),
        scanner.fitted_tiles,
        scanner.calibration_slides.len()
    )?;
    let told = profile.annotations.get("scanner_shift_auroc_on_held_out_slides").and_then(|all| all.get(&scanner.id));
    if let Some(told) = told.and_then(serde_json::Value::as_f64) {
        writeln!(out, "  told from the other scanners on slides that were not fitted: AUROC {told:.2}")?;
    }
    set_aside(out, profile, scanner)?;
    writeln!(out, "  {:<20}{:>7}{:>11}{:>11}{:>7}  of a new slide", "check", "tiles", "median", "99th", "level")?;
    for check in Check::ALL.into_iter().skip(1) {
        let name = check.name().replace('_', " ");
        match scanner.calibration.get(&check) {
            Some(calibration) => {
                let scores = calibration.scores();
                let at = |share: f64| scores[((scores.len() - 1) as f64 * share).round() as usize];
                let level = format!("{:.1} %", 100.0 * calibration.supported(ALPHA));
                let new = of_a_new_slide(note(profile, FALSE_ALARMS, &scanner.id).get(check.name()));
                writeln!(out, "  {name:<20}{:>7}{:>11.3}{:>11.3}{level:>7}  {new}", scores.len(), at(0.5), at(0.99))?;
            }
            None => writeln!(out, "  {name:<20}{:>7}", "not calibrated")?,
        }
    }
    worst(out, note(profile, FALSE_ALARMS, &scanner.id))?;
    let slides = scanner.slide_shift.len();
    let level = scanner.slide_shift.supported(0.0);
    let mismatch = if level > 0.05 { "unknown at 5 %, which takes 19 slides" } else { "works at 5 %" };
    writeln!(out, "  scanner mismatch: {slides} slides, {mismatch}")?;
    let text = format!(
        "it knows the directions in which {} differ, and no other scanner's; the novelty of a slide says whether it is like \
         none of these{}",
        if profile.provenance.simulated {
            "the simulated scanners".into()
        } else {
            format!("these {} scanners", profile.scanners.len())
        },
        if scanner.slide_novel.is_empty() { ", which takes a profile of this version" } else { "" }
    );
    wrapped(&text, 74).iter().try_for_each(|line| writeln!(out, "    {line}"))?;
    if scanner.calibration_slides.len() < 5 {
        writeln!(
            out,
            "  {} calibration slides: the levels hold for slides like these; give more",
            scanner.calibration_slides.len()
        )?;
    }
    Ok(())
}

/// A scanner's part of one of the profile's notes; null where there is none.
fn note<'p>(profile: &'p Profile, name: &str, scanner: &str) -> &'p serde_json::Value {
    profile.annotations.get(name).and_then(|all| all.get(scanner)).unwrap_or(&serde_json::Value::Null)
}

fn read<T: serde::de::DeserializeOwned>(note: &serde_json::Value) -> Option<T> {
    serde_json::from_value(note.clone()).ok()
}

/// The share of a new slide's tiles that a check marks, with its interval by slides.
fn of_a_new_slide(note: Option<&serde_json::Value>) -> String {
    let Some(found) = note.and_then(read::<FalseAlarms>) else { return "-".into() };
    let [low, high] = found.interval.map(|share| 100.0 * share);
    format!("{:.1} % ({low:.1} to {high:.1})", 100.0 * found.rate)
}

/// What the last column is, and the check whose alarms one slide carries.
fn worst(out: &mut dyn Write, notes: &serde_json::Value) -> Result<(), Box<dyn Error>> {
    let all: Vec<(String, FalseAlarms)> = notes
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(check, found)| Some((check.replace('_', " "), read(found)?)))
        .collect();
    let Some(slides) = all.iter().map(|(_, found)| found.slides).max() else { return Ok(()) };
    let text = format!(
        "of a new slide: the share of its tiles that is flagged at {:.0} %, and the 95 % interval, by leaving each of \
         {slides} slides out: tiles of one slide are alike, so slides count and not tiles",
        100.0 * ALPHA
    );
    wrapped(&text, 76).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    let carried = all.iter().filter(|(_, found)| found.of_all > 0.5 && found.worst > 2.0 * found.rate);
    if let Some((check, found)) = carried.max_by(|a, b| a.1.worst.total_cmp(&b.1.worst)) {
        let text = format!(
            "{check}: {:.0} % of what is flagged lies on one slide, on {:.0} % of its tiles",
            100.0 * found.of_all,
            100.0 * found.worst
        );
        wrapped(&text, 76).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    Ok(())
}

/// What was set aside of a scanner's slides.
fn set_aside(out: &mut dyn Write, profile: &Profile, scanner: &Scanner) -> Result<(), Box<dyn Error>> {
    let kept = profile.annotations.contains_key(KEPT);
    let Some(told) = read::<Told>(note(profile, if kept { KEPT } else { SET_ASIDE }, &scanner.id)) else {
        return Ok(());
    };
    let tiles: usize = told.tiles.values().sum();
    let verb = if kept { "kept, although strange" } else { "set aside" };
    writeln!(
        out,
        "  {verb}: {} of {} slides, and {tiles} of {} tiles",
        told.slides.len(),
        told.of_slides,
        told.of_tiles
    )?;
    for slide in &told.slides {
        let name = slide.slide.rsplit(['/', '\\']).next().unwrap_or(&slide.slide);
        writeln!(out, "    {}: {} on {:.0} % of it", shortened(name, 40), slide.why.says(), 100.0 * slide.share)?;
    }
    for (why, count) in &told.tiles {
        writeln!(out, "    {count} tiles of other slides: {}", why.says())?;
    }
    for why in &told.usual {
        writeln!(out, "    {} is usual on these slides, and sets nothing aside", why.says())?;
    }
    if !told.slides.is_empty() || tiles > 0 {
        writeln!(out, "    pictures: {}", set_aside::PAGE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use coverslip_profile::{Provenance, TapGeometry};

    use super::*;

    #[test]
    fn a_tap_with_a_long_name_stays_within_80_columns() {
        let tap = TapGeometry {
            name: "block10.class_token_and_mean".into(),
            width: 1536,
            variances: vec![1.0; 128],
            axes: vec![],
            floor: 1.0,
            scanner_axes: vec![0.0; 12 * 1536],
        };
        let profile = Profile {
            name: "a".into(),
            bundle: Digest::of(b""),
            provenance: Provenance { paired: true, simulated: false, precision: None },
            taps: vec![tap],
            judged_tap: 0,
            features: vec![],
            perturbation: None,
            scanners: vec![],
            annotations: std::collections::BTreeMap::default(),
        };
        let mut out = Vec::new();
        print(&mut out, &profile, Digest::of(b""), &"none ".repeat(30)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("12 scanner directions\n          tiles are judged by it"), "{text}");
    }
}
