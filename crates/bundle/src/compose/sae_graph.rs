//! An SAE as a graph of its own.

use super::graph::Graph;
use super::sae;
use crate::error::{BundleError, fail};
use crate::layout;
use crate::manifest::Sae;
use crate::onnx::{DataType, Dim, OPSET};
use crate::tensors::TensorFile;

/// An SAE alone, as it stands in the composed graph: input [`SaeGraph::EMBEDDING`] f32 `[B, d_in]`; outputs
/// [`super::ComposedGraph::FEATURE_INDEX`] and its like, and [`SaeGraph::RECONSTRUCTION`] f32 `[B, d_in]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SaeGraph {
    /// The serialised ONNX model.
    pub onnx: Vec<u8>,
}

impl SaeGraph {
    /// Name of the input.
    pub const EMBEDDING: &str = "embedding";
    /// Name of the output x̂.
    pub const RECONSTRUCTION: &str = "reconstruction";

    /// Composes it. `tensors` are the SAE's, under the names that `docs/reference/bundle-format.md` gives them.
    ///
    /// # Errors
    /// `Missing` and `Invalid` where `tensors` are not those of `sae`; `TooLarge` beyond ONNX's 2 GiB.
    pub fn compose(sae: &Sae, tensors: &TensorFile) -> Result<Self, BundleError> {
        layout::check_sae(sae, tensors)?;
        let mut graph =
            Graph::new("sae", OPSET, usize::try_from(4 * layout::sae_parameters(sae)).unwrap_or(usize::MAX))?;
        graph.input(Self::EMBEDDING, DataType::Float, &[Dim::Batch, Dim::Fixed(sae.d_in)]);
        sae::compose(&mut graph, sae, tensors, Self::EMBEDDING, Some(Self::RECONSTRUCTION))?;
        sae::outputs(&mut graph, sae);
        graph.output(Self::RECONSTRUCTION, DataType::Float, &[Dim::Batch, Dim::Fixed(sae.d_in)]);
        match graph.finish()? {
            (onnx, None) => Ok(Self { onnx }),
            (_, Some(external)) => {
                fail!(TooLarge, "the SAE alone has {} bytes; ONNX's limit is 2 GiB", external.bytes.len())
            }
        }
    }
}
