//! The lab's own run of a composed graph, on rten: for reference outputs and comparisons. Scanning goes
//! through the plugin.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use coverslip_bundle::build::LoadResult;
use coverslip_bundle::{ComposedGraph, ReferenceOutputs};
use coverslip_import::{LoadedProbe, ProbeGraph, Probed, Rewrite};
use rten::{Model, ModelOptions, Value};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

/// Loads a composed graph; what comes back gives the outputs for `n` tiles, u8 `[n, side, side, 3]`.
///
/// # Errors
/// When the graph cannot be loaded, later when it cannot be run.
pub(super) fn load(mut graph: ComposedGraph) -> LoadResult {
    // Packing doubles the weights' memory: not for models that are gigabytes already.
    let pack = graph.external.is_none();
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(pack);
    let model = read(options, std::mem::take(&mut graph.onnx), graph.external.take())?;
    let input = model.node_id(&graph.input)?;
    let outputs = graph.outputs().into_iter().map(|name| model.node_id(name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |tiles, n| {
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

/// Loads a graph that is being imported.
///
/// # Errors
/// As [`load`].
pub(super) fn load_probe(graph: ProbeGraph) -> Result<LoadedProbe, Box<dyn Error + Send + Sync>> {
    let mut options = ModelOptions::with_all_ops();
    options.enable_optimization(graph.rewrite == Rewrite::Yes);
    let model = read(options, graph.onnx, graph.external)?;
    let input = model.node_id(ComposedGraph::PIXELS)?;
    let outputs = graph.outputs.iter().map(|name| model.node_id(name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |tiles, n| {
        let pixels = NdTensor::from_data([n, graph.side, graph.side, 3], tiles.to_vec());
        let values = fenced(|| model.run(vec![(input, pixels.into())], &outputs, None))?;
        values.into_iter().map(probed).collect()
    }))
}

fn read(mut options: ModelOptions, onnx: Vec<u8>, external: Option<Vec<u8>>) -> Result<Model, Failure> {
    if let Some(weights) = external {
        options.external_data(ComposedGraph::EXTERNAL_FILE, weights);
    }
    fenced(|| options.load(onnx))
}

type Failure = Box<dyn Error + Send + Sync>;

/// A graph that somebody made can bring the engine to panic: that is a graph that it does not run.
fn fenced<T, E: Error + Send + Sync + 'static>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Ok(done?),
        Err(_) => Err("it panics; simplify the graph, and report it".into()),
    }
}

/// A value with its numbers; of booleans and integers their values.
fn probed(value: Value) -> Result<Probed, Box<dyn Error + Send + Sync>> {
    let shape = value.shape().to_vec();
    let values = match value {
        Value::FloatTensor(tensor) => tensor.into_data().to_vec(),
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

#[cfg(test)]
mod tests {
    use coverslip_bundle::onnx::operators::SUPPORTED_OPERATORS;

    use super::*;

    #[test]
    fn without_an_sae_the_graph_says_that_nothing_is_active() {
        use coverslip_bundle::build::{Calibration, write_bundle};
        use coverslip_bundle::synthetic::{SyntheticSpec, recipe};
        let mut recipe = recipe(&SyntheticSpec::default());
        recipe.manifest.sae = coverslip_bundle::Sae::none("last", 32);
        recipe.sae.clear();
        recipe.calibration = Calibration::default();
        let folder = std::env::temp_dir().join(format!("coverslip-no-sae-{}", std::process::id()));
        let bundle = write_bundle(&folder, recipe, true, load).unwrap();
        let reference = bundle.reference().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(reference.embeddings.iter().flatten().any(|value| *value != 0.0));
        assert!(reference.active_count.iter().chain(&reference.feature_index).all(|count| *count == 0));
        assert!(reference.feature_value.iter().chain(&reference.reconstruction_error).all(|value| *value == 0.0));
    }

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    /// What rten says of a graph of one node.
    fn load_error(op: &str) -> String {
        let node = [field(1, b"x"), field(2, b"y"), field(4, op.as_bytes())].concat();
        let graph = [field(1, &node), field(11, &field(1, b"x")), field(12, &field(1, b"y"))].concat();
        let opset = [field(1, b""), vec![2 << 3, 20]].concat();
        let model = [vec![1 << 3, 9], field(7, &graph), field(8, &opset)].concat();
        ModelOptions::with_all_ops().load(model).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_engine_has_every_operator_that_importers_let_through() {
        // Attributes are missing, which is another complaint than a missing operator.
        let unknown = |op: &str| {
            let error = load_error(op);
            error.contains("not supported") || error.contains("not enabled") || error.contains("not available")
        };
        assert!(unknown("Magic"), "{}", load_error("Magic"));
        assert!(unknown("RandomNormal"), "{}", load_error("RandomNormal"));
        let missing: Vec<_> = SUPPORTED_OPERATORS.iter().filter(|op| unknown(op)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(SUPPORTED_OPERATORS.is_sorted(), "searched by halves");
    }
}
