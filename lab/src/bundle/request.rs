//! A bundle to build: where its parts are, and what people say of them.

use std::error::Error;
use std::path::{Path, PathBuf};

use coverslip_bundle::Pooling;
use coverslip_import::SaeOptions;

/// A bundle to build.
#[derive(Debug)]
pub(crate) struct BuildRequest {
    /// The model: a directory, a checkpoint or an ONNX file.
    pub(crate) weights: PathBuf,
    /// The model's config.json; None: the one beside the weights.
    pub(crate) config: Option<PathBuf>,
    /// model.json: what weights and configuration do not say.
    pub(crate) model: Option<PathBuf>,
    pub(crate) heads: Option<usize>,
    /// Pooling of the one tap after the final norm, where no taps are stated.
    pub(crate) pooling: Option<Pooling>,
    /// What the user says; overrides model.json.
    pub(crate) stated: Stated,
    pub(crate) sae: Option<PathBuf>,
    /// Its precision is that of all weights.
    pub(crate) sae_options: SaeOptions,
    /// Features reported per tile, where the SAE has no k.
    pub(crate) outputs: usize,
    /// Images, folders of images, or safetensors.
    pub(crate) tiles: Vec<PathBuf>,
    /// Tiles kept for the self-check.
    pub(crate) reference_tiles: usize,
    /// The trainer's figures, as JSON.
    pub(crate) metrics: Option<PathBuf>,
    /// Feature labels, as JSON.
    pub(crate) labels: Option<PathBuf>,
    /// Further files for the bundle.
    pub(crate) documents: Vec<PathBuf>,
    /// The folder to write.
    pub(crate) out: PathBuf,
    pub(crate) force: bool,
}

/// What people say of a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stated {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) licence: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) mpp: Option<f64>,
    pub(crate) mean: Option<[f64; 3]>,
    pub(crate) std: Option<[f64; 3]>,
    pub(crate) sae_tap: Option<String>,
}

/// Longest JSON file, bytes.
const MOST_JSON: u64 = 64 << 20;

/// Reads a JSON file; an error names it.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    let text =
        coverslip_files::read_text_at_most(path, MOST_JSON).map_err(|error| format!("{}: {error}", path.display()))?;
    coverslip_bundle::json::parse(text.as_bytes())
        .map_err(|error| format!("{}: expected JSON of another form: {error}; correct it there", path.display()).into())
}
