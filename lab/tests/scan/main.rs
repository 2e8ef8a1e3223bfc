//! `coverslip scan` as a user runs it: the built command, the built library, a synthetic bundle.

mod generated;
#[cfg(target_os = "linux")]
mod openslide;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use coverslip_testkit::{DicomImage, Drawn, draw_dicom, draw_tiff, note};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

const COMMAND: &str = env!("CARGO_BIN_EXE_coverslip");
const FILES: [&str; 4] = ["overview.png", "qc.geojson", "slide.json", "tiles.parquet"];

/// A folder of this test run.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scan");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// A tiny bundle: 32 px at 0.5 µm/px.
fn bundle() -> &'static Path {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let path = folder().join("bundle");
        let output = Command::new(COMMAND).args(["bundle", "synthetic", "--out"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    })
}

/// A picture of 500 x 300 px: stained noise on the left, glass on the right.
fn picture() -> &'static Path {
    static PICTURE: OnceLock<PathBuf> = OnceLock::new();
    PICTURE.get_or_init(|| {
        let path = folder().join("slide.png");
        let mut state = 1_u32;
        let picture = image::RgbImage::from_fn(500, 300, |x, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 26) as u8;
            if x < 300 { image::Rgb([200 - noise, 90 + noise, 160 - noise]) } else { image::Rgb([243, 242, 244]) }
        });
        picture.save(&path).unwrap();
        path
    })
}

fn scan(out: &str, slide: Option<&Path>, arguments: &[&str]) -> (Output, PathBuf) {
    let out = folder().join(out);
    let mut command = Command::new(COMMAND);
    command.arg("scan").args(slide).arg("--out").arg(&out).arg("--bundle").arg(bundle()).args(arguments);
    (command.output().unwrap(), out)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn report(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("slide.json")).unwrap()).unwrap()
}

/// The rows of tiles.parquet as text, without times and frame numbers.
fn rows(out: &Path) -> Vec<String> {
    let reader = SerializedFileReader::new(fs::File::open(out.join("tiles.parquet")).unwrap()).unwrap();
    let told_apart = ["latency_ms", "sequence", "first_frame_id", "last_frame_id", "group_id"];
    reader
        .get_row_iter(None)
        .unwrap()
        .map(|row| {
            let row = row.unwrap();
            let same = row.get_column_iter().filter(|(name, _)| !told_apart.contains(&name.as_str()));
            same.map(|(name, value)| format!("{name}={value} ")).collect()
        })
        .collect()
}

fn accounted(out: &Path) -> u64 {
    let report = report(out);
    let summary = &report["summary"];
    let statuses = summary["by_status"].as_object().unwrap();
    let sum: u64 = statuses.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(summary["opened"], summary["results"]);
    assert_eq!(summary["opened"].as_u64(), Some(sum));
    assert_eq!(summary["in_flight"], 0);
    assert_eq!(rows(out).len() as u64, sum);
    sum
}

