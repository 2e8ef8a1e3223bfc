//! Calibration: the scores of tiles from slides that fitted nothing, by the functions that the plugin scores with.

use std::collections::BTreeMap;

use coverslip_analysis::auroc;
use coverslip_profile::{
    Calibration, Check, ModelOutputs, NovelScale, Peak, Profile, Scanner, TileScores, instability,
};

use super::left_out::FalseAlarms;
use super::sampler::{Sample, SampleTile};
use super::screening::robust;

/// The scores of a tile. UNSTABLE needs the tile's perturbed copy and has none here.
pub(super) fn scores<'t>(profile: &Profile, scanner: &Scanner, tile: &'t SampleTile) -> TileScores<'t> {
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

/// Calibrates a scanner on its slides, each with its perturbed copy where there is one. Also gives each check's false
/// alarms on slides that are left out.
pub(super) fn calibrate(
    profile: &Profile,
    scanner: &Scanner,
    slides: &[(Sample, Option<Sample>)],
) -> (Scanner, BTreeMap<&'static str, FalseAlarms>) {
    // By check, then by slide.
    let mut by_check: BTreeMap<Check, Vec<Vec<f32>>> = BTreeMap::new();
    let scanner = &Scanner { novel: novel_scale(profile, scanner, slides), ..scanner.clone() };
    for (slide, (sample, perturbed)) in slides.iter().enumerate() {
        for check in Check::ALL {
            let own = by_check.entry(check).or_insert_with(|| vec![Vec::new(); slides.len()]);
            own[slide] = match (check, perturbed) {
                (Check::Unstable, Some(perturbed)) => unstable(sample, perturbed),
                _ => sample.tiles.iter().filter_map(|tile| scores(profile, scanner, tile).score(check)).collect(),
            };
        }
    }
    let means = |check: Check| {
        let with_tiles = by_check.get(&check).into_iter().flatten().filter(|scores| !scores.is_empty());
        Calibration::new(with_tiles.map(|scores| scores.iter().sum::<f32>() / scores.len() as f32).collect())
    };
    let (slide_shift, slide_novel) = (means(Check::ScannerShift), means(Check::Novel));
    let slide_peak = peaks(slides, &slide_shift, by_check.get(&Check::ScannerShift));
    let alarms = by_check.iter().filter_map(|(check, by_slide)| Some((check.name(), FalseAlarms::of(by_slide)?)));
    let alarms = alarms.collect();
    let calibration = by_check.into_iter().map(|(check, scores)| (check, Calibration::new(scores.concat())));
    let scanner = Scanner {
        calibration: calibration.filter(|(_, calibration)| !calibration.is_empty()).collect(),
        slide_shift,
        slide_novel,
        slide_peak,
        ..scanner.clone()
    };
    (scanner, alarms)
}

/// The peak of each slide's running mean of SCANNER_SHIFT, in the order of its tiles. Of a slide that was thinned, each tile
/// stands for as many as it was drawn from.
fn peaks(slides: &[(Sample, Option<Sample>)], means: &Calibration, scores: Option<&Vec<Vec<f32>>>) -> Calibration {
    let Some(&middle) = means.scores().get(means.len() / 2) else { return Calibration::default() };
    let of = |((sample, _), scores): (&(Sample, Option<Sample>), &Vec<f32>)| {
        let each = sample.analysed as f64 / sample.tiles.len().max(1) as f64;
        let mut peak = Peak::new(middle);
        scores.iter().for_each(|&score| peak.add(score, each));
        peak.highest()
    };
    Calibration::new(slides.iter().zip(scores.into_iter().flatten()).filter_map(of).collect())
}

/// Median and spread of NOVEL's lengths on the slides that calibrate, all slides alike however many tiles they have.
fn novel_scale(profile: &Profile, scanner: &Scanner, slides: &[(Sample, Option<Sample>)]) -> Option<NovelScale> {
    let without = Scanner { novel: None, ..scanner.clone() };
    let lengths = |sample: &Sample| -> Vec<f64> {
        let of = |tile| scores(profile, &without, tile).score(Check::Novel).map(f64::from);
        sample.tiles.iter().filter_map(of).filter(|length| length.is_finite()).collect()
    };
    let by_slide: Vec<Vec<f64>> =
        slides.iter().map(|(sample, _)| lengths(sample)).filter(|all| !all.is_empty()).collect();
    // As many quantiles of each slide.
    const OF_A_SLIDE: usize = 101;
    let mut all = Vec::new();
    for mut lengths in by_slide {
        lengths.sort_by(f64::total_cmp);
        all.extend((0..OF_A_SLIDE).map(|i| lengths[(2 * i + 1) * lengths.len() / (2 * OF_A_SLIDE)]));
    }
    let (middle, spread) = robust(&all);
    let scale = NovelScale { middle: middle as f32, spread: spread as f32 };
    (scale.middle.is_finite() && scale.spread > 0.0).then_some(scale)
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
