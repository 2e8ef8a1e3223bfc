//! The sparse autoencoder: prepare the embedding, encode, select the active features, decode, undo the preparation, and
//! compare with the embedding. The strongest features are reported.

use super::composed::ComposedGraph;
use super::graph::Graph;
use crate::error::BundleError;
use crate::fold::SaeWeights;
use crate::manifest::{InputStep, Sae, SaeArchitecture};
use crate::onnx::{Attribute, DataType, Dim};
use crate::precision::Precision;
use crate::tensors::TensorFile;

/// Writes the SAE on `embedding` with its four outputs, and x̂ under the name `reconstruction` if one is given.
pub(super) fn compose(
    graph: &mut Graph,
    sae: &Sae,
    file: &TensorFile,
    embedding: &str,
    reconstruction: Option<&str>,
) -> Result<(), BundleError> {
    let Some(architecture) = sae.architecture else {
        none(graph, embedding);
        return Ok(());
    };
    let writer = Writer { sae, weights: SaeWeights::new(sae, file), embedding };
    let mut x = embedding.to_owned();
    let mut undo = Vec::new();
    for step in &sae.input {
        x = writer.prepare(graph, *step, &x, &mut undo)?;
    }
    let b_dec = graph.floats("sae.b_dec", &[sae.d_in], &writer.weights.get("b_dec")?);
    if sae.apply_b_dec_to_input {
        x = graph.op("sae.input", "Sub", &[&x, &b_dec]);
    }
    let decoded = match architecture {
        SaeArchitecture::TopK | SaeArchitecture::SignedTopK => {
            let pre = writer.pre_activations(graph, &x)?;
            let (values, indices) = graph.top_k("sae.top", &pre, sae.outputs);
            writer.sparse(graph, &values, &indices)?
        }
        SaeArchitecture::GroupMax => writer.group_max(graph, &x)?,
        SaeArchitecture::Relu | SaeArchitecture::JumpRelu => {
            let pre = writer.pre_activations(graph, &x)?;
            writer.relu(graph, &pre)?
        }
        SaeArchitecture::Gated => writer.gated(graph, &x)?,
    };
    let mut output = graph.op("sae.decoded", "Add", &[&decoded, &b_dec]);
    for (name, op, operand) in undo.into_iter().rev() {
        output = graph.op(&name, op, &[&output, &operand]);
    }
    if let Some(name) = reconstruction {
        graph.op(name, "Identity", &[&output]);
    }
    writer.error(graph, &output);
    Ok(())
}

/// The outputs of a bundle without an SAE: zeros for every embedding, since no square is below 0, not even NaN's.
fn none(graph: &mut Graph, embedding: &str) {
    let squares = graph.reduce("sae.squares", "ReduceSumSquare", embedding, -1, true);
    let zero = graph.scalar("sae.inactive", 0.0);
    let never = graph.op("sae.never", "Greater", &[&zero, &squares]);
    let index = graph.cast(ComposedGraph::FEATURE_INDEX, &never, DataType::Int32);
    let value = graph.cast(ComposedGraph::FEATURE_VALUE, &never, DataType::Float);
    graph.reduce(ComposedGraph::ACTIVE_COUNT, "ReduceSum", &index, -1, false);
    graph.reduce(ComposedGraph::RECONSTRUCTION_ERROR, "ReduceSum", &value, -1, false);
}

/// The node that undoes an input step after the decoder: name, operator, second operand. The last step is undone first.
type Undo = (String, &'static str, String);

struct Writer<'a> {
    sae: &'a Sae,
    weights: SaeWeights<'a>,
    embedding: &'a str,
}

