//! Calibration: the scores of tiles from slides that fitted nothing, by the functions that the plugin scores with.

use std::collections::BTreeMap;

use coverslip_analysis::scanners::auroc;
use coverslip_profile::{Calibration, Check, Profile, Scanner, instability, measurement};

use super::sampler::{Sample, SampleTile};

/// The scores of a tile, NaN where it has none. UNSTABLE needs the tile's perturbed copy.
pub(super) fn scores(profile: &Profile, scanner: &Scanner, tile: &SampleTile) -> BTreeMap<Check, f32> {
    let m = &tile.measurements;
    let judged: usize = profile.taps[..profile.judged_tap].iter().map(|tap| tap.width).sum();
    let width = profile.taps.get(profile.judged_tap).map_or(0, |tap| tap.width);
    let displaced = profile.displacement(scanner, &tile.embedding[judged..judged + width]);
    let mut scores = BTreeMap::from([
        (Check::OutOfFocus, -m[measurement::SHARPNESS]),
        (Check::Underexposed, measurement::underexposure(m)),
        (Check::Overexposed, measurement::overexposure(m)),
        (Check::Banding, measurement::banding(m)),
        (Check::Foreign, m[measurement::FOREIGN]),
        (Check::FeaturesUnreliable, tile.reconstruction_error),
    ]);
    if let Some(color) = &scanner.color {
        scores.insert(Check::ColorShift, color.score(m).unwrap_or(f32::NAN));
    }
    if let Some(displaced) = displaced {
        scores.insert(Check::Novel, displaced.novel);
        scores.insert(Check::ScannerShift, displaced.scanner_shift);
    }
    if let Some(mass) = profile.feature_score(scanner, tile.features.iter().copied()) {
        scores.insert(Check::ScannerFeatures, mass);
    }
    scores
}

/// Calibrates a scanner on its slides, each with its perturbed copy where there is one.
pub(super) fn calibrate(profile: &Profile, scanner: &Scanner, slides: &[(Sample, Option<Sample>)]) -> Scanner {
    let mut by_check: BTreeMap<Check, Vec<f32>> = BTreeMap::new();
    let mut shifts = Vec::new();
    for (sample, perturbed) in slides {
        let mut shift = Vec::new();
        for tile in &sample.tiles {
            for (check, score) in scores(profile, scanner, tile) {
                by_check.entry(check).or_default().push(score);
                if check == Check::ScannerShift {
                    shift.push(score);
                }
            }
        }
        if !shift.is_empty() {
            shifts.push(shift.iter().sum::<f32>() / shift.len() as f32);
        }
        if let Some(perturbed) = perturbed {
            by_check.entry(Check::Unstable).or_default().extend(unstable(sample, perturbed));
        }
    }
    let calibration = by_check.into_iter().map(|(check, scores)| (check, Calibration::new(scores)));
    Scanner {
        calibration: calibration.filter(|(_, calibration)| !calibration.is_empty()).collect(),
        slide_shift: Calibration::new(shifts),
        ..scanner.clone()
    }
}

/// How much each tile's features change under the perturbation.
fn unstable(sample: &Sample, perturbed: &Sample) -> Vec<f32> {
    let copies: BTreeMap<(i32, i32), &SampleTile> = perturbed.tiles.iter().map(|tile| (tile.place, tile)).collect();
    let pairs = sample.tiles.iter().filter_map(|tile| Some((tile, copies.get(&tile.place)?)));
    pairs.map(|(tile, copy)| instability(tile.features.iter().copied(), copy.features.iter().copied())).collect()
}

/// How well SCANNER_SHIFT tells `own` tiles from `other` ones, all from slides that fitted nothing: 0.5 not at all, 1
/// always.
pub(super) fn separation(profile: &Profile, scanner: &Scanner, own: &[&SampleTile], other: &[&SampleTile]) -> f64 {
    let shift = |tiles: &[&SampleTile]| -> Vec<f64> {
        let score = |tile: &&SampleTile| scores(profile, scanner, tile).get(&Check::ScannerShift).copied();
        tiles.iter().filter_map(score).map(f64::from).collect()
    };
    auroc(&shift(own), &shift(other))
}
