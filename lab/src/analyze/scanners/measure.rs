//! All numbers of one matrix.

use coverslip_analysis::Undefined;
use coverslip_analysis::scanners::{
    Apd, Classifier, Clustering, Components, Probe, Retrieval, Robustness, average_performance_drop, clustering_score,
    probe, retrieve, robustness_index, select, variance_components,
};
use faer::MatRef;
use serde_json::{Value, json};

use super::material::Material;

/// Neighbours that vote in the probe.
const VOTES: usize = 5;
/// Trials of the average performance drop.
const TRIALS: usize = 10;
/// How deep retrieval looks.
const DEPTHS: [usize; 3] = [1, 3, 5];

/// What all taps are measured with.
pub(super) struct Settings {
    pub(super) k: usize,
    pub(super) bootstraps: usize,
    pub(super) folds: usize,
    pub(super) seed: u64,
}

/// The numbers, each with its reason where the data do not define it.
pub(super) struct Numbers {
    pub(super) linear: Result<Probe, Undefined>,
    pub(super) neighbours: Result<Probe, Undefined>,
    /// The biology, read in the same way: what a correction must not take away.
    pub(super) biology: Result<Probe, Undefined>,
    /// The scanner read within each kind of biology, weighted by tiles.
    pub(super) within_biology: Result<f64, Undefined>,
    pub(super) robustness: Result<Robustness, Undefined>,
    pub(super) apd: Result<Apd, Undefined>,
    pub(super) clustering: Result<Clustering, Undefined>,
    pub(super) variance: Result<Components, Undefined>,
    pub(super) retrieval: Vec<([String; 2], Result<Retrieval, Undefined>)>,
}

/// Measures `rows`.
pub(super) fn numbers(rows: MatRef<'_, f64>, material: &Material, settings: &Settings) -> Numbers {
    let Material { scanners, groups, biology, .. } = material;
    let read = |labels, classifier| probe(rows, labels, groups, classifier, settings.folds, settings.seed);
    let no_biology = || Undefined("expected the kinds of biology, found none: name their column with --biology".into());
    let biology = biology.as_ref().ok_or_else(no_biology);
    let known = || biology.clone();
    let seed = settings.seed;
    Numbers {
        linear: read(scanners, Classifier::Linear),
        neighbours: read(scanners, Classifier::Neighbours(VOTES)),
        biology: known().and_then(|biology| read(biology, Classifier::Linear)),
        within_biology: within(rows, material, settings),
        robustness: known().and_then(|biology| {
            robustness_index(rows, biology, scanners, groups, settings.k, settings.bootstraps, seed)
        }),
        apd: known().and_then(|biology| average_performance_drop(rows, biology, scanners, groups, TRIALS, seed)),
        clustering: known().and_then(|biology| clustering_score(rows, biology, scanners, seed)),
        variance: variance_components(rows, scanners, groups),
        retrieval: material
            .pairs
            .iter()
            .map(|pairing| {
                let [first, second] = pairing.rows.each_ref().map(|own| select(rows, own));
                (pairing.scanners.clone(), retrieve(first.as_ref(), second.as_ref(), &DEPTHS))
            })
            .collect(),
    }
}

/// The linear scanner probe within each kind of biology, chance-corrected, weighted by the tiles that took part.
fn within(rows: MatRef<'_, f64>, material: &Material, settings: &Settings) -> Result<f64, Undefined> {
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

impl Numbers {
    /// As scanners.json has them.
    pub(super) fn value(&self) -> Value {
        let retrieval = self.retrieval.iter().map(|(scanners, found)| {
            let mut value = or_reason(found, retrieval_value);
            value["scanners"] = json!(scanners);
            value
        });
        json!({
            "scanner_probe_linear": or_reason(&self.linear, probe_value),
            "scanner_probe_neighbours": or_reason(&self.neighbours, probe_value),
            "scanner_probe_within_biology": or_reason(&self.within_biology, |value| json!({ "corrected": value })),
            "biology_probe_linear": or_reason(&self.biology, probe_value),
            "robustness": or_reason(&self.robustness, |found| json!({
                "k": found.k,
                "index": found.index,
                "interval": [found.interval.0, found.interval.1],
                "random": found.random,
                "same_biology_other_centre": found.same_biology_other_centre,
                "other_biology_same_centre": found.other_biology_same_centre,
            })),
            "average_performance_drop": or_reason(&self.apd, |found| json!({
                "drop": found.drop,
                "accuracy": found.accuracy,
                "biology": found.biology,
                "centres": found.centres,
                "training_tiles": found.train,
                "trials": TRIALS,
            })),
            "clustering": or_reason(&self.clustering, |found| json!({
                "score": found.score(),
                "biology": found.biology,
                "centre": found.centre,
                "k": found.k,
            })),
            "variance_shares": or_reason(&self.variance, |found| {
                let [scanner, slide, rest] = found.shares();
                json!({
                    "scanner": scanner,
                    "slide": if found.slide.is_nan() { Value::Null } else { json!(slide) },
                    "rest": rest,
                })
            }),
            "retrieval": retrieval.collect::<Vec<_>>(),
        })
    }
}

fn or_reason<T>(found: &Result<T, Undefined>, value: impl Fn(&T) -> Value) -> Value {
    match found {
        Ok(found) => value(found),
        Err(why) => json!({ "undefined": why.0 }),
    }
}

fn probe_value(found: &Probe) -> Value {
    json!({
        "balanced_accuracy": found.balanced_accuracy,
        "chance": found.chance,
        "corrected": found.corrected,
        "classes": found.classes,
        "classes_left_out": found.left_out,
        "tiles": found.rows,
        "folds": found.folds,
    })
}

fn retrieval_value(found: &Retrieval) -> Value {
    let depths = found.hits.iter().map(|&(k, first, second)| {
        json!({ "k": k, "first_to_second": first, "second_to_first": second, "accuracy": found.accuracy(k) })
    });
    json!({
        "pairs": found.pairs,
        "hits": depths.collect::<Vec<_>>(),
        "pair_cosine": found.pair_cosine,
        "other_cosine": found.other_cosine,
    })
}
