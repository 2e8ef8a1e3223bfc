//! An opened bundle: every file is read once and verified, and the verified bytes are kept.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::compose::{self, ComposedGraph};
use crate::digest::Digest;
use crate::error::{BundleError, fail};
use crate::int8::Int8Mix;
use crate::manifest::{
    Architecture, FORMAT, GRAPH_FILE, INT8_FILE, MANIFEST_FILE, MODEL_FILE, Manifest, REFERENCE_FILE, SAE_FILE,
};
use crate::onnx::Placement;
use crate::precision::Precision;
use crate::reference::{self, ReferenceOutputs};
use crate::signature::{self, Signed, Trust};
use crate::tensors::{TensorFile, TensorMap, to_safetensors};
use crate::verified::{read_file, read_verified};
use crate::{json, layout, limits};

/// An opened bundle. Opening compares every file's size and digest with the manifest and checks the tensors' names,
/// shapes and finiteness. The bundle holds the verified weights, so later changes to the directory have no effect.
#[derive(Clone, Debug)]
pub struct Bundle {
    manifest: Manifest,
    digest: Digest,
    signed: Option<Signed>,
    /// The graph of an ONNX model.
    topology: Option<Vec<u8>>,
    model: TensorFile,
    sae: TensorFile,
    reference: TensorFile,
    int8: Option<Int8Mix>,
}

impl Bundle {
    /// Reads and verifies the bundle in `dir`, whoever made it.
    ///
    /// # Errors
    /// Any [`crate::BundleErrorKind`]; the message names the file or field.
    pub fn open(dir: &Path) -> Result<Bundle, BundleError> {
        Bundle::open_trusted(dir, &Trust::default())
    }

    /// Reads and verifies the bundle in `dir`, and its signature before anything else is read from it.
    ///
    /// # Errors
    /// As [`Bundle::open`]; `SignatureInvalid` as [`Trust::check`].
    pub fn open_trusted(dir: &Path, trust: &Trust) -> Result<Bundle, BundleError> {
        let (manifest, digest, signed) = read_manifest(dir, trust)?;
        check_directory(dir, &manifest)?;
        let mut weights = [MODEL_FILE, SAE_FILE, REFERENCE_FILE, INT8_FILE].map(|name| (name, None));
        let mut topology = None;
        for (name, entry) in &manifest.files {
            let bytes = read_verified(dir, name, entry)?;
            if name == GRAPH_FILE && matches!(manifest.architecture, Architecture::Onnx(_)) {
                topology = Some(bytes);
                continue;
            }
            if name == INT8_FILE && manifest.int8.is_none() {
                continue;
            }
            if let Some((_, slot)) = weights.iter_mut().find(|(file, _)| file == name) {
                let parsed = TensorFile::parse(bytes);
                *slot = Some(parsed.map_err(|e| e.within(dir.join(name).display()))?);
            }
        }
        let [model, mut sae, reference, factors] = weights.map(|(_, file)| file);
        if manifest.sae.architecture.is_none() && sae.is_none() {
            sae = Some(TensorFile::parse(to_safetensors(&TensorMap::new())?)?);
        }
        let (Some(model), Some(sae), Some(reference)) = (model, sae, reference) else {
            fail!(Missing, "{}: the manifest does not list the weights", dir.display());
        };
        let mix = Int8Mix::read(&manifest, factors.as_ref());
        let int8 = mix.map_err(|e| e.within(dir.join(INT8_FILE).display()))?;
        let bundle = Bundle { manifest, digest, signed, topology, model, sae, reference, int8 };
        bundle.check_tensors(dir)?;
        Ok(bundle)
    }

    /// The bundle's description.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// sha256 of `manifest.json`. It identifies the bundle, since the manifest holds every file's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whose signature was accepted; `None`: it is unsigned, or nobody was trusted.
    pub fn signed(&self) -> Option<&Signed> {
        self.signed.as_ref()
    }

    /// Composes the bundle's ONNX graph in float32; see [`ComposedGraph`].
    ///
    /// # Errors
    /// `OutOfMemory` when memory is short.
    pub fn compose(&self) -> Result<ComposedGraph, BundleError> {
        self.compose_at(Precision::Float32)
    }

    /// Composes the graph with the model's products computed in `precision`. Inputs and outputs do not depend on it.
    ///
    /// # Errors
    /// `OutOfMemory` when memory is short; `NotFinite` if `precision` cannot hold a weight.
    pub fn compose_at(&self, precision: Precision) -> Result<ComposedGraph, BundleError> {
        self.compose_with(precision, Placement::Inside)
    }

    /// Composes the graph with the weights in [`ComposedGraph::external`] whatever their size. An engine that takes
    /// weights one by one then needs no second copy of the model.
    ///
    /// # Errors
    /// As [`Bundle::compose_at`].
    pub fn compose_apart(&self, precision: Precision) -> Result<ComposedGraph, BundleError> {
        self.compose_with(precision, Placement::Apart)
    }

    fn compose_with(&self, precision: Precision, placement: Placement) -> Result<ComposedGraph, BundleError> {
        compose::compose(&self.manifest, self.topology.as_deref(), &self.model, &self.sae, precision, placement)
    }

    /// The stored reference tiles and outputs.
    ///
    /// # Errors
    /// `OutOfMemory` when memory is short; the content was checked by [`Bundle::open`].
    pub fn reference(&self) -> Result<ReferenceOutputs, BundleError> {
        reference::read(&self.manifest, &self.reference)
    }

