//! Every example runs, and prints what it is there to show. An example checks itself, too: it ends with 0 only when
//! everything it shows has happened.

use std::path::Path;
use std::process::Command;

use crate::programs::{self, Language};
use crate::{bundle, installed};

/// The lines that matter of each example, in order; `…` stands for what depends on the machine or on timing.
const SAID_IN_C: [(&str, &[&str]); 6] = [
    (
        "01_load",
        &[
            "contract 1.1",
            "another contract: the host speaks version 2.1 …, this library 1.1 …",
            "a missing bundle: error 19, no such bundle …",
            "  verify",
            "  compose",
            "  engine",
            "  self-check",
            "bundle …: tiles of 224 px at 0.5 um/px",
            "closed",
        ],
    ),
    (
        "02_one_tile",
        &[
            "tile (0, 0) at (800, 448): status 1, 100 % of its pixels",
            "  BACKGROUND    passed, score …",
            "  OUT_OF_FOCUS  passed, score …",
            "  feature …",
            "  … features active, … reported; embedding …",
        ],
    ),
    (
        "03_strips_and_overlap",
        &[
            "strips of 2016 x 304: 4 frames, 45 tiles, 9 % of the pixels came again, … MB reserved",
            "fields of 540 x 400: 12 frames, 45 tiles, 15 % of the pixels came again, … MB reserved",
            "9 x 5 tiles: the same features from strips and from fields",
        ],
    ),
    (
        "04_alerts",
        &[
            "FOCUS_LOSS since result …, frame …: 5 tiles in a row, in the box (1120, …) of 448 x …",
            "first pass: 45 tiles, 10 out of focus",
            "second pass: 10 tiles, 0 out of focus",
        ],
    ),
    (
        "05_busy_and_recovery",
        &[
            "… of 45 frames refused: no free slots …",
            "45 tiles, each with one result: … analysed, … background, 1 refused",
            "a frame after the cancel: …",
            "10 tiles, each with one result: … cancelled",
            "… of 45 frames refused: no free slots …",
            "45 tiles, each with one result: … analysed, … background, 1 refused",
        ],
    ),
    ("06_gpu", &["45 tiles, 36 analysed, in … s on …; 0 after a change of engine"]),
];

const SAID_IN_CPP: [(&str, &[&str]); 3] = [
    (
        "01_load",
        &[
            "refused: IO: no such library…",
            "contract 1.1",
            "refused: BUNDLE_INVALID: no such bundle …",
            "  stage 3",
            "bundle …: tiles of 224 px at 0.5 um/px, … features",
            "refused: INVALID_HANDLE: …",
            "closed",
        ],
    ),
    (
        "02_one_tile",
        &[
            "tile (0, 0): DONE",
            "  BACKGROUND          passed, …",
            "  feature …",
            "  … features, an embedding of … floats …",
        ],
    ),
    (
        "05_busy_and_recovery",
        &[
            "… of 45 frames refused at first; 45 tiles, 45 results, 0 refused",
            "refused: LIMIT_REACHED: 1 slides are open …",
            "cancelled: 10 tiles, each with one result",
            "… of 45 frames refused at first; 45 tiles, 45 results, 0 refused",
        ],
    ),
];

/// Whether `line` is `pattern` with something, or nothing, for each `…`.
fn fits(line: &str, pattern: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('…') else { return line == pattern };
    let Some(mut left) = line.strip_prefix(begin) else { return false };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(end)
}

/// Runs a program that must succeed, and looks for the lines in the order given.
#[track_caller]
fn expect_lines(program: &Path, arguments: &[&Path], expected: &[&str]) {
    let said = coverslip_testkit::stdout(Command::new(program).args(arguments));
    let mut lines = said.lines();
    for pattern in expected {
        assert!(lines.any(|line| fits(line, pattern)), "{program:?} does not say {pattern:?} here:\n{said}");
    }
}

/// Without a bundle an example says so and ends with 1; without arguments it says how it is called.
#[track_caller]
fn expect_refusals(program: &Path) {
    for (arguments, code, word) in [(&["no/bundle"][..], 1, "no/bundle"), (&[][..], 2, "usage: ")] {
        let output = Command::new(program).args(arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(word), "{program:?} {arguments:?}: {output:?}");
    }
}

/// Runs a complete host and looks at what it says.
#[track_caller]
fn expect_a_whole_slide(program: &Path, arguments: &[&Path]) {
    let said = coverslip_testkit::stdout(Command::new(program).args(arguments));
    coverslip_testkit::note(&said);
    let tiles = said.lines().find(|line| line.starts_with("tiles: ")).expect("a line with the tiles").to_lowercase();
    let numbers: Vec<u64> = tiles.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0], numbers[1..].iter().sum::<u64>(), "{tiles}");
    // There are tissue and glass on the drawn slide, and nothing gets lost.
    let count = |status: &str| {
        let before = tiles.split(&format!(" {status}")).next().unwrap_or_default();
        before.split_whitespace().last().and_then(|word| word.parse::<u64>().ok()).expect("a number before each status")
    };
    assert!(count("done") > 0 && count("background") > 0, "{tiles}");
    assert_eq!(count("refused") + count("expired") + count("cancelled") + count("failed"), 0, "{tiles}");
}

