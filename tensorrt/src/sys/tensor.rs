//! Inputs and outputs as a program sees them, and names and shapes as TensorRT takes them.

use std::ffi::CString;
use std::fmt;

use super::abi::{Dims, MAX_DIMS};
use super::bindings::IoTensor;
use super::codes::DataType;
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
        Self { name: io.name.to_string_lossy().into_owned(), shape: shape(dims), data_type: io.data_type }
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.data_type, self.shape)
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
    fn invalid_names_and_shapes_are_refused() {
        let said = |error: Error| error.to_string();
        assert!(said(name("a\0b").unwrap_err()).contains("zero byte"));
        assert!(said(name(&"x".repeat(LONGEST_NAME)).unwrap_err()).contains("4096"));
        assert!(said(dims(&[1; 9]).unwrap_err()).contains("at most 8"));
        assert!(name("pixels").is_ok() && dims(&[]).is_ok());
    }
}
