//! Tiny random bundles, with reference outputs from rten itself.

use std::path::Path;

use coverslip_bundle::build::write_bundle;
use coverslip_bundle::onnx::{Attribute, DataType, Dim, Model, ModelWriter, Placement, demand};
use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::tensors::TensorMap;
use coverslip_bundle::{Architecture, OnnxModel, PixelLayout, Pooling, Tap, TapSource};

/// Writes a tiny bundle; one that an earlier run left there is replaced.
pub fn bundle(folder: &Path) {
    bundle_of(folder, &SyntheticSpec::default());
}

/// The same with other sizes.
pub fn bundle_of(folder: &Path, spec: &SyntheticSpec) {
    remove(folder);
    synthetic::write(folder, spec, coverslip_runner::load).expect("a synthetic bundle");
}

/// One whose model is an ONNX graph, which the CPU engine runs with rten: a convolution, and the mean over the tile.
pub fn onnx_bundle(folder: &Path) {
    onnx_bundle_of(folder, &SyntheticSpec::default(), |net, spec| {
        let weight: Vec<f32> = (0..spec.embed_dim * 27).map(|at| (at * 7 % 27) as f32 / 27.0 - 0.5).collect();
        net.floats("weight", &[spec.embed_dim, 3, 3, 3], &weight);
        net.ints("axes", &[2], &[2, 3]);
        let kernel = [("kernel_shape", Attribute::Ints(vec![3, 3])), ("pads", Attribute::Ints(vec![1; 4]))];
        net.node("Conv", "conv", &["image", "weight"], &["conv"], &kernel);
        net.node("Relu", "relu", &["conv"], &["relu"], &[]);
        net.node("ReduceMean", "mean", &["relu", "axes"], &["mean"], &[("keepdims", Attribute::Int(0))]);
    });
}

/// The same with other sizes and another graph: `draw` leads from `image` (batch, 3, side, side) to `mean` (batch,
/// embed_dim).
pub fn onnx_bundle_of(folder: &Path, spec: &SyntheticSpec, draw: impl FnOnce(&mut ModelWriter, &SyntheticSpec)) {
    remove(folder);
    let (side, width) = (spec.side, spec.embed_dim);
    let mut recipe = synthetic::recipe(spec);
    let mut net = ModelWriter::new("a graph", 18, 0, Placement::Inside).expect("memory");
    net.input("image", DataType::Float, &[Dim::Batch, Dim::Fixed(3), Dim::Fixed(side), Dim::Fixed(side)]);
    draw(&mut net, spec);
    net.output("mean", DataType::Float, &[Dim::Batch, Dim::Fixed(width)]);
    let graph = net.finish().expect("a small graph").0;
    let model = Model::read(&graph).expect("a sound graph");
    let work = demand(&model, ("image", &[1, 3, side, side]), 1).expect("sizes are known").work;
    recipe.manifest.architecture = Architecture::Onnx(OnnxModel {
        input: "image".to_owned(),
        layout: PixelLayout::Nchw,
        single_tile: false,
        parameters: model.constants.iter().map(|constant| constant.elements() as u64).sum(),
        flops_per_tile: 2 * work,
    });
    recipe.topology = Some(graph);
    recipe.model = TensorMap::new().into();
    recipe.manifest.taps = vec![Tap {
        name: recipe.manifest.sae.tap.clone(),
        source: TapSource::Tensor { tensor: "mean".to_owned(), width, prefix_tokens: 0, patches: 0 },
        pooling: Pooling::None,
    }];
    write_bundle(folder, recipe, false, coverslip_runner::load).expect("a bundle of an ONNX model");
}

fn remove(folder: &Path) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("the old bundle can be removed");
    }
}
