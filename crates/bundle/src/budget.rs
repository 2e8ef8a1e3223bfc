//! Budgets for what a file or a graph asks for before its content can be trusted. They depend on nothing else, so that
//! every reader can use them.

/// Room for a safetensors header, bytes, added to the size of the weights. Parsed it takes up to 16 times as much.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Most values, keys included, of a JSON file. Parsed, one takes up to 100 bytes, and a file of empty ones 2 per value:
/// the file's size alone would bound nothing.
pub(crate) const MAX_JSON_VALUES: usize = 2 << 20;
/// Most parts of an ONNX graph: nodes, names, attributes, constants. One takes up to 200 bytes in memory, and 2 in a
/// file; engines take time with the square of the nodes. Large exports have some 50,000.
pub(crate) const MAX_GRAPH_PARTS: usize = 1 << 18;
/// Longest chain of nodes of which each reads the one before. rten plans a graph by a recursion along it, on threads with
/// a stack of 2 MiB. A ViT of 64 blocks with its norms taken apart has 3,000.
pub const MAX_GRAPH_DEPTH: usize = 4096;
/// Most fields of a graph's nodes, attributes, inputs and outputs beside its parts: a number of an attribute's list is one,
/// as are a node's name and what its exporter noted. A file has 2 bytes for one, and all are read a few times.
pub(crate) const MAX_GRAPH_FIELDS: usize = 1 << 20;
/// Most steps of the inference of a graph's sizes for one batch: names, axes and numbers that a rule reads or makes, and
/// bytes of attributes. A node takes some 25 and a few times the bytes of its attributes. At the limit the inference takes
/// a tenth of a second.
pub(crate) const MAX_INFERENCE_STEPS: u64 = 1 << 25;
/// Most numbers that the inference keeps because a size is computed from them. Exports compute sizes from a few for each
/// `Reshape`.
pub(crate) const MAX_INFERENCE_NUMBERS: u64 = 1 << 20;

/// Most factors of the interpolations that an import writes as matrices, all of a graph together: eight from 1024 to 1024
/// px. Their sizes are those of two axes, each of which costs nothing by itself.
pub const MAX_INTERPOLATION: usize = 1 << 24;

/// What a graph may demand for one batch.
///
/// A model's values grow with its width, as its weights do, and with the square of its tokens. At 1024 px in patches of
/// 16 px a ViT has 4096 tokens, and one layer's attention of 16 heads takes 1 GiB; an engine may hold a few of these at
/// once. So an honest graph stays within a fixed part for small models on large tiles, and a part that grows with the
/// weights. A graph of a few kilobytes never gets more than the fixed part, however large the sizes that it computes.
/// Memory below the budget is asked for by [`crate::ComposedGraph::working_bytes`] before a graph runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Budget {
    /// Bytes of values at once.
    pub(crate) bytes: u64,
    /// Multiplications and additions, and elements of other operators.
    pub(crate) work: u64,
}

impl Budget {
    /// For a model with weights of `weight_bytes` (float32), on `tiles` tiles: 4 GiB and 16 bytes for each of the
    /// weights' bytes; 2⁴⁰ operations, which a U-Net on 1024 px needs, and 2¹⁴ for each weight, twice what 8192 tokens
    /// need.
    pub(crate) fn of(weight_bytes: u64, tiles: usize) -> Budget {
        let tiles = tiles as u64;
        let bytes = (4u64 << 30).saturating_add(weight_bytes.saturating_mul(16));
        let work = (1u64 << 40).saturating_add((weight_bytes / 4).saturating_mul(1 << 14));
        Budget { bytes: bytes.saturating_mul(tiles), work: work.saturating_mul(tiles) }
    }
}
