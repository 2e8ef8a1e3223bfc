//! A worker that is lost costs no tile.

use std::path::Path;
use std::time::Duration;

use coverslip::fault::{Fault, arm, disarm};
use coverslip_plugin_abi::*;

use crate::support::host::{Picture, TestRuntime, open};
use crate::system::{CRASHED, KILLED, crash, is_alive, kill, stop};
use crate::{TILES, apart, bundle, by_column, child, expect_same, folder, played, poisoned, row, wait_until};

fn picture() -> Picture {
    Picture::tissue(TILES * crate::SIDE, crate::SIDE, 1)
}

/// The reasons of the restarts that the slide was told of, with their strengths.
fn restarts(alerts: &[Alert]) -> Vec<(i32, f64)> {
    let of = alerts.iter().filter(|alert| alert.code == ALERT_WORKER_RESTARTED);
    of.inspect(|alert| assert_eq!(alert.threshold, 3.0)).map(|alert| (alert.reason, alert.strength)).collect()
}

/// Plays a slide while something happens to the worker; every tile must come out as in this process.
fn survives(runtime: &TestRuntime, injure: impl FnOnce(u64), reason: i32, times: f64) {
    let (picture, process) = (picture(), runtime.info().worker_process_id);
    let expected = played(&open(bundle()), &picture);
    let slide = row(runtime);
    let (before, half) = (runtime.stats(), TILES / 2 * crate::SIDE);
    slide.submit(&picture.frame(0, 0, half, crate::SIDE)).expect("room");
    injure(process);
    slide.submit(&picture.frame(half, 0, half, crate::SIDE)).expect("room");
    expect_same(&by_column(slide.results()), &expected);
    assert_eq!(restarts(&slide.alerts()), [(reason, times)]);
    let (summary, stats) = (slide.summary(), runtime.stats());
    assert_eq!((summary.worker_restarts, summary.poisoned, summary.fallback_reason), (1, 0, REASON_NONE));
    assert!((1..=2).contains(&summary.tiles_retried), "of each lane one at most: {}", summary.tiles_retried);
    assert_eq!(stats.worker_restarts, before.worker_restarts + 1);
    assert_eq!(stats.batches_retried - before.batches_retried, summary.tiles_retried, "batches of one");
    assert!(stats.worker_process_id != 0 && stats.worker_process_id != process);
}

#[test]
fn a_worker_that_ends_or_hangs_costs_no_tile() {
    let runtime = apart(bundle(), |desc| desc.worker_timeout_ms = 3_000).expect("a worker");
    survives(&runtime, kill, REASON_WORKER_CRASHED, 1.0);
    survives(&runtime, stop, REASON_WORKER_HUNG, 2.0);
    runtime.close(10_000).expect("every thread ends");
}

#[test]
fn the_third_crash_within_a_minute_is_the_last_and_says_how_it_came() {
    third_time(kill, KILLED);
    third_time(crash, CRASHED);
}

fn third_time(injure: fn(u64), how: &str) {
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    let picture = picture();
    for _ in 0..2 {
        let process = runtime.info().worker_process_id;
        injure(process);
        wait_until("the end of the worker", || !is_alive(process));
        assert!(played(&runtime, &picture).iter().all(|tile| tile.record.status == TILE_DONE));
    }
    let process = runtime.info().worker_process_id;
    injure(process);
    wait_until("the end of the worker", || !is_alive(process));
    let slide = row(&runtime);
    slide.submit(&picture.frame(0, 0, picture.width, picture.height)).expect("room");
    let tiles = by_column(slide.results());
    let failed = tiles.iter().filter(|tile| tile.record.status == TILE_FAILED).count();
    assert!(failed > 0, "there is no other engine");
    let alerts = slide.alerts();
    let lost = alerts.iter().find(|alert| alert.code == ALERT_ENGINE_FALLBACK).expect("an alert");
    assert_eq!(lost.strength as i32, REASON_WORKER_CRASHED);
    let info = runtime.info();
    assert_eq!((info.fallback_reason, info.worker_process_id), (REASON_WORKER_CRASHED, 0));
    let message = unsafe { std::ffi::CStr::from_ptr(info.fallback_message.as_ptr()) }.to_string_lossy();
    assert!(message.contains(how), "{message}");
    assert_eq!(runtime.begin_with(|_| ()).err().expect("no engine").code, ENGINE_UNAVAILABLE);
    drop(slide);
    runtime.close(10_000).expect("every thread ends");
}

#[test]
fn a_tile_that_ends_workers_fails_alone() {
    for effect in ["abort", "segv", "close", "garbage"] {
        child("recovery::poison", &[("COVERSLIP_WORKER_POISON", &format!("1,2,3:{effect}"))]);
    }
}

