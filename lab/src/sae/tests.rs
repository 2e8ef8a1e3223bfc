use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use coverslip_analysis::random::Random;
use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};

use super::data::{Data, Split, Stream};
use super::train::{self, Args};
use super::{checkpoint, eval, files};

/// A folder of its own with an embedding file of four slides; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coverslip-sae-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let mut random = Random::new(3);
        let values: Vec<f32> = (0..3000 * 8).map(|_| random.normal() as f32).collect();
        let folder = Self(path);
        folder.embeddings(&values, &["a", "b", "c", "d"]);
        folder
    }

    fn embeddings(&self, values: &[f32], slides: &[&str]) {
        let n = values.len() / 8;
        let tensors = TensorMap::from([("embedding_last".to_owned(), Tensor::f32(&[n, 8], values))]);
        std::fs::write(self.0.join("e.safetensors"), to_safetensors(&tensors).unwrap()).unwrap();
        let rows: String = (0..n).map(|row| format!("{}\n", slides[row % slides.len()])).collect();
        std::fs::write(self.0.join("e.csv"), format!("slide\n{rows}")).unwrap();
    }

    fn args(&self, out: &str, more: &str) -> Args {
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            args: Args,
        }
        let (embeddings, out) = (self.0.join("e.safetensors"), self.0.join(out));
        let fixed = ["train", "--embeddings", embeddings.to_str().unwrap(), "--out", out.to_str().unwrap()];
        Command::parse_from(fixed.into_iter().chain(more.split_whitespace())).args
    }

    fn train(&self, out: &str, more: &str) -> Result<String, String> {
        let args = self.args(out, more);
        let data = self.data().map_err(|error| error.to_string())?;
        let mut text = Vec::new();
        train::train(&args, &data, &AtomicBool::new(false), &mut text).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(text).unwrap())
    }

    fn data(&self) -> Result<Data, crate::embeddings::EmbeddingError> {
        Data::open(&self.0.join("e.safetensors"), None, |slides| Split::draw(slides, 0.25, 0))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn held_out_slides_are_never_trained_on_and_a_stream_goes_on_anywhere() {
    let folder = Folder::new("stream");
    let data = folder.data().unwrap();
    assert_eq!((data.split.held_out.len(), data.slides, data.width), (1, 4, 8));
    let mut held = Vec::new();
    data.blocks(false, |block| held.extend_from_slice(block)).unwrap();
    assert_eq!(held.len(), 750 * 8);
    let held: std::collections::HashSet<Vec<u32>> =
        held.chunks_exact(8).map(|row| row.iter().map(|v| v.to_bits()).collect()).collect();
    let (mut stream, mut batch, mut all) = (Stream::new(&data, 1, 0).unwrap(), Vec::new(), Vec::new());
    for _ in 0..50 {
        stream.batch(100, &mut batch).unwrap();
        assert!(batch.chunks_exact(8).all(|row| !held.contains(&row.iter().map(|v| v.to_bits()).collect::<Vec<_>>())));
        all.extend_from_slice(&batch);
    }
    // Across the end of an epoch of 2,250 rows, and within one.
    for skip in [0, 700, 2249, 2250, 4900] {
        Stream::new(&data, 1, skip).unwrap().batch(100, &mut batch).unwrap();
        assert_eq!(batch, all[skip as usize * 8..][..800], "{skip}");
    }
}

#[test]
fn a_run_that_was_cut_off_ends_where_one_run_would() {
    let folder = Folder::new("resume");
    let options = "--expansion 2 --k 3 --steps 60 --batch 64 --checkpoint-every 20";
    for arch in ["topk", "batchtopk", "relu", "jumprelu"] {
        let options = format!("{options} --arch {arch}");
        let whole = folder.train(&format!("{arch}-whole"), &options).unwrap();
        assert!(whole.contains("60 steps"), "{whole}");
        // A directory where a file has to go ends the run behind its last checkpoint.
        let cut = folder.0.join(format!("{arch}-cut"));
        std::fs::create_dir_all(cut.join(eval::SPLIT)).unwrap();
        folder.train(&format!("{arch}-cut"), &options).unwrap_err();
        let path = cut.join(checkpoint::FILE);
        let (meta, state) = checkpoint::load(&path).unwrap();
        assert_eq!((meta.step, state.step), (40, 40));
        std::fs::remove_dir(cut.join(eval::SPLIT)).unwrap();
        assert!(folder.train(&format!("{arch}-cut"), &options).unwrap().contains("60 steps"));
        assert!(!path.exists());
        let read = |name: &str| std::fs::read(folder.0.join(name).join("sae_weights.safetensors")).unwrap();
        assert!(read(&format!("{arch}-whole")) == read(&format!("{arch}-cut")), "{arch}");
        // What is written is what SAELens' reader reads.
        let (sae, _) = files::read(&folder.0.join(format!("{arch}-whole"))).unwrap();
        assert_eq!((sae.width, sae.features), (8, 16));
        let refused = folder.train(&format!("{arch}-whole"), &options).unwrap_err();
        assert!(refused.contains("an SAE is there already"), "{refused}");
    }
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint_intact() {
    let folder = Folder::new("full");
    let options = "--expansion 2 --k 3 --steps 60 --batch 64 --checkpoint-every 20";
    let args = folder.args("sae", options);
    let data = folder.data().unwrap();
    train::train(&args, &data, &AtomicBool::new(true), &mut Vec::new()).unwrap();
    let path = folder.0.join("sae").join(checkpoint::FILE);
    let before = std::fs::read(&path).unwrap();
    // Whatever is written there, the disk is full.
    #[cfg(target_os = "linux")]
    std::os::unix::fs::symlink("/dev/full", folder.0.join("sae").join(format!(".{}.partial", checkpoint::FILE)))
        .unwrap();
    #[cfg(not(target_os = "linux"))]
    std::fs::create_dir(folder.0.join("sae").join(format!(".{}.partial", checkpoint::FILE))).unwrap();
    let refused = folder.train("sae", options).unwrap_err();
    assert!(refused.contains("could not be written") && refused.contains("is intact"), "{refused}");
    assert!(std::fs::read(&path).unwrap() == before);
    // There is room again, and the run goes on.
    let _ = std::fs::remove_dir_all(folder.0.join("sae").join(format!(".{}.partial", checkpoint::FILE)));
    assert!(folder.train("sae", options).unwrap().contains("60 steps"));
    std::fs::write(&path, &before[..before.len() / 2]).unwrap();
    let refused = folder.train("sae", options).unwrap_err();
    assert!(refused.contains("expected a checkpoint") && refused.contains("--restart"), "{refused}");
    std::fs::write(&path, &before).unwrap();
    let refused = folder.train("sae", &format!("{options} --seed 1")).unwrap_err();
    assert!(refused.contains("expected a checkpoint of this run"), "{refused}");
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
        let refused = train::check(&folder.args("sae", wrong)).unwrap_err().to_string();
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
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: eval::Args,
    }
    let path = |name: &str| folder.0.join(name).display().to_string();
    let run = |embeddings: &str| {
        let args = ["eval", &path("sae"), "--embeddings", &path(embeddings), "--out", &path("report")];
        eval::run(&Command::parse_from(args).args).map_err(|error| error.to_string())
    };
    run("e.safetensors").unwrap();
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.0.join("report/sae-eval.json")).unwrap()).unwrap();
    assert_eq!((report["held_out_tiles"].as_u64(), report["train_tiles"].as_u64()), (Some(750), Some(2250)));
    let sae = &report["saes"][0];
    let (fvu, pca) = (sae["fvu"].as_f64().unwrap(), sae["pca_fvu"].as_f64().unwrap());
    assert!(sae["l0"].as_f64().unwrap() <= 3.0 && fvu > 0.05 && fvu < 1.0, "{sae}");
    // White noise in 8 dimensions: three components of eight leave five eighths.
    assert!((pca - 0.625).abs() < 0.05, "{pca}");
    // Another SAE that held out another slide has seen what this one is measured on.
    folder.train("other", "--expansion 2 --k 3 --steps 1 --batch 64").unwrap();
    let both = |more: &[&str]| {
        let (a, b, e, out) = (path("sae"), path("other"), path("e.safetensors"), path("report"));
        let words = ["eval", &a, &b, "--embeddings", &e, "--out", &out].into_iter().chain(more.iter().copied());
        eval::run(&Command::parse_from(words).args).map_err(|error| error.to_string())
    };
    both(&[]).unwrap();
    let own = &folder.data().unwrap().split.held_out[0];
    let another = ["a", "b", "c", "d"].into_iter().find(|slide| slide != own).unwrap();
    std::fs::write(folder.0.join("other").join(eval::SPLIT), format!("{{\"held_out\": [\"{another}\"]}}")).unwrap();
    let refused = both(&[]).unwrap_err();
    assert!(refused.contains("held out the same slides") && refused.contains("--split"), "{refused}");
    both(&["--split", &path("sae/split.json")]).unwrap();
    folder.embeddings(&[0.5; 800], &["x", "y"]);
    let refused = run("e.safetensors").unwrap_err();
    assert!(refused.contains("expected the slides that the SAE was trained with"), "{refused}");
}
