//! A tiny random bundle, with reference outputs from rten itself.

use std::path::Path;

use coverslip_bundle::build::LoadResult;
use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::{ComposedGraph, ReferenceOutputs};
use rten::{ModelOptions, Value};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

/// Writes a tiny bundle; one that an earlier run left there is replaced.
pub fn bundle(folder: &Path) {
    bundle_of(folder, &SyntheticSpec::default());
}

/// The same with other sizes.
pub fn bundle_of(folder: &Path, spec: &SyntheticSpec) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("the old bundle can be removed");
    }
    synthetic::write(folder, spec, load).expect("a synthetic bundle");
}

/// Loads a composed graph into rten.
///
/// # Errors
/// Whatever rten says.
pub fn load(graph: ComposedGraph) -> LoadResult {
    let model = ModelOptions::with_all_ops().load(graph.onnx.clone())?;
    let outputs = graph.outputs().into_iter().map(|name| model.node_id(name)).collect::<Result<Vec<_>, _>>()?;
    let input = model.node_id(&graph.input)?;
    Ok(Box::new(move |tiles, n| {
        let pixels = NdTensorView::from_data([n, graph.side, graph.side, 3], tiles);
        let mut values = model.run(vec![(input, pixels.into())], &outputs, None)?.into_iter();
        Ok(ReferenceOutputs {
            tiles: Vec::new(),
            count: n,
            embeddings: graph.taps.iter().map(|_| floats(values.next())).collect(),
            feature_index: integers(values.next()),
            feature_value: floats(values.next()),
            active_count: integers(values.next()),
            reconstruction_error: floats(values.next()),
        })
    }))
}

fn floats(value: Option<Value>) -> Vec<f32> {
    value.and_then(|value| value.into_tensor::<f32>()).expect("floats").to_vec()
}

fn integers(value: Option<Value>) -> Vec<i32> {
    value.and_then(|value| value.into_tensor::<i32>()).expect("integers").to_vec()
}
