//! saprmarks/dictionary_learning: `ae.pt`, as training saves it at the end. `config.json` names its class
//! (`trainer.dict_class`).
//!
//! | class | p | f | x̂ |
//! |---|---|---|---|
//! | `AutoEncoder` | (x − bias)·Wᵀ + b | ReLU(p)·‖D‖, with D the decoder's columns | D/‖D‖·f + bias |
//! | `AutoEncoderNew` | x·Wᵀ + b | ReLU(p) | D·f + decoder.bias |
//! | `GatedAutoEncoder` | q = (x − decoder_bias)·Wᵀ | 1\[q + gate_bias > 0\]·ReLU(q·exp(r_mag) + mag_bias) | D·f + decoder_bias |
//! | `AutoEncoderTopK` | (x − b_dec)·Wᵀ + b | the k largest of ReLU(p) | D·f + b_dec |
//! | `BatchTopKSAE`, `MatryoshkaBatchTopKSAE` | (x − b_dec)·Wᵀ + b | ReLU(p)·1\[p > threshold\] | D·f + b_dec |
//! | `JumpReluAutoEncoder` | x·W_enc + b_enc | ReLU(p)·1\[p > threshold\] | f·W_dec + b_dec |
//!
//! Source: dictionary_learning 0.1, `dictionary.py`, `trainers/*.py`, `utils.py`.

use serde_json::Value;

use super::found::Found;
use super::parts::{self, Parts, Values, agree, check, matrix, shape};
use crate::Checkpoint;
use coverslip_bundle::SaeArchitecture;
use coverslip_bundle::layout::Shape;
use coverslip_bundle::{BundleError, fail};

pub(super) const FORMAT: &str = "dictionary_learning";

/// `dict_class`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    AutoEncoder,
    AutoEncoderNew,
    Gated,
    TopK,
    BatchTopK,
    Matryoshka,
    JumpRelu,
}

const CLASSES: [Class; 7] = [
    Class::AutoEncoder,
    Class::AutoEncoderNew,
    Class::Gated,
    Class::TopK,
    Class::BatchTopK,
    Class::Matryoshka,
    Class::JumpRelu,
];

impl Class {
    /// The class name in Python.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AutoEncoder => "AutoEncoder",
            Self::AutoEncoderNew => "AutoEncoderNew",
            Self::Gated => "GatedAutoEncoder",
            Self::TopK => "AutoEncoderTopK",
            Self::BatchTopK => "BatchTopKSAE",
            Self::Matryoshka => "MatryoshkaBatchTopKSAE",
            Self::JumpRelu => "JumpReluAutoEncoder",
        }
    }

    /// The classes that have tensors of these names.
    pub(super) fn fitting(names: &[&str]) -> impl Iterator<Item = Self> {
        CLASSES.into_iter().filter(move |class| {
            let (tensors, optional) = (class.tensors(1, 1), class.optional());
            let known = |name: &&str| optional.contains(name) || tensors.iter().any(|(known, _)| known == name);
            tensors.iter().all(|(name, _)| names.contains(&name.as_str())) && names.iter().all(known)
        })
    }

    /// Whether the encoder is a matrix [d, m] as in the formula, not a layer's weight [m, d].
    fn has_matrices(self) -> bool {
        matches!(self, Self::Matryoshka | Self::JumpRelu)
    }

    /// Name of the bias that becomes `b_dec`.
    fn b_dec(self) -> &'static str {
        match self {
            Self::AutoEncoder => "bias",
            Self::AutoEncoderNew => "decoder.bias",
            Self::Gated => "decoder_bias",
            Self::TopK | Self::BatchTopK | Self::Matryoshka | Self::JumpRelu => "b_dec",
        }
    }

    /// Vectors with a value per feature: their names in the file and in the bundle.
    fn vectors(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::AutoEncoder | Self::AutoEncoderNew | Self::TopK | Self::BatchTopK => &[("encoder.bias", "b_enc")],
            Self::Gated => &[("gate_bias", "b_gate"), ("r_mag", "r_mag"), ("mag_bias", "b_mag")],
            Self::Matryoshka => &[("b_enc", "b_enc")],
            Self::JumpRelu => &[("b_enc", "b_enc"), ("threshold", "threshold")],
        }
    }

    fn tensors(self, d: usize, m: usize) -> Vec<Shape> {
        let mut tensors = if self.has_matrices() {
            vec![shape("W_enc", &[d, m]), shape("W_dec", &[m, d])]
        } else {
            vec![shape("encoder.weight", &[m, d]), shape("decoder.weight", &[d, m])]
        };
        tensors.push(shape(self.b_dec(), &[d]));
        tensors.extend(self.vectors().iter().map(|(name, _)| shape(name, &[m])));
        tensors
    }

    /// Tensors of other shapes, which files of older versions do not have.
    fn optional(self) -> &'static [&'static str] {
        match self {
            Self::TopK | Self::BatchTopK => &["k", "threshold"],
            Self::Matryoshka => &["k", "threshold", "group_sizes"],
            _ => &[],
        }
    }
}

