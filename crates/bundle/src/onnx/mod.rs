//! ONNX files: read as others wrote them, written as the composer wants them. Just enough of the format, by
//! hand: a generated reader would need protobuf's compiler, and both sides copy what they do not know.

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
