//! `coverslip analyze counts`.

use std::fs;
use std::path::Path;

use coverslip_lab::findings::counts::{CountsFindings, RepresentationFindings};
use coverslip_lab::findings::reading::ColumnKind;
use coverslip_testkit::{Scratch, demo_bundle};

use super::fixture::{analyze, write, write_groups};

/// Runs the command on a folder's files; the findings, or what it said instead.
fn run_in(folder: &Path, more: &[&str]) -> Result<CountsFindings, String> {
    let fixed = "counts --embeddings @e.safetensors --labels @labels.csv --permutations 499 --resamples 200 --tap last";
    let words = [fixed].into_iter().chain(more.iter().copied());
    analyze(folder, &words.collect::<Vec<_>>().join(" "))
}

#[test]
fn the_feature_that_follows_a_count_is_found_and_holds_on_other_groups() {
    let scratch = Scratch::new("counts-found");
    let folder = scratch.path();
    write(folder, 4);
    let report = run_in(folder, &["--shuffles", "40"]).unwrap();
    let features = &report.representations[0];
    assert_eq!(
        (features.kind, features.tested, features.columns),
        (ColumnKind::Feature, 5, 6),
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
    let [.., random, frozen] = &report.representations[..] else { panic!("{report:?}") };
    assert_eq!((random.kind, random.rows.len()), (ColumnKind::Random, 2));
    assert_eq!((frozen.kind, frozen.rows.len()), (ColumnKind::FrozenDecoder, 2));
    assert!([random, frozen].iter().all(|one| one.columns > 1 && one.tested > 0), "{random:?} {frozen:?}");
    let r = |of: &RepresentationFindings| of.rows[0].best.as_ref().map(|best| best.pearson);
    assert_ne!(r(random), r(frozen), "the encoder was not trained");
    assert!(features.rows[1].one.q2 < 0.3, "nothing follows the stroma: {:?}", features.rows[1]);
    // Binomial(40, 0.05) exceeds 6 with probability 0.3 %.
    assert!(report.shuffled.unwrap().with_discovery <= 6);
    let table = fs::read_to_string(folder.join("out/counts-features.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 5 * 2);
}

#[test]
fn a_frozen_decoder_is_left_out_where_its_encoder_has_no_steps() {
    let scratch = Scratch::new("counts-no-baseline");
    write(scratch.path(), 4);
    let report = run_in(scratch.path(), &["--baseline-steps", "0"]).unwrap();
    assert_eq!(report.representations.last().unwrap().kind, ColumnKind::Random);
}

#[test]
fn a_label_replicates_on_groups_that_had_no_part_in_choosing_it() {
    let scratch = Scratch::new("counts-replicated");
    let folder = scratch.path();
    write_groups(folder, 4, [1, 1], 24);
    let found = run_in(folder, &[]).unwrap().replication.unwrap();
    assert_eq!((found.choosing_groups, found.testing_groups, found.testing_tiles), (12, 12, 48));
    assert!(found.impossible.is_none() && found.partial_on.is_empty(), "this table has no colour: {found:?}");
    let [lymphocytes, stroma] = &found.trials[..] else { panic!("{found:?}") };
    assert_eq!((lymphocytes.feature.as_deref(), &lymphocytes.failed[..]), (Some("5"), &[][..]));
    assert!(lymphocytes.r.unwrap() > 0.9 && lymphocytes.least.unwrap() > 0.9 && lymphocytes.p.unwrap() <= 0.01);
    assert!(!stroma.failed.is_empty(), "nothing follows the stroma: {stroma:?}");

    // Where the count is in the colour, the feature says nothing beside it.
    let labels = fs::read_to_string(folder.join("labels.csv")).unwrap();
    let counts = labels.lines().skip(1).map(|line| line.split(',').nth(1).unwrap());
    let table = fs::read_to_string(folder.join("e.csv")).unwrap();
    let red: Vec<String> = counts.map(|count| format!("{}", 200.0 - count.parse::<f64>().unwrap())).collect();
    let rows = table.lines().skip(1).zip(&red).map(|(line, red)| format!("{line},{red}\n"));
    fs::write(folder.join("e.csv"), format!("slide,tile,mean_red\n{}", rows.collect::<String>())).unwrap();
    let found = run_in(folder, &[]).unwrap().replication.unwrap();
    assert_eq!(found.partial_on, ["mean_red"]);
    assert!(!found.trials[0].failed.is_empty(), "{found:?}");

    write(folder, 4);
    let few = run_in(folder, &[]).unwrap().replication.unwrap();
    assert!(few.impossible.unwrap().contains("found 12") && few.trials.is_empty());
}

#[test]
fn labels_that_cannot_be_used_say_why() {
    let scratch = Scratch::new("counts-labels");
    let folder = scratch.path();
    write(folder, 4);
    let good = fs::read_to_string(folder.join("labels.csv")).unwrap();
    let with = |text: String, more: &[&str], expected: &str| {
        fs::write(folder.join("labels.csv"), text).unwrap();
        let found = run_in(folder, more).unwrap_err();
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    };
    with(good.replacen("s0_0,", "s99_0,", 1), &[], "match no tile: s99_0");
    with(good.replacen("s0_0,", "s0_1,", 1), &[], "labelled twice, in rows 1 and 2");
    with(good.replace("here", "7"), &[], "site is 7 on every tile");
    with(good.replacen("s0_0,", "s0_0,NaN", 1), &[], "expected a number");
    with(good.clone(), &["--types", "plasma"], "expected a column plasma");
    with(good.clone(), &["--group", "site"], "in 1 groups by site; expected three groups or more");
    with(good.clone(), &["--group", "patient"], "--group patient: expected a column");
    with(
        good.replace("tile,", "name,"),
        &[],
        "expected a column that names the tiles (tile, image, slide, slide_id, sample_id)",
    );
    with(good.lines().next().unwrap().to_owned(), &[], "expected a row per tile, found none");
    with(good.replacen("s0_0,", "a/s0_1.png,", 1), &[], "found \"a/s0_1.png\" and \"s0_1\" for the same tile");
    with(good.replacen("stroma", "lymphocytes", 1), &[], "found lymphocytes twice in tile, ");
    with(
        good.replacen("here", "", 1),
        &["--group", "site"],
        "--group site: expected a value in every row, found 1 empty",
    );
    let bundle = demo_bundle().display().to_string();
    with(good.clone(), &["--bundle", &bundle], "found 384 values where their tap last has 3");
    // A tile that is there twice under one name.
    let tiles = fs::read_to_string(folder.join("e.csv")).unwrap();
    fs::write(folder.join("e.csv"), tiles.replacen("s0_1.png", "s0_0.jpg", 1)).unwrap();
    let without: String =
        good.lines().filter(|line| !line.starts_with("s0_1,")).map(|line| format!("{line}\n")).collect();
    with(without, &[], "match more than one tile: s0_0");
}

/// The labels with each line of tiles changed.
fn changed(labels: &str, change: impl Fn(&[&str]) -> String) -> String {
    let mut lines = labels.lines();
    let header = lines.next().unwrap();
    let rows = lines.map(|line| change(&line.split(',').collect::<Vec<_>>()));
    [header.to_owned()].into_iter().chain(rows).map(|line| format!("{line}\n")).collect()
}

#[test]
fn cells_that_are_no_counts_are_refused_by_name() {
    let scratch = Scratch::new("counts-cells");
    let folder = scratch.path();
    write(folder, 4);
    let good = fs::read_to_string(folder.join("labels.csv")).unwrap();
    let run_with = |text: &str, more: &[&str]| {
        fs::write(folder.join("labels.csv"), text).unwrap();
        run_in(folder, more)
    };
    let told = |text: &str, expected: &str| {
        let found = run_with(text, &[]).unwrap_err();
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    };
    // A column of decimal commas is a column of counts, and not one of text that nobody misses.
    let commas = changed(&good, |cells| format!("{},{},\"{},5\",here,0", cells[0], cells[1], cells[2]));
    told(&commas, "expected a number with a decimal point (row 1; --types chooses columns)");
    assert_eq!(run_with(&commas, &["--types", "lymphocytes"]).unwrap().cell_types.len(), 1);
    for digits in ["9999999999999", "-9999999999999"] {
        let large = good.replacen("s0_0,", &format!("s0_0,{digits}"), 1);
        told(&large, &format!("lymphocytes of s0_0 is \"{digits}"));
        told(&large, "expected a number of cells or their density, at most 1e12 either way (row 1;");
    }
}

#[test]
fn more_cell_types_than_an_analysis_takes_are_refused_before_the_work() {
    let scratch = Scratch::new("counts-types");
    let folder = scratch.path();
    write(folder, 4);
    let good = fs::read_to_string(folder.join("labels.csv")).unwrap();
    let more = |number: usize, line: &str| {
        let cell =
            |column: usize| if number == 0 { format!(",c{column}") } else { format!(",{}", (number + column) % 7) };
        format!("{line}{}\n", (0..255).map(cell).collect::<String>())
    };
    let many: String = good.lines().enumerate().map(|(number, line)| more(number, line)).collect();
    fs::write(folder.join("labels.csv"), many).unwrap();
    let refused = run_in(folder, &[]).unwrap_err();
    let expected = "expected at most 256 columns of counts, found 257; choose cell types with --types";
    assert!(refused.contains(expected), "{refused}");
    assert_eq!(run_in(folder, &["--types", "lymphocytes,c7", "--baseline-steps", "0"]).unwrap().cell_types.len(), 2);
}

#[test]
fn what_tiny_counts_do_not_say_is_written_and_read_as_nothing() {
    let scratch = Scratch::new("counts-tiny");
    let folder = scratch.path();
    write(folder, 4);
    let good = fs::read_to_string(folder.join("labels.csv")).unwrap();
    let tiny = changed(&good, |cells| format!("{},{}e-200,{}e-200,here,0", cells[0], cells[1], cells[2]));
    fs::write(folder.join("labels.csv"), tiny).unwrap();
    let found = run_in(folder, &["--baseline-steps", "0"]).unwrap();
    assert!(found.cell_types.iter().all(|cell| cell.between_groups.is_nan()), "{:?}", found.cell_types);
}

#[test]
fn groups_of_different_sizes_are_cut_for_the_test_alone() {
    let scratch = Scratch::new("counts-sizes");
    let folder = scratch.path();
    write(folder, 4);
    let labels = fs::read_to_string(folder.join("labels.csv")).unwrap();
    let fewer: String =
        labels.lines().filter(|line| !line.starts_with("s3_2")).map(|line| format!("{line}\n")).collect();
    fs::write(folder.join("labels.csv"), fewer).unwrap();
    let report = run_in(folder, &[]).unwrap();
    let features = &report.representations[0];
    assert_eq!((report.tiles, report.groups, report.group_sizes), (47, 12, [3, 4, 4]));
    assert_eq!((features.tested_tiles, features.tested_groups), (44, 11));
}
