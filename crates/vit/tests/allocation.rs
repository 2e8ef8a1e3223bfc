//! A run allocates nothing and starts no thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::{InputStep, Mlp, SaeArchitecture};
use coverslip_testkit::Fixture;
use coverslip_vit::{Family, Lane, Model};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread. An ending thread has no counter any more.
struct Counting;

// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

#[test]
fn a_run_allocates_nothing_and_starts_no_thread() {
    let input = vec![InputStep::Standardize, InputStep::LayerNorm];
    for sae_arch in [SaeArchitecture::TopK, SaeArchitecture::GroupMax, SaeArchitecture::Gated] {
        for mlp in [Mlp::Gelu, Mlp::SwiGlu] {
            let spec = SyntheticSpec { mlp, sae_arch, input: input.clone(), ..Default::default() };
            let bundle = Fixture::with(&spec).open().unwrap();
            let tile = synthetic::tiles(&spec, 1);
            for family in [Family::Plain, Family::Avx2, Family::Avx512, Family::Avx512Bf16] {
                if !family.runs_here() {
                    continue;
                }
                let model = Arc::new(Model::open(&bundle, family).unwrap());
                let mut lane = Lane::new(&model).unwrap();
                let running = threads();
                let before = COUNT.get();
                assert!(before > 0, "the counter counts");
                for _ in 0..3 {
                    assert!(lane.run(&tile).embeddings.iter().all(|value| value.is_finite()));
                }
                let allocated = COUNT.get() - before;
                assert_eq!((allocated, threads()), (0, running), "{} {sae_arch:?} {mlp:?}", family.name());
            }
        }
    }
}
