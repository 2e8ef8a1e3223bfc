//! Models as they lie on hubs, through the built command: what comes out must be what the model's own library
//! computed (tools/goldens). Both sides get the same pixels; ours computes in float32, so 1 − cosine stays below
//! 1e-9 (seen: 1e-12); a model that its own library ran in float16 is only that exact.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coverslip_bundle::Bundle;
use coverslip_bundle::tensors::{Tensor, TensorFile, TensorMap, to_safetensors};
use serde_json::{Value, json};

const FLOAT32: f64 = 1e-9;
const FLOAT16: f64 = 1e-5;

fn goldens(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/import/tests/golden").join(kind)
}

/// The cases in a folder: those with `file` in them.
fn cases(folder: &Path, file: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.join(file).is_file()).collect();
    cases.sort();
    cases
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn tensors(path: &Path) -> TensorFile {
    TensorFile::parse(fs::read(path).unwrap()).unwrap()
}

/// A folder of this test run for one case.
fn scratch(case: &Path) -> PathBuf {
    let name: Vec<_> = case.iter().rev().take(3).collect();
    let name = name.into_iter().rev().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("-");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("import").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// An SAE in SAELens' files that nobody looks at, and tiles without their embeddings.
fn write_rest(folder: &Path, width: usize, tiles: &Tensor) {
    let weights = TensorMap::from([
        ("W_enc".to_owned(), Tensor::f32(&[width, 4], &vec![0.1; width * 4])),
        ("W_dec".to_owned(), Tensor::f32(&[4, width], &vec![0.1; width * 4])),
        ("b_enc".to_owned(), Tensor::f32(&[4], &[0.5; 4])),
        ("b_dec".to_owned(), Tensor::f32(&[width], &vec![0.0; width])),
    ]);
    fs::create_dir_all(folder.join("sae")).unwrap();
    fs::write(folder.join("sae/sae_weights.safetensors"), to_safetensors(&weights).unwrap()).unwrap();
    let config = json!({ "architecture": "standard", "d_in": width, "d_sae": 4 });
    fs::write(folder.join("sae/cfg.json"), config.to_string()).unwrap();
    let tiles = TensorMap::from([("tiles".to_owned(), tiles.clone())]);
    fs::write(folder.join("tiles.safetensors"), to_safetensors(&tiles).unwrap()).unwrap();
}

fn build(folder: &Path, weights: &Path, model: &Value) -> Output {
    fs::write(folder.join("model.json"), model.to_string()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_coverslip"))
        .args(["bundle", "build", "--name", "golden", "--licence", "MIT", "--source", "tests", "--mpp", "0.5"])
        .arg("--weights")
        .arg(weights)
        .args(["--model", "model.json", "--sae", "sae", "--tiles", "tiles.safetensors", "--out", "bundle"])
        .args(["--outputs", "2"])
        .current_dir(folder)
        .output()
        .unwrap()
}

fn run(folder: &Path) -> TensorFile {
    let output = Command::new(env!("CARGO_BIN_EXE_coverslip"))
        .args(["bundle", "run", "bundle", "--tiles", "tiles.safetensors", "--out", "out.safetensors"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    tensors(&folder.join("out.safetensors"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// Builds and runs a case; the worst 1 − cosine of all tiles and taps.
fn worst(case: &Path, weights: &Path, model: &Value) -> f64 {
    let golden = tensors(&case.join("golden.safetensors"));
    let taps: Vec<&str> = golden.names().filter(|name| name.starts_with("embedding_")).collect();
    let last = model["taps"].as_array().unwrap().last().unwrap()["name"].as_str().unwrap().to_owned();
    let width = golden.get(&format!("embedding_{last}")).unwrap().shape[1];
    let tiles = golden.get("tiles").unwrap();
    let folder = scratch(case);
    write_rest(&folder, width, &Tensor::u8(tiles.shape, tiles.bytes));
    let output = build(&folder, weights, model);
    assert!(output.status.success(), "{}: {}", case.display(), text(&output));
    let found = run(&folder);
    let rows = taps.iter().flat_map(|tap| {
        let (a, b) = (golden.get(tap).unwrap(), found.get(tap).unwrap());
        assert_eq!(a.shape, b.shape, "{}: {tap}", case.display());
        let (a, b) = (a.to_f32().unwrap(), b.to_f32().unwrap());
        let n = golden.get("tiles").unwrap().shape[0];
        let width = a.len() / n;
        (0..n)
            .map(move |i| distance(&a[i * width..(i + 1) * width], &b[i * width..(i + 1) * width]))
            .collect::<Vec<_>>()
    });
    rows.fold(0.0, f64::max)
}

/// 1 − cosine as half the squared distance of unit vectors: exact for small angles.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let (norm_a, norm_b) = (norm(a), norm(b));
    let square = |(x, y): (&f32, &f32)| (f64::from(*x) / norm_a - f64::from(*y) / norm_b).powi(2);
    a.iter().zip(b).map(square).sum::<f64>() / 2.0
}

#[test]
fn vision_transformers_compute_what_their_libraries_do() {
    let cases: Vec<_> = cases(&goldens("models"), "golden.safetensors");
    assert_eq!(cases.len(), 31);
    for case in cases {
        let golden: Value = parse(&case.join("golden.json"));
        let weights = case.join(golden["weights"].as_str().unwrap());
        let mut model = golden["model"].clone();
        // Where nothing beside the weights says how they were trained.
        for (name, value) in [("mean", json!([0.485, 0.456, 0.406])), ("std", json!([0.229, 0.224, 0.225]))] {
            if !case.join("config.json").exists() && model.get(name).is_none() {
                model[name] = value;
            }
        }
        let worst = worst(&case, &weights, &model);
        assert!(worst <= FLOAT32, "{}: 1 - cosine {worst:.1e}", case.display());
    }
}

#[test]
fn other_vision_transformers_are_refused_by_name() {
    let refused = cases(&goldens("models"), "golden.json");
    let refused: Vec<_> = refused.into_iter().filter(|case| !case.join("golden.safetensors").exists()).collect();
    assert_eq!(refused.len(), 11);
    for case in refused {
        let golden: Value = parse(&case.join("golden.json"));
        let folder = scratch(&case);
        write_rest(&folder, 32, &Tensor::u8(&[2, 32, 32, 3], &vec![128; 2 * 32 * 32 * 3]));
        let output = build(&folder, &case.join(golden["weights"].as_str().unwrap()), &golden["model"]);
        assert_eq!(output.status.code(), Some(1), "{}", case.display());
        let words: Vec<&str> = golden["refused"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let message = text(&output);
        assert!(words.iter().any(|word| message.contains(word)), "{}: {words:?} not in {message}", case.display());
        assert!(!folder.join("bundle").exists());
    }
}

#[test]
fn onnx_models_compute_what_onnxruntime_does() {
    let cases = cases(&goldens("onnx"), "golden.safetensors");
    assert_eq!(cases.len(), 10);
    for case in cases {
        let model = parse(&case.join("model.json"));
        let worst = worst(&case, &case.join("model.onnx"), &model);
        let tolerance = if case.ends_with("vit_float16") { FLOAT16 } else { FLOAT32 };
        assert!(worst <= tolerance, "{}: 1 - cosine {worst:.1e}", case.display());
    }
}

#[test]
fn a_fixed_batch_runs_one_tile_at_a_time() {
    let case = goldens("onnx").join("vit_fixed_batch");
    let folder = scratch(&case.join("again"));
    let golden = tensors(&case.join("golden.safetensors"));
    let tiles = golden.get("tiles").unwrap();
    write_rest(&folder, 32, &Tensor::u8(tiles.shape, tiles.bytes));
    let output = build(&folder, &case.join("model.onnx"), &parse(&case.join("model.json")));
    assert!(text(&output).contains("one tile at a time"), "{}", text(&output));
    let manifest: Value = parse(&folder.join("bundle/manifest.json"));
    assert_eq!(manifest["architecture"]["single_tile"], true);
    let exported = Command::new(env!("CARGO_BIN_EXE_coverslip"))
        .args(["bundle", "export-onnx", "bundle", "--check", "--out", "m.onnx"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(text(&exported).contains("every value is made once"), "{}", text(&exported));
}

/// A graph below float32 is checked too; the embedded engine does not run it.
#[test]
fn an_exported_graph_is_checked_at_every_precision() {
    let folder = scratch(&goldens("onnx").join("vit_dynamic/exported"));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coverslip"));
        let output = command.arg("bundle").args(arguments).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    };
    run(&["synthetic", "--out", "small"]);
    for (precision, end) in [("fp32", "checked"), ("fp16", "not in float16"), ("bf16", "not in bfloat16")] {
        let said = run(&["export-onnx", "small", "--precision", precision, "--check", "--out", "m.onnx"]);
        assert!(said.contains("every operator is known") && said.trim_end().ends_with(end), "{said}");
    }
}

#[test]
fn the_tokens_of_a_graph_are_tapped_one_by_one() {
    let case = goldens("onnx").join("vit_dynamic");
    let folder = scratch(&case.join("tokens"));
    let golden = tensors(&case.join("golden.safetensors"));
    let tiles = golden.get("tiles").unwrap();
    write_rest(&folder, 32, &Tensor::u8(tiles.shape, tiles.bytes));
    let mut spec: Value = parse(&case.join("model.json"));
    let mut tap = spec["taps"][0].clone();
    (tap["name"], tap["pooling"]) = (json!("tokens"), json!("patch_tokens"));
    spec["taps"].as_array_mut().unwrap().insert(1, tap);
    let output = build(&folder, &case.join("model.onnx"), &spec);
    assert!(output.status.success(), "{}", text(&output));
    let bundle = Bundle::open(&folder.join("bundle")).unwrap();
    let manifest = bundle.manifest();
    assert_eq!(manifest.patch_tokens(&manifest.taps[1]), Some((32, 16)));
    let outputs = bundle.reference().unwrap();
    for (mean, tokens) in outputs.embeddings[0].chunks_exact(32).zip(outputs.embeddings[1].chunks_exact(16 * 32)) {
        for (at, mean) in mean.iter().enumerate() {
            let sum: f32 = tokens.chunks_exact(32).map(|token| token[at]).sum();
            assert!((sum / 16.0 - mean).abs() < 1e-5, "{sum} {mean}");
        }
    }
    // Another number of patches than the graph has.
    let mut manifest: Value = parse(&folder.join("bundle/manifest.json"));
    for (patches, part) in [(json!(25), "expected [2, 800]"), (json!(15), "square grid"), (Value::Null, "`patches`")] {
        manifest["taps"][1]["patches"] = patches;
        fs::write(folder.join("bundle/manifest.json"), manifest.to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_coverslip"))
            .args(["bundle", "verify", "bundle"])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(output.status.code() == Some(1) && text(&output).contains(part), "{}", text(&output));
    }
}

#[test]
fn a_graph_that_was_changed_afterwards_is_refused() {
    let case = goldens("onnx").join("vit_dynamic");
    let folder = scratch(&case.join("changed"));
    let golden = tensors(&case.join("golden.safetensors"));
    let tiles = golden.get("tiles").unwrap();
    write_rest(&folder, 32, &Tensor::u8(tiles.shape, tiles.bytes));
    let output = build(&folder, &case.join("model.onnx"), &parse(&case.join("model.json")));
    assert!(output.status.success(), "{}", text(&output));
    let manifest: Value = parse(&folder.join("bundle/manifest.json"));
    let refused = |change: &dyn Fn(&mut Value), parts: &[&str]| {
        let mut changed = manifest.clone();
        change(&mut changed);
        fs::write(folder.join("bundle/manifest.json"), changed.to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_coverslip"))
            .args(["bundle", "verify", "bundle"])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(parts.iter().all(|part| text(&output).contains(part)), "{parts:?} not in {}", text(&output));
    };
    refused(&|m| m["architecture"]["parameters"] = json!(1_000_000_000), &["1000000000", "parameters"]);
    refused(&|m| m["architecture"]["input"] = json!("other"), &["no input `other`"]);
    refused(&|m| m["taps"][1]["tensor"] = json!("nowhere"), &["nowhere", "does not compute"]);
    // Another graph with its true digest, as one who means harm would.
    let other = fs::read(goldens("onnx/refused/operators/model.onnx")).unwrap();
    fs::write(folder.join("bundle/model.onnx"), &other).unwrap();
    let digest = coverslip_bundle::Digest::of(&other).to_string();
    let listed = json!({ "bytes": other.len(), "sha256": digest });
    refused(&|m| m["files"]["model.onnx"] = listed.clone(), &["com.example.Magic", "not supported"]);
}

#[test]
fn other_onnx_models_are_refused_with_all_that_is_wrong() {
    let cases = cases(&goldens("onnx/refused"), "model.onnx");
    assert_eq!(cases.len(), 15);
    for case in cases {
        let folder = scratch(&case);
        write_rest(&folder, 16, &Tensor::u8(&[2, 16, 16, 3], &vec![128; 2 * 16 * 16 * 3]));
        let output = build(&folder, &case.join("model.onnx"), &parse(&case.join("model.json")));
        assert_eq!(output.status.code(), Some(1), "{}", case.display());
        let message = text(&output);
        let words: Vec<String> = parse(&case.join("refused.json"));
        for word in words {
            assert!(message.contains(&word), "{}: `{word}` not in {message}", case.display());
        }
        assert!(!folder.join("bundle").exists());
    }
}

#[test]
fn inspecting_an_onnx_file_lists_what_could_be_tapped() {
    let inspect = |case: &str| {
        let path = goldens("onnx").join(case).join("model.onnx");
        let output =
            Command::new(env!("CARGO_BIN_EXE_coverslip")).args(["bundle", "inspect"]).arg(path).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let page = inspect("vit_dynamic");
    for part in ["channels first, 32 × 32 px, dynamic batch", "[1, 17, 32]", "[1, 32]", "model.json"] {
        assert!(page.contains(part), "`{part}` not in {page}");
    }
    assert!(page.lines().filter(|line| !line.contains("/onnx/")).all(|line| line.chars().count() <= 80), "{page}");
    let page = inspect("refused/operators");
    assert!(page.contains("not run") && page.contains("StringNormalizer"), "{page}");
}

/// A model of a few kilobytes in a file of ten gigabytes (a classifier's hole), on two gigabytes of memory.
#[cfg(target_os = "linux")]
#[test]
fn a_file_larger_than_memory_becomes_a_bundle() {
    use std::io::{Seek, SeekFrom, Write};

    const HOLE: u64 = 10 << 30;
    let case = goldens("models/timm_plain");
    let golden: Value = parse(&case.join("golden.json"));
    let folder = scratch(&case.join("large"));
    let tiles = tensors(&case.join("golden.safetensors"));
    let tiles = tiles.get("tiles").unwrap();
    write_rest(&folder, 32, &Tensor::u8(tiles.shape, tiles.bytes));
    fs::copy(case.join("config.json"), folder.join("config.json")).unwrap();

    let small = tensors(&case.join("model.safetensors"));
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for name in small.names() {
        let tensor = small.get(name).unwrap();
        let (start, end) = (data.len(), data.len() + tensor.bytes.len());
        let element = format!("{:?}", tensor.element).to_uppercase();
        header.insert(name.into(), json!({ "dtype": element, "shape": tensor.shape, "data_offsets": [start, end] }));
        data.extend_from_slice(tensor.bytes);
    }
    let end = data.len() as u64 + HOLE;
    let head = json!({ "dtype": "F32", "shape": [HOLE / 128, 32], "data_offsets": [data.len(), end] });
    header.insert("head.weight".into(), head);
    let header = Value::from(header).to_string();
    let mut file = fs::File::create(folder.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.write_all(&data).unwrap();
    let last = file.seek(SeekFrom::Current(HOLE as i64 - 1)).and_then(|_| file.write_all(&[0]));
    if last.is_err() {
        let _ = std::io::stderr().write_all(b"skipped: this file system has no files of ten gigabytes with holes\n");
        return;
    }
    fs::write(folder.join("model.json"), golden["model"].to_string()).unwrap();
    let command = format!(
        "ulimit -v 2000000; exec '{}' bundle build --weights model.safetensors --model model.json --sae sae --outputs 2 \
         --tiles tiles.safetensors --name large --licence MIT --source tests --mpp 0.5 --out bundle",
        env!("CARGO_BIN_EXE_coverslip")
    );
    let output = Command::new("sh").args(["-c", &command]).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("head.weight"), "{}", text(&output));
    fs::remove_file(folder.join("model.safetensors")).unwrap();
}
