//! What the fake TensorRT computes: the graph of one bundle, in float32 by rten, in this process. Every tile comes out as on
//! the plugin's CPU engine, to the last bit.
#![allow(dead_code, reason = "each program uses a part")]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "each is a call of the fake's, or the fake's call")]

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use coverslip_bundle::{Bundle, ComposedGraph};
use libloading::Library;
use rten::{Model, ModelOptions, NodeId};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

struct Graph {
    model: Model,
    input: NodeId,
    outputs: Vec<NodeId>,
    side: usize,
}

static GRAPH: Mutex<Option<Graph>> = Mutex::new(None);

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
    let graph = Bundle::open(bundle).unwrap().compose().unwrap();
    describe(tensorrt, &description(&graph));
    let model = ModelOptions::with_all_ops().load(graph.onnx.clone()).unwrap();
    let outputs = graph.outputs().into_iter().map(|name| model.node_id(name).unwrap()).collect();
    let input = model.node_id(&graph.input).unwrap();
    *GRAPH.lock().unwrap() = Some(Graph { input, outputs, side: graph.side, model });
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
    let graph = GRAPH.lock().unwrap();
    let graph = graph.as_ref().unwrap();
    let (n, side) = (tiles as usize, graph.side);
    let pixels = unsafe { std::slice::from_raw_parts(pixels.cast::<u8>(), n * 3 * side * side) };
    // One tile at a time, as the CPU's engine runs them.
    for (at, tile) in pixels.chunks_exact(3 * side * side).enumerate() {
        let input = NdTensorView::from_data([1, side, side, 3], tile);
        let values = graph.model.run(vec![(graph.input, input.into())], &graph.outputs, None).unwrap();
        for (which, value) in values.into_iter().enumerate() {
            let target = unsafe { *outputs.add(which) };
            let bytes: Vec<u8> = match value.dtype() {
                rten::ValueType::Tensor(rten::DataType::Float) => {
                    let factor = if LIE.load(Ordering::SeqCst) { 1.1 } else { 1.0 };
                    let values = value.into_tensor::<f32>().unwrap().to_vec();
                    values.iter().flat_map(|v| (factor * v).to_le_bytes()).collect()
                }
                _ => value.into_tensor::<i32>().unwrap().to_vec().iter().flat_map(|v| v.to_le_bytes()).collect(),
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

/// For a host that knows nothing of the fake: the file that `FAKE_TABLE` names, with the bundle's reference tiles and their
/// outputs.
pub(crate) fn table(bundle: &Path) -> Vec<u8> {
    let bundle = Bundle::open(bundle).unwrap();
    let (graph, reference) = (bundle.compose().unwrap(), bundle.reference().unwrap());
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
