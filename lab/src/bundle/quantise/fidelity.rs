//! How near a mix is to float32, in what a pathologist and a host see of it.

use std::ops::Range;

use coverslip_bundle::{Manifest, ReferenceOutputs};
use coverslip_numerics::Draw;
use coverslip_profile::{Check, MEASUREMENTS, ModelOutputs, Profile, Scanner, TileScores};

use super::slides::Slides;

/// The level at which a host's flags are raised by default.
const ALPHA: f64 = 0.01;
/// The level of the bundle's own limit of the reconstruction error.
const ERROR_LEVEL: f64 = 0.99;

/// The gate's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fidelity {
    /// Share of float32's features that are reported too: the mean of the slides' means.
    pub(super) overlap: f64,
    /// The same of the tile at the 5th percentile.
    pub(super) low: f64,
    /// The same as `overlap`, each feature with its value.
    pub(super) value: f64,
    /// Share of the checks that read the model and are raised by one of both alone.
    pub(super) flags: f64,
}

/// Compares `found` with `expected` on the tiles of `slides`.
pub(super) fn measure(
    manifest: &Manifest,
    profile: Option<&Profile>,
    slides: &Slides,
    (expected, found): (&ReferenceOutputs, &ReferenceOutputs),
) -> Fidelity {
    let k = manifest.sae.outputs;
    let shares: Vec<[f64; 2]> =
        (0..slides.count()).map(|tile| shared(expected, found, tile * k..(tile + 1) * k)).collect();
    let by_slide = |at: usize| {
        let mean = |slide: &Range<usize>| {
            shares[slide.clone()].iter().map(|shares| shares[at]).sum::<f64>() / slide.len() as f64
        };
        slides.slides.iter().map(mean).sum::<f64>() / slides.slides.len() as f64
    };
    let mut sorted: Vec<f64> = shares.iter().map(|shares| shares[0]).collect();
    sorted.sort_by(f64::total_cmp);
    let low = sorted.get(sorted.len() / 20).copied().unwrap_or(f64::NAN);
    Fidelity { overlap: by_slide(0), low, value: by_slide(1), flags: changed(manifest, profile, (expected, found)) }
}

/// The share of a tile's active features that are reported too, by number and by value; 1 if none is active.
fn shared(expected: &ReferenceOutputs, found: &ReferenceOutputs, tile: Range<usize>) -> [f64; 2] {
    let features = |outputs: &ReferenceOutputs| {
        let values = outputs.feature_value[tile.clone()].iter().map(|value| f64::from(*value));
        let indices = outputs.feature_index[tile.clone()].iter().copied();
        indices.zip(values).filter(|(_, value)| *value != 0.0).collect::<Vec<_>>()
    };
    let (expected, found) = (features(expected), features(found));
    let reported = |index: i32| found.iter().any(|(other, _)| *other == index);
    let part = |weight: fn(f64) -> f64| {
        let all: f64 = expected.iter().map(|(_, value)| weight(*value)).sum();
        let same: f64 = expected.iter().filter(|(i, _)| reported(*i)).map(|(_, value)| weight(*value)).sum();
        if all == 0.0 { 1.0 } else { same / all }
    };
    [part(|_| 1.0), part(f64::abs)]
}

/// The share of checks that read the model and are raised by one of both alone: FEATURES_UNRELIABLE by the bundle's
/// quantile, and with a profile each of its scanners' checks.
fn changed(manifest: &Manifest, profile: Option<&Profile>, outputs: (&ReferenceOutputs, &ReferenceOutputs)) -> f64 {
    let (mut checks, mut different) = (0_u64, 0_u64);
    let mut count = |expected: &[bool], found: &[bool]| {
        checks += expected.len() as u64;
        different += expected.iter().zip(found).filter(|(a, b)| a != b).count() as u64;
    };
    let limit = manifest.error_quantile(ERROR_LEVEL);
    for tile in 0..outputs.0.count {
        if let Some(limit) = limit {
            let raised = |outputs: &ReferenceOutputs| [f64::from(outputs.reconstruction_error[tile]) > limit];
            count(&raised(outputs.0), &raised(outputs.1));
        }
        for (profile, scanner) in profile.iter().flat_map(|p| p.scanners.iter().map(move |scanner| (p, scanner))) {
            let raised = |outputs| raised(manifest, (profile, scanner), outputs, tile);
            count(&raised(outputs.0), &raised(outputs.1));
        }
    }
    if checks == 0 { 0.0 } else { different as f64 / checks as f64 }
}

