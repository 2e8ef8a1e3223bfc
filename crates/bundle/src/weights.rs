//! Weights to be written into a bundle: each tensor's stored form and the source of its values. They are read,
//! converted and written one at a time, so that a model may be larger than memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::{BundleError, BundleErrorKind, fail};
use crate::tensors::{Element, Tensor, TensorMap};

/// A checkpoint whose tensors can be read in parts.
pub trait RowSource: std::fmt::Debug {
    /// Reads rows (along the first axis) of the tensor `name`.
    ///
    /// # Errors
    /// `Missing`, `Invalid`, `Io`, `Truncated`.
    fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Tensor, BundleError>;
}

/// Tensors to be stored, by name.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    entries: BTreeMap<String, Weight>,
}

/// A tensor to be stored: its type, its shape and the source of its values.
#[derive(Clone, Debug)]
pub struct Weight {
    element: Element,
    shape: Vec<usize>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Here(Arc<Tensor>),
    /// Rows of tensors of a checkpoint, concatenated.
    Rows(Arc<dyn RowSource>, Vec<(String, Range<usize>)>),
}

impl Weight {
    /// A tensor in memory.
    pub fn here(tensor: Tensor) -> Self {
        Self { element: tensor.element, shape: tensor.shape.clone(), source: Source::Here(Arc::new(tensor)) }
    }

    /// Rows (along the first axis) of tensors of `checkpoint`, concatenated, and stored as `element` with `shape`.
    pub fn rows(
        checkpoint: Arc<dyn RowSource>,
        pieces: Vec<(String, Range<usize>)>,
        shape: Vec<usize>,
        element: Element,
    ) -> Self {
        Self { element, shape, source: Source::Rows(checkpoint, pieces) }
    }

    /// The stored shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Stored size, bytes.
    fn stored_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element.size()
    }

    /// Reads and converts the elements, little-endian, and refuses values that are not finite.
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

    /// The tensor `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<&Weight> {
        self.entries.get(name)
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Stored size of all values, bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.entries.values().map(|weight| weight.stored_len() as u64).sum()
    }

    /// Reads everything into memory.
    ///
    /// # Errors
    /// As [`RowSource::read_rows`]; `NotFinite`.
    pub fn read(&self) -> Result<TensorMap, BundleError> {
        let read = |(name, weight): (&String, &Weight)| {
            let bytes = weight.bytes(name)?;
            Ok((name.clone(), Tensor { element: weight.element, shape: weight.shape.clone(), bytes }))
        };
        self.entries.iter().map(read).collect()
    }

    /// Writes a safetensors file, one tensor at a time, in the order of [`crate::tensors::to_safetensors`].
    ///
    /// # Errors
    /// As [`Weights::read`]; `Io`.
    pub(crate) fn write(&self, path: &Path) -> Result<(), BundleError> {
        let mut entries: Vec<(&String, &Weight)> = self.entries.iter().collect();
        entries.sort_by_key(|(name, weight)| (Reverse(weight.element.dtype()), *name));
        let header = header(&entries)?;
        let mut refused = None;
        let written = coverslip_files::whole(path, |file| {
            let mut out = BufWriter::new(file);
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(&header)?;
            for (name, weight) in entries {
                let bytes = weight.bytes(name).map_err(|error| {
                    let text = io::Error::other(error.to_string());
                    refused = Some(error);
                    text
                })?;
                out.write_all(&bytes)?;
            }
            out.flush()
        });
        match refused {
            Some(error) => Err(error),
            None => written.map_err(|error| BundleError::io(path.display(), &error)),
        }
    }
}

/// The header of a safetensors file, filled with blanks so that the values begin at a multiple of eight bytes.
fn header(entries: &[(&String, &Weight)]) -> Result<Vec<u8>, BundleError> {
    let failed = |error: &dyn std::fmt::Display| {
        BundleError::new(BundleErrorKind::Invalid, format!("the tensors cannot be written: {error}"))
    };
    let mut end = 0;
    let infos = entries.iter().map(|(name, weight)| {
        let start = end;
        end += weight.stored_len();
        let info =
            TensorInfo { dtype: weight.element.dtype(), shape: weight.shape.clone(), data_offsets: (start, end) };
        ((*name).clone(), info)
    });
    let metadata = Metadata::new(None, infos.collect()).map_err(|error| failed(&error))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| failed(&error))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::to_safetensors;

    /// The library's own writer, which needs all tensors in memory, is the measure.
    #[test]
    fn a_file_written_tensor_by_tensor_is_the_librarys() {
        let tensors = TensorMap::from([
            ("b".to_owned(), Tensor::f32(&[2, 2], &[1.0, -2.0, 3.5, 0.0])),
            ("a".to_owned(), Tensor::f16(&[3], &[0.5, 2.0, -1.0])),
            ("c".to_owned(), Tensor::f16(&[1], &[4.0])),
            ("A".to_owned(), Tensor::f32(&[0, 4], &[])),
        ]);
        let expected = to_safetensors(&tensors).unwrap();
        let folder = std::env::temp_dir().join(format!("coverslip-weights-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("model.safetensors");
        Weights::from(tensors).write(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), expected);

        let nan = TensorMap::from([("x".to_owned(), Tensor::f32(&[1], &[f32::NAN]))]);
        let error = Weights::from(nan).write(&folder.join("nan.safetensors")).unwrap_err();
        assert_eq!(error.kind(), BundleErrorKind::NotFinite);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left of a file that failed");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
