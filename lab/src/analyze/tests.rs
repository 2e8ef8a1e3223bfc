//! The analyses that put models, data sets and tiles beside each other, on the files of the analysis of counts.

use std::path::{Path, PathBuf};

use clap::Parser;
use serde::de::DeserializeOwned;

use super::counts::tests::{folder, write, write_wide};
use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// Runs `analyze ARGUMENTS --out FOLDER/out`; what it wrote under `name`, or what it said instead.
fn analyze<T: DeserializeOwned>(folder: &Path, arguments: &str, name: &str) -> Result<T, String> {
    let place = |word: &str| word.replace('@', &format!("{}/", folder.display()));
    let words =
        ["x".into()].into_iter().chain(format!("{arguments} --out @out").split(' ').map(place).collect::<Vec<_>>());
    let mut page = Vec::new();
    let outcome = match Command::parse_from(words).args.analysis {
        Analysis::Compare(args) => compare::run(&args, &mut page),
        Analysis::Depth(args) => depth::run(&args, &mut page),
        Analysis::Transfer(args) => transfer::run(&args, &mut page),
        Analysis::Features(args) => features::run(&args, &mut page),
        other => panic!("{other:?} is tested elsewhere"),
    };
    outcome.map_err(|error| error.to_string())?;
    let page = String::from_utf8(page).unwrap();
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    Ok(serde_json::from_slice(&std::fs::read(folder.join("out").join(name)).unwrap()).unwrap())
}