/// Reads an SAE whose class the training's configuration states.
pub(super) fn read_stated(trainer: &Value, file: &Checkpoint) -> Result<Found, BundleError> {
    let Some(stated) = trainer.get("dict_class").and_then(Value::as_str) else {
        fail!(
            Missing,
            "config.json has no trainer.dict_class; expected the configuration that dictionary_learning writes"
        );
    };
    let Some(class) = CLASSES.into_iter().find(|class| class.name() == stated) else {
        let names: Vec<&str> = CLASSES.iter().map(|class| class.name()).collect();
        fail!(Unsupported, "dict_class `{stated}`: not supported in this version; expected {}", names.join(", "));
    };
    read(class, trainer, file)
}

/// Reads an SAE of `class`. `trainer`, which may be null, is compared with the tensors.
pub(super) fn read(class: Class, trainer: &Value, file: &Checkpoint) -> Result<Found, BundleError> {
    let encoder = if class.has_matrices() { "W_enc" } else { "encoder.weight" };
    let [rows, columns] = matrix(file, encoder)?;
    let (d, m) = if class.has_matrices() { (rows, columns) } else { (columns, rows) };
    check(file, &format!("dictionary_learning's {}", class.name()), &class.tensors(d, m), class.optional())?;
    let stated = |field| trainer.get(field).and_then(Value::as_u64);
    agree("trainer.activation_dim", stated("activation_dim"), d)?;
    agree("trainer.dict_size", stated("dict_size"), m)?;
    let mut found = Found::new(SaeArchitecture::Relu, tensors(class, file)?);
    found.apply_b_dec_to_input = !matches!(class, Class::AutoEncoderNew | Class::JumpRelu);
    found.hook_name = trainer.get("submodule_name").and_then(Value::as_str).map(str::to_owned);
    match class {
        Class::AutoEncoder => normalize_decoder(&mut found)?,
        Class::AutoEncoderNew => {
            let note =
                "Features are those of encode(); forward(output_features=True) multiplies them by the decoder's norms.";
            found.notes.push(note.to_owned());
        }
        Class::Gated => found.architecture = SaeArchitecture::Gated,
        Class::JumpRelu => found.architecture = SaeArchitecture::JumpRelu,
        Class::TopK => {
            found.architecture = SaeArchitecture::TopK;
            let Some(k) = k(trainer, file)? else {
                fail!(
                    Missing,
                    "found an AutoEncoderTopK without k; expected the tensor `k`, or trainer.k in config.json"
                );
            };
            found.k = Some(k);
        }
        Class::BatchTopK | Class::Matryoshka => batch_threshold(&mut found, class, trainer, file)?,
    }
    Ok(found)
}

