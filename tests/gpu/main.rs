//! On a machine with a GPU: every output of the plugin's TensorRT engine against its CPU engine, at each precision.
//! `COVERSLIP_GPU_TENSORRT` names the library (`libtensorrt_rtx.so.1`, `libnvinfer.so.11`), `COVERSLIP_GPU_BUNDLE` another
//! bundle than the demo; without a library or a GPU this is left out and says so. `tools/gpu/run` calls it.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is a call of the C ABI, with live pointers or with what it must refuse"
)]

#[path = "../support"]
mod support {
    pub(crate) mod host;
}

use std::ffi::CString;
use std::path::PathBuf;

use coverslip_bundle::{Agreement, Bundle, Precision, ReferenceOutputs, Tolerance};
use coverslip_plugin_abi::*;
use coverslip_tensorrt::Library;
use support::host::{Picture, TestRuntime, Tile, open_with};

/// Tiles of the picture; more than a batch, and no multiple of one.
const TILES: u32 = 75;

#[allow(clippy::print_stderr, reason = "a test says what it measures or leaves out")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn library() -> Option<PathBuf> {
    let Some(path) = std::env::var_os("COVERSLIP_GPU_TENSORRT").filter(|path| !path.is_empty()) else {
        say("left out: COVERSLIP_GPU_TENSORRT does not name a TensorRT library");
        return None;
    };
    let library = Library::load(&path).unwrap_or_else(|error| panic!("{error}"));
    match library.driver() {
        Ok(_) => Some(path.into()),
        Err(why) => {
            say(&format!("left out: {why}"));
            None
        }
    }
}

fn bundle() -> PathBuf {
    let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bundles/demo");
    std::env::var_os("COVERSLIP_GPU_BUNDLE").map_or(demo, PathBuf::from)
}

/// A row of tissue tiles, in the bundle's shape.
fn outputs(runtime: &TestRuntime, bundle: &Bundle) -> ReferenceOutputs {
    let side = bundle.manifest().side as u32;
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(TILES * side), u64::from(side));
        (desc.max_frame_width, desc.max_frame_height) = (TILES * side, side);
        desc.flags = SLIDE_EMBEDDINGS;
    });
    let picture = Picture::tissue(TILES * side, side, 7);
    slide.submit(&picture.frame(0, 0, TILES * side, side)).expect("room");
    let mut tiles = slide.results();
    tiles.sort_by_key(|tile| tile.record.column);
    assert!(tiles.len() == TILES as usize && tiles.iter().all(|tile| tile.record.status == TILE_DONE));
    let manifest = bundle.manifest();
    let widths: Vec<usize> = manifest.taps.iter().map(|tap| manifest.tap_width(tap)).collect();
    let tap = |which: usize| {
        let start: usize = widths[..which].iter().sum();
        let part = |tile: &Tile| tile.embedding[start..start + widths[which]].to_vec();
        tiles.iter().flat_map(part).collect()
    };
    let pairs = |tile: &Tile| {
        let given = tile.features.iter().map(|feature| (feature.index as i32, feature.value));
        given.chain(std::iter::repeat((0, 0.0))).take(manifest.sae.outputs).collect::<Vec<_>>()
    };
    let pairs: Vec<(i32, f32)> = tiles.iter().flat_map(pairs).collect();
    ReferenceOutputs {
        tiles: Vec::new(),
        count: tiles.len(),
        embeddings: (0..widths.len()).map(tap).collect(),
        feature_index: pairs.iter().map(|pair| pair.0).collect(),
        feature_value: pairs.iter().map(|pair| pair.1).collect(),
        active_count: tiles.iter().map(|tile| tile.record.active_count as i32).collect(),
        reconstruction_error: tiles.iter().map(|tile| tile.record.reconstruction_error).collect(),
    }
}

#[test]
fn every_output_is_the_cpus_within_its_precision() {
    let Some(library) = library() else { return };
    let (library, folder) = (CString::new(library.to_str().unwrap()).unwrap(), bundle());
    let plans = CString::new(format!("{}/gpu-plans", env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let bundle = Bundle::open(&folder).unwrap();
    let expected = outputs(&open_with(&folder, |_| ()).expect("the CPU"), &bundle);
    for (code, precision) in [
        (PRECISION_FLOAT16, Precision::Float16),
        (PRECISION_BFLOAT16, Precision::BFloat16),
        (PRECISION_FLOAT32, Precision::Float32),
    ] {
        let runtime = open_with(&folder, |desc| {
            desc.engine = ENGINE_TENSORRT;
            desc.tensorrt_library = library.as_ptr();
            desc.plan_cache_path = plans.as_ptr();
            desc.precision = code;
        });
        let runtime = runtime.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert_eq!(runtime.info().precision, code);
        let found = outputs(&runtime, &bundle);
        let agreement = Agreement::between(bundle.manifest(), &expected, &found).unwrap();
        say(&format!("{precision}: {agreement}"));
        assert!(agreement.is_within(Tolerance::of(precision)), "{precision}: {agreement}");
        // A tile's outputs do not depend on the batch that it was in.
        let again = Agreement::between(bundle.manifest(), &found, &outputs(&runtime, &bundle)).unwrap();
        say(&format!("{precision}, once more: {again}"));
        assert!(again.is_within(Tolerance::of(precision)), "{precision}: {again}");
        runtime.close(10_000).expect("every thread ends");
    }
}
