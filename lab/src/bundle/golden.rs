//! What other libraries compute, computed by us: every case of `bundle/tests/golden/sae` (made by
//! `tools/goldens/sae.py` with the format's own library) is imported, composed and run on rten.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coverslip_bundle::tensors::{TensorFile, to_safetensors};
use coverslip_bundle::{ComposedGraph, Sae, SaeGraph, SaeReference};
use coverslip_import::{ImportedSae, SaeOptions, StoreAs, import_sae};
use rten::ModelOptions;
use rten_tensor::NdTensor;
use serde_json::Value;

/// How far a value may be from the library's, as a share of the largest value of its kind. Both sides add up the
/// same few products in float32, in another order: that is some 10 roundings of 6e-8 each. A forgotten bias, norm
/// or step is thousands of times that.
const TOLERANCE: f32 = 1e-5;
/// The folder is what `tools/goldens/sae.py` makes: at least so many cases are read and refused.
const READ: usize = 57;
const REFUSED: usize = 27;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/import/tests/golden/sae")
}

fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap_or_else(|error| panic!("{}: {error}", folder().display()));
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

/// A case's `golden.json`.
struct Case {
    path: PathBuf,
    json: Value,
}

impl Case {
    fn read(path: PathBuf) -> Self {
        let bytes = std::fs::read(path.join("golden.json")).unwrap();
        Self { path, json: serde_json::from_slice(&bytes).unwrap() }
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// What the importer reads: the directory, or a file in it.
    fn weights(&self) -> PathBuf {
        match self.json.get("weights").and_then(Value::as_str) {
            Some(file) => self.path.join(file),
            None => self.path.clone(),
        }
    }

    fn options(&self, precision: StoreAs) -> SaeOptions {
        let option = |name: &str| self.json.pointer(&format!("/options/{name}"));
        SaeOptions {
            activation_scale: option("activation_scale").and_then(Value::as_f64),
            k: option("k").and_then(Value::as_u64).map(|k| k as usize),
            precision,
        }
    }

    /// Words of which a refusal has to contain one; `None` for what is read.
    fn refused(&self) -> Option<Vec<String>> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match self.json.get("refused")? {
            Value::Array(words) => Some(words.iter().map(text).collect()),
            word => Some(vec![text(word)]),
        }
    }

    fn tensor(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = TensorFile::parse(std::fs::read(self.path.join("golden.safetensors")).unwrap()).unwrap();
        let stored = file.get(name).unwrap_or_else(|| panic!("{}: no `{name}`", self.name()));
        (stored.shape.to_vec(), stored.to_f32().unwrap())
    }
}

/// The manifest's description of an imported SAE, all features reported where there is no k.
fn described(found: &ImportedSae) -> Sae {
    Sae {
        tap: "x".to_owned(),
        architecture: Some(found.architecture),
        d_in: found.d_in,
        d_sae: found.d_sae,
        k: found.k,
        outputs: found.k.unwrap_or(found.d_sae),
        input: found.input.clone(),
        apply_b_dec_to_input: found.apply_b_dec_to_input,
        rescale_acts_by_decoder_norm: found.rescale_acts_by_decoder_norm,
        pruned: found.pruned,
        reference: SaeReference { mean_square_deviation: 1.0, error_quantiles: BTreeMap::new(), tiles: 0 },
        labels: Vec::new(),
    }
}

/// Features, dense, and reconstruction of the rows of `x`, as the composed graph computes them.
fn run(found: &ImportedSae, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let sae = described(found);
    let tensors = TensorFile::parse(to_safetensors(&found.tensors).unwrap()).unwrap();
    let graph = SaeGraph::compose(&sae, &tensors).unwrap();
    let model = ModelOptions::with_all_ops().load(graph.onnx).unwrap();
    let rows = x.len() / sae.d_in;
    let embedding = NdTensor::from_data([rows, sae.d_in], x.to_vec());
    let input = model.node_id(SaeGraph::EMBEDDING).unwrap();
    let names = [ComposedGraph::FEATURE_INDEX, ComposedGraph::FEATURE_VALUE, SaeGraph::RECONSTRUCTION];
    let outputs = names.map(|name| model.node_id(name).unwrap());
    let mut values = model.run(vec![(input, embedding.into())], &outputs, None).unwrap().into_iter();
    let index = values.next().unwrap().into_tensor::<i32>().unwrap().into_data();
    let value = values.next().unwrap().into_tensor::<f32>().unwrap().into_data();
    let reconstruction = values.next().unwrap().into_tensor::<f32>().unwrap().into_data();
    let mut features = vec![0.0; rows * sae.d_sae];
    for (at, (index, value)) in index.into_iter().zip(value).enumerate() {
        features[at / sae.outputs * sae.d_sae + index as usize] = value;
    }
    (features, reconstruction)
}

/// The largest distance between two tensors, as a share of the largest value.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.0, "an expectation of nothing but zeros");
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / largest
}

#[test]
fn libraries_and_we_agree() {
    let (mut read, mut wrong) = (0, Vec::new());
    for case in cases().into_iter().map(Case::read).filter(|case| case.refused().is_none()) {
        read += 1;
        let found = match import_sae(&case.weights(), &case.options(StoreAs::Keep)) {
            Ok(found) => found,
            Err(error) => {
                wrong.push(format!("{}: {error}", case.name()));
                continue;
            }
        };
        let (_, x) = case.tensor("x");
        let (features, reconstruction) = run(&found, &x);
        for (name, values) in [("features", features), ("reconstruction", reconstruction)] {
            let distance = distance(&values, &case.tensor(name).1);
            if distance.is_nan() || distance > TOLERANCE {
                wrong.push(format!("{}: {name} are {distance:.1e} away", case.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {read}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(read >= READ, "{read} cases in {}", folder().display());
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let (mut refused, mut wrong) = (0, Vec::new());
    for case in cases().into_iter().map(Case::read) {
        let Some(words) = case.refused() else { continue };
        refused += 1;
        match import_sae(&case.weights(), &case.options(StoreAs::Keep)) {
            Ok(found) => wrong.push(format!("{}: read as {} {:?}", case.name(), found.format, found.architecture)),
            Err(error) if words.iter().any(|word| error.to_string().contains(word.as_str())) => {}
            Err(error) => wrong.push(format!("{}: none of {words:?} in: {error}", case.name())),
        }
    }
    assert!(wrong.is_empty(), "{} of {refused}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused >= REFUSED, "{refused} refusals in {}", folder().display());
}
