//! Sparse autoencoders as their libraries save them, recognised from their files. Each format is brought to the
//! bundle's one form,
//!
//! ```text
//! x' = steps(x) − [apply_b_dec_to_input]·b_dec     p = x'·W_enc + b_enc
//! f  = activation(p)                               x̂ = steps⁻¹(f·W_dec + b_dec)
//! ```
//!
//! by folding what is exact to fold; what is neither folded nor carried is refused by name.

mod atoms;
mod dictionary_learning;
mod openai;
mod overcomplete;
mod own;
mod parts;
mod saelens;
mod sparsify;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::torch::{self, TorchFile};
use super::{Checkpoint, Precision};
use crate::error::{BundleError, fail};
use crate::layout::{INDEX_MAP, listed};
use crate::limits::MAX_D_SAE;
use crate::manifest::{InputStep, SaeArchitecture};
use crate::tensors::{Tensor, TensorMap};
use parts::Parts;

/// The configuration of SAELens, sparsify and `coverslip.sae/1`.
const CFG: &str = "cfg.json";
/// The configuration of dictionary_learning.
const CONFIG: &str = "config.json";
/// SAELens' weights.
const SAELENS: &str = "sae_weights.safetensors";
/// sparsify's weights, and those of `coverslip.sae/1`.
const SAE: &str = "sae.safetensors";
/// dictionary_learning's weights.
const AE: &str = "ae.pt";
/// What a file of weights may be called.
const WEIGHTS: [&str; 5] = ["safetensors", "pt", "pth", "bin", "ckpt"];
/// What is understood, for messages.
const KNOWN: &str = "cfg.json with sae_weights.safetensors (SAELens), cfg.json with sae.safetensors (sparsify, \
                     coverslip.sae/1), ae.pt with config.json (dictionary_learning), or one file of OpenAI's \
                     sparse_autoencoder, dictionary_learning or overcomplete";

/// What the files do not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct SaeOptions {
    /// The factor on activations of SAELens' `normalize_activations: expected_average_only_in`; folded into the
    /// weights as its `fold_activation_norm_scaling_factor` does.
    pub activation_scale: Option<f64>,
    /// k of an overcomplete `TopKSAE` of which only the `state_dict` was saved.
    pub k: Option<usize>,
    /// How to store the weights. Thresholds and statistics of the input are never rounded to float16.
    pub precision: Precision,
}

/// An SAE, read.
#[derive(Clone, Debug)]
pub struct ImportedSae {
    /// Whose files these are: `SAELens`, `sparsify`, `dictionary_learning`, `OpenAI sparse_autoencoder`,
    /// `overcomplete` or `coverslip.sae/1`.
    pub format: &'static str,
    /// Its activation.
    pub architecture: SaeArchitecture,
    /// Width of its input.
    pub d_in: usize,
    /// Features.
    pub d_sae: usize,
    /// Features that may be active: `topk`, `signed_topk`, `groupmax`.
    pub k: Option<usize>,
    /// Whether `b_dec` is subtracted from its input.
    pub apply_b_dec_to_input: bool,
    /// Steps before it, without those that were folded.
    pub input: Vec<InputStep>,
    /// `topk` only: p is multiplied by ‖W_dec,i‖, and f divided by it before it is decoded.
    pub rescale_acts_by_decoder_norm: bool,
    /// Whether features were removed; `index_map` among the tensors has the original number of each.
    pub pruned: bool,
    /// Where in its model it reads, as far as the files say.
    pub hook_name: Option<String>,
    /// Its weights as they will be stored, under the names of `docs/bundle-format.md`.
    pub tensors: TensorMap,
    /// What a reader should know, in sentences: what was folded, what was taken as the library's default.
    pub notes: Vec<String>,
}

/// What a format's reader found.
struct Found {
    architecture: SaeArchitecture,
    k: Option<usize>,
    apply_b_dec_to_input: bool,
    input: Vec<InputStep>,
    rescale_acts_by_decoder_norm: bool,
    index_map: Option<Vec<i32>>,
    hook_name: Option<String>,
    parts: Parts,
    notes: Vec<String>,
}

