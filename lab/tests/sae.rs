//! `coverslip sae train` and `sae eval`, as a user runs them.

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use coverslip_analysis::random::Random;
use coverslip_bundle::Digest;
use coverslip_bundle::tensors::{Tensor, TensorFile, TensorMap, to_safetensors};
use coverslip_import::{SaeOptions, import_sae};
use coverslip_lab::cli::sae::{Args, run};
use coverslip_testkit::Scratch;
use serde_json::Value;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// Runs `sae WORDS`; what it printed, or what it said instead.
fn sae(words: &[&str]) -> Result<String, String> {
    let mut text = Vec::new();
    let args = Command::parse_from(["sae"].into_iter().chain(words.iter().copied())).args;
    run(args, &mut text).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(text).unwrap())
}

/// A folder with an embedding file of four slides.
struct Folder(Scratch);

impl Folder {
    fn new(name: &str) -> Self {
        let mut random = Random::new(3);
        let values: Vec<f32> = (0..3000 * 8).map(|_| random.normal() as f32).collect();
        let folder = Self(Scratch::new(name));
        folder.embeddings(&values, &["a", "b", "c", "d"]);
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn embeddings(&self, values: &[f32], slides: &[&str]) {
        let n = values.len() / 8;
        let tensors = TensorMap::from([("embedding_last".to_owned(), Tensor::f32(&[n, 8], values))]);
        fs::write(self.0.join("e.safetensors"), to_safetensors(&tensors).unwrap()).unwrap();
        let rows: String = (0..n).map(|row| format!("{}\n", slides[row % slides.len()])).collect();
        fs::write(self.0.join("e.csv"), format!("slide\n{rows}")).unwrap();
    }

    fn train(&self, out: &str, more: &str) -> Result<String, String> {
        let (embeddings, out) = (self.path("e.safetensors"), self.path(out));
        let fixed = ["train", "--embeddings", &embeddings, "--out", &out];
        let split = if more.contains("--held-out") { "" } else { "--held-out 0.25" };
        let words = fixed.into_iter().chain(more.split_whitespace()).chain(split.split_whitespace());
        sae(&words.collect::<Vec<_>>())
    }

    /// Trains until a directory, where a file has to go at the end, stops the run behind its checkpoint at step 40.
    fn cut_off(&self, out: &str, options: &str) -> PathBuf {
        let split = self.0.join(out).join("split.json");
        fs::create_dir_all(&split).unwrap();
        self.train(out, options).unwrap_err();
        fs::remove_dir(split).unwrap();
        self.0.join(out).join("checkpoint.safetensors")
    }
}

/// What a checkpoint has beside its tensors.
fn meta(checkpoint: &PathBuf) -> Value {
    let file = TensorFile::parse(fs::read(checkpoint).unwrap()).unwrap();
    serde_json::from_slice(file.get("meta").unwrap().bytes).unwrap()
}

/// A checkpoint of these tensors. Its tensor `sha256` is the digest of the file in which that tensor is zeros.
fn sealed(mut tensors: TensorMap) -> Vec<u8> {
    tensors.insert("sha256".into(), Tensor::u8(&[32], &[0; 32]));
    let digest = Digest::of(&to_safetensors(&tensors).unwrap());
    tensors.insert("sha256".into(), Tensor::u8(&[32], &digest.0));
    to_safetensors(&tensors).unwrap()
}

const OPTIONS: &str = "--expansion 2 --k 3 --steps 60 --batch 64 --checkpoint-every 20";

#[test]
fn a_run_that_was_cut_off_ends_where_one_run_would() {
    let folder = Folder::new("resume");
    for arch in ["topk", "batchtopk", "relu", "jumprelu"] {
        let options = format!("{OPTIONS} --arch {arch}");
        let whole = folder.train(&format!("{arch}-whole"), &options).unwrap();
        assert!(whole.contains("60 steps"), "{whole}");
        let checkpoint = folder.cut_off(&format!("{arch}-cut"), &options);
        assert_eq!(meta(&checkpoint)["step"], 40);
        assert!(folder.train(&format!("{arch}-cut"), &options).unwrap().contains("60 steps"));
        assert!(!checkpoint.exists());
        let read = |name: &str| fs::read(folder.0.join(name).join("sae_weights.safetensors")).unwrap();
        assert!(read(&format!("{arch}-whole")) == read(&format!("{arch}-cut")), "{arch}");
        // What is written is what SAELens' reader reads.
        let found = import_sae(&folder.0.join(&format!("{arch}-whole")), &SaeOptions::default()).unwrap();
        assert_eq!((found.d_in, found.d_sae), (8, 16));
        let refused = folder.train(&format!("{arch}-whole"), &options).unwrap_err();
        assert!(refused.contains("an SAE is there already"), "{refused}");
    }
}

/// As on a full disk: no file of more than a block can be written.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_checkpoint_intact() {
    let folder = Folder::new("full");
    let path = folder.cut_off("sae", OPTIONS);
    let before = fs::read(&path).unwrap();
    let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_coverslip"), "sae", "train", "--held-out", "0.25"])
        .args(["--embeddings", &folder.path("e.safetensors"), "--out", &folder.path("sae")])
        .args(OPTIONS.replace("--checkpoint-every 20", "--checkpoint-every 10").split(' '))
        .output()
        .unwrap();
    let refused = String::from_utf8(output.stderr).unwrap();
    assert!(refused.contains("could not be written") && refused.contains("is intact"), "{refused}");
    assert!(fs::read(&path).unwrap() == before);
    // There is room again, and the run goes on.
    assert!(folder.train("sae", OPTIONS).unwrap().contains("60 steps"));
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = Folder::new("another");
    let path = folder.cut_off("sae", OPTIONS);
    let before = fs::read(&path).unwrap();
    fs::write(&path, &before[..before.len() / 2]).unwrap();
    let refused = folder.train("sae", OPTIONS).unwrap_err();
    assert!(refused.contains("expected a checkpoint") && refused.contains("--restart"), "{refused}");
    fs::write(&path, &before).unwrap();
    let refused = folder.train("sae", &format!("{OPTIONS} --seed 1 --arch batchtopk")).unwrap_err();
    let expected = "begun with other options: --arch batchtopk now, topk in the earlier run; --seed 1 now, 0 in the earlier \
                    run; give the earlier options, or give another --out, or --restart";
    assert!(refused.ends_with(expected), "{refused}");
    // What follows from the steps is no option.
    let refused = folder.train("sae", &OPTIONS.replace("--steps 60", "--steps 90")).unwrap_err();
    assert!(refused.contains("options: --steps 90 now, 60 in the earlier run; give"), "{refused}");
    // A key of a version before v2.
    let file = TensorFile::parse(before).unwrap();
    let mut tensors = TensorMap::new();
    for name in file.names() {
        let view = file.get(name).unwrap();
        tensors.insert(
            name.to_owned(),
            Tensor { element: view.element, shape: view.shape.to_vec(), bytes: view.bytes.to_vec() },
        );
    }
    let mut old = meta(&path);
    old["key"] = "e.safetensors, tap last, 3000 tiles, held out [\"a\"], batch 64, Settings { .. }".into();
    let old = serde_json::to_vec(&old).unwrap();
    tensors.insert("meta".into(), Tensor::u8(&[old.len()], &old));
    fs::write(&path, sealed(tensors)).unwrap();
    let refused = folder.train("sae", OPTIONS).unwrap_err();
    assert!(refused.contains("another version began") && refused.contains("--restart"), "{refused}");
    assert!(folder.train("sae", &format!("{OPTIONS} --restart")).unwrap().contains("60 steps"));
}

