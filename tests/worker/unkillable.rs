//! A worker that cannot be killed, because its driver does not return: it is left behind, and nobody waits for it.
//!
//! No test can make a process that the system does not end. So the kill is made to do nothing, and the worker is stopped,
//! in which state it takes part in nothing either.

use coverslip::fault::{Fault, arm, disarm};
use coverslip_plugin_abi::*;

use crate::shared::THROUGH_MEMORY;
use crate::support::host::{Picture, lines, listen, open};
use crate::system::{held, is_alive, kill, memory_of, stop};
use crate::{CONNECTION_ALONE, SIDE, TILES, apart, bundle, by_column, child, expect_same, played, row};

#[test]
fn a_worker_that_cannot_be_killed_is_left_behind() {
    child("unkillable::left_behind", &[]);
}

#[test]
#[ignore = "run by a_worker_that_cannot_be_killed_is_left_behind"]
fn left_behind() {
    listen();
    let picture = Picture::tissue(TILES * SIDE, SIDE, 1);
    let expected = played(&open(bundle()), &picture);
    let before = held().descriptors;
    let runtime = apart(bundle(), |desc| desc.worker_timeout_ms = 2_000).expect("a worker");
    arm("kill a worker", Fault::Fail, usize::MAX);

    // In mid-slide: the next worker does its work.
    let first = runtime.info().worker_process_id;
    let slide = row(&runtime);
    stop(first);
    slide.submit(&picture.frame(0, 0, picture.width, picture.height)).expect("room");
    expect_same(&by_column(slide.results()), &expected);
    let alerts = slide.alerts();
    let told: Vec<i32> =
        alerts.iter().filter(|alert| alert.code == ALERT_WORKER_RESTARTED).map(|alert| alert.reason).collect();
    assert_eq!(told, [REASON_WORKER_HUNG]);
    drop(slide);

    // At the end: every thread of the library returns, none of them waits for what does not end.
    let second = runtime.info().worker_process_id;
    assert!(second != 0 && second != first);
    // The first one, which goes on if it is ever let, has memory of its own: it sees no tile that the second one gets.
    let (of_first, of_second) = (memory_of(first), memory_of(second));
    assert!(of_first.is_disjoint(&of_second), "{of_first:?}, {of_second:?}");
    if std::env::var_os(CONNECTION_ALONE).is_none() {
        // Of each lane of both.
        assert_eq!(lines().iter().filter(|(_, line)| line.contains(THROUGH_MEMORY)).count(), 4);
        // On Windows nobody sees it from outside.
        let seen = if cfg!(windows) { 0 } else { 2 };
        assert_eq!((of_first.len(), of_second.len()), (seen, seen));
    }
    stop(second);
    runtime.close(20_000).expect("every thread ends");
    assert_eq!(held().descriptors, before, "the host keeps nothing of them");
    if cfg!(windows) {
        // The last handles of their jobs are closed. Where the system could not do it now, it would do it later.
        for process in [first, second] {
            crate::wait_until("the end of a job", || !is_alive(process));
        }
        return disarm();
    }
    assert!(is_alive(first) && is_alive(second), "the kill did nothing, so both are there");
    disarm();
    for process in [first, second] {
        kill(process);
        reap(process);
    }
}

#[cfg(not(target_os = "linux"))]
fn reap(_: u64) {}

#[cfg(target_os = "linux")]
fn reap(process: u64) {
    let mut status = 0;
    // SAFETY: writes one number. Nobody has waited for this child.
    assert_eq!(unsafe { libc::waitpid(process as i32, &mut status, 0) }, process as i32);
}
