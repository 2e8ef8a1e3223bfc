//! The analysis on small files whose answer is known, and on files that cannot be used.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Parser;
use coverslip_analysis::random::Random;
use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// A folder of its own for each test.
pub(in crate::analyze) fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("coverslip-counts-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// 12 groups of 4 tiles. Feature 5 follows the lymphocytes; features 6 to 9 nothing; feature 3 follows them, but fires in
/// two groups only. Dimension 1 of taps last and block4 is feature 5; block2 is noise.
pub(in crate::analyze) fn write(folder: &Path, seed: u64) {
    write_wide(folder, seed, [1, 1]);
}

/// The same with each embedding so many times side by side: block2's, and those of block4 and last.
pub(in crate::analyze) fn write_wide(folder: &Path, seed: u64, times: [usize; 2]) {
    let mut random = Random::new(seed);
    let (mut embedding, mut index, mut value) = (Vec::new(), Vec::new(), Vec::new());
    let mut noise = Vec::new();
    let (mut table, mut labels) = (String::from("slide,tile\n"), String::from("tile,lymphocytes,stroma,site,row\n"));
    for group in 0..12 {
        let level = 2.0 + 8.0 * random.uniform();
        for tile in 0..4 {
            let count = random.poisson(level) as f32;
            let following = 0.5 * count + 0.2 * random.normal() as f32;
            embedding.extend([random.normal() as f32, following, random.normal() as f32]);
            let rare = if group < 2 { count } else { 0.0 };
            noise.push(random.normal() as f32);
            index.extend([5, 3, 6 + random.below(4) as i32]);
            value.extend([following, rare, random.uniform() as f32 + 0.1]);
            writeln!(table, "s{group},s{group}_{tile}.png").unwrap();
            writeln!(labels, "s{group}_{tile},{count},{},here,{tile}", random.poisson(3.0) + group % 2).unwrap();
        }
    }
    let embedding: Vec<f32> = embedding.chunks(3).flat_map(|row| row.repeat(times[1])).collect();
    let noise: Vec<f32> = noise.chunks(1).flat_map(|row| row.repeat(times[0])).collect();
    let tensors = TensorMap::from([
        ("embedding_last".to_owned(), Tensor::f32(&[48, 3 * times[1]], &embedding)),
        ("embedding_block2".to_owned(), Tensor::f32(&[48, times[0]], &noise)),
        ("embedding_block4".to_owned(), Tensor::f32(&[48, 3 * times[1]], &embedding)),
        ("feature_index".to_owned(), Tensor::i32(&[48, 3], &index)),
        ("feature_value".to_owned(), Tensor::f32(&[48, 3], &value)),
    ]);
    std::fs::write(folder.join("e.safetensors"), to_safetensors(&tensors).unwrap()).unwrap();
    std::fs::write(folder.join("e.csv"), table).unwrap();
    std::fs::write(folder.join("labels.csv"), labels).unwrap();
}

/// Runs the command on a folder's files; the report, or what it said instead.
fn run_in(folder: &Path, more: &[&str]) -> Result<CountsReport, String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (embeddings, labels, out) = (path("e.safetensors"), path("labels.csv"), path("out"));
    let mut arguments = vec!["x", "--embeddings", &embeddings, "--labels", &labels, "--out", &out];
    arguments.extend(["--permutations", "499", "--resamples", "200", "--tap", "last"]);
    arguments.extend(more);
    let args = Command::parse_from(arguments).args;
    let mut page = Vec::new();
    run(&args, &mut page).map_err(|error| error.to_string())?;
    let page = String::from_utf8(page).unwrap();
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    Ok(serde_json::from_slice(&std::fs::read(folder.join("out/counts.json")).unwrap()).unwrap())
}

