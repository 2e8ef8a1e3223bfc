//! What runs on the CPU is in the runtime's information and in every receipt, and the host chooses its precision.

mod support {
    pub(crate) mod host;
}

use std::path::PathBuf;

use coverslip_bundle::Precision;
use coverslip_plugin_abi::*;
use coverslip_vit::Family;
use support::host::{Picture, TestRuntime, open_with};

fn bundle(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    coverslip_testkit::bundle(&folder);
    folder
}

fn text(chars: &[std::ffi::c_char]) -> String {
    chars.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect()
}

/// Plays a tile, so that a receipt is of a run.
fn receipt(runtime: &TestRuntime) -> SlideSummary {
    let slide = runtime.begin(|_| ());
    let picture = Picture::tissue(32, 32, 1);
    slide.submit_wait(&picture.frame(0, 0, 32, 32), NO_TIMEOUT).expect("room");
    slide.finish(NO_TIMEOUT).expect("the tile ends");
    assert!(slide.drain().iter().all(|tile| tile.record.status == TILE_DONE));
    slide.summary()
}

#[test]
fn the_kernels_are_those_of_the_table() {
    let folder = bundle("kernels-float32");
    let runtime = open_with(&folder, |_| ()).expect("the bundle opens");
    let info = runtime.info();
    let expected = Family::best(false).map_or("", Family::name);
    assert_eq!(text(&info.cpu_kernels), expected);
    assert_eq!((info.cpu_precision, info.precision), (CPU_PRECISION_FLOAT32, PRECISION_FLOAT32));
    assert!(info.self_check_error < 1e-9, "{}", info.self_check_error);
    let summary = receipt(&runtime);
    assert_eq!((text(&summary.cpu_kernels), summary.precision), (expected.to_owned(), PRECISION_FLOAT32));
}

#[test]
fn half_runs_where_the_table_has_it_and_is_refused_elsewhere() {
    let folder = bundle("kernels-half");
    let half = |desc: &mut RuntimeDesc| desc.cpu_precision = CPU_PRECISION_HALF;
    let Some(family) = Family::best(true) else {
        let refused = open_with(&folder, half).err().expect("no kernels");
        assert_eq!(refused.code, UNSUPPORTED, "{}", refused.message);
        assert!(refused.message.contains("cpu_precision"), "{}", refused.message);
        return;
    };
    assert_eq!(family.precision(), Precision::BFloat16);
    let runtime = open_with(&folder, half).expect("the bundle opens");
    let info = runtime.info();
    assert_eq!(text(&info.cpu_kernels), family.name());
    assert_eq!((info.cpu_precision, info.precision), (CPU_PRECISION_HALF, PRECISION_BFLOAT16));
    assert!(info.self_check_error > 1e-9 && info.self_check_error < 1e-3, "{}", info.self_check_error);
    assert_eq!(receipt(&runtime).precision, PRECISION_BFLOAT16);
    let float32 = open_with(&folder, |_| ()).expect("the bundle opens").info();
    assert_ne!(info.configuration_digest, float32.configuration_digest);
}
