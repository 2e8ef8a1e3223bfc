//! Vision transformers as they lie on a hub: what is recognised, what becomes of their tensors, what is refused.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::assert_refused;
use coverslip_bundle::import::{ImportedModel, ModelSource, ModelSpec, Precision, import_model};
use coverslip_bundle::BundleError;
use serde_json::Value;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn golden(case: &str) -> (Value, Result<ImportedModel, BundleError>) {
    let dir = goldens().join(case);
    let golden = json(&dir.join("golden.json"));
    let spec: ModelSpec = serde_json::from_value(golden["model"].clone()).unwrap();
    let result = ModelSource::open(&dir.join(golden["weights"].as_str().unwrap()), None)
        .and_then(|source| import_model(&source, &spec, Precision::Keep));
    (golden, result)
}

#[test]
fn show() {
    let mut cases: Vec<_> = fs::read_dir(goldens()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    cases.sort();
    for case in cases {
        let (golden, result) = golden(&case);
        println!("== {case} {:?}", golden.get("refused"));
        match result {
            Ok(m) => { println!("  {:?} side {} out {:?}", m.architecture, m.side, m.left_out); for n in &m.notes { println!("   - {n}"); }
                let dir = Path::new("/tmp/vitimp/out").join(&case); fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join("model.safetensors"), coverslip_bundle::tensors::to_safetensors(&m.weights.read().unwrap()).unwrap()).unwrap();
                fs::write(dir.join("vit.json"), serde_json::json!({"vit": m.architecture, "side": m.side, "mean": m.mean, "std": m.std}).to_string()).unwrap();
            }
            Err(e) => println!("  {:?}: {e}", e.kind()),
        }
    }
    let _ = assert_refused::<()>;
}
