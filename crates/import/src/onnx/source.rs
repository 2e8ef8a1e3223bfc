//! The graph of an ONNX file: nodes, constants, the image input. `Constant` nodes become constants, and half and double
//! precision become float32, because the embedded engine computes in nothing else.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use coverslip_bundle::PixelLayout;
use coverslip_bundle::onnx::operators::OPSETS;
use coverslip_bundle::onnx::{
    AttributeValue, Constant, ConstantData, Model, Node, int_attribute, ints_attribute, tensor_attribute,
};
use coverslip_bundle::tensors::{Element, StoredTensor};
use coverslip_bundle::{BundleError, fail};

/// ONNX's `TensorProto.DataType`.
pub(super) const FLOAT: u64 = 1;
pub(super) const INT64: u64 = 7;
pub(super) const HALVES_AND_DOUBLE: [u64; 3] = [10, 16, 11];

/// A graph to import. Only its constants' bytes are borrowed from the file.
#[derive(Clone, Debug)]
pub(super) struct Source<'a> {
    pub(super) opset: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) constants: HashMap<String, Constant<'a>>,
    pub(super) image: Image,
    /// Names of the graph's own outputs.
    pub(super) outputs: Vec<String>,
    /// Inputs other than the image.
    others: Vec<String>,
    /// Every value that the file's nodes compute, needed or not.
    made: HashSet<String>,
}

/// The image input.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) layout: PixelLayout,
    /// The batch, if it is fixed.
    pub(super) batch: Option<usize>,
    /// Width and height, px, if they are fixed.
    pub(super) side: Option<usize>,
}

impl<'a> Source<'a> {
    /// Reads the file's content. `input` names the image input if there are several.
    pub(super) fn read(bytes: &'a [u8], input: Option<&str>) -> Result<Self, BundleError> {
        let model = Model::read(bytes)?;
        if model.functions > 0 {
            fail!(
                Unsupported,
                "the file has {} functions of its own: not supported in this version; inline them \
                 (onnx.inliner.inline_local_functions)",
                model.functions
            );
        }
        if !OPSETS.contains(&model.opset) {
            fail!(
                Unsupported,
                "the graph has opset {}: not supported in this version; expected {} to {}: export it again, or \
                 convert it (onnx.version_converter)",
                model.opset,
                OPSETS.start(),
                OPSETS.end()
            );
        }
        coverslip_bundle::onnx::check_names(&model)?;
        let mut constants: HashMap<String, Constant> = HashMap::new();
        for constant in model.constants {
            constants.insert(constant.name.clone(), constant);
        }
        let inputs: Vec<_> = model.inputs.iter().filter(|input| !constants.contains_key(&input.name)).collect();
        let image = find_image(&inputs, input)?;
        let others = inputs.iter().map(|input| input.name.clone()).filter(|name| *name != image.name).collect();
        let mut nodes = Vec::with_capacity(model.nodes.len());
        for node in model.nodes {
            match (node.op.as_str(), node.domain.as_str()) {
                ("Constant", "") => {
                    let constant = constant_node(&node)?;
                    constants.insert(constant.name.clone(), constant);
                }
                _ => nodes.push(single_precision_node(node)?),
            }
        }
        nodes.iter_mut().try_for_each(|node| state_kernel(node, &constants))?;
        constants.values().try_for_each(Constant::check)?;
        let made = nodes.iter().flat_map(|node| &node.outputs).cloned().collect();
        let outputs = model.outputs.into_iter().map(|output| output.name).collect();
        Ok(Self { opset: model.opset, nodes, constants, image, outputs, others, made })
    }

    /// A name that no value has.
    pub(super) fn unused_name(&self, value: &str, part: &str) -> String {
        let mut name = format!("{value}.{part}");
        while self.constants.contains_key(&name) || self.image.name == name || self.made.contains(&name) {
            name.push('_');
        }
        name
    }

