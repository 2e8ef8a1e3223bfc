//! What the fake TensorRT computes: one bundle, in float32, in this process. Every tile comes out as on the plugin's CPU
//! engine, to the last bit: by its kernels where they run the bundle here, and by rten otherwise.
#![allow(dead_code, reason = "each program uses a part")]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "each is a call of the fake's, or the fake's call")]

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use coverslip_bundle::{Architecture, Bundle, ComposedGraph};
use coverslip_vit::{Family, Lane};
use libloading::Library;
use rten::{Model, ModelOptions, NodeId};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

struct Forward {
    engine: Engine,
    side: usize,
}

enum Engine {
    Kernels { lane: Box<Lane>, widths: Vec<usize> },
    Graph { model: Box<Model>, input: NodeId, outputs: Vec<NodeId> },
}

/// A tile's values of one output.
enum Values {
    Floats(Vec<f32>),
    Integers(Vec<i32>),
}

static FORWARD: Mutex<Option<Forward>> = Mutex::new(None);

/// The kernels with which the CPU engine runs a bundle on this machine.
fn kernels(bundle: &Bundle) -> Option<Family> {
    matches!(bundle.manifest().architecture, Architecture::Vit(_)).then(|| Family::best(false)).flatten()
}

impl Engine {
    fn new(bundle: &Bundle, graph: &ComposedGraph) -> Engine {
        if let Some(family) = kernels(bundle) {
            let model = coverslip_vit::Model::open(bundle, family).unwrap();
            let widths = graph.taps.iter().map(|tap| tap.width).collect();
            return Engine::Kernels { lane: Box::new(Lane::new(&Arc::new(model)).unwrap()), widths };
        }
        let model = ModelOptions::with_all_ops().load(graph.onnx.clone()).unwrap();
        let outputs = graph.outputs().into_iter().map(|name| model.node_id(name).unwrap()).collect();
        Engine::Graph { input: model.node_id(&graph.input).unwrap(), outputs, model: Box::new(model) }
    }

    /// The outputs of a tile, in the graph's order.
    fn run(&mut self, tile: &[u8], side: usize) -> Vec<Values> {
        match self {
            Engine::Kernels { lane, widths } => {
                let found = lane.run(tile);
                let mut rest = found.embeddings;
                let mut values = Vec::new();
                for width in widths {
                    let (embedding, others) = rest.split_at(*width);
                    values.push(Values::Floats(embedding.to_vec()));
                    rest = others;
                }
                values.push(Values::Integers(found.features.iter().map(|feature| feature.index as i32).collect()));
                values.push(Values::Floats(found.features.iter().map(|feature| feature.value).collect()));
                values.push(Values::Integers(vec![found.active_count as i32]));
                values.push(Values::Floats(vec![found.reconstruction_error]));
                values
            }
            Engine::Graph { model, input, outputs } => {
                let pixels = NdTensorView::from_data([1, side, side, 3], tile);
                let values = model.run(vec![(*input, pixels.into())], outputs, None).unwrap();
                let of = |value: rten::Value| match value.dtype() {
                    rten::ValueType::Tensor(rten::DataType::Float) => {
                        Values::Floats(value.into_tensor::<f32>().unwrap().to_vec())
                    }
                    _ => Values::Integers(value.into_tensor::<i32>().unwrap().to_vec()),
                };
                values.into_iter().map(of).collect()
            }
        }
    }
}

/// Called before a run is computed.
pub(crate) type Before = fn();

static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

/// Whether every float comes out a little larger than it should.
static LIE: AtomicBool = AtomicBool::new(false);

type Compute = unsafe extern "C" fn(i64, *const c_void, *const *mut c_void);

/// Lets a fake TensorRT take any model for this bundle's and compute that. False where the library is no fake: it is left
/// alone.
pub(crate) fn stand_in(tensorrt: &Library, bundle: &Path) -> bool {
    let Ok(compute_by) = (unsafe { tensorrt.get::<unsafe extern "C" fn(Compute)>("fake_compute") }) else {
        return false;
    };
    let bundle = Bundle::open(bundle).unwrap();
    let graph = bundle.compose().unwrap();
    describe(tensorrt, &description(&graph));
    *FORWARD.lock().unwrap() = Some(Forward { engine: Engine::new(&bundle, &graph), side: graph.side });
    unsafe { compute_by(compute) };
    true
}

/// The same for the library at a path, which stays loaded.
pub(crate) fn stand_in_at(library: &Path, bundle: &Path) -> Result<bool, libloading::Error> {
    let library = unsafe { Library::new(library) }?;
    let is = stand_in(&library, bundle);
    std::mem::forget(library);
    Ok(is)
}

