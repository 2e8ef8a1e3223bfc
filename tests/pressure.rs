//! Overload: refusals leave no holes, nothing blocks, every tile ends once, and memory stays bounded.

mod support {
    pub(crate) mod host;
}

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use coverslip_plugin_abi::*;
use coverslip_testkit::Counting;
use support::host::{Picture, TestRuntime, by_status, open, open_with};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn runtime(name: &str) -> TestRuntime {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pressure-{name}"));
    coverslip_testkit::bundle(&folder);
    open(&folder)
}

#[test]
fn every_tile_of_a_refused_burst_ends() {
    let runtime = runtime("burst");
    let slide = runtime.begin(|desc| (desc.extent_width, desc.extent_height) = (64 * 40, 64));
    let picture = Picture::tissue(64 * 40, 64, 1);
    let mut refused = 0;
    for x in (0..64 * 40).step_by(64) {
        match slide.submit(&picture.frame(x, 0, 64, 64)) {
            Ok(()) => {}
            Err(refusal) => {
                assert_eq!(refusal.code, BUSY);
                assert!(refusal.message.contains("submit it again"), "{}", refusal.message);
                refused += 1;
            }
        }
        slide.summary();
    }
    assert!(refused > 0, "160 tiles do not fit a pool for one frame");
    let tiles = slide.results();
    let counts = by_status(&tiles);
    assert_eq!(tiles.len(), 160);
    assert_eq!(counts[TILE_REFUSED as usize], 4 * refused);
    assert_eq!(counts[TILE_DONE as usize], 160 - 4 * refused);
    let overruns: Vec<Alert> = slide.alerts().into_iter().filter(|alert| alert.code == ALERT_OVERRUN).collect();
    assert!(!overruns.is_empty() && overruns[0].width > 0);
    assert_eq!(slide.summary().frames_refused, refused as u64);
}

#[test]
fn refused_pixels_that_are_submitted_later_leave_no_trace() {
    let runtime = runtime("later");
    let slide = runtime.begin(|desc| (desc.extent_width, desc.extent_height) = (64 * 40, 64));
    let picture = Picture::tissue(64 * 40, 64, 1);
    let mut refused = Vec::new();
    for x in (0..64 * 40).step_by(64) {
        if slide.submit(&picture.frame(x, 0, 64, 64)).is_err() {
            refused.push(x);
        }
    }
    assert!(!refused.is_empty());
    for x in refused {
        slide.submit_wait(&picture.frame(x, 0, 64, 64), 60_000).expect("room within a minute");
    }
    let tiles = slide.results();
    assert_eq!(by_status(&tiles)[TILE_DONE as usize], 160);
}