/// What a host has kept of a slide.
#[track_caller]
fn expect_report(path: &Path) {
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(path).expect("a report")).expect("JSON");
    assert_eq!(
        (&report["format"], &report["summary"]["state"]),
        (&"coverslip-slide-report/1".into(), &"finished".into())
    );
    assert_eq!(report["summary"]["results"], report["summary"]["opened"]);
}

#[test]
fn the_examples_in_c_show_what_they_say() {
    let scratch = coverslip_testkit::Scratch::new("examples-c");
    let prefix = installed(&scratch);
    let Some(folder) = programs::build(Language::C, &scratch, &prefix) else { return };
    let expected = SAID_IN_C.map(|(name, _)| name);
    assert_eq!(Language::C.examples(), [&expected[..], &["07_scanner"]].concat(), "no example is left out");
    for (name, lines) in SAID_IN_C {
        expect_lines(&folder.join(name), &[&bundle(&prefix)], lines);
        expect_refusals(&folder.join(name));
    }
    let report = scratch.join("report.json");
    expect_a_whole_slide(&folder.join("07_scanner"), &[&bundle(&prefix)]);
    expect_a_whole_slide(&folder.join("07_scanner"), &[&bundle(&prefix), &report]);
    expect_report(&report);
    expect_refusals(&folder.join("07_scanner"));
}

#[test]
fn the_gpu_example_says_which_engine_runs_and_why() {
    let scratch = coverslip_testkit::Scratch::new("example-gpu");
    let prefix = installed(&scratch);
    let folder = scratch.join("compiled");
    let Some(program) = programs::compile(Language::C, "06_gpu", &folder, &prefix) else { return };
    let bundle = bundle(&prefix);
    let said = coverslip_testkit::stdout(Command::new(&program).arg(&bundle));
    coverslip_testkit::note(&said);
    let on_gpu = said.lines().any(|line| fits(line, "… on GPU …, driver …, float16, batches of up to …"));
    let refused = said.lines().any(|line| fits(line, "TensorRT is refused, code 22: …"))
        && said.lines().any(|line| fits(line, "fallback reason …, …: …"));
    assert!(on_gpu != refused, "{said}");
    // A library that is not there is the same on every machine.
    expect_lines(
        &program,
        &[&bundle, Path::new("/nothing/libtensorrt_rtx.so.1")],
        &[
            "TensorRT is refused, code 22: …",
            "fallback reason 3, NO_LIBRARY: …",
            "to use a GPU: …",
            "45 tiles, 36 analysed, in … s on coverslip-vit …; 0 after a change of engine",
        ],
    );
}

#[test]
fn the_examples_in_cpp_show_what_they_say() {
    let scratch = coverslip_testkit::Scratch::new("examples-cpp");
    let prefix = installed(&scratch);
    let (bundle, library) = (bundle(&prefix), prefix.join("lib/libcoverslip.so"));
    let Some(folder) = programs::build(Language::Cpp, &scratch, &prefix) else { return };
    let expected = SAID_IN_CPP.map(|(name, _)| name);
    assert_eq!(Language::Cpp.examples(), [&expected[..], &["07_scanner"]].concat(), "no example is left out");
    for (name, lines) in SAID_IN_CPP {
        expect_lines(&folder.join(name), &[&bundle], lines);
        expect_lines(&folder.join(name), &[&bundle, &library], lines);
        expect_refusals(&folder.join(name));
    }
    let scanner = folder.join("07_scanner");
    expect_a_whole_slide(&scanner, &[&bundle]);
    let report = scratch.join("report.json");
    expect_a_whole_slide(&scanner, &[&bundle, &library, &report]);
    expect_report(&report);
    expect_refusals(&scanner);
    let nothing = Command::new(&scanner).arg(&bundle).arg(scratch.join("nothing.so")).output().expect("it runs");
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).starts_with("IO: "), "{nothing:?}");
}

#[test]
fn a_host_needs_no_cmake() {
    let scratch = coverslip_testkit::Scratch::new("no-cmake");
    let prefix = installed(&scratch);
    for (language, name) in [(Language::C, "c"), (Language::Cpp, "cpp")] {
        let Some(program) = programs::compile(language, "07_scanner", &scratch.join(name), &prefix) else { continue };
        expect_a_whole_slide(&program, &[&bundle(&prefix)]);
    }
}

#[test]
fn a_pattern_fits_only_its_lines() {
    assert!(fits("a", "a") && fits("a 1 b", "a … b") && fits("a 1 b 2", "a … b …") && fits("1 b", "… b"));
    assert!(!fits("a", "b") && !fits("a 1 c", "a … b") && !fits("x a 1 b", "a … b") && !fits("a 1 c 2", "a … b …"));
}
