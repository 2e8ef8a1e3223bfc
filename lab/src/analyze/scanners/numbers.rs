//! All numbers of one matrix.

use coverslip_analysis::scanners::{
    Classifier, Estimate, Probe, Reading, Retrieval, average_performance_drop, calibration_shift, clustering_score,
    probe, retrieve, robustness_index, robustness_margin, variance_components,
};
use coverslip_analysis::{Categories, Undefined, select};
use faer::MatRef;

use super::material::Material;
use crate::findings::scanners::{
    CalibrationFigures, ClusteringFigures, Corrected, DropFigures, EstimateFigures, Hits, MarginFigures, Measured,
    Numbers, PairRetrieval, ProbeFigures, ReadingFigures, RetrievalFigures, RobustnessFigures, Settings,
    VarianceShares,
};

/// Neighbours that vote in the probe.
const VOTES: usize = 5;
/// Neighbours of each kind behind CRoMa's margin: the radius of its authors' figures.
const MARGIN: usize = 5;
/// Trials of the average performance drop.
const TRIALS: usize = 10;
/// Neighbours among which retrieval looks for the same place.
const DEPTHS: [usize; 3] = [1, 3, 5];

/// Measures `rows`.
pub(super) fn numbers(rows: MatRef<'_, f64>, material: &Material, settings: Settings) -> Numbers {
    let Material { scanners, groups, .. } = material;
    let seed = settings.seed;
    let read = |categories: &Categories, classifier| {
        probe(rows, categories, groups, classifier, settings.folds, seed).map(probe_figures)
    };
    let no_biology = || Undefined("expected the kinds of biology, found none: name their column with --biology".into());
    let biology = || material.biology.as_ref().ok_or_else(no_biology);
    let retrieval = material.pairs.iter().map(|pairing| {
        let [first, second] = pairing.rows.each_ref().map(|own| select(rows, own));
        let found = retrieve(first.as_ref(), second.as_ref(), &DEPTHS);
        PairRetrieval { scanners: pairing.scanners.clone(), found: found.map(retrieval_figures).into() }
    });
    Numbers {
        scanner_probe_linear: read(scanners, Classifier::Linear).into(),
        scanner_probe_neighbours: read(scanners, Classifier::Neighbours(VOTES)).into(),
        scanner_probe_within_biology: within(rows, material, settings).map(|corrected| Corrected { corrected }).into(),
        biology_probe_linear: biology().and_then(|biology| read(biology, Classifier::Linear)).into(),
        robustness: biology().and_then(|biology| robustness(rows, material, biology, settings)).into(),
        margin: biology().and_then(|biology| margin(rows, material, biology, settings)).into(),
        calibration: biology().and_then(|biology| calibration(rows, material, biology, settings)).into(),
        average_performance_drop: biology().and_then(|biology| drop(rows, material, biology, seed)).into(),
        clustering: biology().and_then(|biology| clustering(rows, biology, scanners, seed)).into(),
        variance_shares: variance_shares(rows, material).into(),
        retrieval: retrieval.collect(),
    }
}

impl<T> From<Result<T, Undefined>> for Measured<T> {
    fn from(found: Result<T, Undefined>) -> Self {
        match found {
            Ok(value) => Measured::Value(value),
            Err(why) => Measured::Undefined { undefined: why.0 },
        }
    }
}

/// The linear scanner probe within each kind of biology, chance-corrected, weighted by the tiles that took part.
fn within(rows: MatRef<'_, f64>, material: &Material, settings: Settings) -> Result<f64, Undefined> {
    let Some(biology) = &material.biology else {
        return Err(Undefined("expected the kinds of biology, found none".into()));
    };
    let (mut sum, mut tiles) = (0.0, 0.0);
    for own in biology.rows() {
        let (scanners, groups) = (material.scanners.select(&own), material.groups.select(&own));
        let own = select(rows, &own);
        let found = probe(own.as_ref(), &scanners, &groups, Classifier::Linear, settings.folds, settings.seed);
        if let Ok(found) = found {
            sum += found.corrected * found.rows as f64;
            tiles += found.rows as f64;
        }
    }
    if tiles == 0.0 {
        return Err(Undefined("expected a kind of biology with two scanners of two groups each, found none".into()));
    }
    Ok(sum / tiles)
}

fn probe_figures(found: Probe) -> ProbeFigures {
    ProbeFigures {
        balanced_accuracy: found.balanced_accuracy,
        chance: found.chance,
        corrected: found.corrected,
        classes: found.classes,
        classes_left_out: found.left_out,
        tiles: found.rows,
        folds: found.folds,
    }
}

