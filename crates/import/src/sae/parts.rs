//! Tensors on their way from a file into the bundle: what is there is checked all at once, values are folded
//! in float64, and what was not folded keeps the precision it came in.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Checkpoint, StoreAs};
use coverslip_bundle::layout::{Shape, listed};
use coverslip_bundle::tensors::{Element, Tensor, TensorMap};
use coverslip_bundle::{BundleError, BundleErrorKind, fail};

/// An SAE's floating-point tensors under the bundle's names.
pub(super) type Parts = BTreeMap<&'static str, Values>;

/// A tensor's values, and what they are stored as when nothing else is asked for.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
    found: Element,
}

impl Values {
    /// `value`, `n` times.
    pub(super) fn filled(n: usize, value: f32) -> Self {
        Self { shape: vec![n], values: vec![value; n], found: Element::F32 }
    }

    /// Computed values.
    pub(super) fn computed(shape: &[usize], values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter().map(|v| v as f32).collect();
        Self { shape: shape.to_vec(), values, found: Element::F32 }
    }

    /// A matrix with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        let [rows, columns] = self.shape[..] else { return self };
        let column = |column| (0..rows).map(move |row| row * columns + column);
        let values = (0..columns).flat_map(column).map(|at| self.values[at]).collect();
        Self { shape: vec![columns, rows], values, ..self }
    }

    /// Folded values: `f` of each one's position and value. They are float32 from here on, since few of them
    /// would be numbers of the type that they came in.
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
        // What a comparison or a division hangs on stays exact: a few values among millions.
        let exact = ["threshold", "input_mean", "input_std"].contains(&name) && precision == StoreAs::Half;
        let precision = if exact { StoreAs::Keep } else { precision };
        let tensor = Tensor::f32(&self.shape, &self.values);
        tensor.view(name).check_finite()?;
        tensor.to(name, precision.stored(self.found))
    }
}

/// The tensors as the bundle stores them.
///
/// # Errors
/// `NotFinite` when a value is beyond the type that it is stored as.
pub(super) fn stored(parts: &Parts, precision: StoreAs) -> Result<TensorMap, BundleError> {
    let store = |(name, values): (&&'static str, &Values)| Ok(((*name).to_owned(), values.stored(name, precision)?));
    parts.iter().map(store).collect()
}

/// x' = s·x: the encoder gets s; what is subtracted before it and what is decoded, which is undone by 1/s, get 1/s.
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

/// The largest float32 below a positive or zero `threshold`: p ≥ θ exactly where p > this.
pub(super) fn strict(threshold: f32) -> f32 {
    threshold.next_down()
}

/// Checks a file's tensors against `expected`; those in `ignored` may be there and are not read. `what` they
/// belong to is named.
///
/// # Errors
/// `Missing`, `Invalid` for shapes, `Unsupported` for tensors that are not expected; all of them in one message.
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
        "{what} has the tensors {} alone; {}; leaving tensors out could change the outputs: export it again with the \
         library that made it",
        names.join(", "),
        found.join("; ")
    );
    Err(BundleError::new(kind, message))
}

/// Name and shape, as [`check`] takes them.
pub(super) fn shape(name: &str, shape: &[usize]) -> Shape {
    (name.to_owned(), shape.to_vec())
}

/// Rows and columns of the matrix `name`.
///
/// # Errors
/// `Missing`, or `Invalid` when it is no matrix or empty.
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

/// The floating-point tensor `name`, finite.
///
/// # Errors
/// As [`Checkpoint::read`]; `NotFinite`; `Invalid` for integers.
pub(super) fn read(file: &Checkpoint, name: &str) -> Result<Values, BundleError> {
    let tensor = file.read(name)?;
    let view = tensor.view(name);
    view.check_finite()?;
    Ok(Values { values: view.to_f32()?, found: tensor.element, shape: tensor.shape })
}

/// The single floating-point value in the tensor `name`.
///
/// # Errors
/// As [`read`]; `Invalid` when there are more.
pub(super) fn number(file: &Checkpoint, name: &str) -> Result<f32, BundleError> {
    match read(file, name)?.values[..] {
        [value] => Ok(value),
        ref values => fail!(Invalid, "tensor `{name}` has {} values, expected one", values.len()),
    }
}

/// The integers in the tensor `name`.
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
            fail!(Invalid, "`{field}` is {stated}, the tensors have {found}; expected them to agree")
        }
        _ => Ok(()),
    }
}
