//! Two profiles of one bundle: how far the scanners lie apart, and what a slide of one would raise with the other.

use std::error::Error;
use std::io::Write;

use coverslip_profile::{COLOR_VALUES, Calibration, Check, Profile, Scanner, TapGeometry};
use faer::Mat;

/// The level at which checks are compared.
const LEVEL: f64 = 0.01;
const COLORS: [&str; COLOR_VALUES] = [
    "density red",
    "density green",
    "density blue",
    "spread red",
    "spread green",
    "spread blue",
    "white red",
    "white green",
    "white blue",
];

/// Prints `other` by the measure of `profile`.
///
/// # Errors
/// Where the two belong to different bundles.
pub(super) fn print(out: &mut dyn Write, profile: &Profile, other: &Profile) -> Result<(), Box<dyn Error>> {
    if profile.bundle != other.bundle {
        return Err(format!(
            "expected two profiles of one bundle, found {} for {} and {} for {}: their embeddings have nothing in common",
            profile.name, profile.bundle, other.name, other.bundle
        )
        .into());
    }
    writeln!(out, "{} as {} would see it", other.name, profile.name)?;
    for (tap, theirs) in profile.taps.iter().zip(&other.taps) {
        if let Some(angles) = angles(tap, theirs) {
            let text: Vec<String> =
                angles.iter().map(|cosine| format!("{:.0}", cosine.clamp(-1.0, 1.0).acos().to_degrees())).collect();
            writeln!(out, "tap {}: angles between the scanner directions, degrees: {}", tap.name, text.join(", "))?;
        }
    }
    for own in &profile.scanners {
        // The same scanner at another time where there is one; else every scanner of the other profile.
        let same: Vec<&Scanner> = other.scanners.iter().filter(|one| one.id == own.id).collect();
        let theirs = if same.is_empty() { other.scanners.iter().collect() } else { same };
        for scanner in theirs {
            pair(out, profile, own, scanner)?;
        }
    }
    Ok(())
}

fn pair(out: &mut dyn Write, profile: &Profile, own: &Scanner, theirs: &Scanner) -> Result<(), Box<dyn Error>> {
    writeln!(out, "\n{} against {}", theirs.id, own.id)?;
    let means = profile.taps.iter().zip(own.means.iter().zip(&theirs.means));
    for (tap, (own, theirs)) in means.filter(|(_, (own, theirs))| own.len() == theirs.len()) {
        let moved = tap.displacement(own, theirs);
        writeln!(
            out,
            "  mean of {}: {:.2} sd along scanner directions, {:.2} sd elsewhere",
            tap.name, moved.scanner_shift, moved.novel
        )?;
    }
    if let (Some(own), Some(theirs)) = (&own.color, &theirs.color) {
        let whitened = own
            .whitening
            .iter()
            .map(|row| row.iter().zip(theirs.mean).zip(own.mean).map(|((weight, b), a)| weight * (b - a)).sum::<f64>());
        let distance = whitened.map(|value| value * value).sum::<f64>().sqrt();
        let moved = COLORS.iter().zip(theirs.mean.iter().zip(own.mean)).map(|(name, (b, a))| (name, b - a));
        let most = moved.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        let most = most.map_or_else(String::new, |(name, by)| format!("; most moved: {name} by {by:+.3}"));
        writeln!(out, "  colours: {distance:.1} sd between tiles{most}")?;
    }
    writeln!(out, "  {:<20}{:>12}{:>12}{:>26}", "check", "median", "theirs", "of theirs flagged at 1 %")?;
    for check in Check::ALL.into_iter().skip(1) {
        // Novelty, shift and features are judged from another mean in each profile: their scores do not compare.
        let judged_by_own = [Check::Novel, Check::ScannerShift, Check::ScannerFeatures, Check::ColorShift];
        let (Some(mine), Some(scores)) = (own.calibration.get(&check), theirs.calibration.get(&check)) else {
            continue;
        };
        if judged_by_own.contains(&check) {
            continue;
        }
        let name = check.name().replace('_', " ");
        let flagged = flagged(mine, scores);
        let middle = |calibration: &Calibration| calibration.scores()[calibration.len() / 2];
        writeln!(out, "  {name:<20}{:>12.3}{:>12.3}{:>24.0} %", middle(mine), middle(scores), 100.0 * flagged)?;
    }
    Ok(())
}

/// The share of `theirs` above the quantile that `own` would be flagged from.
fn flagged(own: &Calibration, theirs: &Calibration) -> f64 {
    let (scores, level) = (own.scores(), own.supported(LEVEL));
    // p ≤ level: at most level · (n + 1) − 1 of the own scores are as large.
    let allowed = (level * (scores.len() as f64 + 1.0) - 1.0 + 1e-9).floor().max(0.0) as usize;
    let limit = scores[scores.len() - 1 - allowed.min(scores.len() - 1)];
    theirs.scores().iter().filter(|score| **score > limit).count() as f64 / theirs.len() as f64
}

/// Cosines of the principal angles between two scanner subspaces, largest first (Björck & Golub 1973).
fn angles(a: &TapGeometry, b: &TapGeometry) -> Option<Vec<f64>> {
    if a.width != b.width || a.scanner_rank() == 0 || b.scanner_rank() == 0 {
        return None;
    }
    let basis = |tap: &TapGeometry| -> Option<Mat<f64>> {
        let axes = Mat::from_fn(tap.width, tap.scanner_rank(), |row, column| {
            f64::from(tap.scanner_axes[column * tap.width + row])
        });
        let svd = axes.thin_svd().ok()?;
        Some(svd.U().to_owned())
    };
    let product = basis(a)?.transpose() * basis(b)?;
    let svd = product.thin_svd().ok()?;
    Some(svd.S().column_vector().iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tap(axes: &[f32]) -> TapGeometry {
        TapGeometry {
            name: "t".into(),
            width: 3,
            variances: vec![],
            axes: vec![],
            floor: 1.0,
            scanner_axes: axes.to_vec(),
        }
    }

    #[test]
    fn angles_by_hand() {
        let found = angles(&tap(&[1.0, 0.0, 0.0]), &tap(&[2.0, 2.0, 0.0])).unwrap();
        assert!((found[0] - 0.5_f64.sqrt()).abs() < 1e-6, "{found:?}");
        let plane = angles(&tap(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), &tap(&[0.0, 3.0, 0.0, 0.0, 0.0, 1.0])).unwrap();
        assert!((plane[0] - 1.0).abs() < 1e-6 && plane[1].abs() < 1e-6, "{plane:?}");
        assert!(angles(&tap(&[]), &tap(&[1.0, 0.0, 0.0])).is_none());
    }

    #[test]
    fn flagged_is_what_lies_beyond_the_level() {
        let own = Calibration::new((0..999).map(|i| i as f32).collect());
        // p ≤ 1 % of 1,000: ten places, so the nine largest own scores may be as large.
        assert!((flagged(&own, &own) - 9.0 / 999.0).abs() < 1e-9, "{}", flagged(&own, &own));
        // 1 % of 150 is one place and a half: the largest own score alone, which nothing may reach.
        let odd = Calibration::new((0..149).map(|i| i as f32).collect());
        assert_eq!(flagged(&odd, &odd), 0.0);
        let far = Calibration::new(vec![5000.0, 1.0]);
        assert_eq!(flagged(&own, &far), 0.5);
        let few = Calibration::new(vec![1.0, 2.0]);
        assert_eq!(flagged(&few, &Calibration::new(vec![3.0])), 1.0);
    }
}
