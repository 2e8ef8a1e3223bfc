//! Bundles that tests damage.

use std::fs;
use std::path::{Path, PathBuf};

use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::tensors::{TensorFile, TensorMap, to_safetensors};
use coverslip_bundle::{Bundle, BundleError, BundleErrorKind, Digest, MANIFEST_FILE};
use serde_json::Value;

use crate::Scratch;

/// A random bundle in a directory of its own.
pub struct Fixture {
    scratch: Scratch,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(&SyntheticSpec::default())
    }

    pub fn with(spec: &SyntheticSpec) -> Self {
        let fixture = Self { scratch: Scratch::new("fixture") };
        synthetic::write(&fixture.dir(), spec, synthetic::zeros).unwrap();
        fixture
    }

    pub fn dir(&self) -> PathBuf {
        self.scratch.path().join("bundle")
    }

    pub fn open(&self) -> Result<Bundle, BundleError> {
        Bundle::open(&self.dir())
    }

    /// Changes the manifest's JSON.
    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.dir().join(MANIFEST_FILE);
        let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(&path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
    }

    /// Writes a file and states its true size and digest in the manifest, as an attacker would.
    pub fn seal(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir().join(name), bytes).unwrap();
        let entry = serde_json::json!({ "bytes": bytes.len(), "sha256": Digest::of(bytes).to_string() });
        self.edit(|manifest| manifest["files"][name] = entry);
    }

    /// Changes a safetensors file and states its new size and digest.
    pub fn edit_tensors(&self, name: &str, change: impl FnOnce(&mut TensorMap)) {
        let mut tensors = read_tensors(&self.dir().join(name));
        change(&mut tensors);
        self.seal(name, &to_safetensors(&tensors).unwrap());
    }

    /// Asserts that opening fails with `kind` and a message that has all `parts`.
    #[track_caller]
    pub fn refuses(&self, kind: BundleErrorKind, parts: &[&str]) {
        assert_refused(self.open(), kind, parts);
    }
}

#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(result: Result<T, BundleError>, kind: BundleErrorKind, parts: &[&str]) {
    let error = result.expect_err("it should be refused");
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
}

pub fn read_tensors(path: &Path) -> TensorMap {
    let file = TensorFile::parse(fs::read(path).unwrap()).unwrap();
    let own = |name: &str| {
        let stored = file.get(name).unwrap();
        coverslip_bundle::tensors::Tensor {
            element: stored.element,
            shape: stored.shape.to_vec(),
            bytes: stored.bytes.to_vec(),
        }
    };
    file.names().map(|name| (name.to_owned(), own(name))).collect()
}
