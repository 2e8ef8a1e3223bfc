//! A reader of ONNX's messages. Field numbers are those of `onnx/onnx.proto3`. Tensors borrow their bytes from the
//! file.

use std::borrow::Cow;

use super::attribute::{AttributeValue, count_fields, read_attribute};
use super::count::{Count, Counts, at_most, each};
use super::protobuf::{Fields, Value, Varints, text};
use crate::budget::MAX_GRAPH_PARTS;
use crate::error::{BundleError, fail};

/// Largest constant, bytes: more than a whole model may have.
const LARGEST_CONSTANT: usize = 1 << 36;
/// Most axes of a constant or an input.
const MOST_AXES: usize = 32;
/// Most entries that say where a constant is, and most pieces that its numbers come in.
const MOST_PIECES: usize = 1 << 20;

/// A node of the graph.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub name: String,
    pub op: String,
    /// Empty for the standard operators.
    pub domain: String,
    /// An empty name is an omitted optional input.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Encoded `AttributeProto`s, copied unchanged.
    pub attributes: Vec<Vec<u8>>,
}

/// A constant of the graph.
#[derive(Clone, Debug)]
pub struct Constant<'a> {
    pub name: String,
    pub dims: Vec<usize>,
    /// ONNX's `TensorProto.DataType`.
    pub data_type: u64,
    pub data: ConstantData<'a>,
}

/// A constant's elements, little-endian, or their place in another file.
#[derive(Clone, Debug)]
pub enum ConstantData<'a> {
    Here(Cow<'a, [u8]>),
    /// In another file: its name, the first byte, and the number of bytes if the model states it.
    External {
        location: String,
        offset: u64,
        length: Option<u64>,
    },
}

/// An input or output of the graph.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    pub name: String,
    /// ONNX's `TensorProto.DataType`; 0 if the model does not state it.
    pub data_type: u64,
    /// Sizes; `None` for symbolic ones.
    pub dims: Vec<Option<usize>>,
}

/// A parsed model.
#[derive(Clone, Debug, Default)]
pub struct Model<'a> {
    pub producer: String,
    /// The version of the standard operators.
    pub opset: u64,
    /// Number of model-local functions.
    pub functions: usize,
    pub nodes: Vec<Node>,
    pub constants: Vec<Constant<'a>>,
    pub inputs: Vec<ValueInfo>,
    pub outputs: Vec<ValueInfo>,
}

impl<'a> Model<'a> {
    /// Reads a `ModelProto`.
    ///
    /// # Errors
    /// `Truncated` or `Invalid`.
    pub fn read(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let mut model = Model::default();
        let mut graph = None;
        let mut fields = Count::of("the file's fields", MAX_GRAPH_PARTS);
        for field in Fields(bytes) {
            fields.add(1)?;
            match field? {
                (2, Value::Bytes(producer)) => model.producer = text(producer)?.to_owned(),
                (7, Value::Bytes(bytes)) => graph = Some(bytes),
                (8, Value::Bytes(import)) => {
                    let (domain, version) = opset(import)?;
                    if domain.is_empty() || domain == "ai.onnx" {
                        model.opset = version;
                    }
                }
                (25, _) => model.functions += 1,
                _ => {}
            }
        }
        let Some(graph) = graph else {
            fail!(Invalid, "the file has no graph: expected an ONNX model");
        };
        model.read_graph(graph)?;
        Ok(model)
    }