#[test]
fn the_feature_that_follows_a_count_is_found_and_holds_on_other_groups() {
    let folder = folder("found");
    write(&folder, 4);
    let report = run_in(&folder, &["--shuffles", "40"]).unwrap();
    let features = &report.representations[0];
    assert_eq!(
        (features.kind, features.tested, features.columns),
        (Kind::Feature, 5, 6),
        "feature 3 fires in two groups"
    );
    assert_eq!((report.cell_types.len(), report.groups, features.discoveries), (2, 12, 1));
    let row = &features.rows[0];
    let best = row.best.as_ref().unwrap();
    assert_eq!((row.cell_type.as_str(), best.column.as_str()), ("lymphocytes", "5"));
    let [low, high] = best.interval.unwrap();
    assert!(best.p <= 0.01 && 0.8 < low && low < best.pearson && best.pearson < high, "{best:?}");
    assert_eq!(row.one.chosen, Some(("5".into(), 12)));
    assert!(row.one.r.unwrap() > 0.9 && row.one.q2 > 0.8 && row.all.q2 > 0.7, "{row:?}");
    let dimensions = &report.representations[1];
    assert_eq!(dimensions.rows[0].best.as_ref().unwrap().column, "1");
    assert!(features.rows[1].one.q2 < 0.3, "nothing follows the stroma: {:?}", features.rows[1]);
    // Binomial(40, 0.05) exceeds 6 with probability 0.3 %.
    assert!(report.shuffled.unwrap().with_discovery <= 6);
    let table = std::fs::read_to_string(folder.join("out/counts-features.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 5 * 2);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn labels_that_cannot_be_used_say_why() {
    let folder = folder("labels");
    write(&folder, 4);
    let good = std::fs::read_to_string(folder.join("labels.csv")).unwrap();
    let with = |text: String, more: &[&str], expected: &str| {
        std::fs::write(folder.join("labels.csv"), text).unwrap();
        let found = run_in(&folder, more).unwrap_err();
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    };
    with(good.replacen("s0_0,", "s99_0,", 1), &[], "match no tile: s99_0");
    with(good.replacen("s0_0,", "s0_1,", 1), &[], "labelled twice, in rows 1 and 2");
    with(good.replace("here", "7"), &[], "site is 7 on every tile");
    with(good.replacen("s0_0,", "s0_0,NaN", 1), &[], "expected a number");
    with(good.clone(), &["--types", "plasma"], "expected a column plasma");
    with(good.clone(), &["--group", "site"], "in 1 groups by site; expected three groups or more");
    with(good.clone(), &["--group", "patient"], "--group patient: expected a column");
    with(good.replace("tile,", "name,"), &[], "expected a column tile, image or slide");
    with(good.lines().next().unwrap().to_owned(), &[], "expected a row per tile, found none");
    with(good.replacen("s0_0,", "a/s0_1.png,", 1), &[], "found \"a/s0_1.png\" and \"s0_1\" for the same tile");
    with(good.replacen("stroma", "lymphocytes", 1), &[], "found lymphocytes twice in tile, ");
    with(
        good.replacen("here", "", 1),
        &["--group", "site"],
        "--group site: expected a value in every row, found 1 empty",
    );
    let bundle = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bundles/demo").display().to_string();
    with(good.clone(), &["--bundle", &bundle], "found 192 values where their tap last has 3");
    // A tile that is there twice under one name.
    let tiles = std::fs::read_to_string(folder.join("e.csv")).unwrap();
    std::fs::write(folder.join("e.csv"), tiles.replacen("s0_1.png", "s0_0.jpg", 1)).unwrap();
    let without: String =
        good.lines().filter(|line| !line.starts_with("s0_1,")).map(|line| format!("{line}\n")).collect();
    with(without, &[], "match more than one tile: s0_0");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn features_that_the_bundle_does_not_have_are_refused() {
    let folder = folder("fits");
    let bundle = Bundle::open(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bundles/demo")).unwrap();
    for (index, fits) in [(1535, true), (1536, false)] {
        let tensors = TensorMap::from([
            ("embedding_last".to_owned(), Tensor::f32(&[1, 192], &[0.5; 192])),
            ("feature_index".to_owned(), Tensor::i32(&[1, 1], &[index])),
            ("feature_value".to_owned(), Tensor::f32(&[1, 1], &[1.0])),
        ]);
        std::fs::write(folder.join("e.safetensors"), to_safetensors(&tensors).unwrap()).unwrap();
        std::fs::write(folder.join("e.csv"), "slide\na\n").unwrap();
        let set = crate::embeddings::EmbeddingSet::open(&folder.join("e.safetensors")).unwrap();
        let found = study::features_fit(&set, &bundle).map_err(|error| error.to_string());
        assert_eq!(found.is_ok(), fits, "{found:?}");
        let named = |text: &String| text.contains("below 1536") && text.contains("found feature 1536");
        assert!(found.as_ref().err().is_none_or(named), "{found:?}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn long_names_and_large_counts_stay_within_80_columns() {
    let folder = folder("columns");
    write(&folder, 4);
    let mut report = run_in(&folder, &[]).unwrap();
    report.source.dataset = "a data set with a name of many words ".repeat(3);
    report.cell_types[0].name = "lymphocytes and plasma cells".into();
    for (min, max) in [(0.123456, 123.456789), (1.5, 99_999.9), (-123_456.7, 1_234_567.8)] {
        (report.cell_types[0].min, report.cell_types[0].max, report.cell_types[0].mean) = (min, max, max);
        report.representations[0].rows[0].one.q2 = -max;
        report.representations[0].rows[0].best.as_mut().unwrap().column = "1048575".into();
        let page = page::page(&report);
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        assert!(page.contains("lymphocytes and …"), "{page}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn groups_of_different_sizes_are_cut_for_the_test_alone() {
    let folder = folder("sizes");
    write(&folder, 4);
    let labels = std::fs::read_to_string(folder.join("labels.csv")).unwrap();
    let fewer: String =
        labels.lines().filter(|line| !line.starts_with("s3_2")).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.join("labels.csv"), fewer).unwrap();
    let report = run_in(&folder, &[]).unwrap();
    let features = &report.representations[0];
    assert_eq!((report.tiles, report.groups, report.group_sizes), (47, 12, [3, 4, 4]));
    assert_eq!((features.tested_tiles, features.tested_groups), (44, 11));
    std::fs::remove_dir_all(folder).unwrap();
}
