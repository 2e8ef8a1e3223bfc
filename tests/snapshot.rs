//! `slide_summary` reads one moment of a slide: what it says holds together at every call, whatever other threads do.

mod support {
    pub(crate) mod host;
    pub(crate) mod synthetic;
}

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use coverslip_plugin_abi::*;
use support::host::{Picture, TestRuntime, TestSlide, open};

fn runtime(name: &str) -> TestRuntime {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("snapshot-{name}"));
    support::synthetic::bundle(&folder);
    open(&folder)
}

/// Tiles that each frame of these slides opens.
const TILES: u64 = 4;
/// The frames' pixels.
const PIXELS: u64 = 64 * 64;

/// Reads summaries until `over`, and compares each with itself and with the one before; gives how many there were.
fn hammer(slide: &TestSlide, over: &AtomicBool) -> u64 {
    let (mut count, mut before) = (0, slide.summary());
    while !over.load(Ordering::Relaxed) {
        let s = slide.summary();
        assert_eq!(s.opened, s.results[0] + s.in_flight);
        assert_eq!(s.results[0], s.results[1..].iter().sum::<u64>());
        // A frame is there with all of its tiles, or not at all.
        assert_eq!(s.opened, TILES * (s.frames_accepted + s.frames_refused), "{} frames", s.frames_accepted);
        let pixels = s.pixels_used + s.pixels_duplicate + s.pixels_late;
        assert!(pixels <= s.frames_accepted * PIXELS && pixels + PIXELS >= s.frames_accepted * PIXELS);
        // A result is there with its flags, or not at all.
        let looked_at = s.results[TILE_DONE as usize] + s.results[TILE_BACKGROUND as usize];
        assert_eq!(s.flags_checked[FLAG_BACKGROUND.trailing_zeros() as usize], looked_at);
        assert!(s.unpolled <= s.results[0]);
        let polled = |s: &SlideSummary| s.results[0] - s.unpolled;
        assert!(polled(&s) >= polled(&before) && s.opened >= before.opened && s.results[0] >= before.results[0]);
        assert!(s.state != SLIDE_FINISHED || s.in_flight == 0);
        assert!(s.state >= before.state, "a slide does not go back");
        (count, before) = (count + 1, s);
    }
    count
}

#[test]
fn every_summary_holds_together_while_a_slide_runs() {
    let runtime = runtime("hammer");
    let slide = runtime.begin(|desc| (desc.extent_width, desc.extent_height) = (64 * 300, 64));
    let (tissue, glass) = (Picture::tissue(64, 64, 1), Picture::glass(64, 64));
    let over = AtomicBool::new(false);
    let read: u64 = std::thread::scope(|scope| {
        let hammers: Vec<_> = (0..2).map(|_| scope.spawn(|| hammer(&slide, &over))).collect();
        let poll = scope.spawn(|| {
            let mut tiles = 0;
            while !over.load(Ordering::Relaxed) {
                tiles += slide.take(None).map_or(0, |tiles| tiles.len());
                std::thread::yield_now();
            }
            tiles
        });
        for i in 0..300u32 {
            let mut frame = if i % 3 == 0 { tissue.frame(0, 0, 64, 64) } else { glass.frame(0, 0, 64, 64) };
            frame.x = i64::from(i) * 64;
            // Some are refused, and all are answered for.
            let refused = if i % 5 == 0 { slide.submit(&frame) } else { slide.submit_wait(&frame, 60_000) };
            assert!(refused.is_ok() || i % 5 == 0);
            assert_eq!(slide.summary().opened, TILES * u64::from(i + 1), "what submit opened is there when it returns");
        }
        while let Err(refusal) = slide.finish(10_000) {
            assert_eq!(refusal.code, TIMEOUT, "{}", refusal.message);
        }
        let last = slide.summary();
        assert_eq!((last.state, last.in_flight, last.results[0]), (SLIDE_FINISHED, 0, 300 * TILES));
        over.store(true, Ordering::Relaxed);
        let polled = poll.join().expect("the poller") as u64;
        assert_eq!(slide.summary().unpolled + polled, 300 * TILES);
        hammers.into_iter().map(|thread| thread.join().expect("every summary holds")).sum()
    });
    assert!(read > 1000, "{read} summaries were read");
}

#[test]
fn totals_of_a_runtime_add_up_while_slides_come_and_go() {
    let runtime = runtime("totals");
    let picture = Picture::tissue(64, 64, 1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hammer = scope.spawn(|| {
            let mut before = 0;
            while !over.load(Ordering::Relaxed) {
                let stats = runtime.stats();
                assert_eq!(stats.results[0], stats.results[1..].iter().sum::<u64>());
                let opened = stats.results[0] + stats.tiles_in_flight;
                assert_eq!(opened, TILES * (stats.frames_accepted + stats.frames_refused));
                assert!(opened >= before, "no slide is forgotten");
                before = opened;
            }
        });
        for _ in 0..20 {
            let slide = runtime.begin(|_| ());
            for i in 0..4 {
                let mut frame = picture.frame(0, 0, 64, 64);
                frame.x = i * 64;
                slide.submit_wait(&frame, 60_000).expect("room");
            }
        }
        over.store(true, Ordering::Relaxed);
        hammer.join().expect("the totals hold");
    });
    assert_eq!(runtime.stats().frames_accepted, 80);
}
