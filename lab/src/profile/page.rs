//! A profile for people: what it was made from, which level each check can run at, what is missing.

use std::error::Error;
use std::io::Write;

use coverslip_bundle::Digest;
use coverslip_profile::{Check, Profile, Scanner};

use crate::term::{shortened, wrapped};

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
    writeln!(out, "  {:<20}{:>8}{:>12}{:>12}{:>16}", "check", "tiles", "median", "99th", "false alarms")?;
    for check in Check::ALL.into_iter().skip(1) {
        let name = check.name().replace('_', " ");
        match scanner.calibration.get(&check) {
            Some(calibration) => {
                let scores = calibration.scores();
                let at = |share: f64| scores[((scores.len() - 1) as f64 * share).round() as usize];
                let level = format!("from {:.1} %", 100.0 * calibration.supported(0.0));
                writeln!(out, "  {name:<20}{:>8}{:>12.3}{:>12.3}{level:>16}", scores.len(), at(0.5), at(0.99))?;
            }
            None => writeln!(out, "  {name:<20}{:>8}", "not calibrated")?,
        }
    }
    let slides = scanner.slide_shift.len();
    let level = scanner.slide_shift.supported(0.0);
    let mismatch = if level > 0.05 { "unknown at 5 %, which takes 19 slides" } else { "works at 5 %" };
    writeln!(out, "  scanner mismatch: {slides} slides, {mismatch}")?;
    if scanner.calibration_slides.len() < 5 {
        writeln!(
            out,
            "  {} calibration slides: the levels hold for slides like these; give more",
            scanner.calibration_slides.len()
        )?;
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
