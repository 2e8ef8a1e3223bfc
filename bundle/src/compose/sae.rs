//! The sparse autoencoder, as SAELens computes it (`training/… _sae.py`, version 6): encode, keep the
//! active features, decode, and compare with the embedding. Only then are the strongest reported.

use super::ComposedGraph;
use super::graph::Graph;
use super::onnx::{Attribute, DataType};
use crate::error::BundleError;
use crate::manifest::{Manifest, Normalization, Sae, SaeArchitecture};
use crate::tensors::TensorFile;

/// Writes the SAE on its tap's embedding and the four outputs.
pub(super) fn compose(graph: &mut Graph, manifest: &Manifest, file: &TensorFile) -> Result<(), BundleError> {
    let writer = Writer { sae: &manifest.sae, file, embedding: format!("embedding_{}", manifest.sae.tap) };
    let normalized = writer.normalize(graph);
    let b_dec = graph.floats("sae.b_dec", &[manifest.sae.d_in], &writer.get("b_dec")?);
    let pre = writer.encode(graph, &normalized.value, &b_dec)?;
    let decoded = match manifest.sae.architecture {
        SaeArchitecture::TopK => writer.top_k(graph, &pre)?,
        SaeArchitecture::Relu | SaeArchitecture::JumpRelu => writer.dense(graph, &pre)?,
    };
    let output = graph.op("sae.decoded", "Add", &[&decoded, &b_dec]);
    let output = normalized.undo(graph, output);
    writer.error(graph, &output, manifest.sae.reference.mean_square_deviation);
    Ok(())
}

/// The normalised embedding and what undoes the normalisation after the decoder.
struct Normalized {
    value: String,
    /// Divides the decoder's output.
    divide: Option<String>,
    /// Multiplies it.
    multiply: Option<String>,
    /// Is added to it, last.
    add: Option<String>,
}

impl Normalized {
    fn undo(&self, graph: &mut Graph, mut output: String) -> String {
        let steps = [("Div", &self.divide), ("Mul", &self.multiply), ("Add", &self.add)];
        for (op, operand) in steps {
            if let Some(operand) = operand {
                let name = format!("sae.denormalized.{}", op.to_lowercase());
                output = graph.op(&name, op, &[&output, operand]);
            }
        }
        output
    }
}

struct Writer<'a> {
    sae: &'a Sae,
    file: &'a TensorFile,
    embedding: String,
}

