//! Injected faults: a panic in every table function and every worker, an engine that fails, an engine that hangs. The
//! host goes on, nothing is printed, and every tile still ends.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is a call of the C ABI, with live pointers or with what it must refuse"
)]
#![cfg(debug_assertions)]

mod support {
    pub(crate) mod host;
}

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use coverslip::coverslip_get_api;
use coverslip::fault::{Fault, arm, disarm};
use coverslip_plugin_abi::*;
use support::host::{Picture, TestRuntime, TestSlide, by_status, call, open, open_with};

/// Faults are global to the process, so only one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    let guard = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    disarm();
    guard
}

fn bundle(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{name}"));
    coverslip_testkit::bundle(&folder);
    folder
}

fn row(runtime: &TestRuntime, tiles: u32, change: impl FnOnce(&mut SlideDesc)) -> (TestSlide, Picture) {
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(tiles) * 32, 32);
        (desc.max_frame_width, desc.max_frame_height) = (tiles * 32, 32);
        change(desc);
    });
    (slide, Picture::tissue(tiles * 32, 32, 1))
}

#[test]
fn a_panic_in_any_table_function_is_internal_and_the_host_goes_on() {
    let _alone = alone();
    let folder = bundle("table");
    arm("open", Fault::Panic, 1);
    let refusal = open_with(&folder, |_| ()).err().expect("the armed panic");
    assert_eq!(refusal.code, INTERNAL);
    assert!(refusal.message.contains("armed fault at open"), "{}", refusal.message);

    let runtime = open(&folder);
    let api = runtime.api;
    arm("begin", Fault::Panic, 1);
    assert_eq!(runtime.begin_with(|_| ()).err().expect("the armed panic").code, INTERNAL);
    let internal = |name: &'static str, f: &dyn Fn(*mut Error) -> i32| {
        arm(name, Fault::Panic, 1);
        assert_eq!(call(f).expect_err(name).code, INTERNAL, "{name}");
    };
    let handle = runtime.handle;
    // SAFETY (of all): the pointers are to live structs.
    internal("info", &|e| unsafe { (api.runtime_info)(handle, &mut RuntimeInfo::init(), e) });
    internal("feature", &|e| unsafe { (api.feature_info)(handle, 0, &mut FeatureInfo::init(), e) });
    internal("stats", &|e| unsafe { (api.runtime_stats)(handle, &mut RuntimeStats::init(), e) });
    internal("budget", &|e| unsafe { (api.runtime_set_budget)(handle, 50, e) });
    type OfSlide<'a> = &'a dyn Fn(Slide, *mut Error) -> i32;
    let slide_functions: [(&str, OfSlide<'_>); 8] = [
        ("cancel", &|s, e| unsafe { (api.slide_cancel)(s, e) }),
        ("finish", &|s, e| unsafe { (api.slide_finish)(s, 1000, e) }),
        ("poll", &|s, e| unsafe { (api.slide_poll)(s, &mut ResultBatch::init(), e) }),
        ("poll", &|s, e| unsafe { (api.slide_wait)(s, &mut ResultBatch::init(), 10, e) }),
        ("interrupt", &|s, e| unsafe { (api.slide_interrupt)(s, e) }),
        ("alerts", &|s, e| unsafe { (api.slide_alerts)(s, &mut AlertBatch::init(), e) }),
        ("summary", &|s, e| unsafe { (api.slide_summary)(s, &mut SlideSummary::init(), e) }),
        ("report", &|s, e| unsafe { (api.slide_report_json)(s, null_mut(), 0, null_mut(), e) }),
    ];
    for (name, f) in slide_functions {
        let (slide, picture) = row(&runtime, 2, |_| ());
        internal(name, &|e| f(slide.handle, e));
        let refusal = slide.submit(&picture.frame(0, 0, 64, 32)).expect_err("a poisoned slide takes no frames");
        assert_eq!(refusal.code, INTERNAL, "{name}");
        assert_eq!(slide.summary().poisoned, 1, "{name}");
    }
    for wait in [false, true] {
        let (slide, picture) = row(&runtime, 2, |_| ());
        arm("submit", Fault::Panic, 1);
        let frame = picture.frame(0, 0, 64, 32);
        let refusal = if wait { slide.submit_wait(&frame, 10) } else { slide.submit(&frame) }.expect_err("armed");
        assert_eq!(refusal.code, INTERNAL);
    }
    let (slide, picture) = row(&runtime, 2, |_| ());
    slide.submit(&picture.frame(0, 0, 64, 32)).expect("the others are not affected");
    assert_eq!(by_status(&slide.results())[TILE_DONE as usize], 2);
    arm("end", Fault::Panic, 1);
    // SAFETY: a live handle.
    assert_eq!(unsafe { (api.slide_end)(slide.handle, null_mut()) }, INTERNAL);
    arm("close", Fault::Panic, 1);
    assert_eq!(runtime.close(10_000).expect_err("armed").code, INTERNAL);
    assert_eq!(open(&folder).info().side, 32);
}

