//! `coverslip analyze scanners` as a user runs it, on embeddings that were made up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

const COMMAND: &str = env!("CARGO_BIN_EXE_coverslip");
const WIDTH: usize = 6;

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scanners");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// A number in −1..1 that looks random, by place.
fn wave(place: usize) -> f32 {
    ((place as f64 * 12.9898).sin() * 43_758.547).fract() as f32
}

/// 12 slides of 8 places by one scanner, two kinds of tissue in turn. `shallow` has `step` on its second value, `deep` a
/// tenth of it; the tissue is on the first. Feature 5 is stronger by `step`.
fn embeddings(name: &str, step: f32) -> String {
    let rows: Vec<(usize, usize)> = (0..12).flat_map(|slide| (0..8).map(move |place| (slide, place))).collect();
    let tap = |share: f32| -> Vec<u8> {
        let value = |(slide, place): (usize, usize), column: usize| match column {
            0 => 3.0 * (slide % 2) as f32 + 0.3 * wave(slide * 8 + place),
            1 => share * step + 0.3 * wave(1000 + slide * 8 + place),
            _ => 0.6 * wave(2000 * column + slide * 8 + place),
        };
        rows.iter()
            .flat_map(|&row| (0..WIDTH).map(move |column| value(row, column)))
            .flat_map(f32::to_le_bytes)
            .collect()
    };
    let index: Vec<u8> = rows.iter().flat_map(|_| [5_i32, 9]).flat_map(i32::to_le_bytes).collect();
    let active =
        |&(slide, place): &(usize, usize)| [1.0 + step + 0.2 * wave(slide + place), 1.0 + 0.2 * wave(slide * place)];
    let value: Vec<u8> = rows.iter().flat_map(active).flat_map(f32::to_le_bytes).collect();
    let (shallow, deep) = (tap(1.0), tap(0.1));
    let view = |kind, width, bytes| TensorView::new(kind, vec![rows.len(), width], bytes).unwrap();
    let tensors = [
        ("embedding_block10", view(Dtype::F32, WIDTH, &deep)),
        ("embedding_block2", view(Dtype::F32, WIDTH, &shallow)),
        ("feature_index", view(Dtype::I32, 2, &index)),
        ("feature_value", view(Dtype::F32, 2, &value)),
    ];
    let path = folder().join(format!("{name}.safetensors"));
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let mut table = String::from("slide,place,tissue_kind,scanner,tissue\n");
    for (slide, place) in rows {
        let share = 1.0 - 0.001 * (slide + place) as f64;
        table += &format!("s{slide},s{slide} {place},t{},{name},{share:.6}\n", slide % 2);
    }
    fs::write(path.with_extension("csv"), table).unwrap();
    path.display().to_string()
}

fn analyze(out: &str, arguments: &[&str]) -> Output {
    let out = folder().join(out);
    Command::new(COMMAND).args(["analyze", "scanners", "--out"]).arg(out).args(arguments).output().unwrap()
}

#[test]
fn the_scanner_disappears_with_depth_and_by_correction() {
    let (a, b) = (embeddings("a", 0.0), embeddings("b", 4.0));
    let arguments = [&a, &b, "--biology", "tissue_kind", "--pair", "place", "--k", "5", "--bootstraps", "100"];
    let output = analyze("whole", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let widest = text.lines().filter(|line| !line.ends_with("scanners.json")).map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{text}");
    let report: Value = serde_json::from_slice(&fs::read(folder().join("whole/scanners.json")).unwrap()).unwrap();
    assert_eq!(report["tiles"], 192);
    assert_eq!(report["scanners"][1], serde_json::json!({ "name": "b", "tiles": 96, "groups": 12 }));
    let taps = report["taps"].as_array().unwrap();
    assert_eq!((&taps[0]["tap"], &taps[1]["tap"]), (&"block2".into(), &"block10".into()), "shallow first");
    let number = |tap: usize, version: usize, path: &str| {
        taps[tap]["versions"][version]["numbers"].pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
    };
    let probe = "/scanner_probe_linear/corrected";
    assert!(number(0, 0, probe) > 0.95 && number(0, 1, probe) < 0.3, "centring takes the shift away");
    assert!(number(1, 0, "/robustness/index") > 0.9, "deep, the tissue decides");
    assert!(number(0, 0, "/robustness/index") < number(0, 1, "/robustness/index"));
    let random = number(0, 0, "/robustness/random");
    assert!((0.45..0.56).contains(&random), "{random}");
    // Every slide is on both scanners: the tissue is the slide's, the step the scanner's.
    assert!(number(0, 0, "/variance_shares/scanner") > 0.5 && number(0, 1, "/variance_shares/scanner") < 0.05);
    let retrieved = |version| number(1, version, "/retrieval/0/hits/0/accuracy");
    assert!(retrieved(0) < 0.9 && retrieved(1) > 0.99, "the same waves on both");
    assert!(number(0, 0, "/average_performance_drop/drop") <= 0.0);
    // Shallow, other tissue on the same scanner is nearer than the same tissue on the other; deep it is not.
    assert!(number(0, 0, "/margin/median") < 0.0 && number(1, 0, "/margin/median") > 0.5);
    assert!(number(0, 0, "/margin/tail") <= number(0, 0, "/margin/median"));
    assert_eq!(number(0, 0, "/margin/scored"), 192.0);
    assert!(number(0, 0, "/average_performance_drop/degradation") <= 0.0);
    assert_eq!(number(0, 0, "/average_performance_drop/chance"), 0.5);
    let readings = taps[0]["versions"][0]["numbers"]["calibration"]["readings"].as_array().unwrap();
    let names: Vec<String> = readings.iter().map(|one| format!("{}{}", one["fitted_on"], one["read_on"])).collect();
    assert_eq!(names, ["\"a\"\"a\"", "\"a\"\"b\"", "\"b\"\"a\"", "\"b\"\"b\""]);
    assert!(readings.iter().all(|one| one["auc"]["value"].as_f64() > Some(0.95)), "{readings:?}");
    for told in ["CRoMa, m 5", "nIPD", "fitted on one scanner and read on another", "support"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert_eq!(report["features"][0]["feature"], 5);
    assert!(text.contains("Scanner by depth") && text.contains("96 of 96"), "{text}");
}

#[test]
fn what_the_data_do_not_say_has_its_reason() {
    let (a, b) = (embeddings("c", 0.0), embeddings("d", 1.0));
    let output = analyze("bare", &[&a, &b]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("--biology"));
    let told = |arguments: &[&str]| {
        let output = analyze("refused", arguments);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(told(&[&a]).contains("expected tiles of two scanners or more, found only `c`"));
    assert!(told(&[&a, &b, "--biology", "organ"]).contains("expected the column organ, found slide, place"));
    // What `embed` writes as `tissue` is a share: each number of it would pass for a kind.
    let refused = told(&[&a, &b, "--biology", "tissue"]);
    assert!(refused.contains("column tissue: expected the name of a kind in each row, found a measure"), "{refused}");
    assert!(told(&[&a, &b, "--tap", "block3"]).contains("expected the tap block3 in every file"));
    assert!(told(&[&a, &b, "--pair", "slide"]).contains("expected each place once on a scanner"));
    // The file itself does not say it: the name before the file does.
    let renamed = format!("x={a}");
    let output = analyze("named", &[&renamed, &b, "--tap", "block10"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
