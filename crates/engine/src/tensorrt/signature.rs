//! The inputs and outputs of a bundle's graph, and where each output lies in a lane's buffers.

use coverslip_bundle::{ComposedGraph, Manifest};
use coverslip_tensorrt::{DataType, Engine, OptProfileSelector, Tensor};

use super::cuda::ALIGNMENT;

/// One output of the graph.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) data_type: DataType,
    /// Numbers per tile; None: one, in a tensor without a second dimension.
    pub(super) width: Option<usize>,
    /// Where it begins in the buffers.
    pub(super) at: usize,
}

impl Output {
    /// Bytes of `tiles` tiles; every element has four.
    pub(super) fn bytes(&self, tiles: usize) -> usize {
        4 * tiles * self.width.unwrap_or(1)
    }

    fn shape(&self, batch: i64) -> Vec<i64> {
        [batch].into_iter().chain(self.width.map(|width| width as i64)).collect()
    }
}

/// The graph's inputs and outputs, for batches of at most `max_batch`.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    /// Pixels of the input, wide and high.
    pub(super) side: usize,
    /// Tiles per batch at most.
    pub(super) max_batch: usize,
    /// The taps' widths.
    pub(super) taps: Vec<usize>,
    /// The taps, then, where there is an SAE, index, value, count and error.
    pub(super) outputs: Vec<Output>,
}

impl Signature {
    pub(super) fn new(manifest: &Manifest, max_batch: usize) -> Signature {
        let taps: Vec<usize> = manifest.taps.iter().map(|tap| manifest.tap_width(tap)).collect();
        let embeddings = manifest.taps.iter().zip(&taps);
        let embeddings = embeddings.map(|(tap, &w)| (ComposedGraph::embedding(&tap.name), DataType::FLOAT, Some(w)));
        let k = Some(manifest.sae.outputs);
        let of_sae = [
            (ComposedGraph::FEATURE_INDEX, DataType::INT32, k),
            (ComposedGraph::FEATURE_VALUE, DataType::FLOAT, k),
            (ComposedGraph::ACTIVE_COUNT, DataType::INT32, None),
            (ComposedGraph::RECONSTRUCTION_ERROR, DataType::FLOAT, None),
        ];
        let of_sae = of_sae
            .into_iter()
            .filter(|_| manifest.sae.outputs > 0)
            .map(|(name, data_type, width)| (name.to_owned(), data_type, width));
        let mut outputs: Vec<Output> = Vec::new();
        for (name, data_type, width) in embeddings.chain(of_sae) {
            let at = outputs.last().map_or(0, |last| (last.at + last.bytes(max_batch)).next_multiple_of(ALIGNMENT));
            outputs.push(Output { name, data_type, width, at });
        }
        Signature { side: manifest.side, max_batch, taps, outputs }
    }

    /// Bytes of one tile's pixels.
    pub(super) fn tile_bytes(&self) -> usize {
        3 * self.side * self.side
    }

    /// Bytes of the input's buffer.
    pub(super) fn input_bytes(&self) -> usize {
        self.max_batch * self.tile_bytes()
    }

    /// Bytes of the outputs' buffer.
    pub(super) fn output_bytes(&self) -> usize {
        self.outputs.last().map_or(0, |last| last.at + last.bytes(self.max_batch))
    }

    /// The input's shape.
    pub(super) fn input_shape(&self, tiles: i64) -> [i64; 4] {
        [tiles, self.side as i64, self.side as i64, 3]
    }

    /// How an engine differs; None: it can run this graph.
    pub(super) fn misfit(&self, engine: &Engine) -> Option<String> {
        let (inputs, outputs) = (engine.inputs(), engine.outputs());
        let pixels = |tensor: &Tensor| {
            let open = tensor.shape == self.input_shape(-1) || tensor.shape == self.input_shape(self.max_batch as i64);
            tensor.name == ComposedGraph::PIXELS && tensor.data_type == DataType::UINT8 && open
        };
        if inputs.len() != 1 || !inputs.iter().all(pixels) {
            return Some(format!("it takes {}", list(&inputs)));
        }
        if outputs.len() != self.outputs.len() {
            return Some(format!("it puts out {}", list(&outputs)));
        }
        for wanted in &self.outputs {
            let fits = |found: &&Tensor| {
                let shape = found.shape == wanted.shape(-1) || found.shape == wanted.shape(self.max_batch as i64);
                found.name == wanted.name && found.data_type == wanted.data_type && shape
            };
            if !outputs.iter().any(|found| fits(&found)) {
                return Some(format!("it puts out {} and no {}", list(&outputs), wanted.name));
            }
        }
        match engine.profile_shape(ComposedGraph::PIXELS, 0, OptProfileSelector::MAX) {
            Ok(most) if most.first().is_some_and(|&most| most >= self.max_batch as i64) => None,
            Ok(most) => Some(format!("it takes at most {most:?}, wanted are {} tiles", self.max_batch)),
            Err(error) => Some(error.to_string()),
        }
    }
}

fn list(tensors: &[Tensor]) -> String {
    tensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