#[test]
fn a_panic_in_a_worker_poisons_only_its_slide() {
    let _alone = alone();
    let runtime = open(&bundle("workers"));
    for name in ["prep", "lane", "judge"] {
        let (other, picture) = row(&runtime, 6, |_| ());
        let (slide, _) = row(&runtime, 6, |_| ());
        arm(name, Fault::Panic, 1);
        slide.submit(&picture.frame(0, 0, 192, 32)).expect("room");
        let refusal = slide.finish(20_000).expect_err("the slide is poisoned");
        assert_eq!(refusal.code, INTERNAL, "{name}: {}", refusal.message);
        let tiles = slide.drain();
        assert_eq!(tiles.len(), 6, "{name}: every tile ends");
        let counts = by_status(&tiles);
        assert!(counts[TILE_FAILED as usize] >= 1 && counts[TILE_CANCELLED as usize] == 0, "{name}: {counts:?}");
        other.submit(&picture.frame(0, 0, 192, 32)).expect("room");
        assert_eq!(by_status(&other.results())[TILE_DONE as usize], 6, "{name}: the other slide");
    }
}

/// The lines of the host's log.
static LINES: Mutex<Vec<(i32, String)>> = Mutex::new(Vec::new());

unsafe extern "C" fn keep_line(_: *mut c_void, level: i32, line: *const c_char) {
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy().into_owned();
    LINES.lock().unwrap_or_else(|e| e.into_inner()).push((level, line));
}

#[test]
fn a_panic_in_a_worker_leaves_a_line_in_the_hosts_log() {
    let _alone = alone();
    let folder = bundle("lines");
    let path = CString::new(folder.to_str().expect("UTF-8")).expect("no NUL");
    let info = HostInfo { abi_major: ABI_MAJOR, abi_minor: ABI_MINOR, log: Some(keep_line), ..HostInfo::init() };
    let desc = RuntimeDesc { engine: ENGINE_CPU, bundle_path: path.as_ptr(), max_threads: 1, ..RuntimeDesc::init() };
    let (mut api, mut handle) = (null(), 0);
    call(|e| unsafe { coverslip_get_api(&info, &mut api, e) }).expect("the versions fit");
    let api = unsafe { &*api };
    call(|e| unsafe { (api.runtime_open)(&desc, None, null_mut(), &mut handle, e) }).expect("the bundle opens");
    let runtime = TestRuntime { api, handle };
    for name in ["prep", "lane", "judge"] {
        let (slide, picture) = row(&runtime, 3, |_| ());
        arm(name, Fault::Panic, 1);
        slide.submit(&picture.frame(0, 0, 96, 32)).expect("room");
        assert_eq!(slide.finish(20_000).expect_err("the slide is poisoned").code, INTERNAL, "{name}");
        let lines = std::mem::take(&mut *LINES.lock().unwrap());
        let text = format!("armed fault at {name}");
        let said = lines.iter().filter(|(level, line)| *level == LOG_ERROR && line.contains(&text)).count();
        assert_eq!(said, 1, "{name}: {lines:?}");
    }
}

