//! The type in which a bundle stores weights, and safetensors files without a checkpoint around them.

use std::path::Path;

use coverslip_bundle::tensors::{Element, TensorFile};
use coverslip_bundle::{BundleError, fail};

/// The type in which a bundle stores weights. The precision of the computation is independent of it: see
/// [`coverslip_bundle::Precision`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StoreAs {
    /// As in the imported file, except that bfloat16 becomes float32, which is exact.
    #[default]
    Keep,
    /// float16: half the size, rounded to 11 bits.
    Half,
    /// float32.
    Single,
}

impl StoreAs {
    /// The stored type of a floating-point tensor whose type in the file is `found`.
    pub(crate) fn stored(self, found: Element) -> Element {
        match self {
            Self::Keep if found == Element::F16 => Element::F16,
            Self::Half => Element::F16,
            Self::Keep | Self::Single => Element::F32,
        }
    }
}

/// Reads a safetensors file. Pickles are refused without reading them.
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
    let bytes =
        coverslip_files::read_at_most(path, 9 << 30).map_err(|error| BundleError::io(path.display(), &error))?;
    TensorFile::parse(bytes).map_err(|error| error.within(path.display()))
}
