//! `slide_summary` reads one moment of a slide: what it says holds together at every call, whatever other threads do.

mod support {
    pub(crate) mod host;
}

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use coverslip_plugin_abi::*;
use support::host::{Picture, TestRuntime, TestSlide, open};

fn runtime(name: &str) -> TestRuntime {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("snapshot-{name}"));
    coverslip_testkit::bundle(&folder);
    open(&folder)
}

/// Tiles are 32 px wide and high; each frame of these slides opens whole ones that no other has touched.
const TILE: u32 = 32;

/// Reads summaries until `over`, and compares each with itself and with the one before; gives how many there were.
/// Every frame opens so many tiles.
fn hammer(slide: &TestSlide, tiles: u64, over: &AtomicBool) -> u64 {
    let in_frame = tiles * u64::from(TILE * TILE);
    let (mut count, mut before) = (0, slide.summary());
    while !over.load(Ordering::Relaxed) {
        let s = slide.summary();
        assert_eq!(s.opened, s.results[0] + s.in_flight);
        assert_eq!(s.results[0], s.results[1..].iter().sum::<u64>());
        // A frame is there with all of its tiles, or not at all.
        assert_eq!(s.opened, tiles * (s.frames_accepted + s.frames_refused), "{} frames", s.frames_accepted);
        let pixels = s.pixels_used + s.pixels_duplicate + s.pixels_late;
        assert!(pixels <= s.frames_accepted * in_frame && pixels + in_frame >= s.frames_accepted * in_frame);
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

/// Ends the other threads' loops, also when an assertion fails: the scope waits for them.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Plays frames of `width` × 64 px, one beside the other, while others read summaries and poll.
fn play(slide: &TestSlide, width: u32, frames: u32) {
    let tiles = u64::from(width / TILE * 2);
    let all = tiles * u64::from(frames);
    let (tissue, glass) = (Picture::tissue(width, 64, 1), Picture::glass(width, 64));
    let over = AtomicBool::new(false);
    let read: u64 = std::thread::scope(|scope| {
        let ended = Over(&over);
        let hammers: Vec<_> = (0..2).map(|_| scope.spawn(|| hammer(slide, tiles, &over))).collect();
        let poll = scope.spawn(|| {
            let mut polled = 0;
            while !over.load(Ordering::Relaxed) {
                polled += slide.take(None).map_or(0, |tiles| tiles.len() as u64);
                std::thread::yield_now();
            }
            polled
        });
        for i in 0..frames {
            let picture = if i % 3 == 0 && tiles < 10 { &tissue } else { &glass };
            let mut frame = picture.frame(0, 0, width, 64);
            frame.x = i64::from(i * width);
            // Some are refused, and all are answered for.
            let answer = if i % 5 == 0 { slide.submit(&frame) } else { slide.submit_wait(&frame, 60_000) };
            assert!(answer.is_ok() || i % 5 == 0);
            assert_eq!(slide.summary().opened, tiles * u64::from(i + 1), "what submit opened is there when it returns");
        }
        while let Err(refusal) = slide.finish(10_000) {
            assert_eq!(refusal.code, TIMEOUT, "{}", refusal.message);
        }
        let last = slide.summary();
        assert_eq!((last.state, last.in_flight, last.results[0]), (SLIDE_FINISHED, 0, all));
        drop(ended);
        let polled = poll.join().expect("the poller");
        assert_eq!(slide.summary().unpolled + polled, all);
        hammers.into_iter().map(|thread| thread.join().expect("every summary holds")).sum()
    });
    assert!(read > 100, "{read} summaries were read");
}

#[test]
fn every_summary_holds_together_while_a_slide_runs() {
    let runtime = runtime("hammer");
    play(&runtime.begin(|desc| (desc.extent_width, desc.extent_height) = (64 * 300, 64)), 64, 300);
}

/// The first tiles of a large frame can have their results before its last ones are copied.
#[test]
fn no_result_is_counted_before_its_tile() {
    let runtime = runtime("large");
    let slide = runtime.begin(|desc| {
        (desc.max_frame_width, desc.max_frame_height) = (32 * 1024, 64);
        desc.max_unpolled = 1 << 17;
    });
    play(&slide, 32 * 1024, 30);
}

#[test]
fn totals_of_a_runtime_add_up_while_slides_come_and_go() {
    let runtime = runtime("totals");
    let picture = Picture::tissue(64, 64, 1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ended = Over(&over);
        let hammer = scope.spawn(|| {
            let mut before = 0;
            while !over.load(Ordering::Relaxed) {
                let stats = runtime.stats();
                assert_eq!(stats.results[0], stats.results[1..].iter().sum::<u64>());
                let opened = stats.results[0] + stats.tiles_in_flight;
                assert_eq!(opened, 4 * (stats.frames_accepted + stats.frames_refused));
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
        drop(ended);
        hammer.join().expect("the totals hold");
    });
    // The last slide is let go of within a tick of the judge; what it counted stays.
    let start = std::time::Instant::now();
    while runtime.stats().slots > 0 {
        assert!(start.elapsed().as_secs() < 20, "ended slides are held for ever");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(runtime.stats().frames_accepted, 80);
}