#[test]
fn a_failed_batch_fails_only_its_tiles() {
    let _alone = alone();
    let runtime = open(&bundle("fail"));
    let (slide, picture) = row(&runtime, 6, |_| ());
    arm("lane", Fault::Fail, 2);
    slide.submit(&picture.frame(0, 0, 192, 32)).expect("room");
    let counts = by_status(&slide.results());
    assert_eq!((counts[TILE_FAILED as usize], counts[TILE_DONE as usize]), (2, 4));
    assert_eq!(slide.summary().poisoned, 0);
}

#[test]
fn a_lost_engine_fails_the_remaining_tiles_and_raises_an_alert() {
    let _alone = alone();
    let runtime = open_with(&bundle("lost"), |desc| desc.max_threads = 1).expect("opens");
    let (slide, picture) = row(&runtime, 6, |_| ());
    slide.submit(&picture.frame(0, 0, 96, 32)).expect("room");
    while slide.summary().results[0] < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    arm("device", Fault::Fail, 1);
    let mut rest = picture.frame(96, 0, 96, 32);
    rest.x = 96;
    slide.submit(&rest).expect("room");
    let counts = by_status(&slide.results());
    assert_eq!((counts[TILE_DONE as usize], counts[TILE_FAILED as usize]), (3, 3));
    let alerts = slide.alerts();
    let lost = alerts.iter().find(|alert| alert.code == ALERT_ENGINE_FALLBACK).expect("an alert");
    assert_eq!(lost.strength, f64::from(REASON_DEVICE_LOST));
    assert_eq!(slide.summary().fallback_reason, REASON_DEVICE_LOST);
    let refusal = runtime.begin_with(|_| ()).err().expect("no engine runs any more");
    assert_eq!(refusal.code, ENGINE_UNAVAILABLE, "{}", refusal.message);
    runtime.close(10_000).expect("every thread ends");
}

#[test]
fn the_deadline_holds_while_the_engine_hangs() {
    let _alone = alone();
    let runtime = open(&bundle("hang"));
    let (slide, picture) = row(&runtime, 6, |desc| desc.result_deadline_ms = 200);
    arm("lane", Fault::Hang(Duration::from_secs(3)), 2);
    let start = Instant::now();
    slide.submit(&picture.frame(0, 0, 192, 32)).expect("room");
    slide.finish(2_500).expect("both lanes hang for three seconds; the deadline does not wait for them");
    assert!(start.elapsed() < Duration::from_millis(2_500));
    let tiles = slide.drain();
    assert_eq!(by_status(&tiles)[TILE_EXPIRED as usize], 6);
    // Slots are free again after the lanes return.
    let stats = loop {
        let stats = runtime.stats();
        if stats.slots == stats.slots_free || start.elapsed() > Duration::from_secs(20) {
            break stats;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(stats.slots, stats.slots_free);
}

#[test]
fn an_ended_slide_is_held_until_its_last_slot_comes_back() {
    let _alone = alone();
    let runtime = open_with(&bundle("ended"), |desc| desc.max_threads = 1).expect("opens");
    let (slide, picture) = row(&runtime, 6, |desc| desc.result_deadline_ms = 20);
    arm("lane", Fault::Hang(Duration::from_secs(2)), 1);
    let start = Instant::now();
    slide.submit(&picture.frame(0, 0, 192, 32)).expect("room");
    slide.finish(1_000).expect("the deadline does not wait for the lane");
    drop(slide);
    std::thread::sleep(Duration::from_millis(100));
    let held = runtime.stats();
    assert!(start.elapsed() < Duration::from_secs(2), "too slow to tell");
    assert!(held.slides_open == 0 && held.slots > 0 && held.memory_bytes > 0, "the lane has slots of it");
    while runtime.stats().slots > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "it is held for ever");
        std::thread::sleep(Duration::from_millis(5));
    }
    let stats = runtime.stats();
    assert_eq!((stats.results[TILE_EXPIRED as usize], stats.tiles_in_flight, stats.memory_bytes), (6, 0, 0));
}

