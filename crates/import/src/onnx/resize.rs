//! Cubic interpolation as two matrix products. The embedded engine would interpolate linearly instead. If the sizes are
//! known, as for a position embedding, the products are exact and every engine runs them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::probe::Probed;
use super::source::{FLOAT, Source};
use crate::cubic::{Cubic, cubic_matrix};
use coverslip_bundle::budget::MAX_INTERPOLATION;
use coverslip_bundle::onnx::{AttributeValue, Constant, ConstantData, Node};
use coverslip_bundle::{BundleError, fail};

/// Whether `node` interpolates cubically.
fn is_cubic(node: &Node) -> Result<bool, BundleError> {
    Ok(node.op == "Resize" && node.attribute("mode")? == Some(AttributeValue::Text("cubic")))
}

/// The values to probe before [`lower`]: inputs and outputs of cubic `Resize` nodes.
pub(super) fn values(source: &Source) -> Result<Vec<String>, BundleError> {
    let mut values = Vec::new();
    for node in &source.nodes {
        if is_cubic(node)? {
            values.extend(
                node.inputs.iter().enumerate().filter(|(i, name)| *i != 1 && !name.is_empty()).map(|(_, n)| n.clone()),
            );
            values.extend(node.outputs.first().cloned());
        }
    }
    Ok(values)
}

/// Replaces every cubic `Resize` by products; returns a note for each.
pub(super) fn lower(source: &mut Source, found: &HashMap<String, Probed>) -> Result<Vec<String>, BundleError> {
    let (mut notes, mut factors) = (Vec::new(), 0usize);
    for node in std::mem::take(&mut source.nodes) {
        if !is_cubic(&node)? {
            source.nodes.push(node);
            continue;
        }
        let Geometry { from, to, scales } = geometry(&node, source, found)?;
        let more = from[0].saturating_mul(to[0]).saturating_add(from[1].saturating_mul(to[1]));
        factors = factors.saturating_add(more);
        if factors > MAX_INTERPOLATION {
            fail!(
                TooLarge,
                "`{}`: a cubic Resize from {} × {} to {} × {} is computed as two matrices, with which the graph's have \
                 more than {MAX_INTERPOLATION} factors; expected fewer: resize by less, or linearly",
                node.name.escape_default(),
                from[0],
                from[1],
                to[0],
                to[1]
            );
        }
        let a = match node.attribute("cubic_coeff_a")? {
            Some(AttributeValue::Float(a)) => f64::from(a),
            _ => -0.75,
        };
        let (input, output) = (node.inputs[0].clone(), node.outputs[0].clone());
        let matrix = |axis: usize| cubic_matrix(from[axis], to[axis], scales[axis], Cubic::Plain { a });
        let [rows, columns, between] = ["rows", "columns", "between"].map(|part| source.unused_name(&output, part));
        insert(source, &rows, [to[0], from[0]], matrix(0)?.into_iter())?;
        insert(source, &columns, [from[1], to[1]], transposed(&matrix(1)?, from[1]))?;
        source.nodes.push(product(&rows, &input, &between));
        source.nodes.push(product(&between, &columns, &output));
        notes.push(format!(
            "`{}` is a cubic interpolation from {} × {} to {} × {}: computed as two matrix products",
            node.name, from[0], from[1], to[0], to[1]
        ));
    }
    Ok(notes)
}

/// Sizes of the last two axes before and after, and the scales for the coordinates.
struct Geometry {
    from: [usize; 2],
    to: [usize; 2],
    scales: [f64; 2],
}

fn geometry(node: &Node, source: &Source, found: &HashMap<String, Probed>) -> Result<Geometry, BundleError> {
    // Beside sizes the engine may take no notice of them, whatever they are.
    let numbers = |name: &String| -> Option<Vec<f64>> {
        let probed = found
            .get(name)
            .filter(|probed| probed.values.len() == 4)
            .map(|probed| probed.values.iter().map(|v| f64::from(*v)).collect());
        probed.or_else(|| {
            source.constants.get(name).filter(|constant| constant.elements() == 4).and_then(constant_floats)
        })
    };
    let input = node.inputs.first().and_then(|name| {
        found.get(name).map(|p| p.shape.clone()).or_else(|| source.constants.get(name).map(|c| c.dims.clone()))
    });
    let output = node.outputs.first().and_then(|name| found.get(name)).map(|probed| probed.shape.clone());
    let (Some([a, b, h, w]), Some([c, d, height, width])) = (input.as_deref(), output.as_deref()) else {
        fail!(
            Unsupported,
            "`{}`: a cubic Resize of a value without four axes: not supported in this version",
            node.name
        );
    };
    if (a, b) != (c, d) {
        fail!(
            Unsupported,
            "`{}`: a cubic Resize along other axes than the last two: not supported in this version",
            node.name
        );
    }
    let stated = node.inputs.get(2).filter(|name| !name.is_empty()).and_then(numbers);
    let ratio = [*height as f64 / *h as f64, *width as f64 / *w as f64];
    let scales = match stated.as_deref() {
        Some([_, _, y, x]) => [*y, *x],
        _ => ratio,
    };
    // Where a size is 0 there is nothing to interpolate, and a scale beyond these has no place in an axis.
    if [h, w, height, width].contains(&&0) || scales.iter().any(|scale| !(1e-6..=1e6).contains(scale)) {
        fail!(
            Unsupported,
            "`{}`: a cubic Resize from {h} × {w} to {height} × {width} by {scales:?}: not supported in this version; \
             expected sizes and scales of images",
            node.name.escape_default()
        );
    }
    Ok(Geometry { from: [*h, *w], to: [*height, *width], scales })
}

fn constant_floats(constant: &Constant) -> Option<Vec<f64>> {
    match &constant.data {
        ConstantData::Here(data) if constant.data_type == FLOAT => {
            Some(data.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect())
        }
        _ => None,
    }
}

fn insert(
    source: &mut Source,
    name: &str,
    dims: [usize; 2],
    values: impl Iterator<Item = f64>,
) -> Result<(), BundleError> {
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(4 * dims[0] * dims[1]).is_err() {
        fail!(OutOfMemory, "no memory for the {} × {} factors of an interpolation", dims[0], dims[1]);
    }
    values.for_each(|value| bytes.extend((value as f32).to_le_bytes()));
    let data = ConstantData::Here(Cow::Owned(bytes));
    let constant = Constant { name: name.to_owned(), dims: dims.to_vec(), data_type: FLOAT, data };
    source.constants.insert(name.to_owned(), constant);
    Ok(())
}

/// Transposes `[output, input]` to `[input, output]`.
fn transposed(matrix: &[f64], inputs: usize) -> impl Iterator<Item = f64> {
    (0..inputs).flat_map(move |column| matrix.iter().skip(column).step_by(inputs).copied())
}

fn product(left: &str, right: &str, output: &str) -> Node {
    Node {
        name: output.to_owned(),
        op: "MatMul".to_owned(),
        inputs: vec![left.to_owned(), right.to_owned()],
        outputs: vec![output.to_owned()],
        ..Node::default()
    }
}
