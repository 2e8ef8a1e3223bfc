//! Children made by fork(): they have a copy of the library's memory and none of its threads. What they call would wait
//! for a thread that is not there, or for a lock that one of them held. So every call in a child is refused first.
//!
//! A child is known by a page that the kernel empties in it (MADV_WIPEONFORK, Linux 4.14): no call into the system, and
//! right for every way to make a child, vfork apart, whose child shares the parent's memory. Elsewhere the process's
//! number is compared.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};

/// Its first byte is 1 in the process of the library's threads, and 0 in its children.
static PAGE: AtomicPtr<AtomicU8> = AtomicPtr::new(null_mut());
/// The number of that process, where there is no such page.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Remembers this process as that of the library's threads. To be called before the first of them starts.
pub(super) fn remember_process() {
    if !PAGE.load(Ordering::Acquire).is_null() || PROCESS.load(Ordering::Acquire) != 0 {
        return;
    }
    let Some(page) = wiped_page() else {
        return PROCESS.store(std::process::id(), Ordering::Release);
    };
    // A page that lost against another thread's is left alone: it is one page, once.
    let _ = PAGE.compare_exchange(null_mut(), page, Ordering::AcqRel, Ordering::Acquire);
}

/// This process is a child of that of the library's threads.
pub(super) fn is_child() -> bool {
    // SAFETY: the pointer is null or that of a page which stays mapped, in children too.
    if let Some(page) = unsafe { PAGE.load(Ordering::Acquire).as_ref() } {
        return page.load(Ordering::Relaxed) == 0;
    }
    let process = PROCESS.load(Ordering::Acquire);
    process != 0 && process != std::process::id()
}

#[cfg(target_os = "linux")]
fn wiped_page() -> Option<*mut AtomicU8> {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

    // The kernel rounds it up to a page.
    const BYTES: usize = 4096;
    // SAFETY: a new private mapping, wherever there is room.
    let page =
        unsafe { mmap_anonymous(null_mut(), BYTES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }.ok()?;
    // SAFETY: the mapping is this function's own, and its content in children is all that changes.
    unsafe { madvise(page, BYTES, Advice::LinuxWipeOnFork) }.ok()?;
    let page = page.cast::<AtomicU8>();
    // SAFETY: mapped, writable and aligned; nobody else knows of it.
    unsafe { (*page).store(1, Ordering::Relaxed) };
    Some(page)
}

#[cfg(not(target_os = "linux"))]
fn wiped_page() -> Option<*mut AtomicU8> {
    None
}