#[test]
fn a_tile_that_gets_its_refused_pixels_later_is_judged_as_whole() {
    let runtime = runtime("retry");
    let slide = runtime.begin(|_| ());
    let picture = Picture::tissue(32, 32, 1);
    let mut busy = 0;
    for i in 0..200i64 {
        let mut frame = picture.frame(0, 0, 32, 20);
        frame.x = i * 32;
        while slide.submit(&frame).is_err() {
            busy += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(busy > 0);
    let tiles = slide.results();
    assert_eq!(by_status(&tiles)[TILE_DONE as usize], 200, "none is refused: every pixel came in the end");
}

#[test]
fn a_pool_full_of_partial_tiles_goes_on() {
    let runtime = runtime("partial");
    let slide = runtime.begin(|_| ());
    let picture = Picture::tissue(64, 64, 1);
    // Each frame is half a tile, far from the others, so no tile completes.
    for i in 0..500u32 {
        let mut frame = picture.frame(0, 0, 32, 20);
        frame.x = i64::from(i) * 320;
        slide.submit_wait(&frame, 60_000).expect("the oldest partial tile is retired");
    }
    let summary = slide.summary();
    assert!(summary.retired_early > 0);
    let tiles = slide.results();
    assert_eq!(tiles.len(), 500);
    assert!(tiles.iter().all(|tile| tile.record.status == TILE_DONE && tile.record.coverage == 0.625));
}

/// The judge lets a slide go a moment after its end; whoever begins the next does not see that.
#[test]
fn a_slide_begins_as_soon_as_the_one_before_has_ended() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pressure-next");
    coverslip_testkit::bundle(&folder);
    let one = open(&folder).begin(|_| ()).summary().memory_bytes;
    let runtime = open_with(&folder, |desc| (desc.max_slides, desc.memory_limit) = (1, one)).expect("a runtime");
    let picture = Picture::tissue(64, 64, 1);
    for frames in (0..40).map(|round| round % 3) {
        let slide = runtime.begin_with(|_| ()).unwrap_or_else(|refusal| panic!("{}", refusal.message));
        (0..frames).for_each(|_| slide.submit_wait(&picture.frame(0, 0, 64, 64), 60_000).expect("room"));
    }
    let refused = runtime.begin_with(|desc| (desc.spread_width, desc.spread_height) = (4096, 4096)).err();
    assert_eq!(refused.expect("it is too large for its share").code, OUT_OF_MEMORY);
}

/// A strip of eight rows of a mosaic.
fn strip(mosaic: &[u8], group: u64, y: u32) -> Frame {
    let mut frame = Frame {
        pixel_format: PFNC_BAYER_RG8,
        plane_count: 1,
        x: 256 * (group as i64 - 1),
        y: y.into(),
        width: 256,
        height: 8,
        group_id: group,
        flags: if y > 0 { FRAME_CONTIGUOUS } else { 0 },
        ..Frame::init()
    };
    frame.planes[0] = Plane { data: mosaic.as_ptr(), stride: 256, size: mosaic.len() as u64 };
    frame
}

/// The last two rows of a strip wait for the next one. A tile whose time is over does not: the judge gives it these rows,
/// here while the host may be submitting the next strip.
#[test]
fn strips_of_tiles_that_time_out_lose_no_row() {
    let runtime = runtime("strips");
    let mosaic: Vec<u8> = (0..256 * 8).map(|at: u32| (100 + at * 37 % 80) as u8).collect();
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (512, 512);
        (desc.max_frame_width, desc.max_frame_height) = (256, 8);
        (desc.spread_width, desc.spread_height) = (512, 512);
        (desc.assembly_timeout_ms, desc.min_coverage) = (1, 0.1);
    });
    slide.submit(&strip(&mosaic, 1, 0)).expect("room");
    let mut first = Vec::new();
    while first.len() < 8 {
        first.extend(slide.take(Some(60_000)).expect("the judge lets them go, without another frame"));
    }
    assert!(first.iter().all(|tile| tile.record.coverage == 0.25), "all eight rows, with the two that waited");
    let all = std::thread::scope(|scope| {
        let host = scope.spawn(|| {
            for y in (0..512).step_by(8) {
                for group in [1, 2] {
                    slide.submit_wait(&strip(&mosaic, group, y), 60_000).expect("room within a minute");
                }
            }
            slide.finish(60_000).expect("every tile ends");
        });
        let tiles = slide.drain();
        host.join().expect("no panic");
        tiles
    });
    let tiles: HashSet<_> = first.iter().chain(&all).map(|tile| (tile.record.column, tile.record.row)).collect();
    assert_eq!((tiles.len(), first.len() + all.len()), (256, 256), "each tile ends once");
    let summary = slide.summary();
    let counted = summary.pixels_used + summary.pixels_duplicate + summary.pixels_late;
    assert_eq!((counted, summary.in_flight), (256 * 8 + 512 * 512, 0), "each row is counted once");
}

/// Rows that wait for a strip which never comes are counted at the end, also where their tiles have gone.
#[test]
fn the_last_rows_of_a_late_strip_are_counted() {
    let runtime = runtime("late-strip");
    let mosaic: Vec<u8> = (0..256 * 8).map(|at: u32| (100 + at * 37 % 80) as u8).collect();
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (256, 512);
        (desc.max_frame_width, desc.max_frame_height) = (256, 8);
        desc.assembly_timeout_ms = 1;
    });
    slide.submit(&strip(&mosaic, 1, 0)).expect("room");
    let mut gone = 0;
    while gone < 8 {
        gone += slide.take(Some(60_000)).expect("the judge lets them go").len();
    }
    slide.submit(&strip(&mosaic, 1, 8)).expect("late pixels need no room");
    assert!(slide.results().is_empty());
    let summary = slide.summary();
    assert_eq!((summary.pixels_used, summary.pixels_late), (256 * 8, 256 * 8));
}

#[test]
fn a_host_that_never_polls_is_slowed_down_and_loses_nothing() {
    let runtime = runtime("unpolled");
    let slide = runtime.begin(|desc| desc.max_unpolled = 10);
    let picture = Picture::tissue(32, 32, 1);
    let (mut accepted, mut busy) = (0u64, 0u64);
    // Limited by count, not by time: a fast machine would reach max_tiles.
    for _ in 0..5_000 {
        let mut frame = picture.frame(0, 0, 32, 32);
        frame.x = (accepted + busy) as i64 * 32;
        match slide.submit(&frame) {
            Ok(()) => accepted += 1,
            Err(refusal) if refusal.code == BUSY => busy += 1,
            Err(refusal) => panic!("{refusal:?}"),
        }
        assert_eq!(slide.summary().opened, accepted + busy);
    }
    assert!(busy > 0);
    let waiting = slide.finish(50).expect_err("ten results fit, the rest waits");
    assert_eq!(waiting.code, TIMEOUT);
    assert!(waiting.message.contains("poll them"), "{}", waiting.message);
    let tiles = slide.drain();
    let counts = by_status(&tiles);
    assert_eq!((counts[TILE_DONE as usize] as u64, counts[TILE_REFUSED as usize] as u64), (accepted, busy));
}