#[test]
fn an_expired_tile_keeps_its_slot_until_its_result_has_room() {
    let _alone = alone();
    let runtime = open_with(&bundle("room"), |desc| desc.max_threads = 1).expect("opens");
    let slide = runtime.begin(|desc| (desc.max_unpolled, desc.result_deadline_ms) = (1, 50));
    let picture = Picture::tissue(32, 32, 1);
    let submit = |at: i64| {
        let mut frame = picture.frame(0, 0, 32, 32);
        frame.x = 32 * at;
        let _ = slide.submit(&frame);
    };
    submit(0);
    while slide.summary().unpolled == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The outbox is full. These tiles expire while the lane hangs; then their slots come back.
    arm("lane", Fault::Hang(Duration::from_millis(300)), 1);
    (1..4).for_each(submit);
    std::thread::sleep(Duration::from_millis(600));
    for at in 4..40 {
        submit(at);
        std::thread::sleep(Duration::from_millis(3));
    }
    let tiles = slide.results();
    assert_eq!((tiles.len(), slide.summary().opened), (40, 40));
    let expired = tiles.iter().filter(|tile| tile.record.status == TILE_EXPIRED);
    assert!(expired.clone().count() >= 3 && expired.clone().all(|tile| tile.record.reconstruction_error.is_nan()));
}

#[test]
fn close_reports_a_hung_lane_that_it_leaves_behind() {
    let _alone = alone();
    let runtime = open(&bundle("leak"));
    let (slide, picture) = row(&runtime, 2, |_| ());
    arm("lane", Fault::Hang(Duration::from_secs(2)), 1);
    slide.submit(&picture.frame(0, 0, 64, 32)).expect("room");
    std::thread::sleep(Duration::from_millis(100));
    let refusal = runtime.close(100).expect_err("a lane hangs");
    assert_eq!(refusal.code, ENGINE_HUNG);
    assert!(refusal.message.contains("left behind"), "{}", refusal.message);
    let stale = slide.submit(&picture.frame(0, 0, 64, 32)).expect_err("closed with its runtime");
    assert_eq!(stale.code, INVALID_HANDLE);
}

/// Closing a runtime finishes its slides: a wait without a timeout that begins meanwhile ends too.
#[test]
fn a_wait_that_begins_while_the_runtime_closes_ends() {
    let _alone = alone();
    let runtime = open(&bundle("wait"));
    let slide = runtime.begin(|_| ());
    let picture = Picture::tissue(64, 32, 1);
    // The judge is busy with a whole tile until the runtime has told it to stop.
    arm("judge", Fault::Hang(Duration::from_secs(1)), 1);
    slide.submit(&picture.frame(0, 0, 32, 32)).expect("room");
    // A partial tile departs when the runtime is closed, after the look that this poll asks for.
    slide.submit(&picture.frame(32, 0, 16, 32)).expect("room");
    std::thread::sleep(Duration::from_millis(300));
    slide.take(None).expect("nothing yet");
    let (tell, told) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        loop {
            match slide.take(Some(NO_TIMEOUT)) {
                Err(refusal) if refusal.code == INTERRUPTED => {}
                answer => return tell.send(answer.map(|tiles| tiles.len()).map_err(|refusal| refusal.code)),
            }
        }
    });
    std::thread::sleep(Duration::from_millis(100));
    runtime.close(10_000).expect("every thread ends");
    let answer = told.recv_timeout(Duration::from_secs(10)).expect("the wait ends");
    assert!(matches!(answer, Err(END_OF_RESULTS | INVALID_HANDLE)), "{answer:?}");
    assert!(waiting.join().is_ok());
}

