//! A writer of ONNX's protobuf: the messages that a composed graph needs, appended to one buffer.
//!
//! Field numbers are those of `onnx/onnx.proto3` (IR version 9). Weights can be gigabytes, so nothing is buffered
//! twice: the length of the graph, the model's last field, has a fixed width and is patched in at the end (protobuf
//! allows padded varints). A model beyond protobuf's 2 GiB has its weights in a second buffer, as ONNX's external data.

use std::ops::Range;

use super::model::Node;
use crate::error::{BundleError, fail};

/// ONNX's `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DataType {
    Float = 1,
    Uint8 = 2,
    Int32 = 6,
    Int64 = 7,
    Float16 = 10,
    BFloat16 = 16,
}

/// A node's attribute.
#[derive(Clone, Debug)]
pub enum Attribute {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
    Text(&'static str),
}

/// A dimension of an input or output.
#[derive(Clone, Copy, Debug)]
pub enum Dim {
    /// The batch: one symbolic name for the whole graph.
    Batch,
    Fixed(usize),
    /// An unstated size.
    Any,
}

/// The opset of graphs that are composed from weights alone.
pub(crate) const OPSET: u64 = 20;
const IR_VERSION: u64 = 9;
/// Alignment of external weights, bytes: that of the widest vector registers.
const ALIGNMENT: usize = 64;
/// Name of the file with external weights, beside the model's.
pub const EXTERNAL_FILE: &str = "model.onnx.data";
/// Width of the graph's patched length: five 7-bit groups hold 2³⁵.
const LENGTH_WIDTH: usize = 5;
/// Protobuf's limit for a message, and so ONNX's for a model in one file.
const MAX_BYTES: usize = (1 << 31) - 1;

/// The place of a model's weights.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placement {
    /// In the model's file, if they fit into ONNX's 2 GiB.
    Inside,
    /// In a file of their own.
    Apart,
}

/// An ONNX model under construction.
pub struct ModelWriter {
    bytes: Vec<u8>,
    graph_start: usize,
    /// The weights, if they are not in the model's own file.
    external: Option<External>,
}

/// Weights outside the model's file.
#[derive(Debug, Default)]
pub struct External {
    pub bytes: Vec<u8>,
    /// The byte range of each constant.
    pub tensors: Vec<(String, Range<usize>)>,
}

impl ModelWriter {
    /// Starts a model and reserves `expected_bytes` of memory at once.
    pub fn new(name: &str, opset: u64, expected_bytes: usize, placement: Placement) -> Result<Self, BundleError> {
        let external = placement == Placement::Apart || expected_bytes > MAX_BYTES;
        let mut bytes = Vec::new();
        let mut weights = Vec::new();
        let reserved = if external { &mut weights } else { &mut bytes };
        if reserved.try_reserve_exact(expected_bytes).is_err() {
            fail!(OutOfMemory, "no memory for a graph of {expected_bytes} bytes");
        }
        varint_field(&mut bytes, 1, IR_VERSION);
        bytes_field(&mut bytes, 2, b"coverslip");
        bytes_field(&mut bytes, 3, env!("CARGO_PKG_VERSION").as_bytes());
        let mut imported = Vec::new();
        bytes_field(&mut imported, 1, b"");
        varint_field(&mut imported, 2, opset);
        bytes_field(&mut bytes, 8, &imported);
        tag(&mut bytes, 7, 2);
        bytes.extend([0; LENGTH_WIDTH]);
        let graph_start = bytes.len();
        bytes_field(&mut bytes, 2, name.as_bytes());
        Ok(Self { bytes, graph_start, external: external.then_some(External { bytes: weights, tensors: Vec::new() }) })
    }