#[test]
fn a_cancelled_slide_ends_every_tile_at_once() {
    let runtime = runtime("cancel");
    let slide = runtime.begin(|desc| (desc.spread_width, desc.spread_height) = (2000, 64));
    let picture = Picture::tissue(2000, 64, 1);
    for x in (0..1984).step_by(64) {
        let _ = slide.submit(&picture.frame(x, 0, 64, 50));
    }
    slide.cancel().expect("cancel");
    let late = slide.submit(&picture.frame(0, 0, 64, 50)).expect_err("a frame after cancel");
    assert_eq!(late.code, WRONG_STATE);
    let tiles = slide.drain();
    let summary = slide.summary();
    assert_eq!((summary.cancelled, summary.results[0]), (1, tiles.len() as u64));
    assert!(by_status(&tiles)[TILE_CANCELLED as usize] > 0);
}

#[test]
fn waits_end_by_time_by_interrupt_and_by_results() {
    let runtime = runtime("waits");
    let slide = runtime.begin(|_| ());
    assert_eq!(slide.take(None).expect("nothing yet").len(), 0);
    assert_eq!(slide.take(Some(5)).expect_err("nothing comes").code, TIMEOUT);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| slide.take(Some(60_000)));
        std::thread::sleep(Duration::from_millis(20));
        slide.interrupt().expect("interrupt");
        assert_eq!(waiter.join().expect("no panic").expect_err("woken").code, INTERRUPTED);
    });
    let picture = Picture::tissue(32, 32, 1);
    slide.submit(&picture.frame(0, 0, 32, 32)).expect("room");
    assert_eq!(slide.take(Some(60_000)).expect("a result").len(), 1);
}

#[test]
fn slides_are_independent_and_limited() {
    let runtime = runtime("slides");
    let picture = Picture::tissue(320, 64, 1);
    std::thread::scope(|scope| {
        for x in 0..4 {
            let (runtime, picture) = (&runtime, &picture);
            scope.spawn(move || {
                let slide = runtime.begin(|desc| desc.extent_x = x);
                for at in (0..320).step_by(64) {
                    slide.submit_wait(&picture.frame(at, 0, 64, 64), 60_000).expect("room");
                }
                let tiles = slide.results();
                let places: HashSet<_> = tiles.iter().map(|t| (t.record.column, t.record.row)).collect();
                assert_eq!(places.len(), tiles.len());
                assert!(tiles.iter().all(|tile| (tile.record.x - x).rem_euclid(32) == 0));
            });
        }
    });
    let open: Vec<_> = (0..4).map(|_| runtime.begin(|_| ())).collect();
    let fifth = runtime.begin_with(|_| ()).err().expect("four is the default");
    assert_eq!(fifth.code, LIMIT_REACHED);
    assert!(fifth.message.contains("max_slides"), "{}", fifth.message);
    drop(open);
    runtime.begin(|_| ());
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[test]
#[allow(clippy::print_stdout)]
fn memory_stays_within_the_stated_bound_over_100_000_tiles() {
    if resident() == 0 {
        println!("skipped: this system has no /proc/self/statm, which states the resident memory");
        return;
    }
    let runtime = runtime("memory");
    // One slide runs first, so that what the engine takes once does not count as the slide's.
    let run = |tiles: u32| {
        let slide = runtime.begin(|desc| {
            (desc.extent_width, desc.extent_height) = (1000 * 32, 100 * 32);
            (desc.max_frame_width, desc.max_frame_height) = (1000 * 32, 32);
            desc.max_unpolled = 4000;
        });
        let (glass, tissue) = (Picture::glass(1000 * 32, 32), Picture::tissue(1000 * 32, 32, 1));
        let mut ended = 0;
        for row in 0..tiles / 1000 {
            // Every tenth row has tissue: results with and without features.
            let mut frame = if row % 10 == 0 { tissue.frame(0, 0, 32_000, 32) } else { glass.frame(0, 0, 32_000, 32) };
            frame.y = i64::from(row) * 32;
            slide.submit_wait(&frame, 60_000).expect("room");
            while let Some(n) = slide.take(None).ok().map(|tiles| tiles.len()).filter(|n| *n > 0) {
                ended += n;
            }
        }
        ended += slide.results().len();
        assert_eq!(ended, tiles as usize);
        let (bound, resident) = (slide.summary().memory_bytes, resident());
        drop(slide);
        (bound, resident, Counting::in_use())
    };
    let before = resident();
    let (bound, first, _) = run(10_000);
    let (resident, in_use): (Vec<u64>, Vec<i64>) =
        (0..4).map(|_| run(100_000)).map(|(_, pages, heap)| (pages, heap)).unzip();
    // 32 MiB for the engine, the allocator's slack and the test's own buffers.
    let slack = 32 << 20;
    assert!(resident[3] <= before.max(first) + bound + slack, "{before} → {first} → {resident:?}, bound {bound}");
    // The tests beside this one take and give back; a leak in 100,000 tiles would show every time.
    let least = in_use.windows(2).map(|pair| pair[1] - pair[0]).min().expect("pairs");
    assert!(least <= 64 << 10, "every 100,000 tiles leave {least} bytes or more: {in_use:?}");
}
