//! Small ONNX models: an embedding of three colours, to which a bomb's value is added.

use coverslip_bundle::onnx::{Attribute, DataType, Dim, ModelWriter, Node, Placement};

/// What a graph is, and how its value is made.
pub(crate) type Bomb = (&'static str, fn(&mut Net) -> String);

/// A model under construction. Its input is `x` [batch, 3, 32, 32], its one output `emb` [batch, 8].
pub(crate) struct Net {
    writer: ModelWriter,
    /// Numbers in constants.
    parameters: usize,
    named: usize,
}

/// A model's file, and the numbers in its constants.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parameters: usize,
}

impl Net {
    pub(crate) fn new() -> Net {
        let mut writer = ModelWriter::new("bomb", 18, 0, Placement::Inside).unwrap();
        writer.input("x", DataType::Float, &[Dim::Batch, Dim::Fixed(3), Dim::Fixed(32), Dim::Fixed(32)]);
        Net { writer, parameters: 0, named: 0 }
    }

    fn name(&mut self) -> String {
        self.named += 1;
        format!("v{}", self.named)
    }

    pub(crate) fn ints(&mut self, values: &[i64]) -> String {
        let name = self.name();
        self.parameters += values.len();
        self.writer.ints(&name, &[values.len()], values);
        name
    }

    pub(crate) fn int(&mut self, value: i64) -> String {
        let name = self.name();
        self.parameters += 1;
        self.writer.ints(&name, &[], &[value]);
        name
    }

    pub(crate) fn float(&mut self, value: f32) -> String {
        let name = self.name();
        self.parameters += 1;
        self.writer.floats(&name, &[], &[value]);
        name
    }

    pub(crate) fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let name = self.name();
        self.parameters += values.len();
        self.writer.floats(&name, dims, values);
        name
    }

    pub(crate) fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        self.op_with(op, inputs, &[])
    }

    pub(crate) fn op_with(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let name = self.name();
        self.writer.node(op, &name, inputs, &[&name], attributes);
        name
    }

    /// A node of several outputs.
    pub(crate) fn parts(
        &mut self,
        op: &str,
        inputs: &[&str],
        count: usize,
        attributes: &[(&str, Attribute)],
    ) -> String {
        let names: Vec<String> = (0..count).map(|_| self.name()).collect();
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        self.writer.node(op, &names[0], inputs, &outputs, attributes);
        names[0].clone()
    }

    /// An input beside the image, of one number: in a bundle a weight.
    pub(crate) fn weight(&mut self) -> String {
        let name = self.name();
        self.parameters += 1;
        self.writer.input(&name, DataType::Float, &[Dim::Fixed(1)]);
        name
    }

    /// A node with encoded attributes.
    pub(crate) fn raw(&mut self, op: &str, inputs: &[&str], attributes: Vec<Vec<u8>>) -> String {
        let name = self.name();
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (inputs, outputs) = (owned(inputs), owned(&[&name]));
        self.writer.copied_node(&Node {
            name: name.clone(),
            op: op.into(),
            inputs,
            outputs,
            attributes,
            ..Node::default()
        });
        name
    }

    /// Adds the sum of `value`, floats or integers, to the embedding.
    pub(crate) fn finish(mut self, value: Option<&str>) -> Made {
        let axes = self.ints(&[2, 3]);
        let colours = self.op_with("ReduceMean", &["x", &axes], &[("keepdims", Attribute::Int(0))]);
        let weight: Vec<f32> = (0..24).map(|at| at as f32 / 8.0 - 1.0).collect();
        let weight = self.floats(&[3, 8], &weight);
        let embedding = self.op("MatMul", &[&colours, &weight]);
        let float = ("to", Attribute::Int(1));
        let sum = value.map(|value| {
            let value = self.op_with("Cast", &[value], &[float]);
            self.op_with("ReduceSum", &[&value], &[("keepdims", Attribute::Int(0))])
        });
        match sum {
            Some(sum) => self.writer.node("Add", "emb", &[&embedding, &sum], &["emb"], &[]),
            None => self.writer.node("Identity", "emb", &[&embedding], &["emb"], &[]),
        }
        self.writer.output("emb", DataType::Float, &[Dim::Batch, Dim::Fixed(8)]);
        Made { bytes: self.writer.finish().unwrap().0, parameters: self.parameters }
    }
}
