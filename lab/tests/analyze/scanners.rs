//! `coverslip analyze scanners` on tables that it refuses; what it measures is in `tests/scanners.rs`.

use std::fs;

use coverslip_lab::findings::scanners::ScannersFindings;
use coverslip_testkit::Scratch;

use super::fixture::{analyze, write_groups};

#[test]
fn more_scanners_or_kinds_than_an_analysis_takes_are_refused_before_the_work() {
    let scratch = Scratch::new("scanners-many");
    let folder = scratch.path();
    // 132 tiles, each on a scanner of its own; the kind is the tile, or one of two.
    write_groups(folder, 4, [1, 1], 33);
    let tiles = fs::read_to_string(folder.join("e.csv")).unwrap();
    let rows = tiles.lines().skip(1).enumerate();
    let rows: String = rows.map(|(row, line)| format!("{line},s{row},k{row},b{}\n", row % 2)).collect();
    fs::write(folder.join("e.csv"), format!("slide,tile,serial,name,half\n{rows}")).unwrap();
    let refused = |columns: &str, expected: &str| {
        let found = analyze::<ScannersFindings>(folder, &format!("scanners @e.safetensors {columns}")).unwrap_err();
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    };
    refused("--scanner serial", "column serial: expected at most 128 scanners, found 132; give the column that names");
    let kinds = "column name: expected at most 128 kinds of biology, found 132; give the column that names";
    refused("--scanner half --biology name", kinds);
}
