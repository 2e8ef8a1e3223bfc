//! A writer of ONNX's protobuf: the few messages that a composed graph needs, appended to one buffer.
//!
//! Field numbers are those of `onnx/onnx.proto3` (IR version 9). Nothing is buffered twice: weights can
//! be gigabytes, so the model's last field, the graph, gets a length of fixed width that is patched in
//! at the end (protobuf allows padded varints).

use crate::error::{BundleError, fail};

/// ONNX's `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DataType {
    Float = 1,
    Uint8 = 2,
    Int32 = 6,
    Int64 = 7,
}

/// A node's attribute.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
    Text(&'static str),
}

/// A dimension of an input or output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dim {
    /// The batch: one symbolic name for the whole graph.
    Batch,
    Fixed(usize),
}

const OPSET: u64 = 20;
const IR_VERSION: u64 = 9;
/// Width of the graph's patched length: five 7-bit groups hold 2³⁵.
const LENGTH_WIDTH: usize = 5;
/// Protobuf's limit for a message, and so ONNX's for a model in one file.
const MAX_BYTES: usize = (1 << 31) - 1;

/// An ONNX model under construction.
pub(crate) struct ModelWriter {
    bytes: Vec<u8>,
    graph_start: usize,
}

impl ModelWriter {
    /// Starts a model; `expected_bytes` reserves its memory once.
    pub(crate) fn new(name: &str, expected_bytes: usize) -> Result<Self, BundleError> {
        if expected_bytes > MAX_BYTES {
            fail!(
                TooLarge,
                "the composed graph would have {expected_bytes} bytes; an ONNX file holds less than 2 GiB \
                 (about 530 million float32 parameters): use a smaller model"
            );
        }
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(expected_bytes).is_err() {
            fail!(TooLarge, "no memory for a graph of {expected_bytes} bytes");
        }
        varint_field(&mut bytes, 1, IR_VERSION);
        bytes_field(&mut bytes, 2, b"coverslip");
        bytes_field(&mut bytes, 3, env!("CARGO_PKG_VERSION").as_bytes());
        let mut opset = Vec::new();
        bytes_field(&mut opset, 1, b"");
        varint_field(&mut opset, 2, OPSET);
        bytes_field(&mut bytes, 8, &opset);
        tag(&mut bytes, 7, 2);
        bytes.extend([0; LENGTH_WIDTH]);
        let graph_start = bytes.len();
        bytes_field(&mut bytes, 2, name.as_bytes());
        Ok(Self { bytes, graph_start })
    }

    /// Adds a node of the standard domain.
    pub(crate) fn node(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) {
        let mut node = Vec::new();
        for input in inputs {
            bytes_field(&mut node, 1, input.as_bytes());
        }
        for output in outputs {
            bytes_field(&mut node, 2, output.as_bytes());
        }
        bytes_field(&mut node, 3, name.as_bytes());
        bytes_field(&mut node, 4, op.as_bytes());
        for (name, attribute) in attributes {
            bytes_field(&mut node, 5, &encode_attribute(name, attribute));
        }
        bytes_field(&mut self.bytes, 1, &node);
    }

    /// Adds a float32 constant.
    pub(crate) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        self.initializer(name, dims, DataType::Float, values.len() * 4, |bytes| {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        });
    }

    /// Adds an int64 constant.
    pub(crate) fn ints(&mut self, name: &str, dims: &[usize], values: &[i64]) {
        self.initializer(name, dims, DataType::Int64, values.len() * 8, |bytes| {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        });
    }

    fn initializer(
        &mut self,
        name: &str,
        dims: &[usize],
        data_type: DataType,
        raw_bytes: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut head = Vec::new();
        for dim in dims {
            varint_field(&mut head, 1, *dim as u64);
        }
        varint_field(&mut head, 2, data_type as u64);
        bytes_field(&mut head, 8, name.as_bytes());
        tag(&mut head, 9, 2);
        varint(&mut head, raw_bytes as u64);
        tag(&mut self.bytes, 5, 2);
        varint(&mut self.bytes, (head.len() + raw_bytes) as u64);
        self.bytes.extend(head);
        write(&mut self.bytes);
    }

    /// Declares the graph's input.
    pub(crate) fn input(&mut self, name: &str, data_type: DataType, shape: &[Dim]) {
        bytes_field(&mut self.bytes, 11, &value_info(name, data_type, shape));
    }

    /// Declares a graph output; their order is the order of the calls.
    pub(crate) fn output(&mut self, name: &str, data_type: DataType, shape: &[Dim]) {
        bytes_field(&mut self.bytes, 12, &value_info(name, data_type, shape));
    }

    /// The finished file.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, BundleError> {
        let total = self.bytes.len();
        if total > MAX_BYTES {
            fail!(TooLarge, "the composed graph has {total} bytes, ONNX's limit is {MAX_BYTES}");
        }
        let mut length = total - self.graph_start;
        let field = &mut self.bytes[self.graph_start - LENGTH_WIDTH..self.graph_start];
        for (i, byte) in field.iter_mut().enumerate() {
            let more = if i + 1 < LENGTH_WIDTH { 0x80 } else { 0 };
            *byte = (length & 0x7f) as u8 | more;
            length >>= 7;
        }
        Ok(self.bytes)
    }
}

fn encode_attribute(name: &str, attribute: &Attribute) -> Vec<u8> {
    let mut out = Vec::new();
    bytes_field(&mut out, 1, name.as_bytes());
    let kind = match attribute {
        Attribute::Float(value) => {
            tag(&mut out, 2, 5);
            out.extend(value.to_le_bytes());
            1
        }
        Attribute::Int(value) => {
            varint_field(&mut out, 3, *value as u64);
            2
        }
        Attribute::Ints(values) => {
            for value in values {
                varint_field(&mut out, 8, *value as u64);
            }
            7
        }
        Attribute::Text(value) => {
            bytes_field(&mut out, 4, value.as_bytes());
            3
        }
    };
    varint_field(&mut out, 20, kind);
    out
}

fn value_info(name: &str, data_type: DataType, shape: &[Dim]) -> Vec<u8> {
    let mut dims = Vec::new();
    for dim in shape {
        let mut encoded = Vec::new();
        match dim {
            Dim::Batch => bytes_field(&mut encoded, 2, b"batch"),
            Dim::Fixed(size) => varint_field(&mut encoded, 1, *size as u64),
        }
        bytes_field(&mut dims, 1, &encoded);
    }
    let mut tensor = Vec::new();
    varint_field(&mut tensor, 1, data_type as u64);
    bytes_field(&mut tensor, 2, &dims);
    let mut kind = Vec::new();
    bytes_field(&mut kind, 1, &tensor);
    let mut info = Vec::new();
    bytes_field(&mut info, 1, name.as_bytes());
    bytes_field(&mut info, 2, &kind);
    info
}

fn tag(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_field(out: &mut Vec<u8>, field: u64, value: u64) {
    tag(out, field, 0);
    varint(out, value);
}

fn bytes_field(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    tag(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}
