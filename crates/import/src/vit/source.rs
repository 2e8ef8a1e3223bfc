//! A model's files: weights, and the JSON files beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::Checkpoint;
use coverslip_bundle::layout::listed;
use coverslip_bundle::{BundleError, fail};

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
/// The index of sharded pickles.
const PICKLE_INDEX: &str = ".bin.index.json";
/// Weight files on hubs, in order of preference.
const HUB_FILES: [&str; 3] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];
/// Extensions of weight files.
const EXTENSIONS: [&str; 5] = ["safetensors", "bin", "pt", "pth", "ckpt"];

/// An opened model before its import: weights, `config.json` and `preprocessor_config.json`.
#[derive(Clone, Debug)]
pub struct ModelSource {
    pub(super) checkpoint: Arc<Checkpoint>,
    pub(super) config: Option<Document>,
    pub(super) preprocessor: Option<Document>,
}

/// A JSON file that holds an object.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The file's name, for messages.
    pub(super) name: String,
    pub(super) fields: Map<String, Value>,
}

impl ModelSource {
    /// Opens a weight file (`.safetensors`, `.safetensors.index.json`, PyTorch's `.bin`, `.pt`, `.pth`, `.ckpt`) or a
    /// directory downloaded from a hub. In a directory the weights are `model.safetensors`,
    /// `model.safetensors.index.json`, `pytorch_model.bin`, or else the one file of a known type.
    ///
    /// `config.json` and `preprocessor_config.json` are read from beside the weights or, if `config` is given, that
    /// file and the preprocessor's beside it. Both are optional.
    ///
    /// # Errors
    /// `Missing` if there are no weights, or no file `config`; `Invalid` if there are several weight files, and for
    /// malformed JSON; `Unsupported` for other types; `Io`; and the errors of [`Checkpoint::open`].
    pub fn open(path: &Path, config: Option<&Path>) -> Result<Self, BundleError> {
        let weights = if path.is_dir() { in_directory(path)? } else { path.to_owned() };
        if weights.to_string_lossy().ends_with(PICKLE_INDEX) {
            fail!(
                Unsupported,
                "{}: sharded pickles: not supported in this version; expected one pytorch_model.bin, or safetensors; \
                 load the model and save it with safe_serialization=True",
                weights.display()
            );
        }
        let checkpoint = Arc::new(Checkpoint::open(&weights)?);
        let beside = config.unwrap_or(&weights);
        let config = match config {
            Some(path) => Some(Document::read(path)?),
            None => Document::read_if_there(&beside.with_file_name(CONFIG))?,
        };
        let preprocessor = Document::read_if_there(&beside.with_file_name(PREPROCESSOR))?;
        Ok(Self { checkpoint, config, preprocessor })
    }
}

impl Document {
    fn read_if_there(path: &Path) -> Result<Option<Self>, BundleError> {
        if path.exists() { Self::read(path).map(Some) } else { Ok(None) }
    }

    fn read(path: &Path) -> Result<Self, BundleError> {
        let bytes =
            coverslip_files::read_at_most(path, 64 << 20).map_err(|error| BundleError::io(path.display(), &error))?;
        match coverslip_bundle::json::parse(&bytes) {
            Ok(Value::Object(fields)) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Ok(Self { name, fields })
            }
            Ok(_) => fail!(Invalid, "{}: expected a JSON object", path.display()),
            Err(error) => fail!(Invalid, "{}: expected JSON: {error}; copy or correct it", path.display()),
        }
    }
}

/// The weights in a directory.
fn in_directory(dir: &Path) -> Result<PathBuf, BundleError> {
    let known = HUB_FILES.iter().chain(&["pytorch_model.bin.index.json"]);
    if let Some(found) = known.map(|name| dir.join(name)).find(|path| path.is_file()) {
        return Ok(found);
    }
    let entries = fs::read_dir(dir).map_err(|error| BundleError::io(dir.display(), &error))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| BundleError::io(dir.display(), &error))?.path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if EXTENSIONS.contains(&extension) && !hidden && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => fail!(
            Missing,
            "{}: no weights; expected {}, or one file of type .{}",
            dir.display(),
            HUB_FILES.join(", "),
            EXTENSIONS.join(", .")
        ),
        several => {
            let name = |path: &PathBuf| format!("`{}`", path.file_name().unwrap_or_default().display());
            let names: Vec<String> = several.iter().map(name).collect();
            fail!(Invalid, "{}: found several files of weights: {}; give one of them", dir.display(), listed(&names))
        }
    }
}
