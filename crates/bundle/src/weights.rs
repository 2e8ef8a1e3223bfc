//! Weights on their way into a bundle: what each tensor will be, and where its values come from. They are
//! read, converted and written one at a time, so that a model may be larger than memory.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, View, serialize_to_file};

use crate::error::{BundleError, BundleErrorKind, fail};
use crate::tensors::{Element, Tensor, TensorMap};

/// A file of tensors that can be read in parts: a checkpoint.
pub trait RowSource: std::fmt::Debug {
    /// Rows (along the first axis) of the tensor `name`.
    ///
    /// # Errors
    /// `Missing`, `Invalid`, `Io`, `Truncated`.
    fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Tensor, BundleError>;
}

/// Tensors by name, as they will be stored.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    entries: BTreeMap<String, Weight>,
}

/// One tensor: its type and shape, and where its values come from.
#[derive(Clone, Debug)]
pub struct Weight {
    element: Element,
    shape: Vec<usize>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Here(Arc<Tensor>),
    /// Rows of tensors of a checkpoint, one after the other.
    Rows(Arc<dyn RowSource>, Vec<(String, Range<usize>)>),
}

impl Weight {
    /// A tensor that is in memory.
    pub fn here(tensor: Tensor) -> Self {
        Self { element: tensor.element, shape: tensor.shape.clone(), source: Source::Here(Arc::new(tensor)) }
    }

    /// Rows (along the first axis) of tensors of `checkpoint`, one after the other, stored as `element` in
    /// `shape`.
    pub fn rows(
        checkpoint: Arc<dyn RowSource>,
        pieces: Vec<(String, Range<usize>)>,
        shape: Vec<usize>,
        element: Element,
    ) -> Self {
        Self { element, shape, source: Source::Rows(checkpoint, pieces) }
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes that it takes when it is stored.
    fn stored_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element.size()
    }

    /// Its elements as they are stored, little-endian, checked to be finite.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let mut bytes = Vec::new();
        match &self.source {
            Source::Here(tensor) => {
                tensor.view(name).check_finite()?;
                bytes = tensor.to(name, self.element)?.bytes;
            }
            Source::Rows(checkpoint, pieces) => {
                for (piece, rows) in pieces {
                    let tensor = checkpoint.read_rows(piece, rows.clone())?;
                    tensor.view(piece).check_finite()?;
                    let converted = tensor.to(piece, self.element)?.bytes;
                    if bytes.is_empty() {
                        bytes = converted;
                    } else {
                        bytes.extend(converted);
                    }
                }
            }
        }
        let expected = self.stored_len();
        if bytes.len() != expected {
            fail!(Invalid, "tensor `{name}` has {} bytes, expected {expected} for {:?}", bytes.len(), self.shape);
        }
        Ok(bytes)
    }
}

impl From<TensorMap> for Weights {
    fn from(tensors: TensorMap) -> Self {
        Self { entries: tensors.into_iter().map(|(name, tensor)| (name, Weight::here(tensor))).collect() }
    }
}

impl Weights {
    /// Adds a tensor.
    pub fn insert(&mut self, name: impl Into<String>, weight: Weight) {
        self.entries.insert(name.into(), weight);
    }

    /// The tensor `name`, if there.
    pub fn get(&self, name: &str) -> Option<&Weight> {
        self.entries.get(name)
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Bytes that the values take when they are stored.
    pub fn stored_bytes(&self) -> u64 {
        self.entries.values().map(|weight| weight.stored_len() as u64).sum()
    }

    /// Reads everything into memory.
    ///
    /// # Errors
    /// Whatever reading a tensor says.
    pub fn read(&self) -> Result<TensorMap, BundleError> {
        let read = |(name, weight): (&String, &Weight)| {
            let bytes = weight.bytes(name)?;
            Ok((name.clone(), Tensor { element: weight.element, shape: weight.shape.clone(), bytes }))
        };
        self.entries.iter().map(read).collect()
    }

    /// Writes a safetensors file, one tensor at a time.
    ///
    /// # Errors
    /// `Io`, and whatever reading a tensor says.
    pub(crate) fn write(&self, path: &Path) -> Result<(), BundleError> {
        let failed = RefCell::new(None);
        let views = self.entries.iter().map(|(name, weight)| (name, Writing { name, weight, failed: &failed }));
        let written = serialize_to_file(views, None, path);
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        written.map_err(|error| match error {
            SafeTensorError::IoError(error) => BundleError::io(path.display(), &error),
            other => BundleError::new(BundleErrorKind::Invalid, format!("the tensors cannot be written: {other}")),
        })
    }
}

/// A tensor as safetensors' writer asks for it. The writer takes no error, so the first is kept aside.
struct Writing<'a> {
    name: &'a str,
    weight: &'a Weight,
    failed: &'a RefCell<Option<BundleError>>,
}

impl View for Writing<'_> {
    fn dtype(&self) -> Dtype {
        self.weight.element.dtype()
    }

    fn shape(&self) -> &[usize] {
        &self.weight.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if self.failed.borrow().is_some() {
            return Cow::Borrowed(&[]);
        }
        match self.weight.bytes(self.name) {
            Ok(bytes) => Cow::Owned(bytes),
            Err(error) => {
                *self.failed.borrow_mut() = Some(error);
                Cow::Borrowed(&[])
            }
        }
    }

    fn data_len(&self) -> usize {
        self.weight.stored_len()
    }
}
