//! The fakes in this process, and a site that opens runtimes on them.

use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use coverslip_bundle::{Bundle, ComposedGraph};
use coverslip_plugin_abi::*;
use libloading::Library;
use rten::{Model, ModelOptions, NodeId};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

use crate::folder;
use crate::support::host::{Answer, TestRuntime, open_with};

/// The graph that the fake computes.
struct Graph {
    model: Model,
    input: NodeId,
    outputs: Vec<NodeId>,
    side: usize,
}

static GRAPH: Mutex<Option<Graph>> = Mutex::new(None);

/// What may be done to a run before it is computed.
type Before = fn();

/// Whether every float that the fake gives is a little larger than it should be.
static LIE: AtomicBool = AtomicBool::new(false);

static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

/// What the fake calls for each run: rten on the pixels that are on the device, its outputs to where the device has them.
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

/// The fake libraries of this process, and a bundle that the fake computes.
pub(crate) struct Site {
    driver: Library,
    tensorrt: Library,
    pub(crate) bundle: PathBuf,
    pub(crate) plans: PathBuf,
    library: CString,
}

/// Calls a function of a fake's.
macro_rules! ask {
    ($library:expr, $name:literal, ($($argument:expr => $type:ty),*) $(-> $answer:ty)?) => {{
        let function: libloading::Symbol<'_, unsafe extern "C" fn($($type),*) $(-> $answer)?> =
            unsafe { $library.get($name) }.unwrap();
        unsafe { function($($argument),*) }
    }};
}

impl Site {
    /// Everything new, for the part `name`. This thread is the host's from here on: CUDA called on it is counted.
    pub(crate) fn new(name: &str) -> Site {
        let path = PathBuf::from(std::env::var_os("FAKE").unwrap());
        let flavor = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let (bundle, plans) = (folder(&format!("{name}-{flavor}-bundle")), folder(&format!("{name}-{flavor}-plans")));
        coverslip_testkit::bundle(&bundle);
        let _ = std::fs::remove_dir_all(&plans);
        let site = Site {
            driver: unsafe { Library::new("libcuda.so.1") }.unwrap(),
            tensorrt: unsafe { Library::new(&path) }.unwrap(),
            bundle,
            plans,
            library: c_path(&path),
        };
        site.describe();
        ask!(site.driver, "fake_forbid_thread", ());
        site
    }

    /// Tells the fake what the bundle's graph takes and gives, and how it is computed.
    fn describe(&self) {
        let bundle = Bundle::open(&self.bundle).unwrap();
        let graph = bundle.compose().unwrap();
        let text = description(&graph);
        self.describe_as(&text);
        let model = ModelOptions::with_all_ops().load(graph.onnx.clone()).unwrap();
        let outputs = graph.outputs().into_iter().map(|name| model.node_id(name).unwrap()).collect();
        let input = model.node_id(&graph.input).unwrap();
        *GRAPH.lock().unwrap() = Some(Graph { input, outputs, side: graph.side, model });
        type Compute = unsafe extern "C" fn(i64, *const c_void, *const *mut c_void);
        ask!(self.tensorrt, "fake_compute", (compute => Compute));
    }

    pub(crate) fn describe_as(&self, text: &str) {
        let text = CString::new(text).unwrap();
        ask!(self.tensorrt, "fake_describe", (text.as_ptr() => *const std::ffi::c_char));
    }

    /// Done before each run, on the thread that waits for it.
    pub(crate) fn before_each_run(&self, before: Option<Before>) {
        *BEFORE.lock().unwrap() = before;
    }

    pub(crate) fn lie(&self, lie: bool) {
        LIE.store(lie, Ordering::SeqCst);
    }