    /// Removes everything that the `wanted` values do not need.
    pub(super) fn prune(&mut self, wanted: &[String]) -> Result<(), BundleError> {
        let mut needed: HashSet<String> = wanted.iter().cloned().collect();
        let mut kept = Vec::new();
        for node in self.nodes.drain(..).rev() {
            if node.outputs.iter().any(|output| needed.contains(output)) {
                needed.extend(node.inputs.iter().filter(|input| !input.is_empty()).cloned());
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
        self.constants.retain(|name, _| needed.contains(name));
        let made: HashSet<&String> = self.nodes.iter().flat_map(|node| &node.outputs).collect();
        let known =
            |name: &String| made.contains(name) || self.constants.contains_key(name) || *name == self.image.name;
        let missing: BTreeSet<&String> = needed.iter().filter(|name| !known(name)).collect();
        let others: HashSet<&String> = self.others.iter().collect();
        let inputs: Vec<String> =
            missing.iter().filter(|name| others.contains(*name)).map(|name| format!("`{name}`")).collect();
        if !inputs.is_empty() {
            fail!(
                Unsupported,
                "the taps need the inputs {} beside the image: not supported in this version; expected a graph of one \
                 image: export the image part alone",
                coverslip_bundle::layout::listed(&inputs)
            );
        }
        if let Some(name) = missing.first() {
            fail!(Invalid, "`{name}` is read but never computed; the ONNX file is damaged");
        }
        Ok(())
    }
}

impl Image {
    /// Fails where the batch is fixed at several tiles. Asked before anything is run: with one tile such a graph fails
    /// somewhere inside.
    pub(super) fn expect_one_tile_or_any(&self) -> Result<(), BundleError> {
        match self.batch {
            None | Some(1) => Ok(()),
            Some(batch) => fail!(
                Unsupported,
                "the batch of input `{}` is fixed at {batch}: not supported in this version; export the graph with a \
                 dynamic batch, or with one tile",
                self.name
            ),
        }
    }
}

/// Finds the one image input: four axes, one of which has the three colours.
fn find_image(inputs: &[&coverslip_bundle::onnx::ValueInfo], named: Option<&str>) -> Result<Image, BundleError> {
    let listed = || {
        let shape = |input: &&coverslip_bundle::onnx::ValueInfo| {
            let dims = input.dims.iter().map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string()));
            format!("`{}` [{}]", input.name, dims.collect::<Vec<_>>().join(", "))
        };
        coverslip_bundle::layout::listed(&inputs.iter().map(shape).collect::<Vec<_>>())
    };
    let images: Vec<_> = match named {
        Some(name) => inputs.iter().filter(|input| input.name == name).collect(),
        None => inputs.iter().filter(|input| input.dims.len() == 4).collect(),
    };
    let [input] = images[..] else {
        fail!(
            Invalid,
            "expected one input with the four axes of an image (or its name as \"input\"), found the inputs {}",
            listed()
        );
    };
    let layout = match input.dims[..] {
        [_, Some(3), _, _] => PixelLayout::Nchw,
        [_, _, _, Some(3)] => PixelLayout::Nhwc,
        [_, None, _, _] => PixelLayout::Nchw,
        _ => fail!(Invalid, "input {} has no axis of size 3 for the colours; expected an image", listed()),
    };
    if ![0, FLOAT, 10].contains(&input.data_type) {
        fail!(
            Unsupported,
            "input `{}` has ONNX type {}: not supported in this version; expected float32 or float16, with the \
             preprocessing outside the graph",
            input.name,
            input.data_type
        );
    }
    let axes = if layout == PixelLayout::Nchw { [2, 3] } else { [1, 2] };
    let side = match axes.map(|axis| input.dims[axis]) {
        [Some(height), Some(width)] if height != width => {
            fail!(Unsupported, "the input is {width} × {height} px: not supported in this version; expected a square")
        }
        [height, width] => height.or(width),
    };
    Ok(Image { name: input.name.clone(), layout, batch: input.dims[0], side })
}

