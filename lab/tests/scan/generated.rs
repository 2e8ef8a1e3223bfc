//! The generated slides, and the profile that the one of no name is held against unasked.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use coverslip_bundle::{Bundle, Digest};
use coverslip_profile::Profile;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use super::{COMMAND, folder, picture, report, scan, stderr};

/// The rows of tiles.parquet, each by the names of its columns.
fn table(out: &Path) -> Vec<BTreeMap<String, String>> {
    let reader = SerializedFileReader::new(fs::File::open(out.join("tiles.parquet")).unwrap()).unwrap();
    let named = |row: parquet::record::Row| {
        row.get_column_iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
    };
    reader.get_row_iter(None).unwrap().map(|row| named(row.unwrap())).collect()
}

/// The README's first command: the generated slide is held against the profile of its scanner, which shows the drift that
/// was drawn, and leaves alone what is as it should be.
#[test]
fn the_generated_slide_is_held_against_its_scanners_profile() {
    let out = folder().join("generated");
    let output = Command::new(COMMAND).arg("scan").arg("--out").arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("demo-profile, scanner generated, ") && said.contains("other scanners are simulated"),
        "{said}"
    );
    assert!(said.lines().filter(|line| !line.contains('/')).all(|line| line.chars().count() <= 80), "{said}");
    let report = report(&out);
    assert_eq!(report["profile"]["simulated"], true);
    let truth = |fault: &str, edge: &str| report["slide"]["truth"][fault][edge].as_i64().unwrap();
    let (drift_from, blurred_from) = (truth("color_drift", "y"), truth("out_of_focus", "y"));
    let blurred_to = blurred_from + truth("out_of_focus", "height");
    let codes: Vec<&str> = report["alerts"].as_array().unwrap().iter().map(|a| a["what"].as_str().unwrap()).collect();
    let drifts = |alert: &&Value| alert["what"] == "color_drift";
    let alert = report["alerts"].as_array().unwrap().iter().find(drifts).unwrap_or_else(|| panic!("{codes:?}"));
    let (top, high) = (alert["box"]["y"].as_i64().unwrap(), alert["box"]["height"].as_i64().unwrap());
    assert!(alert["calibrated"] == true && top + high > drift_from, "{alert}");
    assert!(
        codes.contains(&"focus_loss") && codes.iter().all(|c| ["focus_loss", "color_drift"].contains(c)),
        "{codes:?}"
    );

    let tiles = table(&out);
    let done = tiles.iter().filter(|tile| tile["status"].trim_matches('"') == "done");
    let y = |tile: &BTreeMap<String, String>| tile["y"].parse::<i64>().unwrap();
    let (mut good, mut late) = (Vec::new(), Vec::new());
    for tile in done {
        assert!(tile["p_color_shift"].parse::<f64>().is_ok_and(|p| p > 0.0 && p <= 1.0), "{tile:?}");
        if y(tile) + 224 <= blurred_from || (y(tile) >= blurred_to && y(tile) + 224 <= drift_from) {
            good.push(tile);
        } else if y(tile) > (drift_from + 2 * 4480) / 3 {
            late.push(tile);
        }
    }
    let raised = |of: &[&BTreeMap<String, String>], flag: &str| {
        of.iter().filter(|tile| tile[&format!("flag_{flag}")] == "true").count()
    };
    assert!(good.len() > 100 && late.len() > 20, "{} {}", good.len(), late.len());
    assert!(3 * raised(&late, "color_shift") > 2 * late.len(), "{} of {}", raised(&late, "color_shift"), late.len());
    for flag in ["color_shift", "underexposed", "overexposed", "banding", "foreign", "out_of_focus", "scanner_shift"] {
        // Of some 120 tiles at 1 % more than 6 are raised with a probability of 0.2 %.
        assert!(raised(&good, flag) <= 6, "{flag}: {} of {}", raised(&good, flag), good.len());
    }
}

/// A slide of the user's own has no profile, whatever lies beside the bundle.
#[test]
fn a_slide_of_ones_own_is_not_held_against_the_generated_ones() {
    let out = folder().join("own");
    let output =
        Command::new(COMMAND).arg("scan").arg(picture()).args(["--mpp", "0.5", "--out"]).arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("profile: ") && said.contains("no profile"), "{said}");
    assert_eq!(report(&out)["profile"], Value::Null);
    assert!(table(&out).iter().all(|tile| tile["flags_calibrated"] == "0" && tile["p_novel"] == "null"));
    // A generated slide that is named is judged by general rules too.
    let (output, out) = scan("generated-plain", Some(Path::new("generated:3")), &["--frames", "strips"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!((&report(&out)["profile"], report(&out)["slide"]["truth"].is_null()), (&Value::Null, true));
}

/// A profile beside the user's own bundle may be the user's own.
#[test]
fn no_profile_but_the_generated_scanners_is_taken_unasked() {
    // The slide as if its pixels were smaller has fewer tiles.
    let few = ["--mpp", "0.05"];
    let (output, out) = scan("beside-none", None, &few);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!((&report(&out)["profile"], report(&out)["slide"]["truth"].is_null()), (&Value::Null, false));

    let bundle = folder().join("beside/mine");
    let made = Command::new(COMMAND).args(["bundle", "synthetic", "--out"]).arg(&bundle).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let opened = Bundle::open(&bundle).unwrap();
    let of = |ids: &[&str]| coverslip_profile::synthetic::profile(opened.manifest(), opened.digest(), ids, 99);
    let edited = |edit: fn(&mut Profile)| {
        let mut profile = of(&["generated"]);
        edit(&mut profile);
        profile
    };
    for (name, profile, taken) in [
        ("fitting", of(&["generated"]), true),
        ("another-bundle", edited(|profile| profile.bundle = Digest([7; 32])), false),
        ("of-real-slides", edited(|profile| profile.provenance.simulated = false), false),
        ("another-scanner", of(&["site"]), false),
        ("two-scanners", of(&["generated", "site"]), false),
    ] {
        coverslip_profile::write(&profile, &folder().join("beside/mine-profile"), true).unwrap();
        let out = folder().join("beside").join(name);
        let mut command = Command::new(COMMAND);
        let output =
            command.arg("scan").args(few).arg("--bundle").arg(&bundle).arg("--out").arg(&out).output().unwrap();
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let scanner = if taken { Value::from("generated") } else { Value::Null };
        assert_eq!(report(&out)["profile"]["scanner"], scanner, "{name}");
    }
}