impl Found {
    /// The plainest SAE: no steps, `b_dec` not subtracted.
    fn new(architecture: SaeArchitecture, parts: Parts) -> Self {
        Self {
            architecture,
            k: None,
            apply_b_dec_to_input: false,
            input: Vec::new(),
            rescale_acts_by_decoder_norm: false,
            index_map: None,
            hook_name: None,
            parts,
            notes: Vec::new(),
        }
    }
}

/// Reads an SAE: a directory as its library or a hub has it, or a file of weights (with its configuration beside it).
///
/// # Errors
/// `Missing`, `Io`, `Truncated`; `Unsupported`, by name, for what this version does not do, and where more than
/// one format fits; `Invalid` where the files contradict each other; `NotFinite`.
pub fn import_sae(path: &Path, options: &SaeOptions) -> Result<ImportedSae, BundleError> {
    let weights = if path.is_dir() { weights_in(path)? } else { path.to_owned() };
    if !weights.is_file() {
        fail!(Missing, "{}: no such file or directory; expected {KNOWN}", path.display());
    }
    let (format, found) = read(&weights, options).map_err(|error| error.within(weights.display()))?;
    finish(format, found, options).map_err(|error| error.within(weights.display()))
}

/// The one file of weights in a directory. A name that a library gives goes before others, which may be its own
/// by-products.
fn weights_in(dir: &Path) -> Result<PathBuf, BundleError> {
    let entries = std::fs::read_dir(dir).map_err(|error| BundleError::io(dir.display(), &error))?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let is_weights = |path: &Path| path.extension().and_then(|e| e.to_str()).is_some_and(|e| WEIGHTS.contains(&e));
    let mut all: Vec<PathBuf> = files.filter(|path| is_weights(path)).collect();
    all.sort();
    let known: Vec<PathBuf> =
        all.iter().filter(|path| [SAELENS, SAE, AE].contains(&name(path).as_str())).cloned().collect();
    let mut candidates = if known.is_empty() { all } else { known };
    match candidates.len() {
        1 => Ok(candidates.remove(0)),
        0 => fail!(Missing, "{}: no file of weights; expected {KNOWN}", dir.display()),
        _ => {
            let names: Vec<String> = candidates.iter().map(|path| described(&name(path))).collect();
            fail!(
                Unsupported,
                "{}: found {}, which may be different SAEs; expected one: give the path of the file that is meant",
                dir.display(),
                listed(&names)
            )
        }
    }
}

/// A file's name, and whose it is.
fn described(name: &str) -> String {
    match name {
        SAELENS => format!("`{name}` (SAELens)"),
        SAE => format!("`{name}` (sparsify or coverslip.sae/1)"),
        AE => format!("`{name}` (dictionary_learning)"),
        _ => format!("`{name}`"),
    }
}