#[test]
fn nothing_is_printed_by_a_caught_panic() {
    let _alone = alone();
    // The plugin's panic hook silences only the plugin's threads. The C hosts (tests/pitfalls.rs) check stderr; this
    // test checks that the host's own panics still reach the host's hook.
    let runtime = open(&bundle("silent"));
    let seen = std::sync::Arc::new(Mutex::new(0));
    let counter = seen.clone();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |_| *counter.lock().unwrap() += 1));
    let own = std::thread::spawn(|| panic!("the host's own")).join();
    std::panic::set_hook(before);
    assert!(own.is_err());
    assert_eq!(*seen.lock().unwrap(), 1);
    drop(runtime);
}

#[test]
fn a_nan_from_the_engine_fails_its_tile() {
    let _alone = alone();
    let runtime = open(&bundle("nan"));
    let (slide, picture) = row(&runtime, 6, |_| ());
    arm("nan", Fault::Fail, 2);
    slide.submit(&picture.frame(0, 0, 192, 32)).expect("room");
    let counts = by_status(&slide.results());
    assert_eq!((counts[TILE_FAILED as usize], counts[TILE_DONE as usize]), (2, 4));
}

/// Submits random frames to a slide, polls it now and then, and arms a panic at a random point on the way. Gives the
/// number of results taken.
fn play_with_a_panic(slide: &TestSlide, picture: &Picture, roll: &mut dyn FnMut(u64) -> u64) -> usize {
    let (mut taken, when) = (0, roll(30));
    for at in 0..roll(40) {
        if at == when {
            let point = ["judge", "prep", "lane", "poll", "submit"][roll(5) as usize];
            arm(point, Fault::Panic, 1 + roll(3) as usize);
        }
        let mut frame = picture.frame(0, 0, 16 + roll(49) as u32, 16 + roll(49) as u32);
        (frame.x, frame.y, frame.pass) = (roll(500) as i64, roll(300) as i64, (roll(20) == 0).into());
        let _ = slide.submit(&frame);
        slide.summary();
        if roll(4) == 0 {
            taken += slide.take(None).map_or(0, |tiles| tiles.len());
            std::thread::sleep(Duration::from_millis(roll(4)));
        }
    }
    disarm();
    taken
}

#[test]
fn panics_at_random_moments_leave_no_tile_without_its_one_result() {
    let _alone = alone();
    let runtime = open(&bundle("random"));
    let picture = Picture::tissue(64, 64, 1);
    let mut state = 17u64;
    let mut roll = |sides: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) % sides
    };
    let mut poisoned = 0;
    for round in 0..100 {
        let slide = runtime.begin(|desc| {
            (desc.extent_width, desc.extent_height) = (480, 320);
            (desc.assembly_timeout_ms, desc.result_deadline_ms) = (roll(12) as u32, (roll(2) * roll(30)) as u32);
            desc.max_unpolled = 1 + roll(100) as u32;
        });
        let mut taken = play_with_a_panic(&slide, &picture, &mut roll);
        let start = Instant::now();
        while let Err(refusal) = slide.finish(5) {
            if refusal.code == INTERNAL {
                break;
            }
            assert_eq!(refusal.code, TIMEOUT, "round {round}: {}", refusal.message);
            assert!(start.elapsed() < Duration::from_secs(20), "round {round}: {}", refusal.message);
            taken += slide.take_while_it_drains().len();
        }
        taken += slide.drain().len();
        let s = slide.summary();
        assert_eq!((s.state, s.opened, s.results[0]), (SLIDE_FINISHED, taken as u64, taken as u64), "round {round}");
        poisoned += s.poisoned;
    }
    assert!(poisoned > 20, "{poisoned} of 100 slides were poisoned");
}
