//! A GPU that fails: at open, in the middle of a slide, or by hanging.

use std::time::{Duration, Instant};

use coverslip_plugin_abi::*;

use crate::fake::{Site, refused, text};
use crate::play::{TILES, expect_same, played, row};
use crate::support::host::{by_status, open_with};

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn a_lost_gpu_fails_what_is_left_or_hands_over() {
    let site = Site::new("losses");
    let expected = played(&open_with(&site.bundle, |_| ()).expect("the CPU"));
    // CUDA's LAUNCH_FAILED in the middle, its OUT_OF_MEMORY, and TensorRT's own refusals.
    type Injure<'i> = &'i dyn Fn();
    let cases: [(Injure<'_>, Injure<'_>, i32); 4] = [
        (&|| site.fail("cuEventSynchronize", 3, 719), &|| site.fail("", 0, 0), REASON_DEVICE_LOST),
        (&|| site.fail("cuMemcpyHtoDAsync", 3, 2), &|| site.fail("", 0, 0), REASON_OUT_OF_MEMORY),
        (&|| site.fail_runs(3, "internal error"), &|| site.fail_runs(-1, ""), REASON_DEVICE_LOST),
        (&|| site.fail_runs(3, "Cuda Runtime (out of memory)"), &|| site.fail_runs(-1, ""), REASON_OUT_OF_MEMORY),
    ];
    for (injure, heal, reason) in cases {
        let small = |desc: &mut RuntimeDesc| desc.max_batch = 8;
        let runtime = site.open(small).expect("the fake GPU");
        let (slide, picture) = row(&runtime);
        injure();
        slide.submit(&picture.frame(0, 0, TILES * 32, 32)).expect("room");
        let counts = by_status(&slide.results());
        let [done, failed] = [TILE_DONE, TILE_FAILED].map(|status| counts[status as usize]);
        assert_eq!(done + failed, TILES as usize, "{counts:?}");
        assert!(done >= 8 && failed >= 8, "some before, the rest after: {counts:?}");
        let alerts = slide.alerts();
        let alerts: Vec<_> = alerts.iter().filter(|alert| alert.code == ALERT_ENGINE_FALLBACK).collect();
        assert_eq!(alerts.iter().map(|alert| alert.strength as i32).collect::<Vec<_>>(), [reason]);
        let summary = slide.summary();
        assert_eq!((summary.engine, summary.fallback_reason, summary.poisoned), (ENGINE_TENSORRT, reason, 0));
        assert_eq!(runtime.begin_with(|_| ()).err().expect("no engine").code, ENGINE_UNAVAILABLE);
        drop(slide);
        heal();
        runtime.close(10_000).expect("every thread ends");

        let runtime = site.open(|desc| (small(desc), desc.fallback = FALLBACK_ON_CPU).1).expect("the fake GPU");
        injure();
        let found = played(&runtime);
        expect_same(&found, &expected);
        let epochs = |epoch| found.iter().filter(|tile| tile.record.engine_epoch == epoch).count();
        assert!(epochs(1) >= 8 && epochs(2) >= 8 && epochs(1) + epochs(2) == TILES as usize);
        let info = runtime.info();
        assert_eq!((info.engine, info.fallback_reason, info.lanes), (ENGINE_CPU, reason, 2));
        let next = played(&runtime);
        assert!(next.iter().all(|tile| tile.record.engine_epoch == 2), "the next slide too");
        expect_same(&next, &expected);
        heal();
        drop(runtime);
        site.expect_clean();
    }
}

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn what_does_not_fit_is_refused_at_open() {
    let site = Site::new("refusals");
    let reason = || {
        let runtime = site.open(|desc| desc.engine = ENGINE_AUTO).expect("the CPU runs instead");
        let info = runtime.info();
        assert_eq!(info.engine, ENGINE_CPU, "{}", text(&info.engine_version));
        info.fallback_reason
    };
    // A context of the fake's takes a MiB, and 32 tiles some KiB.
    site.set_free_memory(3 << 19);
    assert_eq!(site.open(|_| ()).expect("room for one lane").info().lanes, 1);
    site.set_free_memory(1 << 19);
    assert_eq!(reason(), REASON_OUT_OF_MEMORY);
    site.set_free_memory(8 << 30);
    refused(site.open(|desc| desc.gpu_memory_limit = 1 << 19), OUT_OF_MEMORY, "gpu_memory_limit");
    site.fail("cuMemHostAlloc", 0, 2);
    assert_eq!(reason(), REASON_OUT_OF_MEMORY);
    site.fail("", 0, 0);
    site.expect_clean();

    site.set_capability(7, 0);
    assert_eq!(reason(), REASON_UNSUPPORTED_DEVICE);
    // Nothing is built for a GPU that the library refuses.
    site.set_capability(9, 0);
    site.refuse_capability(90);
    let builds = site.builds();
    refused(site.open(|_| ()), ENGINE_UNAVAILABLE, "does not run on");
    assert_eq!((reason(), site.builds()), (REASON_UNSUPPORTED_DEVICE, builds));
    site.set_capability(8, 9);
    let unknown = c"GPU-00000000-0000-0000-0000-000000000000";
    refused(site.open(|desc| desc.gpu_uuid = unknown.as_ptr()), ENGINE_UNAVAILABLE, "GPU-10111213");

    // It computes something else.
    site.lie(true);
    refused(site.open(|_| ()), SELF_CHECK_FAILED, "reference tiles");
    assert_eq!(reason(), REASON_SELF_CHECK_FAILED);
    site.lie(false);
    assert_eq!(site.open(|_| ()).expect("opens").info().engine, ENGINE_TENSORRT);
    site.expect_clean();
}

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn a_hung_gpu_holds_nobody_up() {
    let site = Site::new("hang");
    let runtime = site.open(|desc| desc.max_batch = 8).expect("the fake GPU");
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(TILES) * 32, 32);
        (desc.max_frame_width, desc.max_frame_height) = (TILES * 32, 32);
        desc.result_deadline_ms = 200;
    });
    let picture = crate::support::host::Picture::tissue(TILES * 32, 32, 1);
    site.before_each_run(Some(|| std::thread::sleep(Duration::from_secs(3))));
    let start = Instant::now();
    slide.submit(&picture.frame(0, 0, TILES * 32, 32)).expect("room");
    slide.finish(2_500).expect("the deadline does not wait for the GPU");
    assert_eq!(by_status(&slide.drain())[TILE_EXPIRED as usize], TILES as usize);
    assert!(start.elapsed() < Duration::from_millis(2_900));
    drop(slide);
    let refusal = runtime.close(50).expect_err("both lanes hang");
    assert_eq!(refusal.code, ENGINE_HUNG, "{}", refusal.message);
}
