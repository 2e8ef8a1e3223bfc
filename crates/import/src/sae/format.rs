//! Recognises the format of an SAE's files by their names and configurations or, without these, by the names of their
//! tensors. Files that fit more than one format are refused, since the formats compute differently.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::found::{Found, SaeOptions};
use super::{dictionary_learning, openai, overcomplete, own, saelens, sparsify};
use crate::Checkpoint;
use crate::torch::{self, TorchFile};
use coverslip_bundle::layout::listed;
use coverslip_bundle::{BundleError, fail};

/// The configuration of SAELens, sparsify and `coverslip.sae/1`.
pub const CONFIGURATION_FILE: &str = "cfg.json";
/// The configuration of dictionary_learning.
const CONFIG: &str = "config.json";
/// SAELens' weights.
pub const SAELENS_WEIGHTS_FILE: &str = "sae_weights.safetensors";
/// sparsify's weights, and those of `coverslip.sae/1`.
const SAE: &str = "sae.safetensors";
/// dictionary_learning's weights.
const AE: &str = "ae.pt";
/// Extensions of weight files.
const WEIGHTS: [&str; 5] = ["safetensors", "pt", "pth", "bin", "ckpt"];
/// The supported files, for messages.
const KNOWN: &str = "cfg.json with sae_weights.safetensors (SAELens), cfg.json with sae.safetensors (sparsify, \
                     coverslip.sae/1), ae.pt with config.json (dictionary_learning), or one file of OpenAI's \
                     sparse_autoencoder, dictionary_learning or overcomplete";

/// The weight file at `path` or, if that is a directory, in it.
///
/// # Errors
/// `Missing`; `Unsupported` if there are several.
pub(super) fn weights(path: &Path) -> Result<PathBuf, BundleError> {
    if path.is_dir() {
        return weights_in(path);
    }
    if !path.exists() {
        fail!(Missing, "{}: no such file or directory; expected {KNOWN}", path.display());
    }
    Ok(path.to_owned())
}

/// The one weight file in a directory. A library's standard name is preferred to others, which may be by-products.
fn weights_in(dir: &Path) -> Result<PathBuf, BundleError> {
    let entries = std::fs::read_dir(dir).map_err(|error| BundleError::io(dir.display(), &error))?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let is_weights = |path: &Path| path.extension().and_then(|e| e.to_str()).is_some_and(|e| WEIGHTS.contains(&e));
    let mut all: Vec<PathBuf> = files.filter(|path| is_weights(path)).collect();
    all.sort();
    let known: Vec<PathBuf> =
        all.iter().filter(|path| [SAELENS_WEIGHTS_FILE, SAE, AE].contains(&name(path).as_str())).cloned().collect();
    let mut candidates = if known.is_empty() { all } else { known };
    match candidates.len() {
        1 => Ok(candidates.remove(0)),
        0 => fail!(Missing, "{}: no file of weights; expected {KNOWN}", dir.display()),
        _ => {
            let names: Vec<String> = candidates.iter().map(|path| described(&name(path))).collect();
            fail!(
                Unsupported,
                "{}: found {}, which may be different SAEs; expected one: give the path of the file to import",
                dir.display(),
                listed(&names)
            )
        }
    }
}

/// A file's name and the libraries that use it.
fn described(name: &str) -> String {
    match name {
        SAELENS_WEIGHTS_FILE => format!("`{name}` (SAELens)"),
        SAE => format!("`{name}` (sparsify or coverslip.sae/1)"),
        AE => format!("`{name}` (dictionary_learning)"),
        _ => format!("`{name}`"),
    }
}

/// Recognises the format and reads the SAE.
pub(super) fn read(weights: &Path, options: &SaeOptions) -> Result<(&'static str, Found), BundleError> {
    let name = weights.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let config = |name: &str| read_json(&weights.with_file_name(name));
    let needed = |config: Option<Map<String, Value>>| match config {
        Some(config) => Ok(config),
        None => {
            fail!(Missing, "no `{CONFIGURATION_FILE}` beside it, which says what the weights are; expected {KNOWN}")
        }
    };
    match name {
        SAELENS_WEIGHTS_FILE => Ok((
            saelens::FORMAT,
            saelens::read(needed(config(CONFIGURATION_FILE)?)?, &Checkpoint::open(weights)?, options)?,
        )),
        SAE => {
            let config = needed(config(CONFIGURATION_FILE)?)?;
            let file = Checkpoint::open(weights)?;
            if own::is_ours(&config)? {
                return Ok((own::FORMAT, own::read(config, &file)?));
            }
            Ok((sparsify::FORMAT, sparsify::read(&config, &file)?))
        }
        _ => {
            let trainer = config(CONFIG)?.and_then(|config| config.get("trainer").cloned());
            let file = Checkpoint::open(weights)?;
            match trainer {
                Some(trainer) => {
                    refuse_nested(&file)?;
                    Ok((dictionary_learning::FORMAT, dictionary_learning::read_stated(&trainer, &file)?))
                }
                None => read_bare(weights, &file, options),
            }
        }
    }
}