/// The same tiles under the same path, with other embeddings.
#[test]
fn a_run_goes_on_with_its_embeddings_wherever_they_lie_and_with_no_others() {
    let folder = Folder::new("replaced");
    folder.cut_off("sae", OPTIONS);
    let kept = folder.path("moved.safetensors");
    fs::copy(folder.path("e.safetensors"), &kept).unwrap();
    fs::copy(folder.path("e.csv"), folder.path("moved.csv")).unwrap();
    let mut random = Random::new(4);
    let values: Vec<f32> = (0..3000 * 8).map(|_| random.normal() as f32).collect();
    folder.embeddings(&values, &["a", "b", "c", "d"]);
    let refused = folder.train("sae", OPTIONS).unwrap_err();
    assert!(refused.contains("the content of --embeddings other than in the earlier run; give"), "{refused}");
    let out = folder.path("sae");
    let words = ["train", "--held-out", "0.25", "--embeddings", &kept, "--out", &out];
    let words: Vec<&str> = words.into_iter().chain(OPTIONS.split(' ')).collect();
    assert!(sae(&words).unwrap().contains("60 steps"));
}

#[test]
fn options_without_a_limit_of_their_own_are_bounded() {
    let folder = Folder::new("bounds");
    let refused = folder.train("sae", "--expansion 2 --k 3 --steps 5 --batch 65537").unwrap_err();
    assert!(refused.starts_with("--batch: expected 1 to 65536 tiles per step, found 65537"), "{refused}");
    for threads in ["0", "257", "100000"] {
        let words = ["sae", "train", "--embeddings", "e", "--out", "o", "--threads", threads];
        assert!(Command::try_parse_from(words).is_err(), "{threads}");
    }
}

