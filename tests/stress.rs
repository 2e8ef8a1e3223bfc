//! Random orders of begin, submit, poll, wait, interrupt, cancel, finish, end and close, from several threads at once:
//! every call returns, with OK or a code that fits, and nothing is left behind.

mod support {
    pub(crate) mod host;
}

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use coverslip_plugin_abi::*;
use support::host::{Answer, Picture, TestRuntime, TestSlide, open};

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

/// Codes that a call may return when others call at the same time.
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
            // One thread at a time submits: the caller's own.
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
        // A second thread polls and interrupts while this one ends the slide in some way.
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
            std::thread::sleep(std::time::Duration::from_millis(700));
            over.store(true, Ordering::Relaxed);
        });
        let stats = runtime.stats();
        assert!(stats.results[0] > 0 && stats.slides_open == 0);
        runtime.close(60_000).expect("every thread joins");
    }
}
