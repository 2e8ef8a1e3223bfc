//! A reader of the protobuf that the composer writes: independent of it, and just enough for tests.

use std::collections::HashMap;

/// One field: its number, and a number or bytes.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let number = tag >> 3;
        let length = match tag & 7 {
            0 => {
                fields.push(Field::Number(number, varint(&mut bytes)));
                continue;
            }
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        fields.push(Field::Bytes(number, &bytes[..length]));
        bytes = &bytes[length..];
    }
    fields
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A node of the graph.
pub(crate) struct Node {
    pub(crate) op: String,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    /// A cast's `to`.
    pub(crate) to: Option<u64>,
}

/// A constant.
pub(crate) struct Constant {
    pub(crate) dims: Vec<usize>,
    /// ONNX's number of its type.
    pub(crate) element: u64,
    pub(crate) raw: Vec<u8>,
}

impl Constant {
    pub(crate) fn floats(&self) -> Vec<f32> {
        self.raw.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
    }
}

/// What a model file says.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) opset: u64,
    pub(crate) domains: Vec<String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) constants: HashMap<String, Constant>,
    pub(crate) inputs: Vec<(String, u64, Vec<String>)>,
    pub(crate) outputs: Vec<(String, u64, Vec<String>)>,
}

pub(crate) fn parse(bytes: &[u8]) -> Model {
    let mut model = Model::default();
    for field in fields(bytes) {
        match field {
            Field::Bytes(7, graph) => parse_graph(&mut model, graph),
            Field::Bytes(8, opset) => {
                for field in fields(opset) {
                    match field {
                        Field::Bytes(1, domain) => model.domains.push(text(domain)),
                        Field::Number(2, version) => model.opset = version,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    model
}

fn parse_graph(model: &mut Model, graph: &[u8]) {
    for field in fields(graph) {
        match field {
            Field::Bytes(1, node) => model.nodes.push(parse_node(node)),
            Field::Bytes(5, tensor) => {
                let (name, constant) = parse_constant(tensor);
                assert!(model.constants.insert(name.clone(), constant).is_none(), "{name} twice");
            }
            Field::Bytes(11, value) => model.inputs.push(parse_value(value)),
            Field::Bytes(12, value) => model.outputs.push(parse_value(value)),
            _ => {}
        }
    }
}

fn parse_node(bytes: &[u8]) -> Node {
    let mut node = Node { op: String::new(), inputs: Vec::new(), outputs: Vec::new(), to: None };
    for field in fields(bytes) {
        match field {
            Field::Bytes(1, name) => node.inputs.push(text(name)),
            Field::Bytes(2, name) => node.outputs.push(text(name)),
            Field::Bytes(4, op) => node.op = text(op),
            Field::Bytes(5, attribute) => node.to = node.to.or(parse_to(attribute)),
            _ => {}
        }
    }
    node
}

/// The number of an attribute called `to`.
fn parse_to(attribute: &[u8]) -> Option<u64> {
    let fields = fields(attribute);
    let named = fields.iter().any(|field| matches!(field, Field::Bytes(1, b"to")));
    let number = |field: &Field<'_>| if let Field::Number(3, value) = field { Some(*value) } else { None };
    fields.iter().find_map(number).filter(|_| named)
}

fn parse_constant(bytes: &[u8]) -> (String, Constant) {
    let (mut name, mut constant) = (String::new(), Constant { dims: Vec::new(), element: 0, raw: Vec::new() });
    for field in fields(bytes) {
        match field {
            Field::Number(1, dim) => constant.dims.push(dim as usize),
            Field::Number(2, data_type) => constant.element = data_type,
            Field::Bytes(8, bytes) => name = text(bytes),
            Field::Bytes(9, raw) => constant.raw = raw.to_vec(),
            _ => {}
        }
    }
    let element = match constant.element {
        7 => 8,
        10 | 16 => 2,
        _ => 4,
    };
    assert_eq!(constant.dims.iter().product::<usize>() * element, constant.raw.len(), "{name}");
    (name, constant)
}

/// Name, element type, and dimensions as text (symbolic names stay).
fn parse_value(bytes: &[u8]) -> (String, u64, Vec<String>) {
    let (mut name, mut element, mut dims) = (String::new(), 0, Vec::new());
    let nested = |bytes, number| {
        let found = fields(bytes).into_iter().find_map(|field| match field {
            Field::Bytes(n, inner) if n == number => Some(inner),
            _ => None,
        });
        found.unwrap()
    };
    for field in fields(bytes) {
        match field {
            Field::Bytes(1, bytes) => name = text(bytes),
            Field::Bytes(2, kind) => {
                for field in fields(nested(kind, 1)) {
                    match field {
                        Field::Number(1, data_type) => element = data_type,
                        Field::Bytes(2, shape) => {
                            for dim in fields(shape) {
                                let Field::Bytes(1, dim) = dim else { panic!("shape") };
                                dims.extend(fields(dim).into_iter().map(|dim| match dim {
                                    Field::Number(1, size) => size.to_string(),
                                    Field::Bytes(2, name) => text(name),
                                    _ => panic!("dimension"),
                                }));
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (name, element, dims)
}
