//! ONNX files, read and written by hand. Only the needed part of the format is known here and unknown fields are
//! copied; a generated reader would need protobuf's compiler.

mod attribute;
mod count;
mod demand;
mod model;
pub mod operators;
mod protobuf;
mod structure;
mod writer;

pub use attribute::AttributeValue;
pub use demand::{Demand, demand, inferred};
pub use model::{Constant, ConstantData, Model, Node, ValueInfo};
pub(crate) use structure::check_model;
pub use structure::{GraphSize, check_names, check_onnx};
pub(crate) use writer::OPSET;
pub use writer::{
    Attribute, DataType, Dim, EXTERNAL_FILE, External, ModelWriter, Placement, int_attribute, ints_attribute,
    tensor_attribute,
};