fn robustness(
    rows: MatRef<'_, f64>,
    material: &Material,
    biology: &Categories,
    settings: Settings,
) -> Result<RobustnessFigures, Undefined> {
    let Material { scanners, groups, .. } = material;
    let Settings { k, bootstraps, seed, .. } = settings;
    let found = robustness_index(rows, biology, scanners, groups, k, bootstraps, seed)?;
    Ok(RobustnessFigures {
        k: found.k,
        index: found.index,
        interval: ends(found.interval),
        support: found.support,
        random: found.random,
        same_biology_other_centre: found.same_biology_other_centre,
        other_biology_same_centre: found.other_biology_same_centre,
    })
}

fn margin(
    rows: MatRef<'_, f64>,
    material: &Material,
    biology: &Categories,
    settings: Settings,
) -> Result<MarginFigures, Undefined> {
    let Material { scanners, groups, .. } = material;
    let Settings { bootstraps, seed, .. } = settings;
    let found = robustness_margin(rows, biology, scanners, groups, MARGIN, bootstraps, seed)?;
    Ok(MarginFigures {
        m: found.m,
        median: found.median,
        interval: ends(found.interval),
        quantile: found.quantile,
        tail: found.tail,
        tail_interval: ends(found.tail_interval),
        fragile: found.fragile,
        fragile_interval: ends(found.fragile_interval),
        scored: found.scored,
        tiles: found.tiles,
        without_neighbours: found.without_neighbours,
        without_distance: found.without_distance,
    })
}

fn calibration(
    rows: MatRef<'_, f64>,
    material: &Material,
    biology: &Categories,
    settings: Settings,
) -> Result<CalibrationFigures, Undefined> {
    let Material { scanners, groups, .. } = material;
    let Settings { bootstraps, folds, seed, .. } = settings;
    let found = calibration_shift(rows, biology, scanners, groups, folds, bootstraps, seed)?;
    let estimate = |one: Estimate| EstimateFigures { value: finite(one.value), interval: ends(one.interval) };
    let reading = |one: Reading| ReadingFigures {
        off: one.is_off(),
        fitted_on: one.fitted_on,
        read_on: one.read_on,
        tiles: one.tiles,
        groups: one.groups,
        auc: estimate(one.auc),
        error: one.error,
        error_by_chance: one.error_by_chance.into(),
        slope: estimate(one.slope),
        intercept: estimate(one.intercept),
    };
    Ok(CalibrationFigures {
        kinds: found.kinds,
        scanners_left_out: found.left_out,
        readings: found.readings.into_iter().map(reading).collect(),
    })
}

fn drop(rows: MatRef<'_, f64>, material: &Material, biology: &Categories, seed: u64) -> Result<DropFigures, Undefined> {
    let found = average_performance_drop(rows, biology, &material.scanners, &material.groups, TRIALS, seed)?;
    Ok(DropFigures {
        drop: found.drop,
        accuracy: found.accuracy.into_iter().map(finite).collect(),
        association: found.association,
        chance: found.chance,
        degradation: found.degradation.into(),
        biology: found.biology,
        centres: found.centres,
        training_tiles: found.train,
        trials: TRIALS,
    })
}

fn clustering(
    rows: MatRef<'_, f64>,
    biology: &Categories,
    scanners: &Categories,
    seed: u64,
) -> Result<ClusteringFigures, Undefined> {
    let found = clustering_score(rows, biology, scanners, seed)?;
    Ok(ClusteringFigures { score: found.score(), biology: found.biology, centre: found.centre, k: found.k })
}

fn variance_shares(rows: MatRef<'_, f64>, material: &Material) -> Result<VarianceShares, Undefined> {
    let found = variance_components(rows, &material.scanners, &material.groups)?;
    let [scanner, slide, rest] = found.shares();
    Ok(VarianceShares { scanner, slide: (!found.slide.is_nan()).then_some(slide), rest })
}

fn retrieval_figures(found: Retrieval) -> RetrievalFigures {
    let hits = found.hits.iter().map(|&(k, first_to_second, second_to_first)| Hits {
        k,
        first_to_second,
        second_to_first,
        accuracy: found.accuracy(k),
    });
    RetrievalFigures {
        pairs: found.pairs,
        hits: hits.collect(),
        pair_cosine: found.pair_cosine,
        other_cosine: found.other_cosine,
    }
}

fn ends((low, high): (f64, f64)) -> [Option<f64>; 2] {
    [low, high].map(finite)
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}