    /// The original index of each feature of a pruned SAE; `None` if the SAE is not pruned.
    ///
    /// # Errors
    /// `OutOfMemory` when memory is short.
    pub fn index_map(&self) -> Result<Option<Vec<i32>>, BundleError> {
        self.sae.get(layout::INDEX_MAP).map(|stored| stored.to_i32()).transpose()
    }

    /// The mix of int8 and floats that was chosen when the bundle was built, whether it passes its gate or not.
    pub fn int8(&self) -> Option<&Int8Mix> {
        self.int8.as_ref()
    }

    /// The model's stored weights.
    pub fn model_tensors(&self) -> &TensorFile {
        &self.model
    }

    /// The SAE's stored weights.
    pub fn sae_tensors(&self) -> &TensorFile {
        &self.sae
    }

    fn check_tensors(&self, dir: &Path) -> Result<(), BundleError> {
        let place = |name: &str| dir.join(name).display().to_string();
        layout::check_model(&self.manifest, self.topology.as_deref(), &self.model)
            .map_err(|e| e.within(place(MODEL_FILE)))?;
        layout::check_sae(&self.manifest.sae, &self.sae).map_err(|e| e.within(place(SAE_FILE)))?;
        reference::check(&self.manifest, &self.reference).map_err(|e| e.within(place(REFERENCE_FILE)))
    }
}

fn read_manifest(dir: &Path, trust: &Trust) -> Result<(Manifest, Digest, Option<Signed>), BundleError> {
    if !dir.is_dir() {
        fail!(Missing, "{} is not a directory; a bundle is a directory with a {MANIFEST_FILE}", dir.display());
    }
    let path = dir.join(MANIFEST_FILE);
    let bytes = read_file(&path, limits::MAX_MANIFEST_BYTES)?;
    let signed = trust.check(dir, MANIFEST_FILE, &bytes)?;
    let manifest = parse_manifest(&bytes).map_err(|e| e.within(path.display()))?;
    Ok((manifest, Digest::of(&bytes), signed))
}

/// Parses and checks a manifest without reading another file.
pub(crate) fn parse_manifest(bytes: &[u8]) -> Result<Manifest, BundleError> {
    let value: Value = match json::parse(bytes) {
        Ok(value) => value,
        Err(error) if error.is_eof() => fail!(Truncated, "the JSON ends too early: {error}; copy the bundle again"),
        Err(error) => fail!(Invalid, "expected JSON: {error}; copy the bundle again"),
    };
    // The version decides what the other fields mean, so it is checked first.
    match value.get("format").and_then(Value::as_str) {
        Some(FORMAT) => {}
        Some(other) => fail!(
            UnsupportedVersion,
            "its format is `{}`, this version of Coverslip reads `{FORMAT}`; update Coverslip or build \
             the bundle again",
            other.escape_default()
        ),
        None => fail!(Invalid, "it has no `format`: expected a bundle's manifest with \"format\": \"{FORMAT}\""),
    }
    refuse_by_name(&value)?;
    let manifest: Manifest = match serde_json::from_value(value) {
        Ok(manifest) => manifest,
        Err(error) => fail!(Invalid, "{error}"),
    };
    limits::check(&manifest)?;
    limits::check_files(&manifest)?;
    Ok(manifest)
}

/// Refuses unknown names of families, activations and the like with a clearer message than the parser's.
fn refuse_by_name(manifest: &Value) -> Result<(), BundleError> {
    let one = |path: &str, known: &[&str]| match manifest.pointer(path).and_then(Value::as_str) {
        Some(found) if !known.contains(&found) => fail!(
            Unsupported,
            "`{}` is `{}`: not supported in this version; expected {}",
            path[1..].replace('/', "."),
            found.escape_default(),
            known.join(" or ")
        ),
        _ => Ok(()),
    };
    one("/architecture/family", &["vit", "onnx"])?;
    one("/architecture/mlp", &["gelu", "swiglu"])?;
    one("/sae/architecture", &["relu", "topk", "signed_topk", "jumprelu", "gated", "groupmax", "none"])?;
    let steps = manifest.pointer("/sae/input").and_then(Value::as_array);
    for i in 0..steps.map_or(0, Vec::len) {
        one(&format!("/sae/input/{i}"), &["standardize", "l2", "constant_norm_rescale", "layer_norm"])?;
    }
    let taps = manifest.get("taps").and_then(Value::as_array);
    for i in 0..taps.map_or(0, Vec::len) {
        one(
            &format!("/taps/{i}/pooling"),
            &["class_token", "mean_patch_tokens", "class_and_mean", "patch_tokens", "none"],
        )?;
    }
    Ok(())
}

/// Refuses files that the manifest does not list, except its signature, and hidden ones, which desktops leave behind.
fn check_directory(dir: &Path, manifest: &Manifest) -> Result<(), BundleError> {
    let own = [MANIFEST_FILE.to_owned(), format!("{MANIFEST_FILE}{}", signature::SUFFIX)];
    let failed = |error| BundleError::io(dir.display(), &error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let known = name.to_str().is_some_and(|name| {
            name.starts_with('.') || own.iter().any(|own| own == name) || manifest.files.contains_key(name)
        });
        if !known {
            fail!(
                Invalid,
                "{}: `{}` is not listed in the manifest; remove it or build the bundle again",
                dir.display(),
                name.to_string_lossy()
            );
        }
    }
    Ok(())
}
