//! A graph builder with the operations that the composer needs. A value is its name; a node's output has the node's
//! name.
//!
//! Values are float32 unless a method calls them narrow: of the precision in which the products are computed. With
//! [`Precision::Float32`] the two are the same and no cast is written.

use crate::error::BundleError;
use crate::fold::{Linear, Norm};
use crate::onnx::{Attribute, DataType, Dim, External, ModelWriter, Node, Placement};
use crate::precision::Precision;

/// A graph under construction.
pub struct Graph {
    writer: ModelWriter,
    opset: u64,
    precision: Precision,
}

impl Graph {
    /// Starts a graph in float32 and reserves `expected_bytes` of memory at once.
    pub fn new(name: &str, opset: u64, expected_bytes: usize) -> Result<Self, BundleError> {
        Self::placed(name, opset, expected_bytes, Placement::Inside)
    }

    /// As [`Graph::new`], with the weights inside or outside the model's file.
    pub fn placed(name: &str, opset: u64, expected_bytes: usize, placement: Placement) -> Result<Self, BundleError> {
        let writer = ModelWriter::new(name, opset, expected_bytes, placement)?;
        Ok(Self { writer, opset, precision: Precision::Float32 })
    }

    /// Sets the type of narrow values.
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

    /// Adds a float32 constant; returns its name.
    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len(), "{name}");
        self.writer.floats(name, dims, values);
        name.to_owned()
    }

    /// Adds a narrow constant; returns its name.
    ///
    /// # Errors
    /// `NotFinite` if the type cannot hold a value.
    pub(crate) fn narrow_floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Result<String, BundleError> {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len(), "{name}");
        let raw = self.precision.encode(name, values)?;
        self.writer.constant(name, dims, self.precision.data_type() as u64, &raw);
        Ok(name.to_owned())
    }

    /// Converts x, float32 or bytes, to narrow.
    pub fn narrow(&mut self, name: &str, x: &str) -> String {
        self.cast(name, x, self.precision.data_type())
    }

    /// Converts a float32 value to narrow.
    pub(crate) fn narrowed(&mut self, x: &str) -> String {
        if self.precision == Precision::Float32 { x.to_owned() } else { self.narrow(&format!("{x}.narrow"), x) }
    }

    /// Converts a narrow value to float32.
    pub(crate) fn widened(&mut self, x: &str) -> String {
        if self.precision == Precision::Float32 {
            return x.to_owned();
        }
        self.cast(&format!("{x}.wide"), x, DataType::Float)
    }

    /// Adds a float32 scalar.
    pub(crate) fn scalar(&mut self, name: &str, value: f64) -> String {
        self.floats(name, &[], &[value as f32])
    }

    /// Adds a vector of int64, such as a shape, axes or a count.
    pub fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.writer.ints(name, &[values.len()], values);
        name.to_owned()
    }

    /// Adds a node whose one output is named `name`.
    pub fn op(&mut self, name: &str, op: &str, inputs: &[&str]) -> String {
        self.op_with(name, op, inputs, &[])
    }

    /// Adds a node with attributes whose one output is named `name`.
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

    /// Reshapes x; −1 is the batch.
    pub fn reshape(&mut self, name: &str, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(&format!("{name}.shape"), shape);
        self.op(name, "Reshape", &[x, &shape])
    }

    /// Permutes the axes of x.
    pub fn transpose(&mut self, name: &str, x: &str, perm: &[i64]) -> String {
        let perm = ("perm", Attribute::Ints(perm.to_vec()));
        self.op_with(name, "Transpose", &[x], &[perm])
    }

    /// x·W (+ b), all narrow. W is `[inputs, outputs]`, the layout that engines multiply without transposing.
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
        // The axes became an input in opset 13 for ReduceSum and in opset 18 for the others.
        if self.opset < if op == "ReduceSum" { 13 } else { 18 } {
            return self.op_with(name, op, &[x], &[("axes", Attribute::Ints(vec![axis])), keep]);
        }
        let axes = self.ints(&format!("{name}.axes"), &[axis]);
        self.op_with(name, op, &[x, &axes], &[keep])
    }

    /// Elements `start..end` of x along one axis.
    pub fn slice(&mut self, name: &str, x: &str, axis: i64, start: i64, end: i64) -> String {
        let starts = self.ints(&format!("{name}.start"), &[start]);
        let ends = self.ints(&format!("{name}.end"), &[end]);
        let axes = self.ints(&format!("{name}.axis"), &[axis]);
        self.op(name, "Slice", &[x, &starts, &ends, &axes])
    }

    /// Concatenates values along the last axis.
    pub fn concat(&mut self, name: &str, parts: &[&str]) -> String {
        let last = ("axis", Attribute::Int(-1));
        self.op_with(name, "Concat", parts, &[last])
    }

    /// Converts x to another type.
    pub fn cast(&mut self, name: &str, x: &str, to: DataType) -> String {
        let to = ("to", Attribute::Int(to as i64));
        self.op_with(name, "Cast", &[x], &[to])
    }

    /// The `k` largest along the last axis, sorted; of equal values the smaller index comes first. Returns the names of
    /// the values and of the int64 indices.
    pub fn top_k(&mut self, name: &str, x: &str, k: usize) -> (String, String) {
        let k = self.ints(&format!("{name}.k"), &[k as i64]);
        let (values, indices) = (format!("{name}.values"), format!("{name}.indices"));
        let attributes = [("axis", Attribute::Int(-1)), ("largest", Attribute::Int(1)), ("sorted", Attribute::Int(1))];
        let outputs = [values.as_str(), indices.as_str()];
        self.writer.node("TopK", name, &[x, &k], &outputs, &attributes);
        (values, indices)
    }
}