#[test]
fn bad_data_is_named() {
    let folder = Folder::new("bad");
    let options = "--expansion 2 --k 3 --steps 5 --batch 64";
    let mut values = vec![1.0; 100 * 8];
    folder.embeddings(&values, &["a", "b"]);
    let refused = folder.train("sae", options).unwrap_err();
    assert!(refused.contains("differ from tile to tile") && refused.contains("tap last"), "{refused}");
    values.iter_mut().enumerate().for_each(|(i, value)| *value = (i % 37) as f32);
    values[8 * 41 + 3] = f32::NAN;
    folder.embeddings(&values, &["a", "b"]);
    let refused = folder.train("sae", options).unwrap_err();
    assert!(refused.contains("found NaN in tile 41"), "{refused}");
    values[8 * 41 + 3] = 0.0;
    folder.embeddings(&values, &["a"]);
    let refused = folder.train("sae", options).unwrap_err();
    assert!(refused.contains("expected at least two slides") && refused.contains("--held-out 0"), "{refused}");
    folder.embeddings(&values, &["a", "b"]);
    let refused = folder.train("sae", "--expansion 2 --k 17 --steps 5").unwrap_err();
    assert!(refused.contains("k from 1 to the 16 features, found 17"), "{refused}");
    let refused = folder.train("sae", &format!("--expansion {}", usize::MAX)).unwrap_err();
    assert!(refused.contains("expected 1048576 features or fewer"), "{refused}");
    let refused = folder.train("sae", "--expansion 131073").unwrap_err();
    assert!(refused.contains("found 131073 times the embedding's 8 values; give 131072 or less"), "{refused}");
    for wrong in ["--learning-rate 0", "--learning-rate NaN", "--patience 3 --held-out 0"] {
        let refused = folder.train("sae", wrong).unwrap_err();
        let name = wrong.split(' ').next().unwrap();
        assert!(refused.starts_with(name) && refused.contains("expected"), "{wrong}: {refused}");
    }
    let refused = folder.train("sae", &format!("{options} --learning-rate 1e38")).unwrap_err();
    assert!(refused.contains("Lower --learning-rate"), "{refused}");
}

#[test]
fn what_is_measured_is_what_was_held_out() {
    let folder = Folder::new("eval");
    folder.train("sae", "--expansion 2 --k 3 --steps 40 --batch 64").unwrap();
    let path = |name: &str| folder.path(name);
    let run =
        |embeddings: &str| sae(&["eval", &path("sae"), "--embeddings", &path(embeddings), "--out", &path("report")]);
    run("e.safetensors").unwrap();
    let report: Value = serde_json::from_slice(&fs::read(folder.0.join("report/sae-eval.json")).unwrap()).unwrap();
    assert_eq!((report["held_out_tiles"].as_u64(), report["train_tiles"].as_u64()), (Some(750), Some(2250)));
    let figures = &report["saes"][0];
    let (fvu, pca) = (figures["fvu"].as_f64().unwrap(), figures["pca_fvu"].as_f64().unwrap());
    assert!(figures["l0"].as_f64().unwrap() <= 3.0 && fvu > 0.05 && fvu < 1.0, "{figures}");
    // White noise in 8 dimensions: three components of eight leave five eighths.
    assert!((pca - 0.625).abs() < 0.05, "{pca}");
    // Another SAE that held out another slide has seen what this one is measured on.
    folder.train("other", "--expansion 2 --k 3 --steps 1 --batch 64").unwrap();
    let both = |more: &[&str]| {
        let (a, b, e, out) = (path("sae"), path("other"), path("e.safetensors"), path("report"));
        let words = ["eval", &a, &b, "--embeddings", &e, "--out", &out].into_iter().chain(more.iter().copied());
        sae(&words.collect::<Vec<_>>())
    };
    both(&[]).unwrap();
    let split: Value = serde_json::from_slice(&fs::read(folder.0.join("sae/split.json")).unwrap()).unwrap();
    let another = ["a", "b", "c", "d"].into_iter().find(|slide| split["held_out"][0] != *slide).unwrap();
    fs::write(folder.0.join("other").join("split.json"), format!("{{\"held_out\": [\"{another}\"]}}")).unwrap();
    let refused = both(&[]).unwrap_err();
    assert!(refused.contains("held out the same slides") && refused.contains("--split"), "{refused}");
    both(&["--split", &path("sae/split.json")]).unwrap();
    folder.embeddings(&[0.5; 800], &["x", "y"]);
    let refused = run("e.safetensors").unwrap_err();
    assert!(refused.contains("expected the slides that the SAE was trained with"), "{refused}");
}

