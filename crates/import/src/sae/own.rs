//! `coverslip.sae/1`: `cfg.json` and `sae.safetensors`. It can express what no library's format can: standardised and
//! normalised inputs, tied weights, features without ReLU, removed features. Unknown fields and tensors are refused.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::found::Found;
use super::parts::{self, Parts, Values, check, matrix, shape};
use crate::Checkpoint;
use coverslip_bundle::layout::INDEX_MAP;
use coverslip_bundle::limits::{MAX_D_SAE, MAX_EMBED_DIM};
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{InputStep, SaeArchitecture};

pub(super) const FORMAT: &str = "coverslip.sae/1";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "format")]
    _format: String,
    architecture: SaeArchitecture,
    d_in: usize,
    d_sae: usize,
    k: Option<usize>,
    #[serde(default)]
    input: Vec<Step>,
    /// Added to `input_std`.
    input_eps: Option<f64>,
    /// Factor of the input step `scale`.
    scale: Option<f64>,
    apply_b_dec_to_input: Option<bool>,
    /// Whether W_dec is W_enc transposed.
    #[serde(default)]
    tied: bool,
    /// Whether features are active at p > θ (true) or p ≥ θ (false).
    threshold_strict: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Step {
    Standardize,
    L2,
    Scale,
    LayerNorm,
    ConstantNormRescale,
}

/// Whether a `cfg.json` has this format.
///
/// # Errors
/// `UnsupportedVersion` for a later version of it.
pub(super) fn is_ours(config: &Map<String, Value>) -> Result<bool, BundleError> {
    match config.get("format").and_then(Value::as_str) {
        Some(FORMAT) => Ok(true),
        Some(other) if other.starts_with("coverslip.sae/") => {
            fail!(UnsupportedVersion, "cfg.json has the format `{other}`; this version reads `{FORMAT}`")
        }
        _ => Ok(false),
    }
}

/// Reads an SAE of this format.
pub(super) fn read(config: Map<String, Value>, file: &Checkpoint) -> Result<Found, BundleError> {
    let config: Config = match serde_json::from_value(Value::Object(config)) {
        Ok(config) => config,
        Err(error) => fail!(Invalid, "cfg.json: {error}"),
    };
    check_config(&config, file)?;
    check_tensors(&config, file)?;
    let mut tensors = read_tensors(&config, file)?;
    let mut notes = Vec::new();
    let input = fold_steps(&config, &mut tensors, &mut notes)?;
    Ok(Found {
        k: config.k,
        apply_b_dec_to_input: config.apply_b_dec_to_input.unwrap_or(false),
        input,
        index_map: index_map(file)?,
        notes,
        ..Found::new(config.architecture, tensors)
    })
}

/// Checks that each field is there exactly if its owner, such as an architecture or a step, is.
fn check_config(config: &Config, file: &Checkpoint) -> Result<(), BundleError> {
    let has = |step| config.input.contains(&step);
    let has_k =
        matches!(config.architecture, SaeArchitecture::TopK | SaeArchitecture::SignedTopK | SaeArchitecture::GroupMax);
    let pairs = [
        ("k", config.k.is_some(), "topk, signed_topk and groupmax", has_k, true),
        ("scale", config.scale.is_some(), "the input step scale", has(Step::Scale), true),
        ("input_eps", config.input_eps.is_some(), "the input step standardize", has(Step::Standardize), false),
        (
            "threshold_strict",
            config.threshold_strict.is_some(),
            "jumprelu",
            config.architecture == SaeArchitecture::JumpRelu,
            true,
        ),
        ("apply_b_dec_to_input", config.apply_b_dec_to_input.is_some(), "a `b_dec`", file.contains("b_dec"), true),
    ];
    for (field, stated, owner, there, needed) in pairs {
        let off = field == "apply_b_dec_to_input" && config.apply_b_dec_to_input == Some(false);
        if stated && !there && !off {
            fail!(Invalid, "cfg.json has `{field}`, which belongs to {owner}; expected both or neither");
        }
        if there && !stated && needed {
            fail!(Missing, "cfg.json has no `{field}`, which {owner} needs");
        }
    }
    // A tensor of an empty axis takes no bytes in a file, however long its other axis is.
    for (name, size, most) in [("d_in", config.d_in, MAX_EMBED_DIM), ("d_sae", config.d_sae, MAX_D_SAE)] {
        if size == 0 || size > most {
            fail!(TooLarge, "`{name}` is {size}, expected 1 to {most}");
        }
    }
    if (1..config.input.len()).any(|i| config.input[..i].contains(&config.input[i])) {
        fail!(Invalid, "`input` has {} steps, expected each at most once", config.input.len());
    }
    if let Some(scale) = config.scale.filter(|scale| !(scale.is_finite() && *scale > 0.0)) {
        fail!(Invalid, "`scale` is {scale}, expected a positive number");
    }
    match config.k {
        Some(k) if config.architecture == SaeArchitecture::GroupMax && (k == 0 || !config.d_sae.is_multiple_of(k)) => {
            fail!(
                Invalid,
                "groupmax needs k = {k} groups of equal size; {} features do not divide into them",
                config.d_sae
            )
        }
        _ => Ok(()),
    }
}

