//! The composed graph and the names of its inputs and outputs.

use std::ops::Range;

use crate::onnx::EXTERNAL_FILE;
use crate::precision::Precision;

/// One embedding output of the graph.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TapOutput {
    /// The output's name in the graph: `embedding_<tap>`.
    pub name: String,
    /// Values per tile.
    pub width: usize,
}

/// The graph that every engine runs.
///
/// Input: [`ComposedGraph::input`], u8 `[B, side, side, 3]` (R, G, B). Outputs, in this order: each tap's
/// embedding f32 `[B, width]`, then [`ComposedGraph::FEATURE_INDEX`] i32 `[B, features]`,
/// [`ComposedGraph::FEATURE_VALUE`] f32 `[B, features]`, [`ComposedGraph::ACTIVE_COUNT`] i32 `[B]` and
/// [`ComposedGraph::RECONSTRUCTION_ERROR`] f32 `[B]`. A tile's outputs do not depend on the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ComposedGraph {
    /// The serialised ONNX model; it uses the standard domain only.
    pub onnx: Vec<u8>,
    /// The content of the model's external data file [`ComposedGraph::EXTERNAL_FILE`]: the weights, if the caller asked
    /// for them apart or they do not fit into ONNX's 2 GiB.
    pub external: Option<Vec<u8>>,
    /// The byte range of each constant in [`ComposedGraph::external`], for engines that take weights one by one.
    pub external_tensors: Vec<(String, Range<usize>)>,
    /// The input's name.
    pub input: String,
    /// The embedding outputs, in the manifest's order.
    pub taps: Vec<TapOutput>,
    /// Features reported per tile.
    pub features: usize,
    /// Width and height of a tile, px.
    pub side: usize,
    /// Whether the graph takes only one tile at a time.
    pub single_tile: bool,
    /// The precision of the model's products.
    pub precision: Precision,
    /// Bytes that an engine may need at once for one tile, beside the weights. What runs the graph asks for them first.
    pub working_bytes: u64,
}

impl ComposedGraph {
    /// Name of the file, beside the model's, in which [`ComposedGraph::onnx`] expects [`ComposedGraph::external`].
    pub const EXTERNAL_FILE: &str = EXTERNAL_FILE;
    /// Name of the input.
    pub const PIXELS: &str = "pixels";
    /// What stands before a tap's name in the name of its output.
    pub const EMBEDDING: &str = "embedding_";
    /// Name of the output with the reported features' indices, the largest value first.
    pub const FEATURE_INDEX: &str = "feature_index";
    /// Name of the output with the reported features' values; 0 if fewer are active.
    pub const FEATURE_VALUE: &str = "feature_value";
    /// Name of the output with the number of active features among all.
    pub const ACTIVE_COUNT: &str = "active_count";
    /// Name of the output with ‖x−x̂‖² divided by the bundle's mean ‖x−x̄‖².
    pub const RECONSTRUCTION_ERROR: &str = "reconstruction_error";

    /// Name of the output with the embedding of `tap`.
    pub fn embedding(tap: &str) -> String {
        format!("{}{tap}", Self::EMBEDDING)
    }

    /// Names of all outputs in the graph's order: embeddings, index, value, count, error.
    pub fn outputs(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.taps.iter().map(|tap| tap.name.as_str()).collect();
        names.extend([Self::FEATURE_INDEX, Self::FEATURE_VALUE, Self::ACTIVE_COUNT, Self::RECONSTRUCTION_ERROR]);
        names
    }
}