/// 40 patients of two slides with 20 tiles each; half of the patients have a tumour, which moves two of eight values.
fn patients(folder: &Folder) {
    let mut random = Random::new(8);
    let (mut values, mut table) = (Vec::new(), String::from("slide,patient,tumour,tissue\n"));
    for patient in 0..40 {
        let tumour = patient % 2 == 0;
        for tile in 0..40 {
            let moved = if tumour { 0.9 } else { -0.9 };
            values.extend((0..8).map(|at| random.normal() as f32 + if at < 2 { moved } else { 0.0 }));
            let (slide, tumour, share) = (tile % 2, if tumour { "yes" } else { "no" }, 1.0 - 0.01 * f64::from(tile));
            table += &format!("p{patient}s{slide},p{patient},{tumour},{share:.6}\n");
        }
    }
    let tensors = TensorMap::from([("embedding_last".to_owned(), Tensor::f32(&[1600, 8], &values))]);
    fs::write(folder.0.join("e.safetensors"), to_safetensors(&tensors).unwrap()).unwrap();
    fs::write(folder.0.join("e.csv"), table).unwrap();
}

#[test]
fn patients_are_held_out_whole_and_an_sae_stands_beside_what_it_has_to_beat() {
    let folder = Folder::new("patients");
    patients(&folder);
    let options = "--expansion 4 --k 3 --steps 300 --batch 64 --group patient --learning-rate 0.003";
    folder.train("first", &format!("{options} --arch matryoshka --levels 3")).unwrap();
    folder.train("second", &format!("{options} --arch matryoshka --levels 3 --seed 1")).unwrap();
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(folder.0.join(name)).unwrap()).unwrap() };
    let split = read("first/split.json");
    assert_eq!(split["grouped_by"], "patient");
    assert!(split["held_out"].as_array().unwrap().len() == 10, "a quarter of the patients: {split}");
    // SAELens saves a trained Matryoshka SAE so.
    let config = read("first/cfg.json");
    assert_eq!(config["architecture"], "jumprelu");
    assert_eq!(config["metadata"]["training_details"]["objective"], "Matryoshka { k: 3, levels: 3 }");
    import_sae(&folder.0.join("first"), &SaeOptions::default()).unwrap();

    let (first, second, embeddings, out) =
        (folder.path("first"), folder.path("second"), folder.path("e.safetensors"), folder.path("report"));
    let words = ["eval", &first, &second, "--embeddings", &embeddings, "--out", &out, "--probe", "tumour"];
    let text = sae(&words).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("10 patients") && text.contains("belongs to one SAE"), "{text}");
    let report = read("report/sae-eval.json");
    assert_eq!((report["grouped_by"].as_str(), report["held_out_tiles"].as_u64()), (Some("patient"), Some(400)));
    let names = |rows: &Value| -> Vec<String> {
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().into()).collect()
    };
    let own = &report["saes"][0];
    let beside = ["random, decoder refitted", "random decoder, frozen", "raw dimensions"];
    assert_eq!(names(&own["baselines"]), beside);
    let fvu = |row: &Value| row["fvu"].as_f64().unwrap();
    assert!(own["baselines"].as_array().unwrap().iter().all(|row| fvu(row) > 0.05 && fvu(row) < 1.0), "{own}");
    // As many of the same tile's numbers: three of eight raw ones hold more than three components fixed for all.
    assert!(fvu(&own["baselines"][2]) < own["pca_fvu"].as_f64().unwrap(), "{own}");
    let agreement = &report["agreement"][0];
    let of = |name: &str| agreement[name].as_f64().unwrap();
    assert!(of("median") > of("chance") - 0.1 && of("median") < 1.0, "{agreement}");
    let probes = &report["probes"];
    assert_eq!((probes["groups"].as_u64(), probes["tiles"].as_u64()), (Some(10), Some(400)));
    let rows = probes["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8, "two SAEs with two baselines each, raw dimensions, components");
    let auc = |row: usize, k: usize| rows[row]["probes"][k]["auc"].as_f64().unwrap();
    // One value: Φ(1.8 / √2) = 0.90; two: Φ(1.8) = 0.96.
    assert!((auc(6, 0) - 0.90).abs() < 0.06 && (auc(6, 3) - 0.96).abs() < 0.04, "{probes}");
    // A column that is not there.
    let words = ["eval", &first, "--embeddings", &embeddings, "--out", &out, "--probe", "organ"];
    assert!(sae(&words).unwrap_err().contains("organ"));
    // A column of shares.
    let words = ["eval", &first, "--embeddings", &embeddings, "--out", &out, "--probe", "tissue"];
    let refused = sae(&words).unwrap_err();
    assert!(refused.contains("--probe tissue: expected the name of a kind in each row, found a measure"), "{refused}");
}
