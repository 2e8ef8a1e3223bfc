//! Tensors between a file and the bundle. One check names everything wrong at once; values are folded in float64;
//! tensors that are not folded keep their precision.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Checkpoint, StoreAs};
use coverslip_bundle::layout::{Shape, listed};
use coverslip_bundle::tensors::{Element, Tensor, TensorMap};
use coverslip_bundle::{BundleError, BundleErrorKind, fail};

/// What was found, for messages.
pub(super) fn shown(found: Option<impl std::fmt::Display>) -> String {
    found.map_or_else(|| "none".to_owned(), |found| found.to_string())
}

/// An SAE's floating-point tensors under the bundle's names.
pub(super) type Parts = BTreeMap<&'static str, Values>;

/// A tensor's values, and their stored type unless the options ask for another.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
    found: Element,
}

impl Values {
    /// A vector of `n` times `value`.
    pub(super) fn filled(n: usize, value: f32) -> Self {
        Self { shape: vec![n], values: vec![value; n], found: Element::F32 }
    }

    pub(super) fn computed(shape: &[usize], values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter().map(|v| v as f32).collect();
        Self { shape: shape.to_vec(), values, found: Element::F32 }
    }

    pub(super) fn transposed(self) -> Self {
        let [rows, columns] = self.shape[..] else { return self };
        let column = |column| (0..rows).map(move |row| row * columns + column);
        let values = (0..columns).flat_map(column).map(|at| self.values[at]).collect();
        Self { shape: vec![columns, rows], values, ..self }
    }

    /// Applies `f` to each value's position and value. The result is float32, since the original type can hold few of
    /// the new values exactly.
    pub(super) fn folded(mut self, f: impl Fn(usize, f64) -> f64) -> Self {
        for (at, value) in self.values.iter_mut().enumerate() {
            *value = f(at, f64::from(*value)) as f32;
        }
        self.found = Element::F32;
        self
    }

    /// ‖row‖ of each row of a matrix.
    pub(super) fn row_norms(&self) -> Vec<f64> {
        let width = self.shape.last().copied().unwrap_or(1).max(1);
        let norm = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        self.values.chunks_exact(width).map(norm).collect()
    }

    fn stored(&self, name: &str, precision: StoreAs) -> Result<Tensor, BundleError> {
        // Values that are compared or divided by stay exact; they are few.
        let exact = ["threshold", "input_mean", "input_std"].contains(&name) && precision == StoreAs::Half;
        let precision = if exact { StoreAs::Keep } else { precision };
        let tensor = Tensor::f32(&self.shape, &self.values);
        tensor.view(name).check_finite()?;
        tensor.to(name, precision.stored(self.found))
    }
}

/// Converts the tensors to their stored form.
///
/// # Errors
/// `NotFinite` if a value is beyond the range of its stored type.
pub(super) fn stored(parts: &Parts, precision: StoreAs) -> Result<TensorMap, BundleError> {
    let store = |(name, values): (&&'static str, &Values)| Ok(((*name).to_owned(), values.stored(name, precision)?));
    parts.iter().map(store).collect()
}

/// Folds x' = s·x into the SAE: the encoder is multiplied by s, and the decoder and `b_dec` by 1/s.
pub(super) fn fold_scale(parts: &mut Parts, scale: f64) {
    let mut fold = |name, f: &dyn Fn(f64) -> f64| {
        if let Some(values) = parts.remove(name) {
            parts.insert(name, values.folded(|_, value| f(value)));
        }
    };
    fold("W_enc", &|value| value * scale);
    fold("W_dec", &|value| value / scale);
    fold("b_dec", &|value| value / scale);
}

/// The largest float32 below a `threshold` θ ≥ 0: p ≥ θ is the same as p > this.
pub(super) fn strict(threshold: f32) -> f32 {
    threshold.next_down()
}

/// Checks a file's tensors against `expected`. Those in `ignored` may be there and are not read. `what` names their
/// owner in the message.
///
/// # Errors
/// `Missing`; `Invalid` for wrong shapes; `Unsupported` for unexpected tensors. One message names all of them.
pub(super) fn check(file: &Checkpoint, what: &str, expected: &[Shape], ignored: &[&str]) -> Result<(), BundleError> {
    let (mut missing, mut wrong) = (Vec::new(), Vec::new());
    for (name, shape) in expected {
        match file.shape(name) {
            None => missing.push(format!("`{name}` {shape:?}")),
            Some(found) if found != shape => wrong.push(format!("`{name}` is {found:?}, expected {shape:?}")),
            Some(_) => {}
        }
    }
    let known: BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).chain(ignored.iter().copied()).collect();
    let extra: Vec<String> =
        file.names().filter(|name| !known.contains(name)).map(|name| format!("`{name}`")).collect();
    let kind = match (missing.is_empty(), wrong.is_empty(), extra.is_empty()) {
        (true, true, true) => return Ok(()),
        (false, ..) => BundleErrorKind::Missing,
        (_, false, _) => BundleErrorKind::Invalid,
        _ => BundleErrorKind::Unsupported,
    };
    let mut found = Vec::new();
    for (words, names) in [("missing: ", missing), ("", wrong), ("not supported in this version: ", extra)] {
        if !names.is_empty() {
            found.push(format!("{words}{}", listed(&names)));
        }
    }
    let names: Vec<String> = expected.iter().map(|(name, _)| name.clone()).collect();
    let message = format!(
        "{what} has exactly the tensors {}; {}; ignoring tensors could change the outputs: export it again with the \
         library that made it",
        names.join(", "),
        found.join("; ")
    );
    Err(BundleError::new(kind, message))
}

