//! What analyses found, as JSON that `report` makes a page of and `bundle label` takes labels from, and labels of a person.

use std::fs;
use std::path::Path;

use clap::Parser;
use coverslip_bundle::{Digest, SAE_FILE};
use coverslip_lab::cli::bundle::label;
use coverslip_lab::cli::report;
use coverslip_testkit::Scratch;
use image::RgbImage;
use serde_json::{Value, json};

use crate::bundle::{vit, written};
use crate::input::{Input, Seeds, joined};

/// The files that `report` reads.
const FILES: [&str; 8] = [
    "counts.json",
    "features.json",
    "compare.json",
    "transfer.json",
    "depth.json",
    "scanners.json",
    "challenge.json",
    "sae-eval.json",
];
/// The kinds of input behind [`FILES`]: counts, and labels, of which `bundle label` makes labels.
const COUNTS: usize = FILES.len();
const LABELS: usize = FILES.len() + 1;
/// A picture beside the files.
const PICTURE: &str = "tile.png";

/// A file of one kind.
pub(crate) fn findings(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let kind = input.below(FILES.len() + 2);
    let scratch = Scratch::new("fuzz");
    let name = FILES.get(kind).copied().unwrap_or("given.json");
    fs::write(scratch.join(name), input.rest()).expect("a scratch file");
    match kind {
        COUNTS => labelled(scratch.path(), "--p 1 --counts"),
        LABELS => labelled(scratch.path(), "--labels"),
        _ => reported(scratch.path()),
    }
}

#[derive(Parser)]
struct Report {
    #[command(flatten)]
    args: report::Args,
}

#[derive(Parser)]
struct Label {
    #[command(flatten)]
    args: label::Args,
}

/// The words of a command, with the folder in place of `@`.
fn words(line: &str, folder: &Path) -> Vec<String> {
    line.split(' ').map(|word| word.replace('@', &format!("{}/", folder.display()))).collect()
}

/// Makes a page of the folder's files.
fn reported(folder: &Path) -> bool {
    RgbImage::from_pixel(8, 8, image::Rgb([150, 60, 120])).save(folder.join(PICTURE)).expect("a scratch file");
    let command = Report::try_parse_from(words("report @ --images @ --out @report.html", folder));
    if report::run(&command.expect("words of our own").args, &mut Vec::new()).is_err() {
        return false;
    }
    let page = fs::read_to_string(folder.join("report.html")).expect("a page in UTF-8").to_ascii_lowercase();
    assert!(!page.contains("<script") && page.ends_with("</html>\n"), "a stranger's text is markup");
    true
}

/// Labels a bundle by the folder's file.
fn labelled(folder: &Path, option: &str) -> bool {
    let bundle = folder.join("bundle");
    fs::create_dir(&bundle).expect("a scratch folder");
    written(vit(), &bundle);
    let command = Label::try_parse_from(words(&format!("label @bundle --out @out {option} @given.json"), folder));
    label::run(command.expect("words of our own").args, &mut Vec::new()).is_ok()
}

/// How well counts are read.
fn score() -> Value {
    json!({ "r": 0.5, "interval": [0.3, 0.6], "q2": 0.3, "chosen": ["3", 9], "folds": 14 })
}

fn counts() -> Value {
    let association = json!({ "column": "3", "cell_type": "plasma <cells>", "pearson": 0.71, "interval": [0.52, 0.83],
        "spearman": 0.64, "spearman_interval": null, "p": 0.004, "tiles_firing": 31, "groups_firing": 9 });
    let trial = json!({ "cell_type": "plasma <cells>", "feature": "3", "chosen": 0.8, "r": 0.7, "least": 0.4, "p": 0.002,
        "failed": [] });
    json!({
        "source": { "dataset": "here", "embeddings": "e", "labels": "l", "tap": "last", "bundle": "model",
            "sae_digest": Digest::of(&vit()[SAE_FILE]).to_string(), "grouped_by": "image" },
        "tiles": 56, "groups": 14, "group_sizes": [4, 4, 4], "least_groups": 3, "permutations": 999, "resamples": 200,
        "cell_types": [{ "name": "plasma <cells>", "mean": 3.5, "sd": 2.0, "min": 0.0, "max": 9.0, "groups_with": 11,
            "between_groups": 0.6 }],
        "representations": [{ "kind": "feature", "columns": 200, "tested": 90, "tested_tiles": 56, "tested_groups": 14,
            "critical": 0.66, "discoveries": 1, "rows": [{ "cell_type": "plasma <cells>", "best": association,
            "one": score(), "all": score() }] }],
        "replication": { "impossible": null, "choosing_groups": 7, "testing_groups": 7, "testing_tiles": 28,
            "partial_on": ["mean_red"], "trials": [trial] },
        "features": [association], "shuffled": { "tables": 200, "with_discovery": 8 },
    })
}

fn labels() -> Value {
    json!([{ "index": 3, "label": "plasma cells", "evidence": "seen", "cell_type": "plasma cells", "correlation": 0.5,
        "tiles": 200, "dataset": "here", "tested": { "partial_correlation": 0.4, "p_value": 0.01, "groups": 24 } }])
}

fn features() -> Value {
    let tile = |image: &str| json!({ "value": 4.0, "group": "g", "image": image, "tile": "t", "place": [0, 0, 4, 4] });
    json!({ "dataset": "here", "bundle": "model", "tiles": 56, "groups": 14, "features": [{ "index": 3,
        "label": labels()[0], "tiles_firing": 31, "groups_firing": 9, "range": [0.1, 1.0, 4.0],
        "top": [tile(PICTURE), tile("gone.png")] }] })
}