impl Writer<'_> {
    fn prepare(
        &self,
        graph: &mut Graph,
        step: InputStep,
        x: &str,
        undo: &mut Vec<Undo>,
    ) -> Result<String, BundleError> {
        let d = self.sae.d_in;
        let mut inverse = |part: &str, op, operand: &str| {
            undo.push((format!("sae.undone.{part}"), op, operand.to_owned()));
        };
        Ok(match step {
            InputStep::Standardize => {
                let mean = graph.floats("sae.standard.mean", &[d], &self.weights.get("input_mean")?);
                let std = graph.floats("sae.standard.std", &[d], &self.weights.get("input_std")?);
                inverse("standard.mean", "Add", &mean);
                inverse("standard.std", "Mul", &std);
                let centred = graph.op("sae.standard.centred", "Sub", &[x, &mean]);
                graph.op("sae.standard", "Div", &[&centred, &std])
            }
            InputStep::L2 => {
                let norm = graph.reduce("sae.l2.norm", "ReduceL2", x, -1, true);
                inverse("l2", "Mul", &norm);
                graph.op("sae.l2", "Div", &[x, &norm])
            }
            InputStep::ConstantNormRescale => {
                let norm = graph.reduce("sae.norm", "ReduceL2", x, -1, true);
                let root = graph.scalar("sae.root_d", (d as f64).sqrt());
                let factor = graph.op("sae.factor", "Div", &[&root, &norm]);
                inverse("factor", "Div", &factor);
                graph.op("sae.rescaled", "Mul", &[x, &factor])
            }
            InputStep::LayerNorm => {
                let mean = graph.reduce("sae.mean", "ReduceMean", x, -1, true);
                let centred = graph.op("sae.centred", "Sub", &[x, &mean]);
                let sum = graph.reduce("sae.squares", "ReduceSumSquare", &centred, -1, true);
                let freedom = graph.scalar("sae.freedom", d as f64 - 1.0);
                let variance = graph.op("sae.variance", "Div", &[&sum, &freedom]);
                let deviation = graph.op("sae.deviation", "Sqrt", &[&variance]);
                let eps = graph.scalar("sae.eps", 1e-5);
                let guarded = graph.op("sae.guarded", "Add", &[&deviation, &eps]);
                inverse("mean", "Add", &mean);
                inverse("deviation", "Mul", &deviation);
                graph.op("sae.normalized", "Div", &[&centred, &guarded])
            }
        })
    }

    /// x'·W_enc.
    fn product(&self, graph: &mut Graph, x: &str, w_enc: &[f32]) -> Result<String, BundleError> {
        matmul(graph, "sae.encoded", x, ("sae.W_enc", &[self.sae.d_in, self.sae.d_sae], w_enc))
    }

    /// p = x'·W_enc + b_enc, times ‖W_dec,i‖ when rescaled (folded into W_enc and b_enc).
    fn pre_activations(&self, graph: &mut Graph, x: &str) -> Result<String, BundleError> {
        let (w_enc, b_enc) = self.weights.encoder()?;
        let product = self.product(graph, x, &w_enc)?;
        let b_enc = graph.floats("sae.b_enc", &[self.sae.d_sae], &b_enc);
        Ok(graph.op("sae.pre", "Add", &[&product, &b_enc]))
    }

    /// The largest of ReLU(p) in each of k contiguous groups, reported with the largest first.
    fn group_max(&self, graph: &mut Graph, x: &str) -> Result<String, BundleError> {
        let pre = self.pre_activations(graph, x)?;
        let k = self.sae.outputs;
        let group = self.sae.d_sae / k;
        let grouped = graph.reshape("sae.groups", &pre, &[-1, k as i64, group as i64]);
        let (largest, places) = graph.top_k("sae.group_top", &grouped, 1);
        let largest = graph.reshape("sae.group_values", &largest, &[-1, k as i64]);
        let places = graph.reshape("sae.group_places", &places, &[-1, k as i64]);
        let starts: Vec<i64> = (0..k).map(|i| (i * group) as i64).collect();
        let starts = graph.ints("sae.group_starts", &starts);
        let numbers = graph.op("sae.group_numbers", "Add", &[&places, &starts]);
        let (values, order) = graph.top_k("sae.top", &largest, k);
        let last = ("axis", Attribute::Int(-1));
        let indices = graph.op_with("sae.group_indices", "GatherElements", &[&numbers, &order], &[last]);
        self.sparse(graph, &values, &indices)
    }

    /// Reports k values (after ReLU, unless they are signed) and decodes from only their k rows of W_dec.
    fn sparse(&self, graph: &mut Graph, values: &str, indices: &str) -> Result<String, BundleError> {
        let (d, m, k) = (self.sae.d_in, self.sae.d_sae, self.sae.outputs as i64);
        let keep = if self.sae.architecture == Some(SaeArchitecture::SignedTopK) { "Identity" } else { "Relu" };
        let values = graph.op(ComposedGraph::FEATURE_VALUE, keep, &[values]);
        self.report_indices(graph, indices);
        self.count(graph, &values);
        let w_dec = graph.floats("sae.W_dec", &[m, d], &self.weights.decoder()?);
        let axis = ("axis", Attribute::Int(0));
        let rows = graph.op_with("sae.rows", "Gather", &[&w_dec, indices], &[axis]);
        if graph.precision() == Precision::Float16Sae {
            // The same sum without a matrix product, which is quick for few rows.
            let weights = graph.reshape("sae.weights", &values, &[-1, k, 1]);
            let weighted = graph.op("sae.weighted", "Mul", &[&weights, &rows]);
            return Ok(graph.reduce("sae.product", "ReduceSum", &weighted, 1, false));
        }
        let weights = graph.reshape("sae.weights", &values, &[-1, 1, k]);
        let sum = graph.op("sae.row_sum", "MatMul", &[&weights, &rows]);
        Ok(graph.reshape("sae.product", &sum, &[-1, d as i64]))
    }

    /// `ReLU(p)`, or `ReLU(p)·1[p > θ]` (strict).
    fn relu(&self, graph: &mut Graph, pre: &str) -> Result<String, BundleError> {
        let mut features = graph.op("sae.relu", "Relu", &[pre]);
        if self.sae.architecture == Some(SaeArchitecture::JumpRelu) {
            let threshold = graph.floats("sae.threshold", &[self.sae.d_sae], &self.weights.get("threshold")?);
            let above = graph.op("sae.above", "Greater", &[pre, &threshold]);
            let zero = graph.scalar("sae.zero", 0.0);
            features = graph.op("sae.features", "Where", &[&above, &features, &zero]);
        }
        self.dense(graph, &features)
    }

    /// `1[q + b_gate > 0]·ReLU(q·exp(r_mag) + b_mag)` with q = x'·W_enc.
    fn gated(&self, graph: &mut Graph, x: &str) -> Result<String, BundleError> {
        let width = [self.sae.d_sae];
        let shared = self.product(graph, x, &self.weights.get("W_enc")?)?;
        let b_gate = graph.floats("sae.b_gate", &width, &self.weights.get("b_gate")?);
        let gate = graph.op("sae.gate", "Add", &[&shared, &b_gate]);
        let zero = graph.scalar("sae.zero", 0.0);
        let open = graph.op("sae.open", "Greater", &[&gate, &zero]);
        let magnitude = graph.floats("sae.magnitude", &width, &self.weights.magnitude()?);
        let b_mag = graph.floats("sae.b_mag", &width, &self.weights.get("b_mag")?);
        let scaled = graph.op("sae.scaled", "Mul", &[&shared, &magnitude]);
        let shifted = graph.op("sae.shifted", "Add", &[&scaled, &b_mag]);
        let active = graph.op("sae.relu", "Relu", &[&shifted]);
        let features = graph.op("sae.features", "Where", &[&open, &active, &zero]);
        self.dense(graph, &features)
    }

    /// Decodes from all features, then reports the strongest.
    fn dense(&self, graph: &mut Graph, features: &str) -> Result<String, BundleError> {
        self.count(graph, features);
        let (values, indices) = graph.top_k("sae.top", features, self.sae.outputs);
        graph.op(ComposedGraph::FEATURE_VALUE, "Identity", &[&values]);
        self.report_indices(graph, &indices);
        let w_dec = self.weights.get("W_dec")?;
        matmul(graph, "sae.product", features, ("sae.W_dec", &[self.sae.d_sae, self.sae.d_in], &w_dec))
    }

    fn report_indices(&self, graph: &mut Graph, indices: &str) {
        graph.cast(ComposedGraph::FEATURE_INDEX, indices, DataType::Int32);
    }

    /// Number of features that are not zero.
    fn count(&self, graph: &mut Graph, features: &str) {
        let mut size = features.to_owned();
        if self.sae.architecture == Some(SaeArchitecture::SignedTopK) {
            size = graph.op("sae.sizes", "Abs", &[features]);
        }
        let zero = graph.scalar("sae.inactive", 0.0);
        let active = graph.op("sae.active", "Greater", &[&size, &zero]);
        let ones = graph.cast("sae.ones", &active, DataType::Int32);
        graph.reduce(ComposedGraph::ACTIVE_COUNT, "ReduceSum", &ones, -1, false);
    }

    /// ‖x−x̂‖² / mean‖x−x̄‖².
    fn error(&self, graph: &mut Graph, output: &str) {
        let difference = graph.op("sae.difference", "Sub", &[self.embedding, output]);
        let squares = graph.reduce("sae.error", "ReduceSumSquare", &difference, -1, false);
        let unit = graph.scalar("sae.unit", 1.0 / self.sae.reference.mean_square_deviation);
        graph.op(ComposedGraph::RECONSTRUCTION_ERROR, "Mul", &[&squares, &unit]);
    }
}