fn tensors(class: Class, file: &Checkpoint) -> Result<Parts, BundleError> {
    let (w_enc, w_dec) = if class.has_matrices() {
        (parts::read(file, "W_enc")?, parts::read(file, "W_dec")?)
    } else {
        (parts::read(file, "encoder.weight")?.transposed(), parts::read(file, "decoder.weight")?.transposed())
    };
    let mut tensors = Parts::from([("W_enc", w_enc), ("W_dec", w_dec), ("b_dec", parts::read(file, class.b_dec())?)]);
    for (name, bundled) in class.vectors() {
        tensors.insert(bundled, parts::read(file, name)?);
    }
    Ok(tensors)
}

/// Does what `AutoEncoder.from_pretrained` does: the decoder's vectors are normalised and the encoder multiplied by
/// their norms, so that x̂ stays the same and f is in units of x.
fn normalize_decoder(found: &mut Found) -> Result<(), BundleError> {
    let norms = found.parts["W_dec"].row_norms();
    if norms.iter().all(|norm| (norm - 1.0).abs() <= 1e-5 + 1e-8) {
        return Ok(());
    }
    if let Some(zero) = norms.iter().position(|norm| *norm == 0.0) {
        fail!(
            Invalid,
            "feature {zero} has a decoder vector of length 0, which dictionary_learning's loader cannot normalise; \
             expected a direction for every feature"
        );
    }
    let m = norms.len();
    let d = found.parts["b_dec"].values.len();
    let mut fold = |name, f: &dyn Fn(usize, f64) -> f64| {
        if let Some(values) = found.parts.remove(name) {
            found.parts.insert(name, values.folded(f));
        }
    };
    fold("W_dec", &|at, value| value / norms[at / d]);
    fold("W_enc", &|at, value| value * norms[at % m]);
    fold("b_enc", &|at, value| value * norms[at]);
    let note = "Decoder vectors did not have length 1: features were rescaled, as dictionary_learning's loader does.";
    found.notes.push(note.to_owned());
    Ok(())
}

/// BatchTopK decides by its threshold at inference, never by the batch.
fn batch_threshold(found: &mut Found, class: Class, trainer: &Value, file: &Checkpoint) -> Result<(), BundleError> {
    if !file.contains("threshold") {
        fail!(
            Missing,
            "found a {} without its `threshold`, which selects features at inference; save the finished SAE",
            class.name()
        );
    }
    let threshold = parts::number(file, "threshold")?;
    if threshold < 0.0 {
        fail!(
            Unsupported,
            "`threshold` is {threshold}, not set by its training; a {} that selects over the batch is not supported in \
             this version; expected a threshold of at least 0",
            class.name()
        );
    }
    k(trainer, file)?;
    let m = found.parts["b_enc"].values.len();
    if class == Class::Matryoshka && file.contains("group_sizes") {
        let groups = parts::integers(file, "group_sizes")?;
        let sum = groups.iter().try_fold(0_i64, |sum, size| sum.checked_add(*size));
        if groups.iter().any(|size| *size <= 0) || sum != Some(m as i64) {
            fail!(
                Invalid,
                "`group_sizes` has {} sizes that do not add up; expected sizes above 0 whose sum is the SAE's {m} features",
                groups.len()
            );
        }
    }
    found.architecture = SaeArchitecture::JumpRelu;
    found.parts.insert("threshold", Values::filled(m, threshold));
    found.notes.push(format!("Features are active above the threshold {threshold} that the training learnt."));
    Ok(())
}

/// k as stated by the tensor, the configuration, or both, which must agree.
fn k(trainer: &Value, file: &Checkpoint) -> Result<Option<usize>, BundleError> {
    let stated = trainer.get("k").and_then(Value::as_u64);
    if !file.contains("k") {
        return Ok(stated.map(|k| k as usize));
    }
    match parts::integers(file, "k")?[..] {
        [k] if k > 0 => {
            agree("trainer.k", stated, k as usize)?;
            Ok(Some(k as usize))
        }
        [k] => fail!(Invalid, "tensor `k` is {k}, expected at least 1"),
        ref found => fail!(Invalid, "tensor `k` has {} numbers, expected one of at least 1", found.len()),
    }
}