/// Converts a `Constant` node to a constant.
fn constant_node<'a>(node: &Node) -> Result<Constant<'a>, BundleError> {
    let name = node.outputs.first().cloned().unwrap_or_default();
    let make = |dims: Vec<usize>, data_type, bytes: Vec<u8>| Constant {
        name: name.clone(),
        dims,
        data_type,
        data: ConstantData::Here(Cow::Owned(bytes)),
    };
    for attribute in ["value", "value_float", "value_floats", "value_int", "value_ints"] {
        return Ok(match node.attribute(attribute)? {
            None => continue,
            Some(AttributeValue::Tensor(bytes)) => {
                let read = Constant::read(bytes)?;
                match read.data {
                    ConstantData::Here(data) => make(read.dims, read.data_type, data.into_owned()),
                    ConstantData::External { location, offset, length } => {
                        let data = ConstantData::External { location, offset, length };
                        Constant { name: name.clone(), dims: read.dims, data_type: read.data_type, data }
                    }
                }
            }
            Some(AttributeValue::Float(value)) => make(Vec::new(), FLOAT, value.to_le_bytes().to_vec()),
            Some(AttributeValue::Floats(values)) => {
                make(vec![values.len()], FLOAT, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            Some(AttributeValue::Int(value)) => make(Vec::new(), INT64, value.to_le_bytes().to_vec()),
            Some(AttributeValue::Ints(values)) => {
                make(vec![values.len()], INT64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            Some(_) => fail!(Invalid, "`Constant` node `{name}` has a `{attribute}` of another kind"),
        });
    }
    fail!(Unsupported, "`Constant` node `{name}` holds text or a sparse tensor: not supported in this version")
}

/// Changes nodes that create or convert to half or double precision to float32.
fn single_precision_node(mut node: Node) -> Result<Node, BundleError> {
    let converts = |node: &Node, name: &str| {
        Ok::<bool, BundleError>(
            matches!(node.attribute(name)?, Some(AttributeValue::Int(to)) if HALVES_AND_DOUBLE.contains(&(to as u64))),
        )
    };
    match node.op.as_str() {
        "Cast" if converts(&node, "to")? => node.attributes = vec![int_attribute("to", FLOAT as i64)],
        "EyeLike" if converts(&node, "dtype")? => node.set_attribute("dtype", int_attribute("dtype", FLOAT as i64))?,
        "ConstantOfShape" => {
            if let Some(AttributeValue::Tensor(bytes)) = node.attribute("value")? {
                let constant = Constant::read(bytes)?;
                if let (true, ConstantData::Here(data)) =
                    (HALVES_AND_DOUBLE.contains(&constant.data_type), &constant.data)
                {
                    let value = to_f32(constant.data_type, data);
                    let value = value.first().copied().unwrap_or(0.0);
                    node.attributes = vec![tensor_attribute("value", &[1], FLOAT, &value.to_le_bytes())];
                }
            }
        }
        _ => {}
    }
    Ok(node)
}

/// States a convolution's kernel shape, which ONNX lets the weight imply and engines require.
fn state_kernel(node: &mut Node, constants: &HashMap<String, Constant>) -> Result<(), BundleError> {
    let convolves = ["Conv", "ConvTranspose"].contains(&node.op.as_str());
    if convolves
        && node.attribute("kernel_shape")?.is_none()
        && let Some(weight) = node.inputs.get(1).and_then(|name| constants.get(name))
        && weight.dims.len() > 2
    {
        let dims: Vec<i64> = weight.dims[2..].iter().map(|dim| *dim as i64).collect();
        node.set_attribute("kernel_shape", ints_attribute("kernel_shape", &dims))?;
    }
    Ok(())
}

/// Converts float16, bfloat16 and float64 to float32.
pub(super) fn to_f32(data_type: u64, bytes: &[u8]) -> Vec<f32> {
    let stored = element(data_type).map(|element| StoredTensor { name: "", element, shape: &[], bytes });
    stored.and_then(|stored| stored.to_f32().ok()).unwrap_or_default()
}

/// The element type of ONNX's floating-point types.
pub(super) fn element(data_type: u64) -> Option<Element> {
    match data_type {
        1 => Some(Element::F32),
        10 => Some(Element::F16),
        11 => Some(Element::F64),
        16 => Some(Element::Bf16),
        _ => None,
    }
}

/// The element type of ONNX's types in files; booleans are bytes.
pub(super) fn any_element(data_type: u64) -> Option<Element> {
    match data_type {
        2 | 9 => Some(Element::U8),
        6 => Some(Element::I32),
        7 => Some(Element::I64),
        other => element(other),
    }
}

/// The path of a file, beside the model, with external constants.
pub(super) fn external_path(model: &Path, location: &str) -> Result<PathBuf, BundleError> {
    if location.is_empty() || location.contains(['/', '\\']) || location.starts_with("..") {
        fail!(
            Invalid,
            "{}: its weights are in `{}`; expected a file beside it",
            model.display(),
            location.escape_default()
        );
    }
    Ok(model.with_file_name(location))
}
