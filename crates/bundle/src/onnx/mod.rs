//! ONNX files: read as others wrote them, written as the composer wants them. Just enough of the format, by
//! hand: a generated reader would need protobuf's compiler, and both sides copy what they do not know.

mod check;
mod protobuf;
mod read;
mod write;

pub use check::{Checked, check_onnx};
pub(crate) use check::{check_model, check_names};
pub(crate) use read::{AttributeValue, Constant, ConstantData, Model, Node, ValueInfo};
pub(crate) use write::{
    Attribute, DataType, Dim, EXTERNAL_FILE, External, ModelWriter, OPSET, Placement, int_attribute, ints_attribute,
    tensor_attribute,
};
