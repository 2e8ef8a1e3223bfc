//! `slide_report_json`: what it says is what the other functions say, and the buffer is the host's.

mod support {
    pub(crate) mod host;
}

use std::path::PathBuf;
use std::ptr::null_mut;

use coverslip_plugin_abi::names::{FLAGS, STATUSES, alert_name};
use coverslip_plugin_abi::*;
use serde_json::Value;
use support::host::{Answer, Picture, TestRuntime, TestSlide, call, open};

fn runtime(name: &str) -> TestRuntime {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("slide-report-{name}"));
    coverslip_testkit::bundle(&folder);
    open(&folder)
}

/// One call with the first `capacity` bytes of the buffer, and what it says is needed.
fn ask(slide: &TestSlide, buffer: &mut [u8], capacity: usize) -> (Answer<()>, u64) {
    assert!(capacity <= buffer.len());
    let (place, mut needed) = (buffer.as_mut_ptr().cast(), 0);
    // SAFETY: the buffer has the capacity.
    let answer =
        call(|e| unsafe { (slide.api.slide_report_json)(slide.handle, place, capacity as u64, &mut needed, e) });
    (answer, needed)
}

fn report(slide: &TestSlide) -> Value {
    let mut buffer = vec![0xA5; 1 << 20];
    let capacity = buffer.len();
    let (answer, needed) = ask(slide, &mut buffer, capacity);
    answer.expect("a report");
    let needed = needed as usize;
    assert_eq!((buffer[needed - 1], buffer[needed]), (0, 0xA5), "the NUL is the last byte that is written");
    serde_json::from_slice(&buffer[..needed - 1]).expect("JSON")
}

/// A row of tiles, of which every second one is refused: there is one slot.
fn scanned(runtime: &TestRuntime) -> TestSlide {
    let slide = runtime.begin(|desc| (desc.max_frame_width, desc.max_frame_height) = (64, 32));
    let picture = Picture::tissue(64, 32, 3);
    let mut frame = picture.frame(0, 0, 64, 32);
    for i in 0..200 {
        frame.x = i * 64;
        let _ = slide.submit(&frame);
    }
    slide
}

#[test]
fn the_report_says_what_the_summary_says() {
    let runtime = runtime("says");
    let slide = scanned(&runtime);
    assert_eq!(report(&slide)["summary"]["state"], "open");
    let tiles = slide.results().len();
    let (said, summary, info) = (report(&slide), slide.summary(), runtime.info());
    assert_eq!(said["format"], "coverslip-slide-report/1");
    let counts = &said["summary"];
    assert_eq!((&counts["state"], &counts["poisoned"]), (&Value::from("finished"), &Value::from(false)));
    assert_eq!(counts["results"], tiles);
    let numbers = [
        ("opened", summary.opened),
        ("frames_accepted", summary.frames_accepted),
        ("frames_refused", summary.frames_refused),
        ("pixels_used", summary.pixels_used),
        ("alerts", summary.alerts),
        ("memory_bytes", summary.memory_bytes),
        ("slots", summary.slots),
    ];
    for (name, number) in numbers {
        assert_eq!(counts[name], number, "{name}");
    }
    for (name, count) in STATUSES.iter().zip(&summary.results[1..]) {
        assert_eq!(counts["by_status"][name], *count, "{name}");
    }
    for (bit, name) in FLAGS.iter().enumerate() {
        let flag = &said["flags"][name];
        assert_eq!(
            (&flag["checked"], &flag["raised"]),
            (&summary.flags_checked[bit].into(), &summary.flags_raised[bit].into())
        );
    }
    // Without a profile nothing is calibrated, and a verdict has no p.
    assert!(said["profile"].is_null() && counts["scanner"]["p"].is_null() && said["flags"]["novel"]["alpha"].is_null());
    assert_eq!(said["bundle"]["embedding_width"], info.embedding_width);
    assert_eq!(said["versions"]["engine_memory_bytes"], info.engine_memory_bytes);
    assert_eq!(said["versions"]["abi"], format!("{ABI_MAJOR}.{ABI_MINOR}"));
    let digest: String = info.bundle_digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(said["bundle"]["digest"], digest);
}

#[test]
fn alerts_are_listed_whether_they_are_taken_or_not() {
    let runtime = runtime("alerts");
    let slide = scanned(&runtime);
    slide.results();
    let before = report(&slide);
    let taken = slide.alerts();
    let listed = before["alerts"].as_array().expect("a list");
    assert!(!taken.is_empty() && slide.summary().frames_refused > 0, "frames that are refused raise OVERRUN");
    assert_eq!(listed.len(), taken.len());
    for (said, alert) in listed.iter().zip(&taken) {
        assert_eq!((&said["what"], &said["sequence"]), (&alert_name(alert.code).into(), &alert.sequence.into()));
        assert_eq!(
            (&said["strength"], said["box"]["width"].as_u64()),
            (&alert.strength.into(), (alert.width > 0).then_some(alert.width))
        );
    }
    assert_eq!(report(&slide)["alerts"], before["alerts"]);
}

#[test]
fn a_buffer_that_is_too_small_stays_as_it_is() {
    let runtime = runtime("small");
    let slide = scanned(&runtime);
    slide.results();
    let mut buffer = vec![0xA5; 1 << 16];
    for capacity in [0, 1, 100] {
        let (answer, needed) = ask(&slide, &mut buffer, capacity);
        let refusal = answer.expect_err("too small");
        assert!(refusal.code == BUFFER_TOO_SMALL && refusal.message.contains(&needed.to_string()), "{refusal:?}");
        assert!(needed > 1000 && buffer.iter().all(|&byte| byte == 0xA5), "{capacity}");
    }
    // The time since slide_begin goes on: its digits may be one fewer or more.
    let (_, needed) = ask(&slide, &mut buffer, 0);
    let (answer, written) = ask(&slide, &mut buffer, needed as usize + 8);
    answer.expect("room");
    assert!(written.abs_diff(needed) <= 8 && buffer[written as usize - 1] == 0 && buffer[needed as usize + 8] == 0xA5);
}

#[test]
fn pointers_may_be_null_where_the_contract_says_so() {
    let runtime = runtime("null");
    let slide = runtime.begin(|_| ());
    let ask = |handle, place, capacity, needed| {
        // SAFETY: null is allowed, or refused before anything is written.
        call(|e| unsafe { (slide.api.slide_report_json)(handle, place, capacity, needed, e) }).map_err(|e| e.code)
    };
    let mut needed = 0;
    assert_eq!(ask(slide.handle, null_mut(), 0, &mut needed), Err(BUFFER_TOO_SMALL));
    assert_eq!(ask(slide.handle, null_mut(), 0, null_mut()), Err(BUFFER_TOO_SMALL));
    assert_eq!(ask(slide.handle, null_mut(), 10, null_mut()), Err(INVALID_ARGUMENT));
    let mut buffer = vec![0u8; 2 * needed as usize];
    // A host may say that its memory has no end.
    assert_eq!(ask(slide.handle, buffer.as_mut_ptr().cast(), u64::MAX, null_mut()), Ok(()));
    needed = 77;
    assert_eq!(ask(0, null_mut(), 0, &mut needed), Err(INVALID_HANDLE));
    assert_eq!(needed, 77);
}
