//! Random orders of begin, submit, poll, wait, interrupt, cancel, finish, end and close from several threads at once:
//! every call returns OK or a fitting code, and nothing is left behind.

mod support {
    pub(crate) mod host;
}

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coverslip_plugin_abi::*;
use support::host::{Answer, Picture, TestRuntime, TestSlide, call, open};

/// A repeatable source of choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }
}

/// Accepts OK and the codes that a call may return if other threads call at the same time.
fn fits<T>(answer: Answer<T>) {
    let fine = [BUSY, TIMEOUT, INTERRUPTED, WRONG_STATE, END_OF_RESULTS, INVALID_HANDLE, OUT_OF_EXTENT, LIMIT_REACHED];
    if let Err(refusal) = answer {
        assert!(fine.contains(&refusal.code), "{refusal:?}");
    }
}

fn one_step(slide: &TestSlide, picture: &Picture, dice: &mut Dice) {
    match dice.roll(12) {
        0..=5 => {
            let mut frame = picture.frame(0, 0, 16 + dice.roll(49) as u32, 16 + dice.roll(49) as u32);
            (frame.x, frame.y) = (dice.roll(500) as i64, dice.roll(300) as i64);
            frame.pass = (dice.roll(20) == 0).into();
            // Only the caller's thread submits.
            if dice.roll(2) == 0 { fits(slide.submit(&frame)) } else { fits(slide.submit_wait(&frame, 5)) }
        }
        6 | 7 => fits(slide.take(None)),
        8 => fits(slide.take(Some(dice.roll(4) as u32))),
        9 => drop(slide.alerts()),
        10 => {
            let _ = slide.summary();
        }
        _ => fits(slide.interrupt()),
    }
}

fn live(runtime: &TestRuntime, picture: &Picture, seed: u64, over: &AtomicBool) {
    let mut dice = Dice(seed);
    while !over.load(Ordering::Relaxed) {
        let deadline = if dice.roll(2) == 0 { 0 } else { 1 + dice.roll(30) as u32 };
        let began = runtime.begin_with(|desc| {
            (desc.extent_width, desc.extent_height) = (480, 320);
            (desc.assembly_timeout_ms, desc.result_deadline_ms) = (dice.roll(10) as u32, deadline);
            desc.max_unpolled = 1 + dice.roll(200) as u32;
        });
        let Ok(slide) = began else { continue };
        for _ in 0..dice.roll(60) {
            one_step(&slide, picture, &mut dice);
        }
        // A second thread polls and interrupts while this one ends the slide in a random way.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                fits(slide.take(Some(3)));
                fits(slide.interrupt());
                let _ = slide.summary();
            });
            match dice.roll(4) {
                0 => fits(slide.cancel()),
                1 => fits(slide.finish(dice.roll(20) as u32)),
                2 => {
                    fits(slide.finish(1));
                    fits(slide.cancel());
                }
                _ => {}
            }
        });
        drop(slide);
    }
}

#[test]
fn random_orders_from_several_threads_never_hang() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stress");
    coverslip_testkit::bundle(&folder);
    let picture = Picture::tissue(64, 64, 1);
    for round in 0..6u64 {
        let runtime = open(&folder);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..3u64 {
                let (runtime, picture, over) = (&runtime, &picture, &over);
                scope.spawn(move || live(runtime, picture, 1 + 31 * round + 7 * thread, over));
            }
            std::thread::sleep(Duration::from_millis(700));
            over.store(true, Ordering::Relaxed);
        });
        let stats = runtime.stats();
        assert!(stats.results[0] > 0 && stats.slides_open == 0);
        runtime.close(60_000).expect("every thread joins");
    }
}

/// Calls everything that may wait without a timeout, until the runtime is gone.
fn live_until_closed(api: &'static Api, runtime: Runtime, mpp: f64, picture: &Picture, mut dice: Dice) {
    let desc = SlideDesc {
        scanner_id: c"test scanner".as_ptr(),
        slide_id: c"test slide".as_ptr(),
        mpp_x: mpp,
        mpp_y: mpp,
        max_frame_width: 64,
        max_frame_height: 64,
        ..SlideDesc::init()
    };
    loop {
        let mut handle = 0;
        // SAFETY: all pointers are to live structs.
        match call(|error| unsafe { (api.slide_begin)(runtime, &desc, &mut handle, error) }) {
            Err(refusal) if refusal.code == INVALID_HANDLE => return,
            began => began.expect("four slides are allowed"),
        }
        let slide = TestSlide { api, handle };
        std::thread::scope(|scope| {
            // Results come, or the slide is over.
            scope.spawn(|| while slide.take(Some(NO_TIMEOUT)).map_or_else(|e| e.code == INTERRUPTED, |_| true) {});
            for _ in 0..dice.roll(20) {
                let mut frame = picture.frame(0, 0, 16 + dice.roll(49) as u32, 16 + dice.roll(49) as u32);
                (frame.x, frame.y) = (dice.roll(500) as i64, dice.roll(300) as i64);
                fits(slide.submit_wait(&frame, NO_TIMEOUT));
            }
            while slide.finish(NO_TIMEOUT).is_err_and(|e| e.code == INTERRUPTED) {}
        });
    }
}

#[test]
fn a_runtime_that_is_closed_under_its_slides_leaves_nobody_waiting() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stress-closed");
    coverslip_testkit::bundle(&folder);
    let mut dice = Dice(11);
    for round in 0..20 {
        let runtime = open(&folder);
        let (api, handle, mpp) = (runtime.api, runtime.handle, runtime.info().mpp);
        let (tell, told) = std::sync::mpsc::channel();
        for thread in 0..3u64 {
            let (tell, dice) = (tell.clone(), Dice(1 + 31 * round + 7 * thread));
            std::thread::spawn(move || {
                live_until_closed(api, handle, mpp, &Picture::tissue(64, 64, 1), dice);
                let _ = tell.send(());
            });
        }
        drop(tell);
        std::thread::sleep(Duration::from_millis(1 + dice.roll(60)));
        runtime.close(60_000).expect("every thread joins");
        for _ in 0..3 {
            told.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|e| panic!("round {round}: {e}"));
        }
    }
}
