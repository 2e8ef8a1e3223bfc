//! Safetensors as they lie in files, and the type in which a bundle stores them.

use std::path::Path;

use coverslip_bundle::tensors::{Element, TensorFile};
use coverslip_bundle::{BundleError, fail};

/// How weights are stored in the bundle; in which type they are computed with is another question ([`coverslip_bundle::Precision`]).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StoreAs {
    /// As in the imported file (bfloat16 as float32, so that nothing is lost).
    #[default]
    Keep,
    /// Everything float16: half the size, rounded to 11 bits.
    Half,
    /// Everything float32.
    Single,
}

impl StoreAs {
    /// What a floating-point tensor of a file is stored as.
    pub(crate) fn stored(self, found: Element) -> Element {
        match self {
            Self::Keep if found == Element::F16 => Element::F16,
            Self::Half => Element::F16,
            Self::Keep | Self::Single => Element::F32,
        }
    }
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