#[test]
fn a_model_that_knows_the_counts_beats_one_that_does_not_and_equals_itself() {
    let folder = folder("compare");
    write(&folder, 4);
    let common = "--labels @labels.csv --resamples 300 --tap-a last";
    let run = |tap: &str| {
        let arguments = format!("compare @e.safetensors @e.safetensors --tap-b {tap} {common}");
        let report: compare::CompareReport = analyze(&folder, &arguments, "compare.json").unwrap();
        let wanted = |row: &&compare::Comparison| {
            row.cell_type == "lymphocytes" && row.kind == representation::Kind::Dimension && row.all_columns
        };
        report.rows.iter().find(wanted).unwrap().clone()
    };
    let worse = run("block2");
    assert!(worse.difference.unwrap() > 0.8 && worse.interval.unwrap()[0] > 0.5, "{worse:?}");
    let same = run("block4");
    assert_eq!((same.difference, same.a.clone()), (Some(0.0), same.b));
    let names = analyze::<compare::CompareReport>(
        &folder,
        &format!("compare @e.safetensors @e.safetensors --names A --tap-b last {common}"),
        "compare.json",
    );
    assert!(names.unwrap_err().contains("expected two names"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_feature_that_means_the_same_elsewhere_is_found_there() {
    let (here, there) = (folder("here"), folder("there"));
    write(&here, 4);
    write(&there, 5);
    let to = there.display();
    let arguments = format!(
        "transfer --embeddings @e.safetensors --labels @labels.csv --to {to}/e.safetensors --to-labels {to}/labels.csv \
         --tap last --resamples 200"
    );
    let report: transfer::TransferReport = analyze(&here, &arguments, "transfer.json").unwrap();
    let row = report.rows.iter().find(|row| row.column.is_some() && row.cell_type == "lymphocytes").unwrap();
    assert_eq!((row.column.as_deref(), row.kind), (Some("5"), representation::Kind::Feature));
    assert!(row.there.r.unwrap() > 0.95 && row.there.q2 > 0.9, "{row:?}");
    let stroma = report.rows.iter().find(|row| row.cell_type == "stroma").unwrap();
    assert!(stroma.there.q2 < 0.2, "nothing follows the stroma: {stroma:?}");
    let other = std::fs::read_to_string(there.join("labels.csv")).unwrap().replace("lymphocytes,stroma", "a,b");
    std::fs::write(there.join("labels.csv"), other).unwrap();
    let refused = analyze::<transfer::TransferReport>(&here, &arguments, "transfer.json").unwrap_err();
    assert!(refused.contains("no cell type is in both"), "{refused}");
    std::fs::remove_dir_all(here).unwrap();
    std::fs::remove_dir_all(there).unwrap();
}

#[test]
fn depth_follows_the_taps_of_the_bundle() {
    let folder = folder("depth");
    // As wide as the bundle's taps.
    write_wide(&folder, 4, [192, 64]);
    let bundle = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bundles/demo");
    // The scanner is what the labels' stroma is not: half of the slides, told apart by nothing.
    let rows = std::fs::read_to_string(folder.join("e.csv")).unwrap();
    let scanners = rows.lines().enumerate().map(|(n, line)| match n {
        0 => format!("{line},scanner\n"),
        n => format!("{line},{}\n", if (n - 1) / 4 % 2 == 0 { "one" } else { "two" }),
    });
    std::fs::write(folder.join("e.csv"), scanners.collect::<String>()).unwrap();
    let arguments = format!(
        "depth --bundle {} --embeddings @e.safetensors --scanners @e.safetensors --labels @labels.csv --resamples 200",
        bundle.display()
    );
    let report: depth::DepthReport = analyze(&folder, &arguments, "depth.json").unwrap();
    let taps: Vec<(&str, u32)> =
        report.points.iter().map(|point| (point.tap.as_str(), (100.0 * point.depth) as u32)).collect();
    assert_eq!(taps, [("block2", 33), ("block4", 66), ("last", 100)]);
    let r = |place: usize| report.points[place].counts[0].r.unwrap();
    assert!(r(0) < 0.4 && r(1) > 0.95 && r(1) == r(2), "{:?}", report.points);
    assert!(report.points.iter().all(|point| point.scanner_accuracy.unwrap() < 0.75));
    let rows = std::fs::read_to_string(folder.join("e.csv")).unwrap();
    std::fs::write(folder.join("e.csv"), rows.replacen(",one", ",", 1)).unwrap();
    let refused = analyze::<depth::DepthReport>(&folder, &arguments, "depth.json").unwrap_err();
    assert!(refused.contains("column scanner: expected a value in every row, found 1 empty"), "{refused}");
    let refused = analyze::<depth::DepthReport>(&folder, &format!("{arguments} --bundle b"), "depth.json").unwrap_err();
    assert!(refused.contains("once for each of 2 bundles, found 1 and 1"), "{refused}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn top_tiles_are_the_strongest_and_come_from_several_groups() {
    let folder = folder("features");
    write(&folder, 4);
    let arguments = "features --embeddings @e.safetensors --top 6";
    let report: features::FeaturesReport = analyze(&folder, arguments, "features.json").unwrap();
    assert_eq!((report.tiles, report.groups, report.features.len()), (48, 12, 6));
    let following = &report.features[0];
    assert_eq!((following.index, following.tiles_firing, following.groups_firing), (5, 48, 12));
    assert_eq!(following.top.len(), 6);
    assert_eq!(following.top[0].value, following.range[2]);
    assert!(following.top.windows(2).all(|pair| pair[0].value >= pair[1].value));
    let mut groups: Vec<&str> = following.top.iter().map(|tile| tile.group.as_str()).collect();
    groups.dedup();
    groups.sort_unstable();
    groups.dedup();
    assert!(groups.len() >= 3, "at most two tiles of a group: {groups:?}");
    // Feature 3 fires in two groups only: then its tiles come from these.
    let rare = report.features.iter().find(|feature| feature.index == 3).unwrap();
    assert_eq!((rare.groups_firing, rare.top.len()), (2, 6));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_result_that_cannot_be_written_leaves_the_last_one() {
    let folder = folder("save");
    save(&folder, "a.json", &1).unwrap();
    std::fs::create_dir(folder.join(".a.json.partial")).unwrap();
    assert!(save(&folder, "a.json", &2).unwrap_err().to_string().contains("a.json: "));
    assert_eq!(std::fs::read_to_string(folder.join("a.json")).unwrap(), "1\n");
    std::fs::remove_dir_all(folder).unwrap();
}
