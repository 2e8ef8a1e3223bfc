//! For the tests against real libraries: finding them, and small ONNX models.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::PathBuf;

use coverslip_tensorrt::Library;

/// The library that an environment variable names. Without it the test is left out and says so.
pub(crate) fn library(variable: &str) -> Option<Library> {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else {
        #[allow(clippy::print_stderr, reason = "a test says why it is left out")]
        {
            eprintln!("left out: {variable} does not name a TensorRT library");
        }
        return None;
    };
    let path = PathBuf::from(path);
    Some(Library::load(&path).unwrap_or_else(|error| panic!("{variable}={}: {error}", path.display())))
}

/// A protobuf message, with the field types that ONNX needs.
#[derive(Clone, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn number(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    pub(crate) fn int(self, field: u64, value: i64) -> Self {
        self.number(field << 3).number(value as u64)
    }

    pub(crate) fn bytes(self, field: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let mut message = self.number(field << 3 | 2).number(value.len() as u64);
        message.0.extend_from_slice(value);
        message
    }

    pub(crate) fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, value.0)
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

const FLOAT: i64 = 1;

fn value_info(name: &str, shape: &[Option<i64>]) -> Message {
    let dims = shape.iter().fold(Message::default(), |dims, extent| {
        let dim = match extent {
            Some(extent) => Message::default().int(1, *extent),
            None => Message::default().bytes(2, "batch"),
        };
        dims.message(1, dim)
    });
    let tensor = Message::default().int(1, FLOAT).message(2, dims);
    Message::default().bytes(1, name).message(2, Message::default().message(1, tensor))
}

fn node(operator: &str, name: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, input| node.bytes(1, input));
    node.bytes(2, output).bytes(3, name).bytes(4, operator)
}

/// Where the model's weight is.
pub(crate) enum Weights<'w> {
    /// In the model.
    Inside,
    /// In a file beside the model.
    File(&'w str),
    /// Nowhere.
    Missing,
}

pub(crate) const INNER: usize = 8;
pub(crate) const OUTER: usize = 4;

/// The weight's values.
pub(crate) fn values() -> Vec<u8> {
    (0..INNER * OUTER).flat_map(|i| (i as f32 / 16.0 - 1.0).to_le_bytes()).collect()
}

/// `y = activation(x · w)`, x [batch, 8], w [8, 4].
pub(crate) fn model(weights: &Weights<'_>, activation: &str) -> Vec<u8> {
    let tensor = Message::default().int(1, INNER as i64).int(1, OUTER as i64).int(2, FLOAT).bytes(8, "w");
    let tensor = match weights {
        Weights::Inside => Some(tensor.bytes(9, values())),
        Weights::File(file) => {
            let entry = |key: &str, value: &str| Message::default().bytes(1, key).bytes(2, value);
            let length = (INNER * OUTER * 4).to_string();
            let located = tensor.message(13, entry("location", file)).message(13, entry("offset", "0"));
            Some(located.message(13, entry("length", &length)).int(14, 1))
        }
        Weights::Missing => None,
    };
    let graph = Message::default()
        .message(1, node("MatMul", "project", &["x", "w"], "projected"))
        .message(1, node(activation, "activate", &["projected"], "y"))
        .bytes(2, "tiny");
    let graph = match tensor {
        Some(tensor) => graph.message(5, tensor),
        None => graph,
    };
    let graph = graph
        .message(11, value_info("x", &[None, Some(INNER as i64)]))
        .message(12, value_info("y", &[None, Some(OUTER as i64)]));
    let opset = Message::default().bytes(1, "").int(2, 17);
    Message::default().int(1, 8).message(7, graph).message(8, opset).finish()
}
