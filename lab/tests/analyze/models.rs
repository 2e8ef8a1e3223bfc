//! `coverslip analyze compare`, `transfer` and `depth`: models and data sets beside each other.

use std::fs;

use coverslip_lab::findings::models::{CompareFindings, Comparison, DepthFindings, TransferFindings};
use coverslip_lab::findings::reading::ColumnKind;
use coverslip_testkit::{Scratch, demo_bundle};

use super::fixture::{analyze, write, write_wide};

#[test]
fn a_model_that_knows_the_counts_beats_one_that_does_not_and_equals_itself() {
    let scratch = Scratch::new("compare");
    let folder = scratch.path();
    write(folder, 4);
    let common = "--labels @labels.csv --resamples 300 --tap-a last";
    let run = |tap: &str| {
        let arguments = format!("compare @e.safetensors @e.safetensors --tap-b {tap} {common}");
        let report: CompareFindings = analyze(folder, &arguments).unwrap();
        let wanted = |row: &&Comparison| {
            let reading = &row.reading;
            reading.cell_type == "lymphocytes" && reading.kind == ColumnKind::Dimension && reading.all_columns
        };
        report.rows.iter().find(wanted).unwrap().clone()
    };
    let worse = run("block1");
    assert!(worse.difference.unwrap() > 0.8 && worse.interval.unwrap()[0] > 0.5, "{worse:?}");
    let same = run("block2");
    assert_eq!((same.difference, same.a.clone()), (Some(0.0), same.b));
    let names = analyze::<CompareFindings>(
        folder,
        &format!("compare @e.safetensors @e.safetensors --names A --tap-b last {common}"),
    );
    assert!(names.unwrap_err().contains("expected two names"));
}

#[test]
fn a_feature_that_means_the_same_elsewhere_is_found_there() {
    let (here, there) = (Scratch::new("here"), Scratch::new("there"));
    let (here, there) = (here.path(), there.path());
    write(here, 4);
    write(there, 5);
    let to = there.display();
    let arguments = format!(
        "transfer --embeddings @e.safetensors --labels @labels.csv --to {to}/e.safetensors --to-labels {to}/labels.csv \
         --tap last --resamples 200"
    );
    let report: TransferFindings = analyze(here, &arguments).unwrap();
    let row = report.rows.iter().find(|row| row.column.is_some() && row.reading.cell_type == "lymphocytes").unwrap();
    assert_eq!((row.column.as_deref(), row.reading.kind), (Some("5"), ColumnKind::Feature));
    assert!(row.there.r.unwrap() > 0.95 && row.there.q2 > 0.9, "{row:?}");
    let stroma = report.rows.iter().find(|row| row.reading.cell_type == "stroma").unwrap();
    assert!(stroma.there.q2 < 0.2, "nothing follows the stroma: {stroma:?}");
    let other = fs::read_to_string(there.join("labels.csv")).unwrap().replace("lymphocytes,stroma", "a,b");
    fs::write(there.join("labels.csv"), other).unwrap();
    let refused = analyze::<TransferFindings>(here, &arguments).unwrap_err();
    assert!(refused.contains("no cell type is in both"), "{refused}");
}

#[test]
fn depth_follows_the_taps_of_the_bundle() {
    let scratch = Scratch::new("depth");
    let folder = scratch.path();
    // As wide as the bundle's taps.
    write_wide(folder, 4, [384, 128]);
    let bundle = demo_bundle();
    // The scanner is what the labels' stroma is not: half of the slides, told apart by nothing.
    let rows = fs::read_to_string(folder.join("e.csv")).unwrap();
    let scanners = rows.lines().enumerate().map(|(n, line)| match n {
        0 => format!("{line},scanner\n"),
        n => format!("{line},{}\n", if (n - 1) / 4 % 2 == 0 { "one" } else { "two" }),
    });
    fs::write(folder.join("e.csv"), scanners.collect::<String>()).unwrap();
    let arguments = format!(
        "depth --bundle {} --embeddings @e.safetensors --scanners @e.safetensors --labels @labels.csv --resamples 200",
        bundle.display()
    );
    let report: DepthFindings = analyze(folder, &arguments).unwrap();
    let taps: Vec<(&str, u32)> =
        report.points.iter().map(|point| (point.tap.as_str(), (100.0 * point.depth) as u32)).collect();
    assert_eq!(taps, [("block1", 33), ("block2", 66), ("last", 100)]);
    let r = |place: usize| report.points[place].counts[0].r.unwrap();
    assert!(r(0) < 0.4 && r(1) > 0.95 && r(1) == r(2), "{:?}", report.points);
    assert!(report.points.iter().all(|point| point.scanner_accuracy.unwrap() < 0.75));
    let rows = fs::read_to_string(folder.join("e.csv")).unwrap();
    fs::write(folder.join("e.csv"), rows.replacen(",one", ",", 1)).unwrap();
    let refused = analyze::<DepthFindings>(folder, &arguments).unwrap_err();
    assert!(refused.contains("column scanner: expected a value in every row, found 1 empty"), "{refused}");
    let refused = analyze::<DepthFindings>(folder, &format!("{arguments} --bundle b")).unwrap_err();
    assert!(refused.contains("once for each of 2 bundles, found 1 and 1"), "{refused}");
}
