//! The stored form of a graph: large floating-point constants become weights, everything else stays in the graph.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::source::{self, HALVES_AND_DOUBLE, Source, any_element, element, to_f32};
use crate::checkpoint::{Entry, contiguous};
use crate::{Checkpoint, StoreAs};
use coverslip_bundle::compose::graph::Graph;
use coverslip_bundle::onnx::{Constant, ConstantData, DataType, Dim};
use coverslip_bundle::tensors::{Element, Tensor};
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{PixelLayout, Pooling, Tap, TapSource};
use coverslip_bundle::{Weight, Weights};

/// Fewest values of a weight. Smaller constants, such as shapes, axes and scalars, stay in the graph.
const SMALLEST_WEIGHT: usize = 64;
/// Most values of an attention mask. A larger constant with infinities is a damaged weight.
const LARGEST_MASK: usize = 1 << 20;

/// A checkpoint of the graph's constants, which are in its file (with the content `bytes`) or beside it.
pub(super) fn checkpoint(path: &Path, bytes: &[u8], source: &Source) -> Result<Checkpoint, BundleError> {
    let mut files = vec![path.to_owned()];
    let mut places = HashMap::new();
    let mut entries = BTreeMap::new();
    for (name, constant) in &source.constants {
        let Some(element) = any_element(constant.data_type) else { continue };
        let (file, offset) = match &constant.data {
            ConstantData::Here(Cow::Borrowed(data)) => {
                (0, (data.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize) as u64)
            }
            ConstantData::Here(_) => continue,
            ConstantData::External { location, offset, length } => {
                let expected = constant.elements().saturating_mul(element.size()) as u64;
                expect_length(name, location, *length, expected)?;
                let file = source::external_path(path, location)?;
                let next = files.len();
                let at = *places.entry(location).or_insert(next);
                if at == next {
                    files.push(file);
                }
                (at, *offset)
            }
        };
        let (shape, strides) = (constant.dims.clone(), contiguous(&constant.dims));
        entries.insert(name.clone(), Entry { file, element, shape, strides, offset });
    }
    Checkpoint::of_parts(&files, entries)
}

fn expect_length(name: &str, location: &str, stated: Option<u64>, expected: u64) -> Result<(), BundleError> {
    match stated.filter(|stated| *stated != expected) {
        Some(stated) => fail!(Invalid, "constant `{name}` has {stated} bytes in `{location}`, expected {expected}"),
        None => Ok(()),
    }
}

/// Moves small constants and integers from external files into the graph. Refuses weights that are not finite.
pub(super) fn take_in(source: &mut Source, checkpoint: &Checkpoint) -> Result<(), BundleError> {
    for (name, constant) in &mut source.constants {
        if is_weight(constant) {
            if checkpoint.contains(name) {
                checkpoint.read(name)?.view(name).check_finite()?;
            }
        } else if matches!(constant.data, ConstantData::External { .. }) {
            constant.data = ConstantData::Here(Cow::Owned(checkpoint.read(name)?.bytes));
        }
    }
    Ok(())
}

/// Whether a constant is a weight: floating-point, not small, and without the infinities of an attention mask.
fn is_weight(constant: &Constant) -> bool {
    let is_mask = || match &constant.data {
        ConstantData::Here(data) if constant.elements() <= LARGEST_MASK => {
            to_f32(constant.data_type, data).iter().any(|value| value.is_infinite())
        }
        _ => false,
    };
    element(constant.data_type).is_some() && constant.elements() >= SMALLEST_WEIGHT && !is_mask()
}

pub(super) fn weights(
    source: &Source,
    checkpoint: &Arc<Checkpoint>,
    precision: StoreAs,
) -> Result<Weights, BundleError> {
    let mut weights = Weights::default();
    for (name, constant) in source.constants.iter().filter(|(_, constant)| is_weight(constant)) {
        let found = element(constant.data_type).unwrap_or(Element::F32);
        let stored = precision.stored(found);
        let weight = match &constant.data {
            ConstantData::Here(Cow::Owned(data)) => {
                let tensor = Tensor { element: found, shape: constant.dims.clone(), bytes: data.clone() };
                Weight::here(tensor.to(name, stored)?)
            }
            _ => {
                let rows = constant.dims.first().copied().unwrap_or(1);
                Weight::rows(checkpoint.clone(), vec![(name.clone(), 0..rows)], constant.dims.clone(), stored)
            }
        };
        weights.insert(name, weight);
    }
    Ok(weights)
}

/// The stored graph: weights are inputs, all other constants are inside.
pub(super) fn topology(
    source: &Source,
    weights: &Weights,
    wanted: &[String],
    taps: &[Tap],
    side: usize,
) -> Result<Vec<u8>, BundleError> {
    let mut graph = Graph::new("model", source.opset, 1 << 20)?;
    let image = match source.image.layout {
        PixelLayout::Nchw => [Dim::Batch, Dim::Fixed(3), Dim::Fixed(side), Dim::Fixed(side)],
        PixelLayout::Nhwc => [Dim::Batch, Dim::Fixed(side), Dim::Fixed(side), Dim::Fixed(3)],
    };
    graph.input(&source.image.name, DataType::Float, &image);
    for name in weights.names() {
        let shape = weights.get(name).map(Weight::shape).unwrap_or_default();
        let dims: Vec<Dim> = shape.iter().map(|size| Dim::Fixed(*size)).collect();
        graph.input(name, DataType::Float, &dims);
    }
    let mut small: Vec<&Constant> = source.constants.values().filter(|constant| !is_weight(constant)).collect();
    small.sort_by(|a, b| a.name.cmp(&b.name));
    for constant in small {
        match &constant.data {
            ConstantData::Here(data) if HALVES_AND_DOUBLE.contains(&constant.data_type) => {
                graph.floats(&constant.name, &constant.dims, &to_f32(constant.data_type, data));
            }
            ConstantData::Here(data) => graph.constant(&constant.name, &constant.dims, constant.data_type, data),
            ConstantData::External { location, .. } => {
                fail!(Unsupported, "constant `{}` of ONNX type {} in `{location}`", constant.name, constant.data_type)
            }
        }
    }
    source.nodes.iter().for_each(|node| graph.copied_node(node));
    for name in wanted {
        let tap = taps.iter().find(|tap| matches!(&tap.source, TapSource::Tensor { tensor, .. } if tensor == name));
        let rank = if tap.is_some_and(|tap| tap.pooling == Pooling::None) { 2 } else { 3 };
        graph.output(
            name,
            DataType::Float,
            &vec![Dim::Batch; 1].into_iter().chain((1..rank).map(|_| Dim::Any)).collect::<Vec<_>>(),
        );
    }
    let (bytes, _) = graph.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_does_not_fit_is_a_number() {
        assert!(expect_length("W", "w.bin", None, 8).is_ok() && expect_length("W", "w.bin", Some(8), 8).is_ok());
        let refused = expect_length("W", "w.bin", Some(9), 8).unwrap_err();
        assert_eq!(refused.message(), "constant `W` has 9 bytes in `w.bin`, expected 8");
    }
}