/// Tells formats apart by file name and configuration, and where these say nothing by the tensors' names.
fn read(weights: &Path, options: &SaeOptions) -> Result<(&'static str, Found), BundleError> {
    let name = weights.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let config = |name: &str| read_json(&weights.with_file_name(name));
    let needed = |config: Option<Map<String, Value>>| match config {
        Some(config) => Ok(config),
        None => fail!(Missing, "no `{CFG}` beside it, which says what the weights are; expected {KNOWN}"),
    };
    match name {
        SAELENS => Ok((saelens::FORMAT, saelens::read(needed(config(CFG)?)?, &Checkpoint::open(weights)?, options)?)),
        SAE => {
            let config = needed(config(CFG)?)?;
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

/// A JSON object; `None` when there is no such file.
fn read_json(path: &Path) -> Result<Option<Map<String, Value>>, BundleError> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(|error| BundleError::io(path.display(), &error))?;
    match serde_json::from_slice(&bytes) {
        Ok(map) => Ok(Some(map)),
        Err(error) => fail!(Invalid, "{}: no JSON object: {error}", path.display()),
    }
}

/// What a file without a configuration may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fit {
    OpenAi,
    DictionaryLearning(dictionary_learning::Class),
    Overcomplete,
    /// Something that needs its configuration.
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

/// Everything that tensors of these names may be.
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
        (exactly(&["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]), "an autoencoder of anybody's"),
    ];
    fits.extend(others.into_iter().filter(|(fits, _)| *fits).map(|(_, name)| Fit::Other(name)));
    fits
}

/// A file without a configuration: only its tensors' names say what it is.
fn read_bare(
    path: &Path,
    file: &Checkpoint,
    options: &SaeOptions,
) -> Result<(&'static str, Found), BundleError> {
    let names: Vec<&str> = file.names().collect();
    let fits = fits(&names);
    match fits[..] {
        [Fit::OpenAi] => Ok((openai::FORMAT, openai::read(file, torch_file(path)?.as_ref())?)),
        [Fit::DictionaryLearning(class)] => {
            Ok((dictionary_learning::FORMAT, dictionary_learning::read(class, &Value::Null, file)?))
        }
        [Fit::Overcomplete] => Ok((overcomplete::FORMAT, overcomplete::read(file, torch_file(path)?.as_ref(), options)?)),
        [] => {
            refuse_nested(file)?;
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            fail!(Unsupported, "not supported in this version: found the tensors {}; expected {KNOWN}", listed(&names))
        }
        _ => {
            let described: Vec<String> = fits.iter().map(|fit| fit.described()).collect();
            fail!(
                Unsupported,
                "not supported in this version without its configuration: its tensors fit {}, which compute \
                 differently; expected {KNOWN}",
                described.join(" and ")
            )
        }
    }
}

/// What torch would load beside tensors; `None` for other files.
fn torch_file(path: &Path) -> Result<Option<TorchFile>, BundleError> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return Ok(None);
    }
    torch::open(path).map(Some)
}

/// Refuses an SAE that lies one level down, beside what is needed to go on with its training.
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
                "not supported in this version: {} lies under `{top}`, as in a checkpoint from within training, whose \
                 activations are scaled by a factor that is not in the weights (dictionary_learning's norm_factor); \
                 expected the finished SAE: save its state_dict() alone",
                fit.described()
            );
        }
    }
    Ok(())
}

/// Checks what every format has in common, and stores the tensors.
fn finish(format: &'static str, found: Found, options: &SaeOptions) -> Result<ImportedSae, BundleError> {
    let [d_in, d_sae] = found.parts["W_enc"].shape[..] else {
        fail!(Invalid, "`W_enc` is no matrix");
    };
    if d_sae > MAX_D_SAE {
        fail!(TooLarge, "the SAE has {d_sae} features, at most {MAX_D_SAE}");
    }
    if let Some(k) = found.k
        && (k == 0 || k > d_sae)
    {
        fail!(Invalid, "`k` is {k}, expected 1 to {d_sae}, the number of features");
    }
    if options.k.is_some() && options.k != found.k {
        fail!(Invalid, "k is stated as {:?}, the files say {:?}; leave it to the files", options.k, found.k);
    }
    if options.activation_scale.is_some() && format != saelens::FORMAT {
        fail!(Invalid, "an activation scale belongs to SAELens' expected_average_only_in; this is {format}");
    }
    let mut tensors = parts::stored(&found.parts, options.precision)?;
    if let Some(map) = &found.index_map {
        tensors.insert(INDEX_MAP.to_owned(), Tensor::i32(&[map.len()], map));
    }
    Ok(ImportedSae {
        format,
        architecture: found.architecture,
        d_in,
        d_sae,
        k: found.k,
        apply_b_dec_to_input: found.apply_b_dec_to_input,
        input: found.input,
        rescale_acts_by_decoder_norm: found.rescale_acts_by_decoder_norm,
        pruned: found.index_map.is_some(),
        hook_name: found.hook_name,
        tensors,
        notes: found.notes,
    })
}