#[test]
#[ignore = "run by a_tile_that_ends_workers_fails_alone"]
fn poison() {
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    let columns = [7, 8, 31, 59];
    let picture = poisoned([1, 2, 3], &columns);
    let expected = played(&open(bundle()), &picture);
    let slide = row(&runtime);
    slide.submit(&picture.frame(0, 0, picture.width, picture.height)).expect("room");
    let found = by_column(slide.results());
    for (found, expected) in found.iter().zip(&expected) {
        if columns.contains(&(found.record.column as u32)) {
            assert_eq!(found.record.status, TILE_FAILED);
            assert!(found.features.is_empty() && found.embedding.is_empty());
        } else {
            expect_same(std::slice::from_ref(found), std::slice::from_ref(expected));
        }
    }
    let (info, summary) = (runtime.info(), slide.summary());
    assert!(info.worker_restarts >= 2 * columns.len() as u64, "{}", info.worker_restarts);
    assert_eq!(
        (info.fallback_reason, summary.poisoned),
        (REASON_NONE, 0),
        "what tiles are to blame for counts for nothing"
    );
    assert_eq!(summary.worker_restarts, info.worker_restarts);
    let hung = slide.alerts().iter().any(|alert| alert.reason == REASON_WORKER_HUNG);
    assert!(!hung, "each ended at once");
    // Nor later.
    for times in [1.0, 2.0] {
        let clean = super::recovery::picture();
        // A worker is started when there is something to run.
        played(&runtime, &clean);
        let slide = row(&runtime);
        kill(runtime.info().worker_process_id);
        slide.submit(&clean.frame(0, 0, clean.width, clean.height)).expect("room");
        assert!(by_column(slide.results()).iter().all(|tile| tile.record.status == TILE_DONE));
        assert_eq!(restarts(&slide.alerts()), [(REASON_WORKER_CRASHED, times)]);
    }
}

#[test]
fn a_worker_that_breaks_the_protocol_or_panics_costs_no_tile() {
    let file = folder("sabotage");
    let _ = std::fs::remove_file(&file);
    child("recovery::sabotage", &[("COVERSLIP_WORKER_SABOTAGE", file.to_str().unwrap())]);
}

#[test]
#[ignore = "run by a_worker_that_breaks_the_protocol_or_panics_costs_no_tile"]
fn sabotage() {
    let file = std::env::var("COVERSLIP_WORKER_SABOTAGE").unwrap();
    let cases = [
        ("garbage", REASON_WORKER_PROTOCOL, 2),
        ("close", REASON_WORKER_CRASHED, 2),
        // On the control connection, while the lanes go on. A flood is one where nobody else hears it meanwhile.
        ("flood", REASON_WORKER_PROTOCOL, 1),
        ("half a line", REASON_WORKER_HUNG, 2),
        ("no line", REASON_WORKER_PROTOCOL, 2),
    ];
    let _ = std::fs::create_dir_all(Path::new(&file).parent().unwrap());
    // At once: a worker that reads a file before it says anything aborts.
    let say = |what: &str| {
        let whole = Path::new(&file).with_extension("whole");
        std::fs::write(&whole, what).and_then(|()| std::fs::rename(whole, &file)).unwrap();
    };
    for (what, reason, lanes) in cases {
        let runtime = apart(bundle(), |desc| desc.max_threads = lanes).expect("a worker");
        survives(&runtime, |_| say(what), reason, 1.0);
    }
    // A defect that the worker catches is a batch's failure, as in this process.
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    say("panic");
    let found = played(&runtime, &picture());
    assert_eq!(found.iter().filter(|tile| tile.record.status == TILE_FAILED).count(), 1);
    assert_eq!(runtime.stats().worker_restarts, 0);
}

#[test]
fn a_connection_that_cannot_be_made_costs_no_tile_if_it_can_be_made_in_a_moment() {
    child("recovery::unconnected", &[]);
}

#[test]
#[ignore = "run by a_connection_that_cannot_be_made_costs_no_tile_if_it_can_be_made_in_a_moment"]
fn unconnected() {
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    arm("a lane's connection", Fault::Fail, 2);
    survives(&runtime, kill, REASON_WORKER_CRASHED, 1.0);
    // If not, there is no worker, and the host is told why.
    arm("a lane's connection", Fault::Fail, usize::MAX);
    let slide = row(&runtime);
    kill(runtime.info().worker_process_id);
    let picture = picture();
    slide.submit(&picture.frame(0, 0, picture.width, picture.height)).expect("room");
    by_column(slide.results());
    let alerts = slide.alerts();
    let lost = alerts.iter().find(|alert| alert.code == ALERT_ENGINE_FALLBACK).expect("an alert");
    assert_eq!(lost.strength as i32, REASON_NO_WORKER);
    let (info, why) = (runtime.info(), "a connection to the worker could not be made: the system's error 24");
    let message = unsafe { std::ffi::CStr::from_ptr(info.fallback_message.as_ptr()) }.to_string_lossy();
    assert!(message.contains(why), "{message}");
    assert_eq!((info.fallback_reason, info.worker_process_id), (REASON_NO_WORKER, 0));
    drop(slide);
    runtime.close(10_000).expect("every thread ends");
    let refusal = apart(bundle(), |_| ()).err().expect("a refusal");
    assert!(refusal.code == ENGINE_UNAVAILABLE && refusal.message.contains(why), "{}", refusal.message);
    disarm();
}

#[test]
fn a_worker_that_dies_while_nothing_runs_is_found_by_the_next_slide() {
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    let process = runtime.info().worker_process_id;
    kill(process);
    wait_until("the end of the worker", || !is_alive(process));
    std::thread::sleep(Duration::from_millis(20));
    let found = played(&runtime, &picture());
    expect_same(&found, &played(&open(bundle()), &picture()));
    assert_eq!(runtime.stats().worker_restarts, 1);
}
