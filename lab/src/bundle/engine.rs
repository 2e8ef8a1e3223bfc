//! The lab's own run of a composed graph, on rten: for reference outputs and comparisons. Scanning goes
//! through the plugin.

use std::hash::{DefaultHasher, Hash, Hasher};

use coverslip_bundle::build::RunResult;
use coverslip_bundle::{ComposedGraph, ReferenceOutputs};
use rten::{Model, ModelOptions, Value};
use rten_tensor::NdTensor;

/// Runs graphs; keeps the last one loaded.
#[derive(Default)]
pub(super) struct Engine {
    loaded: Option<(u64, Model)>,
}

impl Engine {
    /// Outputs for `n` tiles, u8 `[n, side, side, 3]`.
    ///
    /// # Errors
    /// When the graph cannot be loaded or run.
    pub(super) fn run(&mut self, graph: &ComposedGraph, tiles: &[u8], n: usize) -> RunResult {
        let model = self.load(graph)?;
        let pixels = NdTensor::from_data([n, graph.side, graph.side, 3], tiles.to_vec());
        let input = model.node_id(&graph.input)?;
        let outputs = graph.outputs().into_iter().map(|name| model.node_id(name));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let mut values = model.run(vec![(input, pixels.into())], &outputs, None)?.into_iter();
        let mut next = || values.next().ok_or("the graph has too few outputs");
        let mut embeddings = Vec::with_capacity(graph.taps.len());
        for _ in &graph.taps {
            embeddings.push(floats(next()?)?);
        }
        Ok(ReferenceOutputs {
            tiles: Vec::new(),
            count: n,
            embeddings,
            feature_index: ints(next()?)?,
            feature_value: floats(next()?)?,
            active_count: ints(next()?)?,
            reconstruction_error: floats(next()?)?,
        })
    }

    fn load(&mut self, graph: &ComposedGraph) -> Result<&Model, rten::LoadError> {
        let mut hasher = DefaultHasher::new();
        graph.onnx.hash(&mut hasher);
        let key = hasher.finish();
        let kept = self.loaded.take().filter(|(loaded, _)| *loaded == key);
        let loaded = match kept {
            Some(loaded) => loaded,
            None => {
                let mut options = ModelOptions::with_all_ops();
                options.prepack_weights(true);
                (key, options.load(graph.onnx.clone())?)
            }
        };
        Ok(&self.loaded.insert(loaded).1)
    }
}

fn floats(value: Value) -> Result<Vec<f32>, &'static str> {
    let tensor = value.into_tensor::<f32>().ok_or("an output that should be float32 is not")?;
    Ok(tensor.into_data())
}

fn ints(value: Value) -> Result<Vec<i32>, &'static str> {
    let tensor = value.into_tensor::<i32>().ok_or("an output that should be int32 is not")?;
    Ok(tensor.into_data())
}
