//! The vocabulary in which the composer writes: values are names, a node's output has the node's name.
//!
//! Values are float32 unless a method says that they are narrow: of the type in which the products are computed. With
//! [`Precision::Float32`] the two are one, and no cast is written.

use crate::error::BundleError;
use crate::onnx::{Attribute, DataType, Dim, External, ModelWriter, Node, Placement};
use crate::precision::Precision;

/// A graph under construction.
pub struct Graph {
    writer: ModelWriter,
    opset: u64,
    precision: Precision,
}

impl Graph {
    /// An empty graph in float32; `expected_bytes` reserves its memory once.
    pub fn new(name: &str, opset: u64, expected_bytes: usize) -> Result<Self, BundleError> {
        Self::placed(name, opset, expected_bytes, Placement::Inside)
    }

    /// The same with the weights where `placement` says.
    pub fn placed(name: &str, opset: u64, expected_bytes: usize, placement: Placement) -> Result<Self, BundleError> {
        let writer = ModelWriter::new(name, opset, expected_bytes, placement)?;
        Ok(Self { writer, opset, precision: Precision::Float32 })
    }

    /// It, with narrow values of another type.
    pub fn at(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The type of narrow values.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    pub fn input(&mut self, name: &str, data_type: DataType, shape: &[Dim]) {
        self.writer.input(name, data_type, shape);
    }

    pub fn output(&mut self, name: &str, data_type: DataType, shape: &[Dim]) {
        self.writer.output(name, data_type, shape);
    }

    pub fn copied_node(&mut self, node: &Node) {
        self.writer.copied_node(node);
    }

    pub fn constant(&mut self, name: &str, dims: &[usize], data_type: u64, raw: &[u8]) {
        self.writer.constant(name, dims, data_type, raw);
    }

    pub fn finish(self) -> Result<(Vec<u8>, Option<External>), BundleError> {
        self.writer.finish()
    }

    /// A float32 constant; returns its name.
    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len(), "{name}");
        self.writer.floats(name, dims, values);
        name.to_owned()
    }

    /// A narrow constant; returns its name.
    ///
    /// # Errors
    /// `NotFinite` where the type cannot hold a value.
    pub(crate) fn narrow_floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Result<String, BundleError> {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len(), "{name}");
        let raw = self.precision.encode(name, values)?;
        self.writer.constant(name, dims, self.precision.data_type() as u64, &raw);
        Ok(name.to_owned())
    }

    /// x, float32 or bytes, made narrow.
    pub fn narrow(&mut self, name: &str, x: &str) -> String {
        self.cast(name, x, self.precision.data_type())
    }

    /// A float32 value made narrow.
    pub(crate) fn narrowed(&mut self, x: &str) -> String {
        if self.precision == Precision::Float32 { x.to_owned() } else { self.narrow(&format!("{x}.narrow"), x) }
    }

    /// A narrow value made float32.
    pub(crate) fn widened(&mut self, x: &str) -> String {
        if self.precision == Precision::Float32 {
            return x.to_owned();
        }
        self.cast(&format!("{x}.wide"), x, DataType::Float)
    }

    /// A float32 scalar.
    pub(crate) fn scalar(&mut self, name: &str, value: f64) -> String {
        self.floats(name, &[], &[value as f32])
    }

    /// A vector of int64: shapes, axes, counts.
    pub fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.writer.ints(name, &[values.len()], values);
        name.to_owned()
    }

    /// A node with one output, called `name`.
    pub fn op(&mut self, name: &str, op: &str, inputs: &[&str]) -> String {
        self.op_with(name, op, inputs, &[])
    }

    /// A node with attributes and one output, called `name`.
    pub(crate) fn op_with(
        &mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        self.writer.node(op, name, inputs, &[name], attributes);
        name.to_owned()
    }

    /// x reshaped; −1 stands for the batch.
    pub fn reshape(&mut self, name: &str, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(&format!("{name}.shape"), shape);
        self.op(name, "Reshape", &[x, &shape])
    }

    /// x with its axes permuted.
    pub fn transpose(&mut self, name: &str, x: &str, perm: &[i64]) -> String {
        let perm = ("perm", Attribute::Ints(perm.to_vec()));
        self.op_with(name, "Transpose", &[x], &[perm])
    }

    /// x·W (+ b), all of it narrow; W `[inputs, outputs]`: the layout that engines multiply without transposing.
    pub fn linear(&mut self, name: &str, x: &str, layer: &Linear) -> Result<String, BundleError> {
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        let weight = self.narrow_floats(&format!("{name}.weight"), &[inputs, outputs], &layer.weight)?;
        let Some(bias) = &layer.bias else {
            return Ok(self.op(name, "MatMul", &[x, &weight]));
        };
        let product = self.op(&format!("{name}.product"), "MatMul", &[x, &weight]);
        let bias = self.narrow_floats(&format!("{name}.bias"), &[outputs], bias)?;
        Ok(self.op(name, "Add", &[&product, &bias]))
    }

    /// LayerNorm over the last axis.
    pub fn layer_norm(&mut self, name: &str, x: &str, norm: &Norm) -> String {
        let width = norm.weight.len();
        let weight = self.floats(&format!("{name}.weight"), &[width], &norm.weight);
        let bias = self.floats(&format!("{name}.bias"), &[width], &norm.bias);
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(norm.eps as f32))];
        self.op_with(name, "LayerNormalization", &[x, &weight, &bias], &attributes)
    }

    /// `op` (`ReduceMean`, `ReduceSum`, …) along one axis.
    pub fn reduce(&mut self, name: &str, op: &str, x: &str, axis: i64, keep: bool) -> String {
        let keep = ("keepdims", Attribute::Int(i64::from(keep)));
        // The axes became an input: of ReduceSum with opset 13, of the others with 18.
        if self.opset < if op == "ReduceSum" { 13 } else { 18 } {
            return self.op_with(name, op, &[x], &[("axes", Attribute::Ints(vec![axis])), keep]);
        }
        let axes = self.ints(&format!("{name}.axes"), &[axis]);
        self.op_with(name, op, &[x, &axes], &[keep])
    }

    /// x's elements `start..end` along one axis.
    pub fn slice(&mut self, name: &str, x: &str, axis: i64, start: i64, end: i64) -> String {
        let starts = self.ints(&format!("{name}.start"), &[start]);
        let ends = self.ints(&format!("{name}.end"), &[end]);
        let axes = self.ints(&format!("{name}.axis"), &[axis]);
        self.op(name, "Slice", &[x, &starts, &ends, &axes])
    }

    /// Values side by side along the last axis.
    pub fn concat(&mut self, name: &str, parts: &[&str]) -> String {
        let last = ("axis", Attribute::Int(-1));
        self.op_with(name, "Concat", parts, &[last])
    }

    /// x converted to another type.
    pub fn cast(&mut self, name: &str, x: &str, to: DataType) -> String {
        let to = ("to", Attribute::Int(to as i64));
        self.op_with(name, "Cast", &[x], &[to])
    }

    /// The `k` largest along the last axis, sorted; equal values: the smaller index first. Returns the
    /// names of values and int64 indices.
    pub fn top_k(&mut self, name: &str, x: &str, k: usize) -> (String, String) {
        let k = self.ints(&format!("{name}.k"), &[k as i64]);
        let (values, indices) = (format!("{name}.values"), format!("{name}.indices"));
        let attributes = [("axis", Attribute::Int(-1)), ("largest", Attribute::Int(1)), ("sorted", Attribute::Int(1))];
        let outputs = [values.as_str(), indices.as_str()];
        self.writer.node("TopK", name, &[x, &k], &outputs, &attributes);
        (values, indices)
    }
}

/// A linear layer, its weight transposed to `[inputs, outputs]`.
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
}

impl Linear {
    /// From PyTorch's layout (`weight` `[outputs, inputs]`), each output scaled by `scale(output)`.
    pub(crate) fn from_rows(weight: &[f32], bias: Option<&[f32]>, inputs: usize, scale: impl Fn(usize) -> f64) -> Self {
        let outputs = weight.len() / inputs;
        let mut transposed = vec![0.0; weight.len()];
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            let scale = scale(output);
            for (input, value) in row.iter().enumerate() {
                transposed[input * outputs + output] = (f64::from(*value) * scale) as f32;
            }
        }
        let scaled = |(i, b): (usize, &f32)| (f64::from(*b) * scale(i)) as f32;
        let bias = bias.map(|bias| bias.iter().enumerate().map(scaled).collect());
        Self { inputs, outputs, weight: transposed, bias }
    }
}

/// A LayerNorm's parameters.
pub struct Norm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub eps: f64,
}
