//! A composed graph or a probe of a strange one, run by rten: reference outputs, imports, comparisons. The lab and the tests
//! run graphs by it. The plugin has an engine of its own, with lanes and deadlines, and no importers.

use std::error::Error;

use coverslip_bundle::build::{BATCH, LoadResult};
use coverslip_bundle::{ComposedGraph, ReferenceOutputs};
use coverslip_import::{LoadedProbe, ProbeGraph, Probed, Rewrite};
use coverslip_numerics::there_is;
use rten::{Model, ModelOptions, Value};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

/// Loads a composed graph. The function that comes back runs it on `n` tiles, u8 `[n, side, side, 3]`.
///
/// # Errors
/// Where rten cannot load the graph; the function's, where rten cannot run it.
pub fn load(mut graph: ComposedGraph) -> LoadResult {
    // Packing doubles the memory of the weights, so models of gigabytes are left as they are.
    let pack = graph.external.is_none();
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(pack);
    let model = read(options, std::mem::take(&mut graph.onnx), graph.external.take())?;
    let input = model.node_id(&graph.input)?;
    let outputs = graph.outputs().into_iter().map(|name| model.node_id(name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |tiles, n| {
        check_memory(graph.working_bytes, n)?;
        let pixels = NdTensor::from_data([n, graph.side, graph.side, 3], tiles.to_vec());
        let values = fenced(|| model.run(vec![(input, pixels.into())], &outputs, None))?;
        let mut values = values.into_iter();
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
    }))
}

/// Loads a graph that is being imported, as [`load`] does.
///
/// # Errors
/// As [`load`].
pub fn load_probe(graph: ProbeGraph) -> Result<LoadedProbe, Box<dyn Error + Send + Sync>> {
    let mut options = ModelOptions::with_all_ops();
    options.enable_optimization(graph.rewrite == Rewrite::Yes);
    let model = read(options, graph.onnx, graph.external)?;
    let input = model.node_id(ComposedGraph::PIXELS)?;
    let outputs = graph.outputs.iter().map(|name| model.node_id(name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |tiles, n| {
        check_memory(graph.working_bytes, n)?;
        let pixels = NdTensor::from_data([n, graph.side, graph.side, 3], tiles.to_vec());
        let values = fenced(|| model.run(vec![(input, pixels.into())], &outputs, None))?;
        values.into_iter().map(probed).collect()
    }))
}

/// Runs a composed graph on all `tiles`, a few at a time.
///
/// # Errors
/// As [`load`].
pub fn outputs(graph: ComposedGraph, tiles: &[u8]) -> Result<ReferenceOutputs, Box<dyn Error>> {
    let mut all = ReferenceOutputs { embeddings: vec![Vec::new(); graph.taps.len()], ..ReferenceOutputs::default() };
    let tile_bytes = graph.side * graph.side * 3;
    let at_once = if graph.single_tile { 1 } else { BATCH };
    let mut run = load(graph).map_err(|error| error.to_string())?;
    for batch in tiles.chunks(at_once * tile_bytes) {
        all.append(run(batch, batch.len() / tile_bytes).map_err(|error| error.to_string())?);
    }
    Ok(all)
}

fn read(mut options: ModelOptions, onnx: Vec<u8>, external: Option<Vec<u8>>) -> Result<Model, Failure> {
    if let Some(weights) = external {
        options.external_data(ComposedGraph::EXTERNAL_FILE, weights);
    }
    fenced(|| options.load(onnx))
}

type Failure = Box<dyn Error + Send + Sync>;

/// A stranger's graph can make the engine panic. Then it is a graph that the engine does not run.
fn fenced<T, E: Error + Send + Sync + 'static>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Failure> {
    Ok(coverslip_files::fence::fenced(work)??)
}

/// Refuses what this machine has no memory for, because an engine that gets none aborts.
fn check_memory(bytes: u64, tiles: usize) -> Result<(), Failure> {
    let bytes = bytes.saturating_mul(tiles as u64);
    if there_is(bytes) {
        return Ok(());
    }
    Err(format!("the graph may need {bytes} bytes at once for {tiles} tiles, which this machine does not give").into())
}

/// A value as numbers, also where they are integers or booleans.
fn probed(value: Value) -> Result<Probed, Box<dyn Error + Send + Sync>> {
    let shape = value.shape().to_vec();
    let values = match value {
        Value::FloatTensor(tensor) => tensor.into_data(),
        Value::Int32Tensor(tensor) => tensor.to_vec().into_iter().map(|v| v as f32).collect(),
        other => return Err(format!("a value of type {:?} where numbers were expected", other.dtype()).into()),
    };
    Ok(Probed { shape, values })
}

fn floats(value: Value) -> Result<Vec<f32>, &'static str> {
    let tensor = value.into_tensor::<f32>().ok_or("an output that should be float32 is not")?;
    Ok(tensor.into_data())
}

fn ints(value: Value) -> Result<Vec<i32>, &'static str> {
    let tensor = value.into_tensor::<i32>().ok_or("an output that should be int32 is not")?;
    Ok(tensor.into_data())
}