/// x·W in float32, or narrow between casts if the precision has the SAE's products narrow. W is name, shape, values.
fn matmul(
    graph: &mut Graph,
    name: &str,
    x: &str,
    (weight, shape, values): (&str, &[usize], &[f32]),
) -> Result<String, BundleError> {
    if graph.precision() != Precision::Float16Sae {
        let weight = graph.floats(weight, shape, values);
        return Ok(graph.op(name, "MatMul", &[x, &weight]));
    }
    let (x, weight) = (graph.narrowed(x), graph.narrow_floats(weight, shape, values)?);
    let product = graph.op(name, "MatMul", &[&x, &weight]);
    Ok(graph.widened(&product))
}

/// Declares the outputs that [`compose`] wrote, in the graph's order.
pub(super) fn outputs(graph: &mut Graph, sae: &Sae) {
    let per_feature = [Dim::Batch, Dim::Fixed(sae.outputs)];
    graph.output(ComposedGraph::FEATURE_INDEX, DataType::Int32, &per_feature);
    graph.output(ComposedGraph::FEATURE_VALUE, DataType::Float, &per_feature);
    graph.output(ComposedGraph::ACTIVE_COUNT, DataType::Int32, &[Dim::Batch]);
    graph.output(ComposedGraph::RECONSTRUCTION_ERROR, DataType::Float, &[Dim::Batch]);
}