/// Reads a JSON object; `None` if there is no such file.
fn read_json(path: &Path) -> Result<Option<Map<String, Value>>, BundleError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes =
        coverslip_files::read_at_most(path, 64 << 20).map_err(|error| BundleError::io(path.display(), &error))?;
    match coverslip_bundle::json::parse(&bytes) {
        Ok(map) => Ok(Some(map)),
        Err(error) => fail!(Invalid, "{}: expected a JSON object: {error}", path.display()),
    }
}

/// What a file without a configuration may contain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fit {
    OpenAi,
    DictionaryLearning(dictionary_learning::Class),
    Overcomplete,
    /// An SAE that needs its configuration.
    Other(&'static str),
}

impl Fit {
    fn described(self) -> String {
        match self {
            Self::OpenAi => openai::FORMAT.to_owned(),
            Self::DictionaryLearning(class) => format!("{}'s {}", dictionary_learning::FORMAT, class.name()),
            Self::Overcomplete => overcomplete::FORMAT.to_owned(),
            Self::Other(name) => name.to_owned(),
        }
    }
}

/// All formats that have tensors of these names.
fn fits(names: &[&str]) -> Vec<Fit> {
    let has = |all: &[&str]| all.iter().all(|name| names.contains(name));
    let exactly = |all: &[&str]| has(all) && names.len() == all.len();
    let mut fits = Vec::new();
    if has(&["pre_bias", "latent_bias", "encoder.weight"]) {
        fits.push(Fit::OpenAi);
    }
    fits.extend(dictionary_learning::Class::fitting(names).map(Fit::DictionaryLearning));
    if names.iter().any(|name| name.starts_with("dictionary.")) {
        fits.push(Fit::Overcomplete);
    }
    let others = [
        (exactly(&["W_enc", "b_enc", "W_dec", "b_dec"]), "SAELens' standard or topk"),
        (exactly(&["W_enc", "b_enc", "W_dec", "b_dec", "threshold"]), "SAELens' jumprelu"),
        (exactly(&["W_enc", "b_gate", "r_mag", "b_mag", "W_dec", "b_dec"]), "SAELens' gated"),
        (has(&["encoder.weight", "encoder.bias", "W_dec", "b_dec"]), "sparsify"),
        (
            exactly(&["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]),
            "an autoencoder of an unknown library",
        ),
    ];
    fits.extend(others.into_iter().filter(|(fits, _)| *fits).map(|(_, name)| Fit::Other(name)));
    fits
}

/// Reads a file without a configuration, recognised by its tensors' names.
fn read_bare(path: &Path, file: &Checkpoint, options: &SaeOptions) -> Result<(&'static str, Found), BundleError> {
    let names: Vec<&str> = file.names().collect();
    let fits = fits(&names);
    match fits[..] {
        [Fit::OpenAi] => Ok((openai::FORMAT, openai::read(file, torch_file(path)?.as_ref())?)),
        [Fit::DictionaryLearning(class)] => {
            Ok((dictionary_learning::FORMAT, dictionary_learning::read(class, &Value::Null, file)?))
        }
        [Fit::Overcomplete] => {
            Ok((overcomplete::FORMAT, overcomplete::read(file, torch_file(path)?.as_ref(), options)?))
        }
        [] => {
            refuse_nested(file)?;
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            fail!(Unsupported, "not supported in this version: found the tensors {}; expected {KNOWN}", listed(&names))
        }
        _ => {
            let described: Vec<String> = fits.iter().map(|fit| fit.described()).collect();
            fail!(
                Unsupported,
                "not supported in this version without a configuration: the tensors fit {}, which compute differently; \
                 expected {KNOWN}",
                described.join(" and ")
            )
        }
    }
}

/// The content beside tensors of a PyTorch file; `None` for other files.
fn torch_file(path: &Path) -> Result<Option<TorchFile>, BundleError> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return Ok(None);
    }
    torch::open(path).map(Some)
}

/// Refuses an SAE nested in a training checkpoint.
fn refuse_nested(file: &Checkpoint) -> Result<(), BundleError> {
    let names: Vec<&str> = file.names().collect();
    if !fits(&names).is_empty() {
        return Ok(());
    }
    let mut tops: Vec<&str> = names.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    tops.dedup();
    for top in tops {
        let below = names.iter().filter_map(|name| name.strip_prefix(top)?.strip_prefix('.'));
        let found = fits(&below.collect::<Vec<_>>());
        if let Some(fit) = found.first() {
            fail!(
                Unsupported,
                "not supported in this version: {} is under `{top}`, as in a training checkpoint, whose activations \
                 are scaled by a factor that is not in the weights (dictionary_learning's norm_factor); expected the \
                 finished SAE: save its state_dict() alone",
                fit.described()
            );
        }
    }
    Ok(())
}
