//! `slide_submit` allocates nothing, whether it accepts a frame or refuses it.

mod support {
    pub(crate) mod host;
}

use std::path::PathBuf;

use coverslip_plugin_abi::*;
use coverslip_testkit::Counting;
use support::host::{Picture, open};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