    /// Opens with TENSORRT, the fake library and this site's plans; `change` sees the desc before.
    pub(crate) fn open(&self, change: impl FnOnce(&mut RuntimeDesc)) -> Answer<TestRuntime> {
        let plans = c_path(&self.plans);
        open_with(&self.bundle, |desc| {
            desc.engine = ENGINE_TENSORRT;
            desc.tensorrt_library = self.library.as_ptr();
            desc.plan_cache_path = plans.as_ptr();
            change(desc);
        })
    }

    /// From the call after the next `skip` on, this function of the driver gives `code`; 0: no longer.
    pub(crate) fn fail(&self, call: &str, skip: i32, code: i32) {
        let call = CString::new(call).unwrap();
        ask!(self.driver, "fake_fail", (call.as_ptr() => *const std::ffi::c_char, skip => i32, code => i32));
    }

    /// After so many more runs TensorRT refuses, and logs this; -1: never.
    pub(crate) fn fail_runs(&self, left: i32, text: &str) {
        let text = CString::new(text).unwrap();
        ask!(self.tensorrt, "fake_fail_runs", (left => i32, text.as_ptr() => *const std::ffi::c_char));
    }

    pub(crate) fn slow_build(&self, milliseconds: i32) {
        ask!(self.tensorrt, "fake_slow_build", (milliseconds => i32));
    }

    pub(crate) fn set_capability(&self, major: i32, minor: i32) {
        ask!(self.driver, "fake_set_capability", (major => i32, minor => i32));
    }

    pub(crate) fn set_free_memory(&self, bytes: u64) {
        ask!(self.driver, "fake_set_free_memory", (bytes => u64));
    }

    pub(crate) fn refuse_capture(&self, refuse: bool) {
        ask!(self.driver, "fake_refuse_capture", (i32::from(refuse) => i32));
    }

    pub(crate) fn builds(&self) -> i32 {
        ask!(self.tensorrt, "fake_builds", () -> i32)
    }

    pub(crate) fn runs(&self) -> i32 {
        ask!(self.tensorrt, "fake_runs", () -> i32)
    }

    pub(crate) fn launches(&self) -> i32 {
        ask!(self.driver, "fake_launches", () -> i32)
    }

    pub(crate) fn write_combined(&self) -> i32 {
        ask!(self.driver, "fake_write_combined", () -> i32)
    }

    /// Nothing of CUDA's or TensorRT's is left, and nothing was called on the host's thread.
    #[track_caller]
    pub(crate) fn expect_clean(&self) {
        assert_eq!(ask!(self.tensorrt, "fake_objects", () -> i32), 0, "engines and contexts");
        assert_eq!(ask!(self.driver, "fake_live", () -> i32), 0, "streams, events, memory, graphs, devices");
        assert_eq!(ask!(self.driver, "fake_trespasses", () -> i32), 0, "CUDA on the host's thread");
        assert_eq!(ask!(self.driver, "fake_wrong_priority", () -> i32), 0, "streams of the lowest priority");
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

/// The fake's table: the bundle's reference tiles and what comes of them.
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

/// For other hosts on the fakes (`benches/gpu.rs`, `coverslip scan`): writes the table of the bundle that
/// `COVERSLIP_TEST_BUNDLE` names to where `FAKE_TABLE` says.
#[test]
#[ignore = "run by hand: docs/measured/gpu.md"]
fn write_table() {
    let [bundle, file] = ["COVERSLIP_TEST_BUNDLE", "FAKE_TABLE"].map(|name| std::env::var_os(name).expect(name));
    std::fs::write(file, table(Path::new(&bundle))).unwrap();
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Text of a fixed array of the contract.
pub(crate) fn text(array: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = array.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8(bytes).unwrap()
}

/// Opening was refused with this code, in words that hold `part`.
#[track_caller]
pub(crate) fn refused(answer: Answer<TestRuntime>, code: i32, part: &str) {
    let refusal = answer.err().expect("a refusal");
    assert_eq!(refusal.code, code, "{}", refusal.message);
    assert!(refusal.message.contains(part), "{}", refusal.message);
}
