//! Weights as they lie in files: shards, damaged files, files larger than memory.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use coverslip_bundle::BundleErrorKind::{Invalid, Missing, Truncated, Unsupported};
use coverslip_bundle::tensors::{Element, Tensor, TensorMap, to_safetensors};
use coverslip_import::{Checkpoint, read_safetensors};
use coverslip_testkit::assert_refused;
use serde_json::json;

fn write(path: &Path, tensors: &[(&str, Tensor)]) {
    let tensors: TensorMap = tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    fs::write(path, to_safetensors(&tensors).unwrap()).unwrap();
}

#[test]
fn shards_are_one_model() {
    let scratch = coverslip_testkit::Scratch::new("import");
    let at = |name: &str| scratch.path().join(name);
    write(&at("model-1.safetensors"), &[("a", Tensor::f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]))]);
    write(&at("model-2.safetensors"), &[("b", Tensor::f16(&[2], &[0.5, -2.0]))]);
    let index = |map: serde_json::Value| {
        fs::write(at("model.safetensors.index.json"), json!({ "weight_map": map }).to_string()).unwrap();
        Checkpoint::open(&at("model.safetensors.index.json"))
    };
    let found = index(json!({ "a": "model-1.safetensors", "b": "model-2.safetensors" })).unwrap();
    assert_eq!(found.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((found.shape("a"), found.element("b")), (Some(&[2, 2][..]), Some(Element::F16)));
    assert_eq!(found.read("a").unwrap(), Tensor::f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]));
    assert_refused(found.read("c"), Missing, &["`c`"]);

    let refused = [
        (json!({ "a": "model-3.safetensors" }), Missing, "model-3.safetensors"),
        (json!({ "a": "../model-1.safetensors" }), Invalid, "beside it"),
        (json!({ "a": "model-1.bin" }), Invalid, "model-1.bin"),
        (json!({ "a": "model-1.safetensors", "c": "model-1.safetensors" }), Missing, "lack `c`"),
    ];
    for (map, kind, part) in refused {
        assert_refused(index(map), kind, &[part]);
    }
}

#[test]
fn damaged_files_say_so() {
    let scratch = coverslip_testkit::Scratch::new("import");
    let path = scratch.path().join("model.safetensors");
    write(&path, &[("a", Tensor::f32(&[4], &[1.0; 4]))]);
    let whole = fs::read(&path).unwrap();
    for cut in [0, 5, 20, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_refused(Checkpoint::open(&path), Truncated, &["model.safetensors"]);
    }
    let header = br#"{"a":{"dtype":"F32","shape":[1000],"data_offsets":[0,16]}}"#;
    let lying = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 16]].concat();
    fs::write(&path, lying).unwrap();
    assert_refused(Checkpoint::open(&path), Invalid, &["no safetensors header"]);
    let header = u64::MAX.to_le_bytes();
    fs::write(&path, header).unwrap();
    assert_refused(Checkpoint::open(&path), Invalid, &["no safetensors file"]);
    fs::write(scratch.path().join("model.h5"), "").unwrap();
    assert_refused(Checkpoint::open(&scratch.path().join("model.h5")), Unsupported, &[".h5", ".safetensors"]);
}

#[cfg(unix)]
#[test]
fn a_file_larger_than_memory_is_read_by_the_tensor() {
    const HOLE: u64 = 1 << 40;
    let scratch = coverslip_testkit::Scratch::new("import");
    let path = scratch.path().join("model.safetensors");
    let header = format!(
        r#"{{"hole":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{HOLE}]}},"small":{{"dtype":"F32","shape":[2],"data_offsets":[{HOLE},{}]}}}}"#,
        HOLE / 4,
        HOLE + 8
    );
    let mut file = File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    if file.seek(SeekFrom::Current(HOLE as i64)).and_then(|_| file.write_all(&[0, 0, 128, 63, 0, 0, 0, 192])).is_err() {
        let _ = std::io::stderr().write_all(b"skipped: this file system has no files of a terabyte with holes\n");
        return;
    }
    let found = Checkpoint::open(&path).unwrap();
    assert_eq!(found.read("small").unwrap(), Tensor::f32(&[2], &[1.0, -2.0]));
}

#[test]
fn tiles_come_from_safetensors_alone() {
    let result = read_safetensors(Path::new("/nowhere/tiles.pt"));
    assert_refused(result, Unsupported, &["tiles.pt", "pickle", "convert"]);
    assert_refused(read_safetensors(Path::new("/nowhere/tiles.safetensors")), Missing, &["/nowhere"]);
}