/// A name and shape for [`check`].
pub(super) fn shape(name: &str, shape: &[usize]) -> Shape {
    (name.to_owned(), shape.to_vec())
}

/// Rows and columns of the matrix `name`.
///
/// # Errors
/// `Missing`; `Invalid` if it is not a matrix or is empty.
pub(super) fn matrix(file: &Checkpoint, name: &str) -> Result<[usize; 2], BundleError> {
    match file.shape(name) {
        Some(&[rows, columns]) if rows > 0 && columns > 0 => Ok([rows, columns]),
        Some(found) => fail!(Invalid, "tensor `{name}` has shape {found:?}, expected a matrix"),
        None => {
            let names: Vec<String> = file.names().map(|name| format!("`{name}`")).collect();
            fail!(Missing, "tensor `{name}` is missing; the file has {}", listed(&names))
        }
    }
}

/// Reads the floating-point tensor `name` and refuses values that are not finite.
///
/// # Errors
/// As [`Checkpoint::read`]; `NotFinite`; `Invalid` for integers.
pub(super) fn read(file: &Checkpoint, name: &str) -> Result<Values, BundleError> {
    let tensor = file.read(name)?;
    let view = tensor.view(name);
    view.check_finite()?;
    Ok(Values { values: view.to_f32()?, found: tensor.element, shape: tensor.shape })
}

/// Reads the single floating-point value of the tensor `name`.
///
/// # Errors
/// As [`read`]; `Invalid` if there are more.
pub(super) fn number(file: &Checkpoint, name: &str) -> Result<f32, BundleError> {
    match read(file, name)?.values[..] {
        [value] => Ok(value),
        ref values => fail!(Invalid, "tensor `{name}` has {} values, expected one", values.len()),
    }
}

/// Reads the integers of the tensor `name`.
///
/// # Errors
/// As [`Checkpoint::read`]; `Invalid` for other element types.
pub(super) fn integers(file: &Checkpoint, name: &str) -> Result<Vec<i64>, BundleError> {
    let tensor = file.read(name)?;
    match tensor.element {
        Element::I32 => Ok(tensor.view(name).to_i32()?.into_iter().map(i64::from).collect()),
        Element::I64 => Ok(tensor.bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()),
        found => fail!(Invalid, "tensor `{name}` is {found:?}, expected I32 or I64"),
    }
}

/// Refuses a stated size that the tensors contradict.
///
/// # Errors
/// `Invalid`.
pub(super) fn agree(field: &str, stated: Option<u64>, found: usize) -> Result<(), BundleError> {
    match stated {
        Some(stated) if stated != found as u64 => {
            fail!(Invalid, "`{field}` is {stated}, the tensors have {found}; expected the same")
        }
        _ => Ok(()),
    }
}