fn check_tensors(config: &Config, file: &Checkpoint) -> Result<(), BundleError> {
    let (d, m) = (config.d_in, config.d_sae);
    let mut expected = vec![shape("W_enc", &[d, m])];
    let mut expect = |name: &str, dims: &[usize], needed: bool| {
        if needed || file.contains(name) {
            expected.push(shape(name, dims));
        }
    };
    expect("W_dec", &[m, d], !config.tied);
    expect("b_dec", &[d], false);
    match config.architecture {
        SaeArchitecture::Gated => ["b_gate", "r_mag", "b_mag"].iter().for_each(|name| expect(name, &[m], true)),
        _ => expect("b_enc", &[m], false),
    }
    if config.architecture == SaeArchitecture::JumpRelu {
        expect("threshold", &[m], true);
    }
    if config.input.contains(&Step::Standardize) {
        expect("input_mean", &[d], true);
        expect("input_std", &[d], true);
    }
    expect(INDEX_MAP, &[m], false);
    check(file, &format!("this {FORMAT} SAE"), &expected, &[])?;
    matrix(file, "W_enc").map(|_| ())
}

fn read_tensors(config: &Config, file: &Checkpoint) -> Result<Parts, BundleError> {
    let (d, m) = (config.d_in, config.d_sae);
    let mut tensors = Parts::new();
    for name in ["W_enc", "W_dec", "b_enc", "b_dec", "threshold", "b_gate", "r_mag", "b_mag", "input_mean", "input_std"]
    {
        if file.contains(name) {
            tensors.insert(name, parts::read(file, name)?);
        }
    }
    let w_enc = tensors["W_enc"].clone();
    if config.tied {
        let tied = w_enc.transposed();
        if tensors.get("W_dec").is_some_and(|found| found.values != tied.values) {
            fail!(Invalid, "`tied` is true, but `W_dec` is not `W_enc` transposed; leave out one of the two");
        }
        tensors.insert("W_dec", tied);
    }
    tensors.entry("b_dec").or_insert_with(|| Values::filled(d, 0.0));
    if config.architecture != SaeArchitecture::Gated {
        tensors.entry("b_enc").or_insert_with(|| Values::filled(m, 0.0));
    }
    if config.threshold_strict == Some(false)
        && let Some(threshold) = tensors.remove("threshold")
    {
        let strict = threshold.folded(|_, value| f64::from(parts::strict(value as f32)));
        tensors.insert("threshold", strict);
    }
    if let Some(std) = tensors.remove("input_std") {
        let std = std.folded(|_, value| value + config.input_eps.unwrap_or(0.0));
        if let Some(at) = std.values.iter().position(|value| *value <= 0.0) {
            fail!(Invalid, "`input_std` + `input_eps` is {} at {at}, expected positive values", std.values[at]);
        }
        tensors.insert("input_std", std);
    }
    Ok(tensors)
}

/// The input steps without `scale`, which is folded. If it is last, it goes into the SAE's weights. If it is first, it
/// goes into the mean and standard deviation of `standardize`, and has no effect before a step that divides by ‖x‖.
fn fold_steps(config: &Config, tensors: &mut Parts, notes: &mut Vec<String>) -> Result<Vec<InputStep>, BundleError> {
    let step = |step: &Step| match step {
        Step::Standardize => Some(InputStep::Standardize),
        Step::L2 => Some(InputStep::L2),
        Step::LayerNorm => Some(InputStep::LayerNorm),
        Step::ConstantNormRescale => Some(InputStep::ConstantNormRescale),
        Step::Scale => None,
    };
    if let Some(scale) = config.scale {
        match config.input[..] {
            [.., Step::Scale] => parts::fold_scale(tensors, scale),
            [Step::Scale, Step::Standardize, ..] => {
                for name in ["input_mean", "input_std"] {
                    if let Some(values) = tensors.remove(name) {
                        tensors.insert(name, values.folded(|_, value| value / scale));
                    }
                }
            }
            [Step::Scale, Step::L2 | Step::ConstantNormRescale, ..] => {}
            _ => fail!(
                Unsupported,
                "a scale between other steps or before a layer_norm cannot be folded exactly: not supported in this \
                 version; expected it last, or first and before standardize, l2 or constant_norm_rescale"
            ),
        }
        notes.push(format!("The scale {scale} of the input was folded into the weights."));
    }
    Ok(config.input.iter().filter_map(step).collect())
}

fn index_map(file: &Checkpoint) -> Result<Option<Vec<i32>>, BundleError> {
    if !file.contains(INDEX_MAP) {
        return Ok(None);
    }
    let numbers = parts::integers(file, INDEX_MAP)?;
    let mut map = Vec::with_capacity(numbers.len());
    for number in numbers {
        match i32::try_from(number) {
            Ok(number) if number >= 0 => map.push(number),
            _ => fail!(Invalid, "`{INDEX_MAP}` has {number}, expected the features' original indices"),
        }
    }
    let mut sorted = map.clone();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        fail!(Invalid, "`{INDEX_MAP}` has {} twice, expected the features' original indices", pair[0]);
    }
    Ok(Some(map))
}