/// Two models, two sets of tiles, two depths.
fn models() -> [Value; 3] {
    let reading = json!({ "cell_type": "plasma cells", "kind": "feature", "all_columns": false });
    let row = |more: Value| {
        let mut row = reading.clone();
        row.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        row
    };
    let sample = json!({ "dataset": "here", "tiles": 56, "groups": 14 });
    let point = |depth: f64| {
        json!({ "model": "m", "tap": "t", "depth": depth, "counts": [score()],
        "scanner_accuracy": 0.9, "scanner_chance": 0.5 })
    };
    [
        json!({ "dataset": "here", "tiles": 56, "groups": 14, "names": ["a", "b"], "taps": ["last", "last"],
            "rows": [row(json!({ "a": score(), "b": score(), "difference": 0.1, "interval": [-0.1, 0.3] }))] }),
        json!({ "from": sample, "to": sample, "tap": "last",
            "rows": [row(json!({ "column": "3", "chosen_r": 0.7, "there": score() }))] }),
        json!({ "dataset": "here", "tiles": 56, "groups": 14, "scanners": [["A", "B"], "slide"],
            "cell_types": ["plasma cells"], "points": [point(0.5), point(1.0)] }),
    ]
}

fn scanners() -> Value {
    let (counted, missing) =
        (|name: &str| json!({ "name": name, "tiles": 9, "groups": 3 }), json!({ "undefined": "few" }));
    let probe = json!({ "balanced_accuracy": 0.9, "chance": 0.5, "corrected": 0.8, "classes": 2, "classes_left_out": 1,
        "tiles": 9, "folds": 3 });
    let numbers = json!({
        "scanner_probe_linear": probe, "scanner_probe_neighbours": probe, "biology_probe_linear": missing,
        "scanner_probe_within_biology": { "corrected": 0.25 }, "clustering": missing, "calibration": missing,
        "margin": { "m": 5, "median": 0.25, "interval": [null, null], "quantile": -0.5, "tail": -0.75,
            "tail_interval": [-0.9, -0.5], "fragile": 0.25, "fragile_interval": [0.0, 0.5], "scored": 8, "tiles": 9,
            "without_neighbours": 1, "without_distance": 0 },
        "average_performance_drop": { "drop": -0.25, "accuracy": [0.5, 0.25], "association": [0.0, 1.0], "chance": 0.5,
            "degradation": missing, "biology": ["x", "y"], "centres": ["a", "b"], "training_tiles": 4, "trials": 2 },
        "robustness": { "k": 5, "index": 0.5, "interval": [null, null], "support": 0.75, "random": null,
            "same_biology_other_centre": 3, "other_biology_same_centre": 3 },
        "variance_shares": { "scanner": 0.5, "slide": null, "rest": 0.5 },
        "retrieval": [{ "scanners": ["a", "b"], "pairs": 2, "pair_cosine": null, "other_cosine": 0.5,
            "hits": [{ "k": 1, "first_to_second": 1, "second_to_first": 2, "accuracy": 0.75 }] }],
    });
    json!({
        "format": "coverslip-scanners/2", "tiles": 18, "scanners": [counted("a"), counted("b")],
        "biology": [counted("x"), counted("y")],
        "columns": { "scanner": "scanner", "group": "slide", "biology": "tissue", "pair": null },
        "settings": { "k": 5, "bootstraps": 10, "folds": 3, "seed": 1 },
        "taps": [{ "tap": "last", "width": 8, "versions": [{ "correction": "none", "numbers": numbers },
            { "correction": "coral", "undefined": "expected two slides" }] }],
        "features": [{ "feature": 3, "scanner": "a", "effect_size": 0.7, "least_without_a_slide": 0.4 }],
    })
}

fn challenge() -> Value {
    let level = json!({ "severity": 2.0, "tiles": 9, "flagged": { "novel": 0.5 }, "auroc": { "novel": 0.9 },
        "alerts": [{ "alert": "focus", "after_tiles": 20 }] });
    json!({ "format": "coverslip-challenge/1", "slides": ["s"], "tiles": 9,
        "flagged_without_a_fault": { "novel": 0.01 }, "faults": [{ "fault": "blur", "severity_is": "px",
        "flag": "novel", "half_flagged_at": 2.0, "levels": [level] }] })
}

fn sae_eval() -> Value {
    json!({ "embeddings": "e", "tap": "last", "width": 192, "train_tiles": 5221, "held_out_tiles": 1155,
        "held_out_slides": 26, "pca": [[1.0, 0.9]], "agreement": [{ "saes": ["a", "b"], "median": 0.5, "chance": 0.2,
        "found_again": 0.4, "features": 9 }], "probes": { "label": "tissue", "kinds": ["x", "y"], "grouped_by": "slide",
        "tiles": 9, "groups": 3, "rows": [{ "name": "a", "probes": [{ "k": 1, "auc": 0.8, "interval": [0.7, null] }],
        "undefined": null }] }, "saes": [{ "sae": "k<16>", "architecture": "topk", "features": 1536, "fvu": 0.421,
        "l0": 16.0, "dead": 314, "dense": 11, "pca_fvu": 0.587, "baselines": [{ "name": "random", "fvu": 0.8,
        "l0": 16.0 }], "histogram": [[-3.0, 0], [-2.5, 370]] }] })
}

pub(crate) fn seeds() -> Seeds {
    let [compare, transfer, depth] = models();
    let reported = [counts(), features(), compare, transfer, depth, scanners(), challenge(), sae_eval()];
    let named = FILES.into_iter().chain(["counts-to-label", "labels"]);
    let values = reported.into_iter().chain([counts(), labels()]);
    let seeds = (0u8..).zip(named.zip(values));
    seeds.map(|(kind, (name, value))| (name.to_owned(), joined(kind, &[], value.to_string().as_bytes()))).collect()
}
