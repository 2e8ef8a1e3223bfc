//! Files that claim sizes: weights, manifests, profiles, plans, tables and pictures.

use std::fs;
use std::path::{Path, PathBuf};

use coverslip_bundle::{Digest, PlanFile};
use coverslip_testkit::Scratch;
use serde_json::{Value, json};

use super::host::Host;
use super::{assert_done, assert_refused, coverslip, png, text, tiles, zip};

/// A safetensors file with this header, and `length` bytes claimed for it.
fn safetensors(header: &str, length: Option<u64>) -> Vec<u8> {
    [&length.unwrap_or(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 64]].concat()
}

/// Safetensors that claim sizes.
fn weights() -> Vec<(&'static str, Vec<u8>)> {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        safetensors(
            &format!(r#"{{"embedding_a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#),
            None,
        )
    };
    let many = |count: usize, shape: &str| {
        let each = |at| format!(r#""{at}":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}"#);
        safetensors(&format!("{{{}}}", (0..count).map(each).collect::<Vec<_>>().join(",")), None)
    };
    let zeros = format!("[0{}]", ",0".repeat(7 << 20));
    vec![
        ("a header of any length", safetensors("{}", Some(u64::MAX))),
        ("a header of 90 MB that is not there", safetensors("{}", Some(90 << 20))),
        ("a shape that overflows", one("F32", "[18446744073709551615,4]", "[0,16]")),
        ("a shape that is not filled", one("F32", "[1099511627776,4]", "[0,16]")),
        ("offsets beyond the file", one("F32", "[1099511627776,4]", "[0,17592186044416]")),
        ("offsets that overflow", one("F32", "[4]", "[18446744073709551600,18446744073709551615]")),
        ("an empty axis among huge ones", one("F32", "[18446744073709551615,18446744073709551615,0]", "[0,0]")),
        ("offsets that run backwards", one("F32", "[4]", "[16,0]")),
        ("a shape of many axes", one("F32", &zeros, "[0,0]")),
        ("many empty tensors", many(200_000, "[0]")),
        ("nested lists", safetensors(&"[".repeat(1 << 20), None)),
    ]
}

#[test]
fn claims_of_weights_are_not_believed() {
    let scratch = Scratch::new("bombs-weights");
    let tiles = tiles(scratch.path());
    let build = |name: &str, bytes: &[u8]| {
        let path = scratch.join(name);
        fs::write(&path, bytes).unwrap();
        let out = scratch.join("out");
        let mut arguments = vec!["bundle", "build", "--weights", text(&path), "--tiles", text(&tiles)];
        arguments.extend(["--out", text(&out), "--name", "n", "--licence", "MIT", "--source", "s", "--mpp", "0.5"]);
        coverslip(&arguments)
    };
    for (what, bytes) in weights() {
        assert_refused(what, &build("w.safetensors", &bytes));
        let path = scratch.join("e.safetensors");
        fs::write(&path, &bytes).unwrap();
        let out = scratch.join("sae");
        assert_refused(what, &coverslip(&["sae", "train", "--embeddings", text(&path), "--out", text(&out)]));
    }
    for (what, bytes) in zip::bombs() {
        assert_refused(what, &build("w.pt", &bytes));
    }
    let config = scratch.join("config.json");
    for (what, json) in json_bombs() {
        fs::write(&config, json).unwrap();
        fs::write(scratch.join("w.safetensors"), safetensors("{}", None)).unwrap();
        assert_refused(what, &build("w.safetensors", &safetensors("{}", None)));
    }
}

/// JSON whose values take far more memory than its letters.
fn json_bombs() -> Vec<(&'static str, String)> {
    vec![
        ("numbers", format!("{{\"format\":\"coverslip.bundle/1\",\"x\":[0{}]}}", ",0".repeat(7 << 20))),
        ("empty objects", format!("{{\"x\":[{{}}{}]}}", ",{}".repeat(5 << 20))),
        ("nested lists", "[".repeat(8 << 20)),
        ("keys", format!("{{\"a\":0{}}}", (0..1_500_000).map(|at| format!(",\"{at}\":0")).collect::<String>())),
    ]
}

