//! Whole slides on the fake GPU.

use coverslip_plugin_abi::*;

use crate::fake::{Site, text};
use crate::support::host::{Picture, TestRuntime, TestSlide, Tile, by_status, open_with};

/// Tiles of the slides here.
pub(crate) const TILES: u32 = 70;

/// A slide of one row of tiles, not yet submitted.
pub(crate) fn row(runtime: &TestRuntime) -> (TestSlide, Picture) {
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(TILES) * 32, 32);
        (desc.max_frame_width, desc.max_frame_height) = (TILES * 32, 32);
        desc.flags = SLIDE_EMBEDDINGS;
    });
    (slide, Picture::tissue(TILES * 32, 32, 1))
}

/// The tiles' results, by column.
pub(crate) fn played(runtime: &TestRuntime) -> Vec<Tile> {
    let (slide, picture) = row(runtime);
    slide.submit(&picture.frame(0, 0, TILES * 32, 32)).expect("room");
    let mut tiles = slide.results();
    tiles.sort_by_key(|tile| tile.record.column);
    tiles
}

/// The same analysis, to the last bit.
#[track_caller]
pub(crate) fn expect_same(found: &[Tile], expected: &[Tile]) {
    assert_eq!(by_status(found)[TILE_DONE as usize], TILES as usize, "{:?}", by_status(found));
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.embedding, expected.embedding, "tile {}", found.record.column);
        let pairs = |tile: &Tile| tile.features.iter().map(|f| (f.index, f.value.to_bits())).collect::<Vec<_>>();
        assert_eq!(pairs(found), pairs(expected));
        let rest = |tile: &Tile| (tile.record.active_count, tile.record.reconstruction_error.to_bits());
        assert_eq!(rest(found), rest(expected));
    }
}

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn results_are_the_cpus() {
    let site = Site::new("play");
    let expected = played(&open_with(&site.bundle, |_| ()).expect("the CPU"));
    let runtime = site.open(|_| ()).expect("the fake GPU");
    let info = runtime.info();
    assert_eq!((info.engine, info.fallback_reason, info.lanes, info.max_batch), (ENGINE_TENSORRT, REASON_NONE, 2, 32));
    assert_eq!(info.precision, PRECISION_FLOAT16);
    assert_eq!(text(&info.gpu_uuid), "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f");
    assert_eq!(text(&info.driver_version), "CUDA 13.0");
    assert!(text(&info.engine_version).starts_with("TensorRT"), "{}", text(&info.engine_version));
    assert!(info.self_check_error < 1e-9);
    assert_eq!(site.write_combined(), 2, "each lane has its upload buffer");
    let before = site.runs();
    let found = played(&runtime);
    expect_same(&found, &expected);
    assert!(found.iter().all(|tile| tile.record.engine_epoch == 1));
    assert!(site.runs() - before < TILES as i32, "in batches");
    runtime.set_budget(50).expect("half of the GPU's time");
    expect_same(&played(&runtime), &expected);
    runtime.close(10_000).expect("every thread ends");
    site.expect_clean();

    let other = c"gpu-20212223-2425-2627-2829-2A2B2C2D2E2F";
    let runtime = site.open(|desc| desc.gpu_uuid = other.as_ptr()).expect("the second GPU");
    assert_eq!(text(&runtime.info().gpu_uuid), "GPU-20212223-2425-2627-2829-2a2b2c2d2e2f");
    drop(runtime);
    site.expect_clean();
}

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn recorded_graphs_are_used_and_can_be_done_without() {
    let site = Site::new("graphs");
    let expected = played(&open_with(&site.bundle, |_| ()).expect("the CPU"));
    let runtime = site.open(|desc| desc.max_batch = 1).expect("the fake GPU");
    let before = site.launches();
    assert!(before > 0, "the self-check has seen a recorded run");
    expect_same(&played(&runtime), &expected);
    assert!(site.launches() - before > TILES as i32 / 2, "{} launches", site.launches() - before);
    drop(runtime);
    site.refuse_capture(true);
    let runtime = site.open(|desc| desc.max_batch = 1).expect("the fake GPU");
    let before = site.launches();
    expect_same(&played(&runtime), &expected);
    assert_eq!(site.launches(), before);
    drop(runtime);
    site.expect_clean();
}
