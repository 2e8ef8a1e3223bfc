//! `slide_submit` allocates nothing and finds its memory touched, whether it accepts a frame or refuses it.

mod support {
    pub(crate) mod host;
}

use std::path::PathBuf;

use coverslip_plugin_abi::*;
use coverslip_testkit::{Counting, note, page_faults};
use support::host::{Picture, open};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Formats that are unpacked, demosaiced and toned, with a mask.
#[test]
fn submit_allocates_nothing_whatever_the_camera_delivers() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("allocation-formats");
    coverslip_testkit::bundle(&folder);
    let runtime = open(&folder);
    let (data, mask) = (vec![90u8; 8 * 128 * 128], vec![1u8; 128 * 128]);
    for format in [PFNC_BAYER_RG8, PFNC_BAYER_GR12_PACKED, PFNC_MONO10P, PFNC_RGBA16, PFNC_RGB8_PLANAR] {
        let slide = runtime.begin(|desc| {
            (desc.max_frame_width, desc.max_frame_height) = (128, 128);
            (desc.flags, desc.not_scanned) = (SLIDE_NOT_SCANNED_VALUE | SLIDE_ALPHA_IS_VALIDITY, [1, 2, 3]);
            desc.color_matrix = [1.0, 0.1, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        });
        let planes = if format == PFNC_RGB8_PLANAR { 3 } else { 1 };
        let mut frame =
            Frame { pixel_format: format, plane_count: planes, width: 128, height: 128, group_id: 1, ..Frame::init() };
        frame.planes[..3].fill(Plane { data: data.as_ptr(), stride: 1024, size: data.len() as u64 });
        frame.mask = Plane { data: mask.as_ptr(), stride: 128, size: mask.len() as u64 };
        frame.mask_format = MASK_BYTES;
        let mut error = Error::init();
        let before = Counting::allocations();
        let mut taken = 0;
        for i in 0..100 {
            (frame.y, frame.flags) = (i * 128, FRAME_CONTIGUOUS);
            // SAFETY: the frame's pixels and the error are alive.
            taken += i32::from(unsafe { (runtime.api.slide_submit)(slide.handle, &frame, &mut error) } == OK);
        }
        assert_eq!(Counting::allocations() - before, 0, "{format:#x}");
        assert!(taken > 0, "{format:#x}");
    }
}

#[test]
fn submit_allocates_nothing() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("allocation");
    coverslip_testkit::bundle(&folder);
    let runtime = open(&folder);
    let slide = runtime.begin(|desc| {
        (desc.max_frame_width, desc.max_frame_height) = (512, 512);
        desc.assembly_timeout_ms = 5000;
    });
    let picture = Picture::tissue(600, 600, 1);
    let mut error = Error::init();
    let (mut taken, mut busy) = (0, 0);
    let before = Counting::allocations();
    assert!(before > 0, "the counter counts");
    for i in 0..400u32 {
        let mut frame = picture.frame(i % 37, i % 41, 512, 512);
        frame.x = i64::from(i) * 500;
        // SAFETY: the frame's pixels and the error are alive.
        match unsafe { (runtime.api.slide_submit)(slide.handle, &frame, &mut error) } {
            OK => taken += 1,
            BUSY => busy += 1,
            code => panic!("code {code}"),
        }
        if i % 40 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let allocated = Counting::allocations() - before;
    assert!(taken > 0 && busy > 0, "{taken} taken, {busy} busy");
    assert_eq!(allocated, 0);
}

/// A report can be asked for while memory ends.
#[test]
fn the_report_of_a_slide_allocates_nothing() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("allocation-report");
    coverslip_testkit::bundle(&folder);
    let runtime = open(&folder);
    let slide = runtime.begin(|desc| (desc.max_frame_width, desc.max_frame_height) = (32, 32));
    let picture = Picture::tissue(32, 32, 1);
    slide.submit(&picture.frame(0, 0, 32, 32)).expect("room");
    slide.results();
    let (mut buffer, mut needed, mut error) = (vec![0u8; 1 << 16], 0, Error::init());
    let place = buffer.as_mut_ptr().cast();
    let before = Counting::allocations();
    // SAFETY: the buffer is as long as it says.
    let answer = unsafe { (runtime.api.slide_report_json)(slide.handle, place, 1 << 16, &mut needed, &mut error) };
    assert_eq!((Counting::allocations() - before, answer), (0, OK));
    assert!(needed > 1000);
}

/// What a slide needs all over its memory has been touched when it has begun: tiles far apart, each of which is in a page of
/// the ledger's index of its own, cost the host's thread no page fault. What is left is one for some 170 entries.
#[test]
fn tiles_cost_submit_no_page_faults() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("first-touch");
    coverslip_testkit::bundle(&folder);
    let runtime = open(&folder);
    let slide = runtime.begin(|desc| (desc.max_frame_width, desc.max_frame_height) = (64, 64));
    let picture = Picture::tissue(64, 64, 1);
    let mut answers = [0; 2];
    let mut submit = |i: i64| {
        let mut frame = picture.frame(0, 0, 64, 64);
        (frame.x, frame.y) = (i % 60 * 32_000, i / 60 * 32_000);
        let answer = slide.submit(&frame).map_err(|refusal| refusal.code);
        assert!(matches!(answer, Ok(()) | Err(BUSY)), "{answer:?}");
        answers[usize::from(answer.is_err())] += 1;
    };
    // The code itself, and the stack.
    (0..200).for_each(&mut submit);
    let Some(before) = page_faults() else { return note("skipped: the system counts no page faults by thread") };
    (200..1400).for_each(&mut submit);
    let faults = page_faults().expect("as before") - before;
    assert!(answers[0] > 0 && answers[1] > 0, "{answers:?} accepted and refused");
    assert!(faults < 40, "{faults} page faults in 1200 calls, of which each enters at least 4 tiles");
}