#[test]
fn every_cut_gives_the_same_tiles_and_all_files() {
    let mut first: Option<Vec<String>> = None;
    for (frames, size) in [("tiles", "240"), ("fields", "128"), ("strips", "50"), ("tiles", "1024")] {
        let name = format!("{frames}-{size}");
        let arguments = ["--mpp", "0.5", "--frames", frames, "--frame-size", size, "--embeddings"];
        let (output, out) = scan(&name, Some(picture()), &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(names(&out), FILES);
        assert_eq!(accounted(&out), 16 * 10, "{name}");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(stdout.starts_with("slide.png: 160 tiles: "), "{stdout}");
        let geojson: Value = serde_json::from_slice(&fs::read(out.join("qc.geojson")).unwrap()).unwrap();
        let alerts = report(&out)["alerts"].as_array().unwrap().len();
        assert_eq!(geojson["features"].as_array().unwrap().len(), 160 + alerts);
        assert!(image::open(out.join("overview.png")).unwrap().width() > 900);
        let rows = rows(&out);
        assert!(
            rows.iter().any(|row| row.contains("status=\"done\"")) || rows[0].contains("status=done"),
            "{}",
            rows[0]
        );
        match &first {
            None => first = Some(rows),
            Some(first) => assert_eq!(&rows, first, "{name}"),
        }
    }
}

/// The names of all fields in a value, and in what is in it.
fn fields(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            found.push(name.clone());
            fields(value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| fields(item, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_slide_json_stands_in_the_page_of_the_files() {
    let page = concat!(
        include_str!("../../../docs/reference/scan-files.md"),
        include_str!("../../../docs/reference/slide-report.md"),
        include_str!("../../../docs/reference/slides.md")
    );
    let drawn = |size| Drawn { size, missing: vec![1], ..Drawn::default() };
    let path = draw("fields.tif", &[drawn((320, 160)), drawn((320, 192))]);
    // Refused frames raise an alert.
    let (output, out) = scan("fields", Some(&path), &["--mpp", "0.5", "--rate", "100000", "--hold", "0"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let (mut report, mut found) = (report(&out), Vec::new());
    let flags = report["flags"].take();
    fields(&report, &mut found);
    fields(&flags["novel"], &mut found);
    assert!(
        found.len() > 100 && ["scenes", "left_out", "missing_tiles"].iter().all(|name| found.contains(&(*name).into()))
    );
    found.retain(|name| !page.contains(&format!("`{name}`")));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_paced_scan_accounts_for_every_tile() {
    for hold in ["0", "16"] {
        let arguments = ["--mpp", "0.5", "--rate", "400", "--hold", hold, "--frame-size", "64"];
        let (output, out) = scan(&format!("paced-{hold}"), Some(picture()), &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(accounted(&out), 160);
        let seconds = report(&out)["timings"]["slide_s"].as_f64().unwrap();
        assert!(seconds >= 150_000.0 / 1024.0 / 400.0, "faster than its pace: {seconds}");
    }
}

#[test]
fn a_directory_of_tiles() {
    let tiles = folder().join("tiles");
    fs::create_dir_all(&tiles).unwrap();
    let slide = image::open(picture()).unwrap();
    for index in 0..6 {
        slide.crop_imm(index % 3 * 96, index / 3 * 96, 96, 96).save(tiles.join(format!("{index}.png"))).unwrap();
    }
    let (output, out) = scan("directory", Some(&tiles), &["--mpp", "0.5"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(accounted(&out), 9 * 6);
    assert_eq!(report(&out)["scan"]["frame_width"], 96);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("read: 6 images in the order of their names, 3 in a row, whole, 0.5 x 0.5"), "{said}");

    // Its overview would be a tile of the next scan.
    let by_another_name = folder().join("directory").join("..").join("tiles");
    let before = names(&tiles);
    for out in ["tiles", by_another_name.to_str().unwrap()] {
        let (output, _) = scan(out, Some(&tiles), &["--mpp", "0.5"]);
        assert_eq!(output.status.code(), Some(1), "{out}");
        let expected = "expected another folder than the input";
        assert!(stderr(&output).contains(expected) && stderr(&output).contains("give a folder of its own"), "{out}");
        assert_eq!(names(&tiles), before);
    }
}

/// A frame that is as large as any image may be takes all memory.
#[test]
fn tiles_that_are_larger_than_a_frame_are_cut() {
    let tiles = folder().join("large-tiles");
    fs::create_dir_all(&tiles).unwrap();
    for index in 0..2 {
        let tile = image::RgbImage::from_pixel(4100, 32, image::Rgb([190, 110, 150]));
        tile.save(tiles.join(format!("{index}.png"))).unwrap();
    }
    let (output, out) = scan("large", Some(&tiles), &["--mpp", "0.5"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found = &report(&out)["scan"];
    let frames = ["frame_width", "frame_height", "planned_frames"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(frames, [2050, 32, 4]);
    assert_eq!(accounted(&out), 257);
}

#[test]
fn what_no_scan_wrote_and_what_the_scan_reads_is_not_replaced() {
    let out = folder().join("mine");
    fs::create_dir_all(&out).unwrap();
    let again = |slide: &Path| scan("mine", Some(slide), &["--mpp", "0.5"]).0;
    for name in ["slide.json", "overview.png", "tiles.parquet"] {
        fs::write(out.join(name), r#"{"mine": 1}"#).unwrap();
        let output = again(picture());
        assert_eq!(output.status.code(), Some(1), "{name}");
        let said = stderr(&output);
        assert!(said.contains(name) && said.contains("found one that no scan wrote. Give another folder"), "{said}");
        assert_eq!(names(&out), [name]);
        assert_eq!(fs::read_to_string(out.join(name)).unwrap(), r#"{"mine": 1}"#);
        fs::remove_file(out.join(name)).unwrap();
    }
    for _ in 0..2 {
        let output = again(picture());
        assert!(output.status.success(), "its own files it replaces: {}", stderr(&output));
    }
    let overview = out.join("overview.png");
    let before = fs::read(&overview).unwrap();
    let output = again(&overview);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("expected another file than those that the command reads"), "{said}");
    assert_eq!(fs::read(&overview).unwrap(), before);
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let blocked = folder().join("file");
    fs::write(&blocked, "not a directory").unwrap();
    let slide = Some(picture());
    let nowhere = folder().join("nowhere.svs");
    for (name, slide, arguments, words) in [
        ("zero", slide, vec!["--mpp", "0"], "--mpp: expected 0.01 to 100 micrometres per pixel, found 0"),
        ("negative", slide, vec!["--mpp=-0.5"], "--mpp: expected 0.01 to 100 micrometres per pixel, found -0.5"),
        ("nan", slide, vec!["--mpp", "NaN"], "--mpp: expected 0.01 to 100 micrometres per pixel, found NaN"),
        (
            "missing",
            slide,
            vec![],
            "expected micrometres per pixel in the file, found none (PNG and JPEG images do not",
        ),
        ("rate", slide, vec!["--mpp", "0.5", "--rate", "0"], "--rate: expected tiles per second above 0, found 0"),
        (
            "alpha",
            slide,
            vec!["--mpp", "0.5", "--alpha", "0.7"],
            "--alpha: expected a level between 0 and 0.5, found 0.7",
        ),
        ("threads", slide, vec!["--threads", "100000"], "100000 is not in 1..=256"),
        ("batch", slide, vec!["--max-batch", "257"], "257 is not in 1..=256"),
        ("file/out", slide, vec!["--mpp", "0.5"], "expected a directory that can be written, found: a file"),
        ("nowhere", Some(nowhere.as_path()), vec![], "nowhere.svs: expected a slide"),
        ("library", slide, vec!["--mpp", "0.5", "--library", COMMAND], "expected the Coverslip library"),
    ] {
        let (output, out) = scan(name, slide, &arguments);
        let of_an_option = ["zero", "negative", "nan", "rate", "alpha", "threads", "batch"].contains(&name);
        assert_eq!(output.status.code(), Some(if of_an_option { 2 } else { 1 }), "{name}");
        assert!(stderr(&output).contains(words), "{name}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
        assert!(names(&out).is_empty(), "{name}: {:?}", names(&out));
    }
    let output = Command::new(COMMAND)
        .args(["scan", "--mpp", "0.5", "--bundle"])
        .arg(folder().join("no-bundle"))
        .arg("--out")
        .arg(folder().join("bundleless"))
        .arg(picture())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("(1") || stderr(&output).contains("BUNDLE"), "{}", stderr(&output));
    assert!(names(&folder().join("bundleless")).is_empty());
}

/// The tokens of all tiles would be in memory until the slide is over.
#[test]
fn embeddings_of_patch_tokens_are_refused() {
    let tokens = folder().join("tokens");
    let made = Command::new(COMMAND).args(["bundle", "synthetic", "--patch-tokens", "--out"]).arg(&tokens).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let scan = |out: &Path, more: &[&str]| {
        let mut command = Command::new(COMMAND);
        command.arg("scan").arg(picture()).args(["--mpp", "0.5", "--bundle"]).arg(&tokens).arg("--out").arg(out);
        command.args(more).output().unwrap()
    };
    let out = folder().join("tokens-refused");
    let refused = scan(&out, &["--embeddings"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("--embeddings: expected a bundle whose taps have one vector per tile"), "{said}");
    assert!(
        said.contains("found patch tokens in tap tokens") && said.contains("embed --patch-tokens tokens"),
        "{said}"
    );
    assert!(names(&out).is_empty(), "{:?}", names(&out));
    let out = folder().join("tokens-scanned");
    let scanned = scan(&out, &[]);
    assert!(scanned.status.success(), "{}", stderr(&scanned));
    assert_eq!(accounted(&out), 160);
}

#[test]
fn a_slide_that_breaks_off_names_the_tile_and_leaves_nothing() {
    let whole =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/slides/tests/data/jpeg_rgb_tiles.tif")).unwrap();
    let mut cut = whole.clone();
    let starts: Vec<usize> = (0..whole.len() - 3).filter(|&at| whole[at..at + 3] == [0xff, 0xd8, 0xff]).collect();
    let last = starts[starts.len() - 1];
    cut[last + 40..].fill(0);
    let path = folder().join("cut.tif");
    fs::write(&path, cut).unwrap();
    let (output, out) = scan("cut", Some(&path), &["--mpp", "0.5", "--frame-size", "48"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("cut.tif: tile (column 2, row 1):") && message.contains("Copy the slide again"),
        "{message}"
    );
    assert!(names(&out).is_empty());
}

#[test]
fn the_last_three_lines_and_the_exit_code_say_the_same() {
    let (output, _) = scan("verdict", Some(picture()), &["--mpp", "0.5", "--exit-code"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len() - 3..];
    assert!(last.iter().all(|line| line.chars().count() <= 80), "{text}");
    // Noise without detail between its grains is out of focus by the general rule or not judged; either way nothing was
    // checked against a profile, and the code says which of the two it was.
    let wrong = last[0].contains("ALERT") || last[1].contains("MORE THAN EXPECTED");
    assert_eq!(output.status.code(), Some(if wrong { 3 } else { 4 }), "{text}");
    assert!(last[0].starts_with("QC ") && last[2].contains("no profile"), "{text}");
    let (output, _) = scan("verdict", Some(picture()), &["--mpp", "0.5"]);
    assert_eq!(output.status.code(), Some(0), "without the option a slide that was scanned ends with 0");
}

#[test]
fn tensorrt_that_is_not_there_is_an_error_and_auto_runs_on_the_cpu() {
    let library = ["--mpp", "0.5", "--tensorrt-library", "/no/such/libtensorrt_rtx.so.1", "--engine"];
    let (output, out) = scan("tensorrt", Some(picture()), &[&library[..], &["tensorrt"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no /no/such/libtensorrt_rtx.so.1"), "{}", stderr(&output));
    assert!(names(&out).is_empty());
    let (output, out) = scan("auto", Some(picture()), &[&library[..], &["auto"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let text = fs::read_to_string(out.join("slide.json")).unwrap();
    assert!(text.contains("engine_fallback") && text.contains("/no/such/libtensorrt_rtx.so.1"), "{text}");
}

#[test]
fn a_coarse_slide_is_refused_unless_stretched() {
    let (output, out) = scan("coarse", Some(picture()), &["--mpp", "1.0"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(message.contains("enlarged 2.00 times") && message.contains("--stretch"), "{message}");
    assert!(names(&out).is_empty());
    let (output, out) = scan("stretched", Some(picture()), &["--mpp", "1.0", "--stretch"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let grid = &report(&out)["grid"];
    assert_eq!((&grid["stretched"], &grid["tile_width"]), (&Value::from(true), &Value::from(16)));
    assert_eq!(grid["effective_mpp"], serde_json::json!([1.0, 1.0]));
    assert!(String::from_utf8_lossy(&output.stdout).contains("stretched: the model saw 1 x 1 um/px"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_cancels_and_still_writes() {
    let out = folder().join("stopped");
    let child = Command::new(COMMAND)
        .args(["scan", "--rate", "200", "--bundle"])
        .arg(bundle())
        .arg("--out")
        .arg(&out)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(names(&out), FILES);
    let tiles = accounted(&out);
    assert!(tiles < 140 * 196, "{tiles}");
    assert_eq!(report(&out)["summary"]["cancelled"], true);
}

#[test]
fn a_real_slide_where_there_is_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/wsi/CMU-1-Small-Region.svs");
    if !path.is_file() {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: {} is not there\n", path.display()),
        );
        return;
    }
    let (output, out) = scan("svs", Some(&path), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names(&out), FILES);
    // round(32 * 0.5 / 0.499) = 32 pixels a tile.
    assert_eq!(accounted(&out), 70 * 93);
    assert_eq!(report(&out)["mpp"]["source"], "ImageDescription, MPP (Aperio)");
}

/// Writes a TIFF of stained noise.
fn draw(name: &str, images: &[Drawn]) -> PathBuf {
    let path = folder().join(name);
    draw_tiff(&path, images);
    path
}

#[test]
fn tiles_that_were_never_scanned_have_no_result() {
    let drawn = |missing: Vec<usize>| Drawn { size: (320, 160), missing, ..Drawn::default() };
    let whole = draw("whole.tif", &[drawn(Vec::new())]);
    let (output, out) = scan("whole", Some(&whole), &["--mpp", "0.5"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(accounted(&out), 50);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("read: whole, 0.5 x 0.5 um/px by --mpp, reader coverslip "), "{said}");
    let sparse = draw("sparse.tif", &[drawn((0..20).collect())]);
    for frames in ["tiles", "strips", "fields"] {
        let arguments = ["--mpp", "0.5", "--frames", frames, "--frame-size", "100"];
        let (output, out) = scan(&format!("sparse-{frames}"), Some(&sparse), &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(accounted(&out), 30, "a tile without a pixel has no result");
        let report = report(&out);
        assert_eq!(report["slide"]["missing_tiles"], serde_json::json!([20, 50]));
        assert_eq!(report["summary"]["by_status"]["incomplete"], 0);
        if frames != "fields" {
            assert_eq!(report["scan"]["unscanned_pixels"], 20 * 32 * 32);
            assert_eq!(report["summary"]["pixels_used"], 30 * 32 * 32);
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("of it was never scanned"), "{said}");
    }
}

#[test]
fn one_of_several_scenes_is_read_and_the_others_are_named() {
    let drawn = |size| Drawn { size, ..Drawn::default() };
    let path = draw("scenes.tif", &[drawn((320, 160)), drawn((320, 192))]);
    let (output, out) = scan("scene", Some(&path), &["--mpp", "0.5"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("read: image 2 of 2, scene 2 of 2, whole"), "{said}");
    assert!(said.contains("not scanned: scene 1 (320 x 160 px)"), "{said}");
    assert_eq!(report(&out)["slide"]["scenes"][0]["chosen"], false);
    let (output, out) = scan("scene-1", Some(&path), &["--mpp", "0.5", "--scene", "1", "--reader", "own"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(accounted(&out), 50);
    let (output, _) = scan("scene-3", Some(&path), &["--mpp", "0.5", "--scene", "3"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--scene 3: expected one of the file's scenes, 1 (320 x 160 px)"));
}

#[test]
fn what_a_file_says_of_a_patient_is_in_no_output() {
    const NAME: &str = "Jane Doe 1931";
    let texts = |description: String| {
        let tags = [269_u16, 271, 272, 285, 305, 306, 315, 316, 33432, 65000];
        let planted = tags.map(|tag| (tag, NAME.to_owned()));
        planted.into_iter().chain([(270, description)]).collect::<Vec<_>>()
    };
    let slide = texts(format!("Aperio {NAME}\r\n320x160 ({NAME})|Filename = {NAME}|Barcode = {NAME}|MPP = 0.5"));
    let label = texts(format!("Aperio {NAME}\r\nlabel {NAME}"));
    let images = [
        Drawn { size: (320, 160), texts: slide, missing: vec![3], ..Drawn::default() },
        Drawn { size: (64, 64), texts: label, ..Drawn::default() },
    ];
    let path = draw("planted.svs", &images);
    let (output, out) = scan("planted", Some(&path), &["--embeddings"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(report(&out)["slide"]["associated"][0]["role"], "label");
    expect_nothing_of(&["Jane Doe", "1931", "Barcode"], &path, &out, &output);
}

/// None of the words, which are in the slide's file, is in an output of a scan.
fn expect_nothing_of(words: &[&str], slide: &Path, out: &Path, output: &Output) {
    let has = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
    let streams = [("stdout", output.stdout.clone()), ("stderr", output.stderr.clone())];
    let files = FILES.map(|name| (name, fs::read(out.join(name)).unwrap()));
    for (name, bytes) in streams.into_iter().chain(files) {
        for word in words {
            assert!(!has(&bytes, word), "{word} is in {name}");
        }
    }
    let bytes = fs::read(slide).unwrap();
    assert!(words.iter().all(|word| has(&bytes, word)), "the search finds the words where they are");
}

/// OpenSlide gives every attribute of a DICOM file as a property of the slide.
#[test]
fn what_a_dicom_file_says_of_a_patient_is_in_no_output() {
    let slide = folder().join("dicom");
    fs::create_dir_all(&slide).unwrap();
    let (path, label) = (slide.join("volume.dcm"), slide.join("label.dcm"));
    let planted = "Jane Doe 1931";
    draw_dicom(&path, &DicomImage { kind: "VOLUME", size: (320, 160), number: 3, planted });
    draw_dicom(&label, &DicomImage { kind: "LABEL", size: (32, 32), number: 4, planted });
    let (output, out) = scan("dicom", Some(&path), &["--embeddings"]);
    let words = ["Jane Doe", "1931"];
    if output.status.code() == Some(1) {
        // Without OpenSlide, or with one before 4.0, which knows no DICOM.
        let said = stderr(&output);
        assert!(said.contains("found DICOM") && said.to_lowercase().contains("openslide"), "{said}");
        assert!(words.iter().all(|word| !said.contains(word)), "{said}");
        return note(&format!("left out: {}", said.trim()));
    }
    assert!(output.status.success(), "{}", stderr(&output));
    let found = report(&out);
    assert_eq!(
        (&found["slide"]["reader"]["name"], &found["slide"]["associated"][0]["role"]),
        (&json!("OpenSlide"), &json!("label"))
    );
    assert_eq!(accounted(&out), 50);
    expect_nothing_of(&words, &path, &out, &output);
}
