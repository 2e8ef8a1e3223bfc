//! Inputs and outputs, and their names and shapes as TensorRT takes them.

use std::ffi::CString;
use std::fmt;

use super::abi::{Dims, MAX_DIMS};
use super::codes::{DataType, TensorFormat, TensorIoMode, TensorLocation};
use super::error::{Error, Result};

/// The longest name that TensorRT reads, including the zero byte.
const LONGEST_NAME: usize = 4096;

/// An input or output of a graph.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tensor {
    /// Its name in the ONNX model.
    pub name: String,
    /// Its shape; -1 for extents that are only known at run time.
    pub shape: Vec<i64>,
    /// The type of its elements.
    pub data_type: DataType,
}

impl Tensor {
    /// A tensor of an engine, at the shape `dims`.
    pub(super) fn new(io: &IoTensor, dims: &Dims) -> Self {
        Self { name: io.name(), shape: shape(dims), data_type: io.data_type }
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.data_type, self.shape)
    }
}

/// An input or output of an engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct IoTensor {
    /// The name in the ONNX model.
    pub(super) name: CString,
    pub(super) mode: TensorIoMode,
    /// The shape; -1 for extents that the profiles leave open.
    pub(super) dims: Dims,
    pub(super) data_type: DataType,
    pub(super) location: TensorLocation,
    pub(super) format: TensorFormat,
}

impl IoTensor {
    pub(super) fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// The size in bytes at a shape; `None` while an extent is open, or where the size overflows.
    pub(super) fn bytes(&self, dims: &Dims) -> Option<u64> {
        let bits = self.data_type.bits()?;
        let elements =
            dims.shape()?.iter().try_fold(1u64, |product, &extent| product.checked_mul(u64::try_from(extent).ok()?))?;
        Some(elements.checked_mul(bits)?.div_ceil(8))
    }
}

/// A shape; empty where the rank is unknown.
pub(super) fn shape(dims: &Dims) -> Vec<i64> {
    dims.shape().unwrap_or_default().to_vec()
}

/// A name as TensorRT takes it.
pub(super) fn name(text: &str) -> Result<CString> {
    if text.len() >= LONGEST_NAME {
        return Err(Error::Argument { why: format!("a name has {} bytes; TensorRT reads {LONGEST_NAME}", text.len()) });
    }
    CString::new(text).map_err(|_| Error::Argument { why: format!("the name {text:?} has a zero byte in it") })
}

/// A shape as TensorRT takes it.
pub(super) fn dims(shape: &[i64]) -> Result<Dims> {
    let why = || format!("the shape {shape:?} has {} extents; TensorRT takes at most {MAX_DIMS}", shape.len());
    Dims::new(shape).ok_or_else(|| Error::Argument { why: why() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_shapes() {
        let of = |data_type, dims: Dims| {
            let (mode, location, format) = (TensorIoMode::INPUT, TensorLocation::DEVICE, TensorFormat::LINEAR);
            IoTensor { name: c"x".to_owned(), mode, dims, data_type, location, format }.bytes(&dims)
        };
        let shape = |shape: &[i64]| Dims::new(shape).unwrap();
        assert_eq!(of(DataType::UINT8, shape(&[2, 224, 224, 3])), Some(301_056));
        assert_eq!(of(DataType::HALF, shape(&[])), Some(2));
        assert_eq!(of(DataType::INT4, shape(&[3])), Some(2));
        assert_eq!(of(DataType::FLOAT, shape(&[0, 5])), Some(0));
        assert_eq!(of(DataType::FLOAT, shape(&[-1, 5])), None);
        assert_eq!(of(DataType::FLOAT, shape(&[i64::MAX, 9])), None);
        assert_eq!(of(DataType(99), shape(&[1])), None);
        assert_eq!(of(DataType::FLOAT, Dims { nb_dims: -1, d: [0; 8] }), None);
    }

    #[test]
    fn invalid_names_and_shapes_are_refused() {
        let said = |error: Error| error.to_string();
        assert!(said(name("a\0b").unwrap_err()).contains("zero byte"));
        assert!(said(name(&"x".repeat(LONGEST_NAME)).unwrap_err()).contains("4096"));
        assert!(said(dims(&[1; 9]).unwrap_err()).contains("at most 8"));
        assert!(name("pixels").is_ok() && dims(&[]).is_ok());
    }
}