/// Copies a folder's files.
fn copied(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// Writes a file of a bundle or profile, and states its size and digest in the manifest.
fn seal(folder: &Path, manifest: &str, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
    edit(&folder.join(manifest), |manifest| {
        manifest["files"][name] = json!({ "bytes": bytes.len(), "sha256": Digest::of(bytes).to_string() });
    });
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// A bundle, and a profile for it.
struct Site {
    scratch: Scratch,
    bundle: PathBuf,
    profile: PathBuf,
}

impl Site {
    fn new() -> Site {
        let scratch = Scratch::new("bombs-site");
        let (bundle, profile) = (scratch.join("bundle"), scratch.join("profile"));
        coverslip_testkit::bundle(&bundle);
        let open = coverslip_bundle::Bundle::open(&bundle).unwrap();
        let made = coverslip_profile::synthetic::profile(open.manifest(), open.digest(), &["s1", "s2"], 100);
        coverslip_profile::write(&made, &profile, false).unwrap();
        Site { scratch, bundle, profile }
    }
}

#[test]
fn claims_of_a_bundle_and_a_profile_are_not_believed() {
    let site = Site::new();
    let Some(host) = Host::build(&site.scratch) else { return };
    host.opens(&site.bundle);
    let bomb = site.scratch.join("bomb");
    for (what, bytes) in weights() {
        for name in ["model.safetensors", "sae.safetensors", "reference.safetensors"] {
            copied(&site.bundle, &bomb);
            seal(&bomb, "manifest.json", name, &bytes);
            assert_refused(what, &coverslip(&["bundle", "verify", text(&bomb)]));
            host.refuses(what, &bomb, None);
        }
        copied(&site.profile, &bomb);
        seal(&bomb, "profile.json", "profile.safetensors", &bytes);
        host.refuses(what, &site.bundle, Some(&bomb));
    }
    for (what, json) in json_bombs() {
        copied(&site.bundle, &bomb);
        fs::write(bomb.join("manifest.json"), &json).unwrap();
        assert_refused(what, &coverslip(&["bundle", "verify", text(&bomb)]));
        host.refuses(what, &bomb, None);
        copied(&site.profile, &bomb);
        fs::write(bomb.join("profile.json"), &json).unwrap();
        host.refuses(what, &site.bundle, Some(&bomb));
    }
    // Sizes of the manifest alone: no file has them.
    let sizes: [(&str, &str, Value); 6] = [
        ("a side", "/side", json!(1i64 << 40)),
        ("a width", "/architecture/embed_dim", json!(1i64 << 40)),
        ("heads that make attention large", "/architecture/heads", json!(1i64 << 40)),
        ("features", "/sae/d_sae", json!(1u64 << 60)),
        ("a file's bytes", "/files/model.safetensors/bytes", json!(u64::MAX)),
        ("reference tiles", "/sae/reference/tiles", json!(-1)),
    ];
    for (what, place, value) in sizes {
        copied(&site.bundle, &bomb);
        edit(&bomb.join("manifest.json"), |manifest| *manifest.pointer_mut(place).expect("the field") = value);
        assert_refused(what, &coverslip(&["bundle", "verify", text(&bomb)]));
        host.refuses(what, &bomb, None);
    }
}

#[test]
fn a_transformer_whose_attention_is_larger_than_its_weights_is_refused() {
    use coverslip_bundle::synthetic::{self, SyntheticSpec};
    let scratch = Scratch::new("bombs-attention");
    let Some(host) = Host::build(&scratch) else { return };
    let spec = SyntheticSpec { side: 1024, patch: 16, embed_dim: 128, heads: 1, ..SyntheticSpec::default() };
    let bundle = scratch.join("bundle");
    synthetic::write(&bundle, &spec, synthetic::zeros).unwrap();
    // 4097 tokens in 128 heads of one value each: 8 GiB of attention in each block, from weights of a few megabytes.
    edit(&bundle.join("manifest.json"), |manifest| manifest["architecture"]["heads"] = json!(128));
    assert_refused("attention", &coverslip(&["bundle", "verify", text(&bundle)]));
    host.refuses("attention", &bundle, None);
}

#[test]
fn claims_of_a_plan_are_not_believed() {
    let site = Site::new();
    let path = site.scratch.join("a.plan");
    let bundle = coverslip_bundle::Bundle::open(&site.bundle).unwrap();
    let target = coverslip_bundle::PlanTarget {
        flavor: "TensorRT-RTX".into(),
        version: "1.7.1.116".into(),
        capabilities: vec!["sm86".into()],
        gpu: None,
    };
    let key = coverslip_bundle::PlanKey::new(&bundle, &target, coverslip_bundle::Precision::Float16, 32, None);
    PlanFile::write(&path, &key, &[7; 64]).unwrap();
    let whole = fs::read(&path).unwrap();
    assert_done("an honest plan is shown in 1 GiB", &coverslip(&["engine", "inspect", text(&path)]));
    let header = |length: u32| [&whole[..17], &length.to_le_bytes(), &whole[21..]].concat();
    let claimed = String::from_utf8_lossy(&whole[21..whole.len() - 64])
        .replace("\"plan_bytes\":64", "\"plan_bytes\":9999999999999");
    let long = [&whole[..17], &(claimed.len() as u32).to_le_bytes(), claimed.as_bytes(), &[7; 64]].concat();
    for (what, bytes) in
        [("a header of any length", header(u32::MAX)), ("a plan of any length", long), ("nothing", Vec::new())]
    {
        fs::write(&path, bytes).unwrap();
        assert_refused(what, &coverslip(&["engine", "inspect", text(&path)]));
    }
}

#[test]
fn a_table_of_empty_cells_is_counted_before_it_is_kept() {
    use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
    let scratch = Scratch::new("bombs-table");
    let path = scratch.join("e.safetensors");
    let tensors = TensorMap::from([("embedding_a".to_owned(), Tensor::f32(&[8, 4], &[0.5; 32]))]);
    fs::write(&path, to_safetensors(&tensors).unwrap()).unwrap();
    let commas = ",".repeat(12 << 20);
    fs::write(path.with_extension("csv"), format!("slide{commas}\na{commas}\n")).unwrap();
    let out = scratch.join("out.json");
    let arguments = ["analyze", "scanners", text(&path), "--out", text(&out), "--scanner", "slide"];
    let output = coverslip(&arguments);
    assert_refused("empty cells", &output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("most of them empty"), "{said}");
}

/// A file of nothing but zeroes takes no room on a disk.
#[test]
fn a_table_without_an_end_of_a_cell_is_no_table() {
    let scratch = Scratch::new("bombs-cell");
    let path = embeddings(&scratch, 0);
    let table = fs::File::create(path.with_extension("csv")).unwrap();
    table.set_len(6 << 30).unwrap();
    let output = coverslip(&["analyze", "features", "--embeddings", text(&path), "--out", text(&scratch.join("out"))]);
    assert_refused("one cell of 6 GiB", &output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("expected a comma or a line break"), "{said}");
}

/// A table of so many columns is one line.
#[test]
fn names_of_columns_are_compared_once() {
    let scratch = Scratch::new("bombs-columns");
    let path = embeddings(&scratch, 0);
    let labels = scratch.join("labels.csv");
    let names: String = (0..200_000).map(|at| format!(",c{at}")).collect();
    fs::write(&labels, format!("nothing{names}\n{}\n", ",".repeat(200_000))).unwrap();
    let arguments = ["analyze", "counts", "--embeddings", text(&path), "--labels", text(&labels)];
    let output = coverslip(&[&arguments[..], &["--out", text(&scratch.join("out"))]].concat());
    assert_refused("200,000 columns", &output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("that names the tiles") && said.contains("and 199981 more"), "{said}");
}

/// What a file calls its largest feature is the size of an SAE that is drawn beside them.
#[test]
fn a_feature_is_one_that_an_sae_can_have() {
    let scratch = Scratch::new("bombs-feature");
    let read = |path: &Path| {
        coverslip(&["analyze", "features", "--embeddings", text(path), "--out", text(&scratch.join("out"))])
    };
    assert_done("features of an SAE", &read(&embeddings(&scratch, (1 << 18) - 1)));
    for index in [1 << 18, i32::MAX] {
        let output = read(&embeddings(&scratch, index));
        assert_refused("a feature beyond them", &output);
        assert!(String::from_utf8_lossy(&output.stderr).contains("below 262144"));
    }
}

/// Eight tiles with two features each, of which one has this index.
fn embeddings(scratch: &Scratch, index: i32) -> PathBuf {
    use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
    let path = scratch.join("e.safetensors");
    let row: Vec<f32> = (0..32).map(|at| (at * 7 % 5) as f32).collect();
    let tensors = TensorMap::from([
        ("embedding_a".to_owned(), Tensor::f32(&[8, 4], &row)),
        ("feature_index".to_owned(), Tensor::i32(&[8, 2], &[1, index].repeat(8))),
        ("feature_value".to_owned(), Tensor::f32(&[8, 2], &[0.5; 16])),
    ]);
    fs::write(&path, to_safetensors(&tensors).unwrap()).unwrap();
    let rows: String = (0..8).map(|at| format!("s{},t{at}\n", at / 2)).collect();
    fs::write(path.with_extension("csv"), format!("slide,tile\n{rows}")).unwrap();
    path
}

#[test]
fn a_picture_is_held_against_its_budget_before_it_is_decoded() {
    let scratch = Scratch::new("bombs-picture");
    let path = scratch.join("large.png");
    fs::write(&path, png::claiming(100_000, &[])).unwrap();
    let bundle = scratch.join("bundle");
    coverslip_testkit::bundle(&bundle);
    let out = scratch.join("out.safetensors");
    let arguments = ["bundle", "run", text(&bundle), "--tiles", text(&path), "--out", text(&out)];
    assert_refused("a large picture", &coverslip(&arguments));
    // Within the most pixels that are taken, but not in these bytes.
    fs::write(&path, png::claiming(16_000, &[])).unwrap();
    let output = coverslip(&arguments);
    assert_refused("a picture of 57 bytes", &output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("which has at most 470592 pixels"), "{said}");
}
