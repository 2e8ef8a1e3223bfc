//! Importers: files as others wrote them become the parts of a bundle. What a file says about itself is
//! believed over what a person says, and what this version does not do is refused by name.

mod model;
mod saelens;

pub use model::{ImportedModel, ModelSpec, TapSpec, import_model};
pub use saelens::{ImportedSae, SaeOptions, import_sae};

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{BundleError, fail};
use crate::tensors::{Tensor, TensorFile, TensorMap};

/// How weights are stored in the bundle. Composition is always float32.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Precision {
    /// As in the imported file (bfloat16 as float32, so that nothing is lost).
    #[default]
    Keep,
    /// Everything float16: half the size, rounded to 11 bits.
    Half,
    /// Everything float32.
    Single,
}

/// Reads a safetensors file; a pickle is refused before it is looked into.
///
/// # Errors
/// `Missing`, `Io`, `Truncated`, `Invalid`; `Unsupported` for other formats.
pub fn read_safetensors(path: &Path) -> Result<TensorFile, BundleError> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if ["pt", "pth", "bin", "ckpt", "joblib", "pkl"].contains(&extension) {
        fail!(
            Unsupported,
            "{}: not supported in this version: found a .{extension} file, which is a pickle and can run \
             code; expected .safetensors; convert it where you trust it (torch.load(…, weights_only=True), \
             then safetensors.torch.save_file)",
            path.display()
        );
    }
    let bytes = std::fs::read(path).map_err(|error| BundleError::io(path.display(), &error))?;
    TensorFile::parse(bytes).map_err(|error| error.within(path.display()))
}

/// Stores values in the wished precision; `Keep` is the file's own, float32 unless it was float16.
fn store(name: &str, shape: &[usize], values: &[f32], half: bool) -> Result<Tensor, BundleError> {
    if !half {
        return Ok(Tensor::f32(shape, values));
    }
    if let Some(value) = values.iter().find(|v| v.abs() >= 65520.0) {
        fail!(NotFinite, "tensor `{name}` has the value {value}, which float16 cannot hold; store float32");
    }
    Ok(Tensor::f16(shape, values))
}

/// Converts the named tensors, checking nothing but their type.
fn convert<'a>(
    file: &TensorFile,
    names: impl Iterator<Item = &'a str>,
    precision: Precision,
) -> Result<TensorMap, BundleError> {
    let mut tensors = BTreeMap::new();
    for name in names {
        let Some(stored) = file.get(name) else {
            fail!(Missing, "tensor `{name}` is missing");
        };
        stored.check_finite()?;
        let half = match precision {
            Precision::Keep => stored.element == crate::tensors::Element::F16,
            Precision::Half => true,
            Precision::Single => false,
        };
        let tensor = store(name, stored.shape, &stored.to_f32()?, half)?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}
