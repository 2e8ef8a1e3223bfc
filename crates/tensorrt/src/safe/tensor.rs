//! What goes in or comes out of a graph, as a program sees it.

use std::fmt;

use crate::sys::{DataType, Dims, IoTensor, TensorInfo, TensorLocation};

/// An input or output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tensor {
    /// Its name in the ONNX model.
    pub name: String,
    /// Its extents; -1 for those that are only known at run time.
    pub shape: Vec<i64>,
    /// The type of its elements.
    pub data_type: DataType,
    /// Where its memory must be.
    pub location: TensorLocation,
}

impl Tensor {
    pub(super) fn of_network(info: TensorInfo) -> Self {
        let TensorInfo { name, dims, data_type } = info;
        Self { name, shape: shape(&dims), data_type, location: TensorLocation::DEVICE }
    }

    pub(super) fn of_engine(io: &IoTensor) -> Self {
        Self {
            name: io.name.to_string_lossy().into_owned(),
            shape: shape(&io.dims),
            data_type: io.data_type,
            location: io.location,
        }
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.data_type, self.shape)
    }
}

/// A shape; nothing where the rank is unknown.
pub(super) fn shape(dims: &Dims) -> Vec<i64> {
    dims.shape().unwrap_or_default().to_vec()
}
