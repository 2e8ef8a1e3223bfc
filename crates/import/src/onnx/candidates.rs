//! The values of a graph that could be tapped, for `coverslip bundle inspect MODEL.onnx`.

use std::collections::{BTreeMap, HashSet};

use super::probe::{Probe, Prober, Rewrite};
use super::source::Source;
use super::{OnnxFile, OnnxSpec, front, resize, side};
use coverslip_bundle::BundleError;
use coverslip_bundle::PixelLayout;
use coverslip_bundle::onnx::{DataType, Node};

/// Smallest width of a candidate. Narrower values are not embeddings.
const NARROWEST: usize = 32;

/// A value that could be tapped.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The value's name in the graph.
    pub tensor: String,
    /// The value's shape for one tile.
    pub shape: Vec<usize>,
}

/// A summary of an ONNX model, and the values that could be tapped.
#[derive(Clone, Debug)]
pub struct Candidates {
    /// Name of the image input.
    pub input: String,
    /// Order of the input's axes.
    pub layout: PixelLayout,
    /// The input's batch, if it is fixed.
    pub batch: Option<usize>,
    /// The input's width and height, px, if they are fixed.
    pub side: Option<usize>,
    /// The version of the standard operators.
    pub opset: u64,
    /// Number of values in weights and other constants.
    pub parameters: u64,
    /// Number of nodes of each operator.
    pub operators: BTreeMap<String, usize>,
    /// Sums of two computed values `[1, tokens, width]`: in a transformer the residual stream, two per block.
    pub residual: Vec<Candidate>,
    /// Other tokens `[1, tokens, width]` after the last of these, such as a final norm or heads.
    pub last_tokens: Vec<Candidate>,
    /// Vectors `[1, width]`.
    pub vectors: Vec<Candidate>,
    /// Why the graph was not run, if something in it is not supported.
    pub refused: Option<String>,
}

/// Lists the candidates of a file by running the graph, if the engine can run it.
///
/// # Errors
/// `Invalid` or `Unsupported` for files without a usable image input.
pub fn candidates(file: &OnnxFile, spec: &OnnxSpec, engine: &mut Prober) -> Result<Candidates, BundleError> {
    list(file, spec, engine).map_err(|error| error.within(file.path.display()))
}

fn list(file: &OnnxFile, spec: &OnnxSpec, engine: &mut Prober) -> Result<Candidates, BundleError> {
    let source = Source::read(&file.bytes, spec.input.as_deref())?;
    let mut operators = BTreeMap::new();
    for node in &source.nodes {
        let name = if node.domain.is_empty() { node.op.clone() } else { format!("{}.{}", node.domain, node.op) };
        *operators.entry(name).or_insert(0) += 1;
    }
    let mut listed = Candidates {
        input: source.image.name.clone(),
        layout: source.image.layout,
        batch: source.image.batch,
        side: source.image.side,
        opset: source.opset,
        parameters: source.constants.values().map(|constant| constant.elements() as u64).fold(0, u64::saturating_add),
        operators,
        residual: Vec::new(),
        last_tokens: Vec::new(),
        vectors: Vec::new(),
        refused: None,
    };
    if let Err(error) = probe(file, source, spec, engine, &mut listed) {
        listed.refused = Some(error.to_string());
    }
    Ok(listed)
}

fn probe(
    file: &OnnxFile,
    mut source: Source,
    spec: &OnnxSpec,
    engine: &mut Prober,
    listed: &mut Candidates,
) -> Result<(), BundleError> {
    source.image.expect_one_tile_or_any()?;
    let outputs = source.outputs.clone();
    source.prune(&outputs)?;
    coverslip_bundle::onnx::operators::check(&source.nodes, DataType::Float, |name| source.constants.get(name))?;
    let side = side(&source, spec)?;
    let checkpoint = super::store::checkpoint(&file.path, &file.bytes, &source)?;
    super::store::take_in(&mut source, &checkpoint)?;
    let front = front(&source, side, spec);
    let tile = super::noise(1, side);
    let mut run = |source: &Source, values: &[String]| {
        Probe::load(source, &checkpoint, &front, values, Rewrite::No, engine)?.run(&tile, 1)
    };
    let resized = resize::values(&source)?;
    if !resized.is_empty() {
        let made: HashSet<&String> = source.nodes.iter().flat_map(|node| &node.outputs).collect();
        let resized: Vec<String> = resized.into_iter().filter(|name| made.contains(name)).collect();
        let found = run(&source, &resized)?;
        resize::lower(&mut source, &found)?;
        source.prune(&outputs)?;
    }
    let values: Vec<String> =
        source.nodes.iter().filter(|node| could_be_tapped(node)).map(|node| node.outputs[0].clone()).collect();
    let found = run(&source, &values)?;
    let mut behind = Vec::new();
    for node in source.nodes.iter().filter(|node| could_be_tapped(node)) {
        let shape = &found[&node.outputs[0]].shape;
        let candidate = Candidate { tensor: node.outputs[0].clone(), shape: shape.clone() };
        let computed = |name: &String| found.get(name).is_some_and(|input| input.shape == *shape);
        match shape[..] {
            [1, tokens, width] if tokens > 1 && width >= NARROWEST => {
                if node.op == "Add"
                    && !node.inputs.iter().any(|name| source.constants.contains_key(name))
                    && node.inputs.iter().any(computed)
                {
                    listed.residual.push(candidate);
                    behind.clear();
                } else {
                    behind.push(candidate);
                }
            }
            [1, width] if width >= NARROWEST => listed.vectors.push(candidate),
            _ => {}
        }
    }
    listed.last_tokens = behind;
    Ok(())
}

/// Whether the node's operator is one whose result can be an embedding.
fn could_be_tapped(node: &Node) -> bool {
    let known = [
        "Add",
        "BatchNormalization",
        "Concat",
        "Div",
        "Flatten",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "Identity",
        "LayerNormalization",
        "LpNormalization",
        "MatMul",
        "Mul",
        "ReduceMean",
        "Reshape",
        "Slice",
        "Squeeze",
        "Tanh",
        "Transpose",
    ];
    node.domain.is_empty() && known.contains(&node.op.as_str())
}