    fn read_graph(&mut self, graph: &'a [u8]) -> Result<(), BundleError> {
        let mut counts = Counts::of_a_graph();
        for field in Fields(graph) {
            counts.parts.add(1)?;
            match field? {
                (1, Value::Bytes(node)) => self.nodes.push(read_node(node, &mut counts)?),
                (5, Value::Bytes(tensor)) => self.constants.push(Constant::read(tensor)?),
                (11, Value::Bytes(value)) => self.inputs.push(read_value_info(value, &mut counts.fields)?),
                (12, Value::Bytes(value)) => self.outputs.push(read_value_info(value, &mut counts.fields)?),
                (15, _) => fail!(
                    Unsupported,
                    "the graph has sparse constants: not supported in this version; export them as dense tensors"
                ),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Node {
    /// The attribute `name`, if the node has it.
    pub fn attribute(&self, name: &str) -> Result<Option<AttributeValue<'_>>, BundleError> {
        for bytes in &self.attributes {
            let (found, value) = read_attribute(bytes)?;
            if found == name {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Replaces the attribute `name`.
    pub fn set_attribute(&mut self, name: &str, encoded: Vec<u8>) -> Result<(), BundleError> {
        let mut kept = vec![encoded];
        for bytes in std::mem::take(&mut self.attributes) {
            if read_attribute(&bytes)?.0 != name {
                kept.push(bytes);
            }
        }
        self.attributes = kept;
        Ok(())
    }

    /// Whether an attribute holds a graph, as in `If`, `Loop` and `Scan`.
    pub(crate) fn has_subgraph(&self) -> Result<bool, BundleError> {
        for bytes in &self.attributes {
            for field in Fields(bytes) {
                if matches!(field?, (6 | 11, _)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl<'a> Constant<'a> {
    /// Reads a `TensorProto`.
    pub fn read(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let mut constant = Constant {
            name: String::new(),
            dims: Vec::new(),
            data_type: 0,
            data: ConstantData::Here(Cow::Borrowed(&[])),
        };
        let mut typed = Vec::new();
        let mut external = Vec::new();
        let mut elsewhere = false;
        let mut pieces = Count::of("a constant's pieces", MOST_PIECES);
        for field in Fields(bytes) {
            pieces.add(1)?;
            match field? {
                (1, Value::Number(dim)) => constant.dims.push(size(dim)?),
                (1, Value::Bytes(packed)) => {
                    for dim in Varints(packed).take(MOST_AXES + 1) {
                        constant.dims.push(size(dim?)?);
                    }
                }
                (2, Value::Number(data_type)) => constant.data_type = data_type,
                (8, Value::Bytes(name)) => constant.name = text(name)?.to_owned(),
                (9, Value::Bytes(raw)) => constant.data = ConstantData::Here(Cow::Borrowed(raw)),
                (4 | 5 | 7 | 10 | 11, value) => typed.push(value),
                (6, _) => fail!(Unsupported, "constant `{}` holds text: not supported in this version", constant.name),
                (13, Value::Bytes(entry)) => external.push(read_entry(entry)?),
                (14, Value::Number(location)) => elsewhere = location == 1,
                _ => {}
            }
            at_most("a constant's axes", constant.dims.len(), MOST_AXES)?;
        }
        if elsewhere {
            constant.data = external_data(&external, &constant.name)?;
        } else if !typed.is_empty() {
            constant.data = ConstantData::Here(Cow::Owned(typed_data(constant.data_type, &typed)?));
        }
        Ok(constant)
    }

    /// Checks that the type is known, the size does not overflow, and the bytes fill the shape.
    pub fn check(&self) -> Result<(), BundleError> {
        let Some(size) = element_size(self.data_type) else {
            fail!(
                Unsupported,
                "constant `{}` has ONNX type {}: not supported in this version; expected floating point or integers",
                self.name,
                self.data_type
            );
        };
        let elements = self.dims.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim));
        let bytes = elements.and_then(|n| n.checked_mul(size)).filter(|bytes| *bytes <= LARGEST_CONSTANT);
        match (&self.data, bytes) {
            (_, None) => fail!(TooLarge, "constant `{}` is too large: its shape is {:?}", self.name, self.dims),
            (ConstantData::Here(data), Some(bytes)) if data.len() != bytes => {
                fail!(
                    Invalid,
                    "constant `{}` has {} bytes, which do not fill its shape {:?}: the ONNX file is damaged",
                    self.name,
                    data.len(),
                    self.dims
                )
            }
            _ => Ok(()),
        }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.dims.iter().fold(1, |n: usize, dim| n.saturating_mul(*dim))
    }
}

/// Converts `float_data`, `int32_data` and the like to the bytes that `raw_data` would hold.
fn typed_data(data_type: u64, fields: &[Value]) -> Result<Vec<u8>, BundleError> {
    let width = match element_size(data_type) {
        Some(width) => width,
        None => fail!(Unsupported, "found a constant of ONNX type {data_type}: not supported in this version"),
    };
    let floating = data_type == 1 || data_type == 11;
    let bytes = |field: &Value| match field {
        Value::Bytes(packed) if floating => packed.len(),
        Value::Bytes(packed) => packed.iter().filter(|byte| **byte < 0x80).count().saturating_mul(width),
        Value::Fixed(bytes) => bytes.len(),
        Value::Number(_) => width,
    };
    let bytes = fields.iter().map(bytes).fold(0, usize::saturating_add);
    let mut out = Vec::new();
    if out.try_reserve_exact(bytes).is_err() {
        fail!(OutOfMemory, "no memory for a constant of {bytes} bytes");
    }
    for field in fields {
        match field {
            Value::Bytes(packed) if floating => out.extend_from_slice(packed),
            Value::Bytes(packed) => {
                for value in Varints(packed) {
                    out.extend_from_slice(&value?.to_le_bytes()[..width]);
                }
            }
            Value::Fixed(bytes) => out.extend_from_slice(bytes),
            Value::Number(value) => out.extend_from_slice(&value.to_le_bytes()[..width]),
        }
    }
    Ok(out)
}

/// Bytes per element of the supported ONNX types.
pub(super) fn element_size(data_type: u64) -> Option<usize> {
    match data_type {
        2 | 3 | 9 => Some(1),
        4 | 5 | 10 | 16 => Some(2),
        1 | 6 | 12 => Some(4),
        7 | 11 | 13 => Some(8),
        _ => None,
    }
}

fn external_data<'a>(entries: &[(String, String)], name: &str) -> Result<ConstantData<'a>, BundleError> {
    let find = |key: &str| entries.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str());
    let number = |key: &str| match find(key).map(str::parse::<u64>) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => fail!(Invalid, "constant `{name}`: `{key}` of its external data is not a number"),
    };
    let Some(location) = find("location") else {
        fail!(Invalid, "constant `{name}` is in another file, but the model does not name it");
    };
    Ok(ConstantData::External {
        location: location.to_owned(),
        offset: number("offset")?.unwrap_or(0),
        length: number("length")?,
    })
}

fn read_node(bytes: &[u8], counts: &mut Counts) -> Result<Node, BundleError> {
    let mut node = Node::default();
    for field in Fields(bytes) {
        let field = field?;
        match field {
            (1 | 2 | 5, Value::Bytes(_)) => counts.parts.add(1)?,
            _ => counts.fields.add(1)?,
        }
        match field {
            (1, Value::Bytes(input)) => node.inputs.push(text(input)?.to_owned()),
            (2, Value::Bytes(output)) => node.outputs.push(text(output)?.to_owned()),
            (3, Value::Bytes(name)) => node.name = text(name)?.to_owned(),
            (4, Value::Bytes(op)) => node.op = text(op)?.to_owned(),
            (5, Value::Bytes(attribute)) => {
                count_fields(attribute, &mut counts.fields)?;
                node.attributes.push(attribute.to_vec());
            }
            (7, Value::Bytes(domain)) => node.domain = text(domain)?.to_owned(),
            _ => {}
        }
    }
    if node.domain == "ai.onnx" {
        node.domain.clear();
    }
    Ok(node)
}

/// Reads an input or output. Its fields are looked at one by one, so that a file of empty ones takes no memory.
fn read_value_info(bytes: &[u8], fields: &mut Count) -> Result<ValueInfo, BundleError> {
    let mut info = ValueInfo { name: String::new(), data_type: 0, dims: Vec::new() };
    each(bytes, fields, |field, fields| {
        match field {
            (1, Value::Bytes(name)) => info.name = text(name)?.to_owned(),
            (2, Value::Bytes(kind)) => each(kind, fields, |field, fields| match field {
                (1, Value::Bytes(tensor)) => read_tensor_type(tensor, &mut info, fields),
                _ => Ok(()),
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(info)
}

/// Reads the type and the sizes of a tensor.
fn read_tensor_type(bytes: &[u8], info: &mut ValueInfo, fields: &mut Count) -> Result<(), BundleError> {
    each(bytes, fields, |field, fields| {
        match field {
            (1, Value::Number(data_type)) => info.data_type = data_type,
            (2, Value::Bytes(shape)) => each(shape, fields, |field, fields| {
                if let (1, Value::Bytes(dim)) = field {
                    info.dims.push(fixed_size(dim, fields)?);
                }
                at_most("an input's axes", info.dims.len(), MOST_AXES)
            })?,
            _ => {}
        }
        Ok(())
    })
}

fn fixed_size(dim: &[u8], fields: &mut Count) -> Result<Option<usize>, BundleError> {
    let mut size = None;
    each(dim, fields, |field, _| {
        if let (1, Value::Number(value)) = field {
            // Some exporters write 0 or −1 for "any".
            size = Some(value as i64).filter(|value| *value > 0).map(|value| value as usize);
        }
        Ok(())
    })?;
    Ok(size)
}

fn opset(bytes: &[u8]) -> Result<(String, u64), BundleError> {
    let (mut domain, mut version) = (String::new(), 0);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(found)) => domain = text(found)?.to_owned(),
            (2, Value::Number(found)) => version = found,
            _ => {}
        }
    }
    Ok((domain, version))
}

fn read_entry(bytes: &[u8]) -> Result<(String, String), BundleError> {
    let (mut key, mut value) = (String::new(), String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(found)) => key = text(found)?.to_owned(),
            (2, Value::Bytes(found)) => value = text(found)?.to_owned(),
            _ => {}
        }
    }
    Ok((key, value))
}

fn size(dim: u64) -> Result<usize, BundleError> {
    match usize::try_from(dim as i64) {
        Ok(size) => Ok(size),
        Err(_) => fail!(Invalid, "a constant has a dimension of {}", dim as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../import/tests/golden/onnx/refused/antialias/model.onnx");
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_file_is_read() {
        let bytes = file();
        let model = Model::read(&bytes).unwrap();
        assert_eq!((model.opset, model.nodes.len(), model.constants.len()), (18, 3, 2));
        let resize = &model.nodes[0];
        assert_eq!(resize.inputs, ["image", "", "", "sizes"]);
        assert_eq!(resize.attribute("mode").unwrap(), Some(AttributeValue::Text("cubic")));
        assert_eq!(resize.attribute("antialias").unwrap(), Some(AttributeValue::Int(1)));
        assert_eq!(resize.attribute("roi").unwrap(), None);
        assert_eq!(model.inputs[0].dims, [None, Some(3), Some(16), Some(16)]);
        let sizes = &model.constants[0];
        assert_eq!((&sizes.dims[..], sizes.data_type), (&[4][..], 7));
    }

    /// A field of a message.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        [out, vec![length as u8], content.to_vec()].concat()
    }

    #[test]
    fn fields_that_hold_nothing_are_counted() {
        let empty = |number: u8| [number << 3 | 2, 0].repeat(1 << 21);
        let input = |tensor: &[u8]| field(11, &field(2, &field(1, tensor)));
        for (what, graph) in [
            ("shapes", input(&empty(2))),
            ("axes", input(&field(2, &empty(3)))),
            ("an axis", input(&field(2, &field(1, &empty(2))))),
            ("types", field(11, &empty(2))),
            ("names", field(1, &empty(3))),
            ("notes", field(1, &empty(9))),
            ("numbers", field(1, &field(5, &[8u8 << 3, 1].repeat(1 << 21)))),
            ("packed numbers", field(1, &field(5, &field(8, &vec![1; 1 << 21])))),
            ("packed floats", field(1, &field(5, &field(7, &vec![1; 1 << 23])))),
            ("lists of no number", field(1, &field(5, &empty(8)))),
            ("pieces of a constant", field(5, &empty(12))),
        ] {
            let error = Model::read(&field(7, &graph)).expect_err(what);
            assert_eq!(error.kind(), crate::error::BundleErrorKind::TooLarge, "{what}: {error}");
        }
        // One attribute does not use up what the others need.
        let one = field(1, &field(5, &[8u8 << 3, 1].repeat(1 << 18)));
        assert!(Model::read(&field(7, &one.repeat(3))).is_ok());
        assert!(Model::read(&field(7, &one.repeat(5))).is_err());
        assert!(Model::read(&[field(7, &one), field(14, &[]).repeat(1 << 20)].concat()).is_err(), "a file's fields");
    }

    #[test]
    fn damaged_files_never_panic_or_allocate_without_bound() {
        let whole = file();
        let head = &whole[..whole.len().min(2000)];
        for cut in 0..head.len() {
            assert!(Model::read(&head[..cut]).is_err());
        }
        let mut state = 1u64;
        for _ in 0..4000 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % 600;
                bytes[at] = (state >> 20) as u8;
            }
            // Most give an error and some another model.
            if let Ok(model) = Model::read(&bytes) {
                assert!(model.nodes.iter().all(|node| node.has_subgraph().is_ok() || node.has_subgraph().is_err()));
            }
        }
    }
}
