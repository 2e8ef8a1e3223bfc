//! `coverslip embed` as a user runs it: a synthetic bundle, two pictures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coverslip_bundle::synthetic::SyntheticSpec;
use coverslip_bundle::tensors::TensorFile;
use coverslip_bundle::{Pooling, Tap, TapSource};
use coverslip_lab::embeddings::{COLUMNS, EmbeddingFile};
use coverslip_testkit::{Drawn, Scratch, draw_tiff};

/// A picture of 100 x 70 px: three tiles of 32 px across, two down, and a rim. The left tile of each row is glass.
fn picture(scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.join(name);
    let mut state = 1_u32;
    let picture = image::RgbImage::from_fn(100, 70, |x, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 26) as u8;
        if x < 32 { image::Rgb([243, 242, 244]) } else { image::Rgb([200 - noise, 90 + noise, 160 - noise]) }
    });
    picture.save(&path).expect("the picture");
    path
}

struct Embedding {
    scratch: Scratch,
    bundle: PathBuf,
    pictures: [PathBuf; 2],
}

impl Embedding {
    fn new(name: &str) -> Embedding {
        let scratch = Scratch::new(name);
        let bundle = scratch.join("bundle");
        coverslip_testkit::bundle(&bundle);
        let pictures = ["s_1.png", "s_2.png"].map(|name| picture(&scratch, name));
        Embedding { scratch, bundle, pictures }
    }

    fn run(&self, out: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
        command.arg("embed").args(&self.pictures).arg("--bundle").arg(&self.bundle);
        command.arg("--out").arg(self.scratch.join(out)).args(arguments).output().expect("the command runs")
    }