impl Writer<'_> {
    fn get(&self, name: &str) -> Result<Vec<f32>, BundleError> {
        let (d, m) = (self.sae.d_in, self.sae.d_sae);
        let shape: &[usize] = match name {
            "W_enc" => &[d, m],
            "W_dec" => &[m, d],
            "b_dec" => &[d],
            _ => &[m],
        };
        self.file.expect(name, shape)?.to_f32()
    }

    fn normalize(&self, graph: &mut Graph) -> Normalized {
        let x = self.embedding.as_str();
        let d = self.sae.d_in as f64;
        let mut normalized = Normalized { value: x.to_owned(), divide: None, multiply: None, add: None };
        match self.sae.normalize_activations {
            Normalization::None => {}
            Normalization::ConstantNormRescale => {
                let norm = graph.reduce("sae.norm", "ReduceL2", x, -1, true);
                let root = graph.scalar("sae.root_d", d.sqrt());
                let factor = graph.op("sae.factor", "Div", &[&root, &norm]);
                normalized.value = graph.op("sae.normalized", "Mul", &[x, &factor]);
                normalized.divide = Some(factor);
            }
            Normalization::LayerNorm => {
                let mean = graph.reduce("sae.mean", "ReduceMean", x, -1, true);
                let centred = graph.op("sae.centred", "Sub", &[x, &mean]);
                let sum = graph.reduce("sae.squares", "ReduceSumSquare", &centred, -1, true);
                let freedom = graph.scalar("sae.freedom", d - 1.0);
                let variance = graph.op("sae.variance", "Div", &[&sum, &freedom]);
                let deviation = graph.op("sae.deviation", "Sqrt", &[&variance]);
                let eps = graph.scalar("sae.eps", 1e-5);
                let guarded = graph.op("sae.guarded", "Add", &[&deviation, &eps]);
                normalized.value = graph.op("sae.normalized", "Div", &[&centred, &guarded]);
                normalized.multiply = Some(deviation);
                normalized.add = Some(mean);
            }
        }
        normalized
    }

    /// p = (x' − b_dec)·W_enc + b_enc, times ‖W_dec,i‖ when rescaled (folded into W_enc and b_enc).
    fn encode(&self, graph: &mut Graph, x: &str, b_dec: &str) -> Result<String, BundleError> {
        let (d, m) = (self.sae.d_in, self.sae.d_sae);
        let (mut w_enc, mut b_enc) = (self.get("W_enc")?, self.get("b_enc")?);
        if self.sae.rescale_acts_by_decoder_norm {
            let norms = decoder_norms(&self.get("W_dec")?, d);
            for row in w_enc.chunks_exact_mut(m) {
                scale(row, &norms);
            }
            scale(&mut b_enc, &norms);
        }
        let input =
            if self.sae.apply_b_dec_to_input { graph.op("sae.input", "Sub", &[x, b_dec]) } else { x.to_owned() };
        let w_enc = graph.floats("sae.W_enc", &[d, m], &w_enc);
        let b_enc = graph.floats("sae.b_enc", &[m], &b_enc);
        let product = graph.op("sae.encoded", "MatMul", &[&input, &w_enc]);
        Ok(graph.op("sae.pre", "Add", &[&product, &b_enc]))
    }

    /// The k largest of p, then ReLU; decoded from the k rows of W_dec alone.
    fn top_k(&self, graph: &mut Graph, pre: &str) -> Result<String, BundleError> {
        let (d, m, k) = (self.sae.d_in, self.sae.d_sae, self.sae.outputs as i64);
        let (values, indices) = graph.top_k("sae.top", pre, self.sae.outputs);
        let values = graph.op(ComposedGraph::FEATURE_VALUE, "Relu", &[&values]);
        self.report_indices(graph, &indices);
        self.count(graph, &values);
        let mut w_dec = self.get("W_dec")?;
        if self.sae.rescale_acts_by_decoder_norm {
            let norms = decoder_norms(&w_dec, d);
            for (row, norm) in w_dec.chunks_exact_mut(d).zip(norms) {
                // A feature without a direction has p·0 = 0 and decodes to nothing, not to 0/0.
                let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
                row.iter_mut().for_each(|v| *v = (f64::from(*v) * inverse) as f32);
            }
        }
        let w_dec = graph.floats("sae.W_dec", &[m, d], &w_dec);
        let axis = ("axis", Attribute::Int(0));
        let rows = graph.op_with("sae.rows", "Gather", &[&w_dec, &indices], &[axis]);
        let weights = graph.reshape("sae.weights", &values, &[-1, 1, k]);
        let sum = graph.op("sae.row_sum", "MatMul", &[&weights, &rows]);
        Ok(graph.reshape("sae.product", &sum, &[-1, d as i64]))
    }

    /// `ReLU(p)`, or `ReLU(p)·1[p > θ]` (strict); decoded from all features, then cut to the strongest.
    fn dense(&self, graph: &mut Graph, pre: &str) -> Result<String, BundleError> {
        let (d, m) = (self.sae.d_in, self.sae.d_sae);
        let mut features = graph.op("sae.relu", "Relu", &[pre]);
        if self.sae.architecture == SaeArchitecture::JumpRelu {
            let threshold = graph.floats("sae.threshold", &[m], &self.get("threshold")?);
            let above = graph.op("sae.above", "Greater", &[pre, &threshold]);
            let zero = graph.scalar("sae.zero", 0.0);
            features = graph.op("sae.features", "Where", &[&above, &features, &zero]);
        }
        self.count(graph, &features);
        let (values, indices) = graph.top_k("sae.top", &features, self.sae.outputs);
        graph.op(ComposedGraph::FEATURE_VALUE, "Identity", &[&values]);
        self.report_indices(graph, &indices);
        let w_dec = graph.floats("sae.W_dec", &[m, d], &self.get("W_dec")?);
        Ok(graph.op("sae.product", "MatMul", &[&features, &w_dec]))
    }

    fn report_indices(&self, graph: &mut Graph, indices: &str) {
        graph.cast(ComposedGraph::FEATURE_INDEX, indices, DataType::Int32);
    }

    /// How many features are above zero.
    fn count(&self, graph: &mut Graph, features: &str) {
        let zero = graph.scalar("sae.inactive", 0.0);
        let active = graph.op("sae.active", "Greater", &[features, &zero]);
        let ones = graph.cast("sae.ones", &active, DataType::Int32);
        graph.reduce(ComposedGraph::ACTIVE_COUNT, "ReduceSum", &ones, -1, false);
    }

    /// ‖x−x̂‖² / mean‖x−x̄‖².
    fn error(&self, graph: &mut Graph, output: &str, mean_square_deviation: f64) {
        let difference = graph.op("sae.difference", "Sub", &[&self.embedding, output]);
        let squares = graph.reduce("sae.error", "ReduceSumSquare", &difference, -1, false);
        let unit = graph.scalar("sae.unit", 1.0 / mean_square_deviation);
        graph.op(ComposedGraph::RECONSTRUCTION_ERROR, "Mul", &[&squares, &unit]);
    }
}

/// ‖W_dec,i‖ of each feature.
fn decoder_norms(w_dec: &[f32], d: usize) -> Vec<f64> {
    let square = |v: &f32| f64::from(*v).powi(2);
    let rows = w_dec.chunks_exact(d);
    rows.map(|row| row.iter().map(square).sum::<f64>().sqrt()).collect()
}

fn scale(values: &mut [f32], factors: &[f64]) {
    for (value, factor) in values.iter_mut().zip(factors) {
        *value = (f64::from(*value) * factor) as f32;
    }
}