/// Whether the library at a path is a fake.
pub(crate) fn is_stand_in(library: &Path) -> Result<bool, libloading::Error> {
    let library = unsafe { Library::new(library) }?;
    Ok(unsafe { library.get::<unsafe extern "C" fn(Compute)>("fake_compute") }.is_ok())
}

/// Tells the fake what goes in and comes out.
pub(crate) fn describe(tensorrt: &Library, text: &str) {
    let text = CString::new(text).unwrap();
    let describe = unsafe { tensorrt.get::<unsafe extern "C" fn(*const c_char)>("fake_describe") }.unwrap();
    unsafe { describe(text.as_ptr()) };
}

pub(crate) fn before_each_run(before: Option<Before>) {
    *BEFORE.lock().unwrap() = before;
}

pub(crate) fn lie(lie: bool) {
    LIE.store(lie, Ordering::SeqCst);
}

/// The fake calls this for each run, with its inputs and outputs in the host's memory.
unsafe extern "C" fn compute(tiles: i64, pixels: *const c_void, outputs: *const *mut c_void) {
    let before = *BEFORE.lock().unwrap();
    if let Some(before) = before {
        before();
    }
    let mut forward = FORWARD.lock().unwrap();
    let Forward { engine, side } = forward.as_mut().unwrap();
    let (n, side) = (tiles as usize, *side);
    let pixels = unsafe { std::slice::from_raw_parts(pixels.cast::<u8>(), n * 3 * side * side) };
    // One tile at a time, as the CPU's engine runs them.
    for (at, tile) in pixels.chunks_exact(3 * side * side).enumerate() {
        for (which, values) in engine.run(tile, side).into_iter().enumerate() {
            let target = unsafe { *outputs.add(which) };
            let bytes: Vec<u8> = match values {
                Values::Floats(values) => {
                    let factor = if LIE.load(Ordering::SeqCst) { 1.1 } else { 1.0 };
                    values.iter().flat_map(|v| (factor * v).to_le_bytes()).collect()
                }
                Values::Integers(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            };
            let target = unsafe { target.cast::<u8>().add(at * bytes.len()) };
            unsafe { target.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
    }
}

/// What the graph takes and gives, in the fake's words.
fn description(graph: &ComposedGraph) -> String {
    let mut text = format!("{} u {}\n", graph.input, graph.side);
    graph.taps.iter().for_each(|tap| text += &format!("{} f {}\n", tap.name, tap.width));
    text += &format!("{} i {}\n", ComposedGraph::FEATURE_INDEX, graph.features);
    text += &format!("{} f {}\n", ComposedGraph::FEATURE_VALUE, graph.features);
    text + &format!("{} i 0\n{} f 0\n", ComposedGraph::ACTIVE_COUNT, ComposedGraph::RECONSTRUCTION_ERROR)
}

/// For a process that knows nothing of the fake: the file that `COVERSLIP_FAKE_TABLE` names, with the bundle's reference
/// tiles and the tiles `more`, and their outputs.
pub(crate) fn table_with(bundle: &Path, more: &[Vec<u8>]) -> Vec<u8> {
    let mut table = table(bundle);
    let bundle = Bundle::open(bundle).unwrap();
    let graph = bundle.compose().unwrap();
    let mut engine = Engine::new(&bundle, &graph);
    for tile in more {
        table.extend(tile);
        for values in engine.run(tile, graph.side) {
            match values {
                Values::Floats(values) => table.extend(values.iter().flat_map(|v| v.to_le_bytes())),
                Values::Integers(values) => table.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            }
        }
    }
    table
}

/// The same with the reference tiles alone.
pub(crate) fn table(bundle: &Path) -> Vec<u8> {
    let bundle = Bundle::open(bundle).unwrap();
    let graph = bundle.compose().unwrap();
    let mut reference = bundle.reference().unwrap();
    if let Some(family) = kernels(&bundle) {
        let tiles = std::mem::take(&mut reference.tiles);
        reference = coverslip_vit::outputs(&bundle, family, &tiles).unwrap();
        reference.tiles = tiles;
    }
    let text = description(&graph);
    let mut table = format!("{}\n{text}", text.len()).into_bytes();
    let (pixels, k) = (3 * graph.side * graph.side, graph.features);
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let integers = |values: &[i32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    for tile in 0..reference.count {
        table.extend(&reference.tiles[tile * pixels..(tile + 1) * pixels]);
        for (tap, values) in graph.taps.iter().zip(&reference.embeddings) {
            table.extend(floats(&values[tile * tap.width..(tile + 1) * tap.width]));
        }
        table.extend(integers(&reference.feature_index[tile * k..(tile + 1) * k]));
        table.extend(floats(&reference.feature_value[tile * k..(tile + 1) * k]));
        table.extend(integers(&reference.active_count[tile..tile + 1]));
        table.extend(floats(&reference.reconstruction_error[tile..tile + 1]));
    }
    table
}