    fn rows(&self, table: &str) -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_path(self.scratch.join(table)).expect("the table");
        reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect()
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn embeddings(path: &Path) -> usize {
    let file = TensorFile::parse(fs::read(path).expect("the file")).expect("safetensors");
    file.get("embedding_last").expect("the tap").shape[0]
}

#[test]
fn the_table_says_which_scene_a_tile_lies_in() {
    let embedding = Embedding::new("embed-scenes");
    let slide = embedding.scratch.join("scenes.tif");
    let scene = |width| Drawn { size: (width, 64), ..Drawn::default() };
    draw_tiff(&slide, &[scene(96), scene(128)]);
    for (more, number, tiles) in [(&[][..], "2", 8), (&["--scene", "1"], "1", 6)] {
        let out = format!("scene_{number}.safetensors");
        let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
        command.arg("embed").arg(&slide).arg("--bundle").arg(&embedding.bundle).args(["--mpp", "0.5"]);
        let output = command.arg("--out").arg(embedding.scratch.join(&out)).args(more).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let rows = embedding.rows(&out.replace("safetensors", "csv"));
        let place = COLUMNS.iter().position(|name| *name == "scene").unwrap();
        assert!(rows.len() == tiles && rows.iter().all(|row| row[place] == number), "{rows:?}");
    }
}

#[test]
fn whole_tiles_with_tissue_are_embedded() {
    let test = Embedding::new("embed");
    let output = test.run("e.safetensors", &["--mpp", "0.5", "--slide-separator", "_", "--scanner", "lab"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("8 tiles (0 of an earlier run), left out: 4 without tissue"), "{}", said(&output));
    assert_eq!(embeddings(&test.scratch.join("e.safetensors")), 8);
    let rows = test.rows("e.csv");
    let places: Vec<[&str; 3]> = rows.iter().map(|row| [row[2].as_str(), &row[3], &row[4]]).collect();
    assert_eq!(places[..3], [["s_1:1:0", "1", "0"], ["s_1:2:0", "2", "0"], ["s_1:1:1", "1", "1"]]);
    assert!(rows.iter().all(|row| row[0] == "s" && row[10] == "lab" && row[9] == "0.500000"), "{rows:?}");
    // The mean colour is that of the tile's own pixels.
    let mean: f64 = rows[0][11].parse().expect("a number");
    assert!((mean - 168.5).abs() < 3.0, "{mean}");

    let output = test.run("all.safetensors", &["--mpp", "0.5", "--background"]);
    assert!(said(&output).contains("12 tiles (0 of an earlier run), left out: 0 without tissue"), "{}", said(&output));
    let rows = test.rows("all.csv");
    assert_eq!((rows.len(), rows[0][2].as_str()), (12, "s_1:0:0"));
    let output = test.run("whole.safetensors", &["--field", "tile"]);
    assert!(said(&output).contains("2 tiles (0 of an earlier run)"), "{}", said(&output));
    assert_eq!(test.rows("whole.csv")[1][2..9], ["s_2", "0", "0", "0", "0", "100", "70"].map(str::to_owned));
}

/// Tiles of 16 patches, with a tap of the tokens whose mean another tap has.
fn with_tokens(bundle: &Path) {
    let tap = |name: &str, after_block, final_norm, pooling| Tap {
        name: name.into(),
        source: TapSource::Block { after_block, final_norm },
        pooling,
    };
    let taps = vec![
        tap("early", 0, false, Pooling::MeanPatchTokens),
        tap("tokens", 0, false, Pooling::PatchTokens),
        tap("last", 1, true, Pooling::ClassToken),
    ];
    coverslip_testkit::bundle_of(bundle, &SyntheticSpec { taps, ..SyntheticSpec::default() });
}

fn tensor(path: &Path, name: &str) -> Vec<Vec<f32>> {
    let file = TensorFile::parse(fs::read(path).expect("the file")).expect("safetensors");
    let tensor = file.get(name).expect("the tap");
    tensor.to_f32().expect("floats").chunks_exact(tensor.shape[1]).map(<[f32]>::to_vec).collect()
}

#[test]
fn patch_tokens_are_rows_drawn_of_each_tile() {
    let test = Embedding::new("embed-tokens");
    with_tokens(&test.bundle);
    let run = |out: &str, more: &[&str]| {
        let output = test.run(out, &[&["--mpp", "0.5", "--slide-separator", "_"], more].concat());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    // Without being asked for, they are left out, and the other taps are whole.
    run("tiles.safetensors", &[]);
    let file = TensorFile::parse(fs::read(test.scratch.join("tiles.safetensors")).unwrap()).unwrap();
    assert!(file.get("embedding_tokens").is_none() && file.get("embedding_last").is_some());
    let tokens = ["--patch-tokens", "tokens", "--tokens-per-tile"];
    let summary = run("all.safetensors", &[&tokens[..], &["100"]].concat());
    assert!(summary.contains("128 patch tokens (0 of an earlier run)"), "{summary}");
    let means = tensor(&test.scratch.join("tiles.safetensors"), "embedding_early");
    let all = tensor(&test.scratch.join("all.safetensors"), "embedding_tokens");
    assert_eq!((means.len(), all.len(), all[0].len()), (8, 8 * 16, 32));
    for (mean, tokens) in means.iter().zip(all.chunks_exact(16)) {
        for (at, mean) in mean.iter().enumerate() {
            let sum: f32 = tokens.iter().map(|token| token[at]).sum();
            assert!((sum / 16.0 - mean).abs() < 1e-5, "{sum} {mean}");
        }
    }
    let rows = test.rows("all.csv");
    assert!(rows.iter().all(|row| row.len() == 19 && row[0] == "s"));
    let places: Vec<[&str; 3]> = rows.iter().map(|row| [row[2].as_str(), &row[17], &row[18]]).collect();
    assert_eq!(places[3..6], [["s_1:1:0", "3", "0"], ["s_1:1:0", "0", "1"], ["s_1:1:0", "1", "1"]]);
    assert_eq!(places[127], ["s_2:2:1", "3", "3"]);
    // Some of them are the same rows; another seed draws others, another tile too.
    let some = |seed: &str| {
        run(&format!("{seed}.safetensors"), &[&tokens[..], &["5", "--token-seed", seed]].concat());
        let (rows, found) = (
            test.rows(&format!("{seed}.csv")),
            tensor(&test.scratch.join(&format!("{seed}.safetensors")), "embedding_tokens"),
        );
        assert_eq!((rows.len(), found.len()), (40, 40));
        let place = |row: &Vec<String>| row[17].parse::<usize>().unwrap() + 4 * row[18].parse::<usize>().unwrap();
        for (number, (row, token)) in rows.iter().zip(&found).enumerate() {
            assert_eq!(token, &all[number / 5 * 16 + place(row)], "{row:?}");
        }
        rows.iter().map(place).collect::<Vec<_>>()
    };
    let (first, second) = (some("0"), some("1"));
    assert!(first != second && first[..5] != first[5..10] && first[..20] != first[20..], "{first:?} {second:?}");
    run("same.parquet", &[&tokens[..], &["5", "--token-seed", "0"]].concat());
    let parquet = EmbeddingFile::open(&test.scratch.join("same.parquet")).expect("the file");
    let mut read = Vec::new();
    parquet.read("tokens", 0, 40, &mut read).expect("rows");
    assert_eq!(read, tensor(&test.scratch.join("0.safetensors"), "embedding_tokens").concat());

    let refused = test.run("x.safetensors", &["--mpp", "0.5", "--patch-tokens", "early"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("pooling patch_tokens, found tokens"), "{}", said(&refused));
}

#[test]
fn an_sae_is_trained_and_measured_on_patch_tokens_by_slide() {
    let test = Embedding::new("embed-token-sae");
    with_tokens(&test.bundle);
    let output = test.run("t.safetensors", &["--mpp", "0.5", "--patch-tokens", "tokens", "--tokens-per-tile", "16"]);
    assert!(output.status.success(), "{}", said(&output));
    let coverslip = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
        let output =
            command.current_dir(test.scratch.path()).args(arguments.split(' ')).output().expect("the command runs");
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let options = "--expansion 2 --k 4 --steps 300 --batch 32 --dead-after 1000000";
    let trained = coverslip(&format!("sae train --embeddings t.safetensors --out sae {options}"));
    assert!(trained.contains("300 steps"), "{trained}");
    // One slide of two is held out, with all tokens of its tiles.
    let found = coverslip("sae eval sae --embeddings t.safetensors --out report");
    assert!(found.contains("64 held-out tokens of 1 slides, 64 to train on"), "{found}");
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let test = Embedding::new("embed-refused");
    let output = test.run("e.safetensors", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("expected micrometres per pixel in the file, found none"), "{}", said(&output));
    let output = test.run("f.safetensors", &["--mpp", "1.0"]);
    assert!(said(&output).contains("enlarged 2.00 times") && said(&output).contains("--stretch"), "{}", said(&output));
    let output = test.run("g.safetensors", &["--mpp", "0"]);
    assert!(said(&output).contains("--mpp: expected 0.01 to 100"), "{}", said(&output));
}

/// Two names that are not UTF-8 look the same: one run would have written over the other's file.
#[cfg(unix)]
#[test]
fn names_that_are_no_line_in_utf_8_are_refused_before_the_work() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let test = Embedding::new("embed-names");
    let run = |input: &Path, out: &[u8]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
        command.arg("embed").arg(input).arg("--bundle").arg(test.scratch.join("no-bundle"));
        let output = command
            .args(["--mpp", "0.5", "--out"])
            .arg(test.scratch.join("out").with_file_name(OsStr::from_bytes(out)))
            .output();
        let output = output.expect("the command runs");
        assert_eq!(output.status.code(), Some(1));
        said(&output)
    };
    for (out, found) in [(&b"a\xff.parquet"[..], "bytes that are not UTF-8"), (b"a\nb.safetensors", "a line break")] {
        let refused = run(&test.pictures[0], out);
        assert!(refused.contains("expected a name of one line in UTF-8") && refused.contains(found), "{refused}");
    }
    let folder = test.scratch.join("pictures");
    fs::create_dir(&folder).expect("a folder");
    for name in [&b"\xff.png"[..], b"\xfe.png"] {
        fs::copy(&test.pictures[0], folder.join(OsStr::from_bytes(name))).expect("a picture");
    }
    let refused = run(&folder, b"e.parquet");
    assert!(refused.contains("which looks the same; rename one of them"), "{refused}");
}

#[test]
fn a_run_of_an_older_version_is_not_continued() {
    let test = Embedding::new("embed-resume");
    let partial = test.scratch.join("e.safetensors.partial");
    fs::create_dir(&partial).expect("a folder");
    let journal = partial.join("journal.json");
    let old = "bundle 73bc, --field Grid, --mpp Some(0.5), --stretch false";
    let begun = serde_json::json!({ "key": old, "tiles": 0, "table_bytes": 0, "units": [] });
    fs::write(&journal, begun.to_string()).expect("a journal");
    let refused = test.run("e.safetensors", &["--mpp", "0.5"]);
    assert_eq!(refused.status.code(), Some(1));
    let said_so = said(&refused);
    assert!(said_so.contains("another version began") && said_so.contains("remove the folder"), "{said_so}");
    fs::remove_dir_all(&partial).expect("the folder goes");
    let output = test.run("e.safetensors", &["--mpp", "0.5"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_run_that_wrote_no_tile_is_not_in_the_way_of_the_corrected_one() {
    let test = Embedding::new("embed-nothing");
    let partial = test.scratch.join("e.parquet.partial");
    let nothing = ["--mpp", "0.1"];
    let output = test.run("e.parquet", &nothing);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("expected at least one tile, found none"), "{}", said(&output));
    assert!(!partial.exists(), "nothing is left");
    let output = test.run("e.parquet", &["--mpp", "0.5"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_run_with_other_options_is_told_which_and_threads_are_bounded() {
    let test = Embedding::new("embed-options");
    // A folder where the table has to go stops the run at its end, behind its last commit.
    fs::create_dir(test.scratch.join("e.csv")).expect("a folder");
    assert_eq!(test.run("e.safetensors", &["--mpp", "0.5", "--force"]).status.code(), Some(1));
    let output = test.run("e.safetensors", &["--mpp", "0.5", "--force", "--background", "--slide-separator", "_"]);
    let refused = said(&output);
    assert_eq!(output.status.code(), Some(1));
    let expected = "other options: --background given now, not given in the earlier run; --slide-separator _ now, not given in \
                    the earlier run; give the earlier options";
    assert!(refused.contains(expected) && !refused.contains("null") && !refused.contains("--engine"), "{refused}");
    for threads in ["0", "257"] {
        assert_eq!(test.run("t.safetensors", &["--threads", threads]).status.code(), Some(2), "{threads}");
    }
}

#[test]
fn an_input_that_was_replaced_is_embedded_again() {
    let test = Embedding::new("embed-replaced");
    // A folder where the table has to go stops the run at its end, behind its last commit.
    fs::create_dir(test.scratch.join("e.csv")).expect("a folder");
    let arguments = ["--mpp", "0.5", "--force"];
    assert_eq!(test.run("e.safetensors", &arguments).status.code(), Some(1));
    fs::remove_dir(test.scratch.join("e.csv")).expect("it goes");
    let smaller = image::RgbImage::from_pixel(40, 40, image::Rgb([150, 60, 120]));
    smaller.save(&test.pictures[0]).expect("another picture under the same name");
    // A file that is only touched is the same.
    let bytes = fs::read(&test.pictures[1]).expect("the other picture");
    fs::write(&test.pictures[1], bytes).expect("the same again");
    let output = test.run("e.safetensors", &arguments);
    assert!(output.status.success(), "{}", said(&output));
    let name = test.pictures[0].display();
    assert!(
        said(&output).contains(&format!("{name}: was replaced since an earlier run embedded it")),
        "{}",
        said(&output)
    );
    assert!(said(&output).contains("5 tiles (4 of an earlier run)"), "{}", said(&output));
    assert_eq!(said(&output).matches("was replaced").count(), 1, "{}", said(&output));
    let images: Vec<String> = test.rows("e.csv").iter().map(|row| row[1].clone()).collect();
    assert_eq!(images.iter().filter(|image| image.contains("s_1")).count(), 1, "{images:?}");
    assert_eq!(embeddings(&test.scratch.join("e.safetensors")), 5);
}
