//! An allocator that counts, for tests of what allocates nothing and of what gives everything back:
//!
//! ```
//! use coverslip_testkit::Counting;
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Bytes of the process that were allocated and not freed.
static IN_USE: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, with counters.
pub struct Counting;

impl Counting {
    /// Allocations of this thread so far.
    pub fn allocations() -> u64 {
        ALLOCATIONS.get()
    }

    /// Bytes of all threads that are allocated and not freed, as they were asked for.
    pub fn in_use() -> i64 {
        IN_USE.load(Ordering::Relaxed)
    }
}

// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // An ending thread has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        IN_USE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}
