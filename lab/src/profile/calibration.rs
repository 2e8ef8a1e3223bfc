//! Calibration: the scores of tiles from slides that fitted nothing, by the functions that the plugin scores with.

use std::collections::BTreeMap;

use coverslip_analysis::auroc;
use coverslip_profile::{Calibration, Check, ModelOutputs, Profile, Scanner, TileScores, instability};

use super::sampler::{Sample, SampleTile};

/// The scores of a tile. UNSTABLE needs the tile's perturbed copy and has none here.
fn scores<'t>(profile: &Profile, scanner: &Scanner, tile: &'t SampleTile) -> TileScores<'t> {
    let judged: usize = profile.taps[..profile.judged_tap].iter().map(|tap| tap.width).sum();
    let width = profile.taps.get(profile.judged_tap).map_or(0, |tap| tap.width);
    let outputs = ModelOutputs {
        embedding: Some(&tile.embedding[judged..judged + width]),
        features: tile.features.iter().copied(),
        reconstruction_error: Some(tile.reconstruction_error),
        instability: None,
    };
    TileScores::new(profile, scanner, &tile.measurements, outputs)
}

/// Calibrates a scanner on its slides, each with its perturbed copy where there is one.
pub(super) fn calibrate(profile: &Profile, scanner: &Scanner, slides: &[(Sample, Option<Sample>)]) -> Scanner {
    let mut by_check: BTreeMap<Check, Vec<f32>> = BTreeMap::new();
    let mut shifts = Vec::new();
    for (sample, perturbed) in slides {
        let mut shift = Vec::new();
        for tile in &sample.tiles {
            let scored = scores(profile, scanner, tile);
            for check in Check::ALL {
                by_check.entry(check).or_default().extend(scored.score(check));
            }
            shift.extend(scored.score(Check::ScannerShift));
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
        let score = |tile: &&SampleTile| scores(profile, scanner, tile).score(Check::ScannerShift);
        tiles.iter().filter_map(score).map(f64::from).collect()
    };
    auroc(&shift(own), &shift(other))
}