/// Which of a scanner's checks are raised by what the model says of a tile.
fn raised(
    manifest: &Manifest,
    (profile, scanner): (&Profile, &Scanner),
    outputs: &ReferenceOutputs,
    tile: usize,
) -> Vec<bool> {
    let k = manifest.sae.outputs;
    let features = tile * k..(tile + 1) * k;
    let pairs = outputs.feature_index[features.clone()].iter().zip(&outputs.feature_value[features]);
    let name = profile.taps.get(profile.judged_tap).map(|tap| &tap.name);
    let tap = manifest.taps.iter().position(|tap| Some(&tap.name) == name);
    let embedding = tap.map(|at| {
        let width = manifest.tap_width(&manifest.taps[at]);
        &outputs.embeddings[at][tile * width..(tile + 1) * width]
    });
    let said = ModelOutputs {
        embedding,
        features: pairs.filter(|(_, value)| **value != 0.0).map(|(index, value)| (*index as u32, *value)),
        reconstruction_error: Some(outputs.reconstruction_error[tile]),
        instability: None,
    };
    let scores = TileScores::new(profile, scanner, &[f32::NAN; MEASUREMENTS], said);
    let judged = |(check, calibration): (&Check, &coverslip_profile::Calibration)| {
        let score = scores.score(*check).filter(|_| !calibration.is_empty())?;
        // One draw for both, so that only scores differ.
        let p = calibration.p_value(score, Draw::new(0).of(tile as u64).of(*check as u64));
        Some(p <= calibration.supported(ALPHA))
    };
    scanner.calibration.iter().filter_map(judged).collect()
}

#[cfg(test)]
mod tests {
    use coverslip_bundle::Digest;
    use coverslip_bundle::synthetic::{SyntheticSpec, recipe};

    use super::*;

    /// Outputs for `tiles` tiles, each with the features 1, 2, 3, 4 of values 4, 3, 2, 1.
    fn outputs(manifest: &Manifest, tiles: usize) -> ReferenceOutputs {
        let k = manifest.sae.outputs;
        let tile = |from: &[i32]| {
            let mut values = vec![0; k];
            values[..from.len()].copy_from_slice(from);
            values
        };
        ReferenceOutputs {
            count: tiles,
            embeddings: manifest.taps.iter().map(|tap| vec![0.1; tiles * manifest.tap_width(tap)]).collect(),
            feature_index: tile(&[1, 2, 3, 4]).repeat(tiles),
            feature_value: tile(&[4, 3, 2, 1]).repeat(tiles).iter().map(|value| *value as f32).collect(),
            active_count: vec![4; tiles],
            reconstruction_error: vec![0.1; tiles],
            ..Default::default()
        }
    }

    #[test]
    fn the_figures_by_hand() {
        let mut manifest = recipe(&SyntheticSpec::default()).manifest;
        manifest.sae.reference.error_quantiles = [("0.5".to_owned(), 0.2), ("0.99".to_owned(), 0.5)].into();
        let slides = Slides { pixels: Vec::new(), slides: vec![0..1, 1..4] };
        let expected = outputs(&manifest, 4);
        let mut found = expected.clone();
        let same = measure(&manifest, None, &slides, (&expected, &expected));
        assert_eq!(same, Fidelity { overlap: 1.0, low: 1.0, value: 1.0, flags: 0.0 });
        // The first slide's tile loses its strongest feature; the second slide's last tile is flagged.
        found.feature_index[0] = 77;
        found.reconstruction_error[3] = 0.6;
        let fidelity = measure(&manifest, None, &slides, (&expected, &found));
        assert_eq!(fidelity, Fidelity { overlap: 0.875, low: 0.75, value: 0.8, flags: 0.25 });
        // In another order they are the same features.
        found.feature_index[0..4].copy_from_slice(&[4, 3, 2, 1]);
        assert_eq!(measure(&manifest, None, &slides, (&expected, &found)).overlap, 1.0);
    }

    #[test]
    fn a_profile_adds_its_checks() {
        let manifest = recipe(&SyntheticSpec::default()).manifest;
        let profile = coverslip_profile::synthetic::profile(&manifest, Digest([0; 32]), &["A", "B"], 999);
        let one = 0..2;
        let slides = Slides { pixels: Vec::new(), slides: Vec::from([one]) };
        let expected = outputs(&manifest, 2);
        let mut found = expected.clone();
        let width = manifest.tap_width(&manifest.taps[1]);
        found.embeddings[1][..width].fill(1e3);
        let fidelity = measure(&manifest, Some(&profile), &slides, (&expected, &found));
        // NOVEL and SCANNER_SHIFT of one of two tiles, of four checks that read the model and the bundle's own.
        let checks = 2.0 * 2.0 * 4.0 + if manifest.error_quantile(0.99).is_some() { 2.0 } else { 0.0 };
        assert!((fidelity.flags - 4.0 / checks).abs() < 1e-12, "{fidelity:?}");
    }
}
