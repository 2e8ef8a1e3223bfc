//! The embedded CPU engine: rten. Every lane runs whole tiles on a pool of one thread, which is steadier than splitting
//! a tile over cores.

use std::sync::Arc;

use coverslip_bundle::ComposedGraph;
use coverslip_bundle::budget::there_is;
use coverslip_bundle::fence::fenced;
use coverslip_plugin_abi::{ENGINE_CPU, PRECISION_FLOAT32};
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::NdTensorView;

use super::outputs::{BatchOutputs, FeatureOutputs};
use super::{About, Engine, Failure, Lane, TileOutput};
use crate::error::{Result, error};

/// Tiles per batch. A ViT's matrices are large enough with one tile, and a batch of one never waits for others.
const MAX_BATCH: usize = 1;

/// The graph in rten, shared by the lanes.
pub(crate) struct CpuEngine {
    model: Arc<Model>,
    names: Arc<Names>,
    about: About,
}

/// The graph's inputs and outputs.
struct Names {
    side: usize,
    input: NodeId,
    /// The taps, then feature_index, feature_value, active_count, reconstruction_error.
    outputs: Vec<NodeId>,
    widths: Vec<usize>,
}

impl CpuEngine {
    /// `lanes`: threads that will run it.
    pub(crate) fn load(graph: ComposedGraph, lanes: usize) -> Result<CpuEngine> {
        let unavailable = |what: &dyn std::fmt::Display| {
            error!(ENGINE_UNAVAILABLE, "rten does not run this bundle's graph: {what}; run `coverslip bundle verify`")
        };
        // An engine that gets no memory aborts, so it is asked for here.
        let working = graph.working_bytes.saturating_mul(lanes as u64);
        if !there_is(working) {
            return Err(error!(
                OUT_OF_MEMORY,
                "the bundle's graph may need {working} bytes on {lanes} lanes, which this machine does not give: open \
                 fewer lanes, or a smaller bundle"
            ));
        }
        let mut options = ModelOptions::with_all_ops();
        // Packing the weights ahead costs memory once and saves it in every lane.
        options.prepack_weights(true);
        if let Some(weights) = graph.external {
            options.external_data(ComposedGraph::EXTERNAL_FILE, weights);
        }
        let model = fenced(|| options.load(graph.onnx)).map_err(|e| unavailable(&e))?.map_err(|e| unavailable(&e))?;
        let node = |name: &str| model.node_id(name).map_err(|e| unavailable(&e));
        let mut outputs = Vec::new();
        for tap in &graph.taps {
            outputs.push(node(&tap.name)?);
        }
        for name in ["feature_index", "feature_value", "active_count", "reconstruction_error"] {
            outputs.push(node(name)?);
        }
        let names = Names {
            side: graph.side,
            input: node(&graph.input)?,
            outputs,
            widths: graph.taps.iter().map(|tap| tap.width).collect(),
        };
        let about = About {
            kind: ENGINE_CPU,
            version: "rten 0.27".into(),
            max_batch: MAX_BATCH,
            lanes,
            precision: PRECISION_FLOAT32,
            ..About::default()
        };
        Ok(CpuEngine { model: Arc::new(model), names: Arc::new(names), about })
    }
}

impl Engine for CpuEngine {
    fn lane(&self) -> Result<Box<dyn Lane>, Failure> {
        let pool = Arc::new(ThreadPool::with_num_threads(1));
        Ok(Box::new(CpuLane {
            model: self.model.clone(),
            names: self.names.clone(),
            options: RunOptions::default().with_thread_pool(Some(pool)),
            staging: Vec::new(),
        }))
    }

    fn about(&self) -> &About {
        &self.about
    }
}

struct CpuLane {
    model: Arc<Model>,
    names: Arc<Names>,
    options: RunOptions,
    /// The batch's tiles, one after the other, when there is more than one.
    staging: Vec<u8>,
}

impl Lane for CpuLane {
    fn run(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<(), Failure> {
        let side = self.names.side;
        let pixels = if let [tile] = tiles {
            tile
        } else {
            self.staging.clear();
            tiles.iter().for_each(|tile| self.staging.extend_from_slice(tile));
            &self.staging[..]
        };
        let input = NdTensorView::from_data([tiles.len(), side, side, 3], pixels);
        let run = || {
            self.model.run(vec![(self.names.input, input.into())], &self.names.outputs, Some(self.options.clone()))
        };
        let values = fenced(run).map_err(|e| error!(INTERNAL, "rten failed on a tile: {e}"))?;
        let values = values.map_err(|e| error!(INTERNAL, "rten failed on a tile: {e}"))?;
        Ok(scatter(&self.names.widths, values, outputs)?)
    }
}

/// One record per tile of what rten gave.
fn scatter(widths: &[usize], values: Vec<Value>, outputs: &mut [TileOutput]) -> Result<()> {
    let mut values = values.into_iter();
    let embeddings: Vec<Vec<f32>> = widths.iter().map(|_| floats(values.next())).collect();
    let (index, value) = (integers(values.next()), floats(values.next()));
    let (active, error) = (integers(values.next()), floats(values.next()));
    let embeddings = embeddings.iter().map(Vec::as_slice).collect();
    let features = FeatureOutputs { index: &index, value: &value, active: &active, error: &error };
    BatchOutputs { embeddings, features: Some(features) }.scatter(widths, outputs)
}

/// Empty when the type differs: `BatchOutputs` then refuses its length.
fn floats(value: Option<Value>) -> Vec<f32> {
    value.and_then(|value| value.into_tensor::<f32>()).map(|tensor| tensor.into_data().to_vec()).unwrap_or_default()
}

fn integers(value: Option<Value>) -> Vec<i32> {
    value.and_then(|value| value.into_tensor::<i32>()).map(|tensor| tensor.into_data().to_vec()).unwrap_or_default()
}
