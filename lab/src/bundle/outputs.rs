//! The outputs of a bundle on given tiles, as safetensors.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
use coverslip_bundle::{Bundle, ComposedGraph, ReferenceOutputs};
use coverslip_files::put;
use coverslip_vit::{Choice, Model};

use super::tiles;
use crate::claim;

/// Runs `tiles` through the bundle of `folder` and writes the outputs to `path`.
///
/// # Errors
/// Where tiles cannot be read, the graph cannot be run, or the file cannot be written.
pub(crate) fn run(
    (bundle, folder): (&Bundle, &Path),
    tiles: &[PathBuf],
    kernels: Option<Choice>,
    path: &Path,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let _claim = claim::output(path, claim::SAFETENSORS, tiles.iter().map(PathBuf::as_path).chain([folder]))?;
    let tiles = tiles::read(tiles, bundle.manifest().side)?;
    let outputs = match kernels {
        Some(choice) => match bundle.int8().filter(|_| choice.int8.is_some()) {
            // Whether the mix passes its gate is for hosts.
            Some(mix) => {
                coverslip_vit::of_model(bundle.manifest(), Model::of_mix(bundle, choice, mix)?, &tiles.pixels)?
            }
            None => coverslip_vit::outputs(bundle, choice, &tiles.pixels)?,
        },
        None => coverslip_runner::outputs(bundle.compose()?, &tiles.pixels)?,
    };
    put(path, &to_safetensors(&tensors(bundle, &outputs))?)?;
    Ok(writeln!(out, "{}: outputs for {} tiles", path.display(), outputs.count)?)
}

/// The outputs under the graph's names.
fn tensors(bundle: &Bundle, outputs: &ReferenceOutputs) -> TensorMap {
    let (manifest, n) = (bundle.manifest(), outputs.count);
    let k = manifest.sae.outputs;
    let mut tensors = TensorMap::from([
        (ComposedGraph::FEATURE_INDEX.to_owned(), Tensor::i32(&[n, k], &outputs.feature_index)),
        (ComposedGraph::FEATURE_VALUE.to_owned(), Tensor::f32(&[n, k], &outputs.feature_value)),
        (ComposedGraph::ACTIVE_COUNT.to_owned(), Tensor::i32(&[n], &outputs.active_count)),
        (ComposedGraph::RECONSTRUCTION_ERROR.to_owned(), Tensor::f32(&[n], &outputs.reconstruction_error)),
    ]);
    for (tap, values) in manifest.taps.iter().zip(&outputs.embeddings) {
        let tensor = Tensor::f32(&[n, manifest.tap_width(tap)], values);
        tensors.insert(ComposedGraph::embedding(&tap.name), tensor);
    }
    tensors
}