    /// Adds a node of the standard domain.
    pub fn node(&mut self, op: &str, name: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]) {
        let attributes = attributes.iter().map(|(name, attribute)| encode_attribute(name, attribute)).collect();
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.copied_node(&Node {
            op: op.to_owned(),
            name: name.to_owned(),
            domain: String::new(),
            inputs: owned(inputs),
            outputs: owned(outputs),
            attributes,
        });
    }

    /// Adds a copy of a parsed node.
    pub fn copied_node(&mut self, node: &Node) {
        let mut encoded = Vec::new();
        for input in &node.inputs {
            bytes_field(&mut encoded, 1, input.as_bytes());
        }
        for output in &node.outputs {
            bytes_field(&mut encoded, 2, output.as_bytes());
        }
        bytes_field(&mut encoded, 3, node.name.as_bytes());
        bytes_field(&mut encoded, 4, node.op.as_bytes());
        for attribute in &node.attributes {
            bytes_field(&mut encoded, 5, attribute);
        }
        if !node.domain.is_empty() {
            bytes_field(&mut encoded, 7, node.domain.as_bytes());
        }
        bytes_field(&mut self.bytes, 1, &encoded);
    }

    /// Adds a constant of any type, its elements little-endian.
    pub fn constant(&mut self, name: &str, dims: &[usize], data_type: u64, raw: &[u8]) {
        self.initializer(name, dims, data_type, raw.len(), |bytes| bytes.extend_from_slice(raw));
    }

    /// Adds a float32 constant.
    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        self.initializer(name, dims, DataType::Float as u64, values.len() * 4, |bytes| {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        });
    }

    /// Adds an int64 constant.
    pub fn ints(&mut self, name: &str, dims: &[usize], values: &[i64]) {
        self.initializer(name, dims, DataType::Int64 as u64, values.len() * 8, |bytes| {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        });
    }

    fn initializer(
        &mut self,
        name: &str,
        dims: &[usize],
        data_type: u64,
        raw_bytes: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut head = Vec::new();
        for dim in dims {
            varint_field(&mut head, 1, *dim as u64);
        }
        varint_field(&mut head, 2, data_type);
        bytes_field(&mut head, 8, name.as_bytes());
        tag(&mut self.bytes, 5, 2);
        // Engines read shapes and other small constants while they load a graph, so these stay with the nodes.
        if let Some(external) = self.external.as_mut().filter(|_| raw_bytes >= ALIGNMENT) {
            let weights = &mut external.bytes;
            weights.resize(weights.len().next_multiple_of(ALIGNMENT), 0);
            let offset = weights.len();
            write(weights);
            external.tensors.push((name.to_owned(), offset..offset + raw_bytes));
            for (key, value) in [
                ("location", EXTERNAL_FILE.to_owned()),
                ("offset", offset.to_string()),
                ("length", raw_bytes.to_string()),
            ] {
                let mut entry = Vec::new();
                bytes_field(&mut entry, 1, key.as_bytes());
                bytes_field(&mut entry, 2, value.as_bytes());
                bytes_field(&mut head, 13, &entry);
            }
            varint_field(&mut head, 14, 1);
            varint(&mut self.bytes, head.len() as u64);
            self.bytes.extend(head);
            return;
        }
        tag(&mut head, 9, 2);
        varint(&mut head, raw_bytes as u64);
        varint(&mut self.bytes, (head.len() + raw_bytes) as u64);
        self.bytes.extend(head);
        write(&mut self.bytes);
    }

    /// Declares the graph's input.
    pub fn input(&mut self, name: &str, data_type: DataType, shape: &[Dim]) {
        bytes_field(&mut self.bytes, 11, &value_info(name, data_type, shape));
    }

    /// Declares a graph output. Outputs have the order of the calls.
    pub fn output(&mut self, name: &str, data_type: DataType, shape: &[Dim]) {
        bytes_field(&mut self.bytes, 12, &value_info(name, data_type, shape));
    }

    /// Finishes the model; returns its file and, if there are any, the external weights.
    pub fn finish(mut self) -> Result<(Vec<u8>, Option<External>), BundleError> {
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
        Ok((self.bytes, self.external))
    }
}

/// Encodes an integer attribute.
pub fn int_attribute(name: &str, value: i64) -> Vec<u8> {
    encode_attribute(name, &Attribute::Int(value))
}

/// Encodes an attribute that is a list of integers.
pub fn ints_attribute(name: &str, values: &[i64]) -> Vec<u8> {
    encode_attribute(name, &Attribute::Ints(values.to_vec()))
}

/// Encodes a tensor attribute; `raw` has its elements, little-endian.
pub fn tensor_attribute(name: &str, dims: &[usize], data_type: u64, raw: &[u8]) -> Vec<u8> {
    let mut tensor = Vec::new();
    for dim in dims {
        varint_field(&mut tensor, 1, *dim as u64);
    }
    varint_field(&mut tensor, 2, data_type);
    bytes_field(&mut tensor, 9, raw);
    let mut out = Vec::new();
    bytes_field(&mut out, 1, name.as_bytes());
    bytes_field(&mut out, 5, &tensor);
    varint_field(&mut out, 20, 4);
    out
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
            Dim::Any => {}
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
