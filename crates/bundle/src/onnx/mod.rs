//! ONNX files, read and written by hand. Only the needed part of the format is known here and unknown fields are
//! copied; a generated reader would need protobuf's compiler.

mod check;
pub mod operators;
mod protobuf;
mod read;
mod write;

pub(crate) use check::check_model;
pub use check::{Checked, check_names, check_onnx};
pub use read::{AttributeValue, Constant, ConstantData, Model, Node, ValueInfo};
pub(crate) use write::OPSET;
pub use write::{
    Attribute, DataType, Dim, EXTERNAL_FILE, External, ModelWriter, Placement, int_attribute, ints_attribute,
    tensor_attribute,
};
