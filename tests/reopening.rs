//! A runtime that is closed has given back every byte that it took, however often one is opened.

mod support {
    pub(crate) mod host;
}

use std::path::{Path, PathBuf};
use std::time::Duration;

use coverslip_plugin_abi::RUNTIME_NORMAL_PRIORITY;
use coverslip_testkit::Counting;
use support::host::{Picture, open_with};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: i64 = 100;

/// Opens a runtime, plays a slide, and closes both.
fn round(bundle: &Path) {
    let runtime = open_with(bundle, |desc| desc.flags = RUNTIME_NORMAL_PRIORITY).expect("the bundle opens");
    let slide = runtime.begin(|desc| (desc.max_frame_width, desc.max_frame_height) = (256, 256));
    slide.submit(&Picture::tissue(256, 256, 1).frame(0, 0, 256, 256)).expect("a frame");
    slide.finish(60_000).expect("all results");
    drop(slide);
    runtime.close(60_000).expect("every thread joins");
}

/// Bytes in use a moment later, when the collector of crossbeam has had a turn.
fn collected() -> i64 {
    crossbeam_epoch::pin().flush();
    std::thread::sleep(Duration::from_millis(10));
    Counting::in_use()
}

#[test]
fn runtimes_leave_nothing() {
    let folder = |name| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (vit, onnx) = (folder("reopening"), folder("reopening-onnx"));
    coverslip_testkit::bundle(&vit);
    coverslip_testkit::onnx_bundle(&onnx);
    // The CPU engine of ViT bundles is ours. Less than a byte of each: what a thread or a list takes once may come late.
    (0..3).for_each(|_| round(&vit));
    let before = Counting::in_use();
    (0..ROUNDS).for_each(|_| round(&vit));
    let grown = Counting::in_use() - before;
    assert!(grown < ROUNDS, "{grown} bytes more after {ROUNDS} runtimes");

    // rten's pools end after the runtime, and the collector of crossbeam, which they steal work through, frees the 4.4 KB
    // of an ended thread dozens of threads later: what is in use goes up and down by 200 KB. The peaks must not rise. Half a
    // kilobyte of each runtime would raise them by 80 KB.
    (0..3).for_each(|_| round(&onnx));
    let peak = || {
        let looks = (0..32).map(|_| {
            (0..5).for_each(|_| round(&onnx));
            collected()
        });
        looks.max().expect("looks")
    };
    // A leak raises both later ones; a pool that ends late raises one.
    let peaks = [peak(), peak(), peak()];
    assert!(
        peaks.windows(2).any(|two| two[1] < two[0] + 64_000),
        "at most {peaks:?} bytes in use, each in 160 runtimes"
    );
}
