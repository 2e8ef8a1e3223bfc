//! The host's thread in a call: what a call needs of it, and what it may not do to it.

use std::ffi::c_int;

/// While it lives, pthread_cancel of this thread waits. A call reads files and sleeps, which POSIX makes points where a
/// thread is cancelled: glibc would unwind through Rust's frames, and end the process where one of them stops that.
pub(super) struct Uncancelled(c_int);

impl Uncancelled {
    pub(super) fn begin() -> Uncancelled {
        let mut before = 0;
        // SAFETY: writes one number, and changes nothing but this thread's own state.
        unsafe { sys::pthread_setcancelstate(sys::PTHREAD_CANCEL_DISABLE, &mut before) };
        Uncancelled(before)
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        let mut mine = 0;
        // SAFETY: as above; the state is the one that `begin` found.
        unsafe { sys::pthread_setcancelstate(self.0, &mut mine) };
    }
}

/// Whether this thread can have the thread-local state of the library. The loader allocates that at a thread's first use,
/// and ends the process where it cannot; so the first call asks for the room before.
pub(super) fn has_room() -> bool {
    sys::has_room()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod sys {
    use std::ffi::{c_int, c_void};
    use std::ptr::without_provenance;
    use std::sync::atomic::{AtomicU64, Ordering};

    pub(super) const PTHREAD_CANCEL_DISABLE: c_int = 1;

    unsafe extern "C" {
        pub(super) fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }

    /// More than the loader takes for the thread-local variables of this library and of the C library's own modules.
    const ROOM: usize = 16 << 10;
    /// One more than the key under which a thread that has been here has a value; 0: there is none yet.
    static KEY: AtomicU64 = AtomicU64::new(0);

    /// The key. Nothing allocates for one, nor for the value of one of the first 32 of a process.
    fn key() -> Option<libc::pthread_key_t> {
        if let Some(key) = KEY.load(Ordering::Acquire).checked_sub(1) {
            return Some(key as libc::pthread_key_t);
        }
        let mut key = 0;
        // SAFETY: writes one key; it has no destructor.
        if unsafe { libc::pthread_key_create(&mut key, None) } != 0 {
            return None;
        }
        match KEY.compare_exchange(0, u64::from(key) + 1, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(key),
            Err(first) => {
                // SAFETY: this function's own key, which no thread has used.
                unsafe { libc::pthread_key_delete(key) };
                Some((first - 1) as libc::pthread_key_t)
            }
        }
    }

    pub(super) fn has_room() -> bool {
        let Some(key) = key() else { return is_room() };
        // SAFETY: a key of this library's, which is never deleted.
        if !unsafe { libc::pthread_getspecific(key) }.is_null() {
            return true;
        }
        let room = is_room();
        if room {
            // SAFETY: as above. Where it fails, the next call asks again.
            unsafe { libc::pthread_setspecific(key, without_provenance::<c_void>(1)) };
        }
        room
    }

    /// Asked of the C library, as the loader does: Rust's allocator may use thread-local state itself.
    fn is_room() -> bool {
        // SAFETY: given back at once, whether it is null or not.
        let room = unsafe { libc::malloc(ROOM) };
        let there = !std::hint::black_box(room).is_null();
        // SAFETY: as above.
        unsafe { libc::free(room) };
        there
    }
}

/// Elsewhere no thread is cancelled in a call, and the loader gives each its state when it starts.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod sys {
    use std::ffi::c_int;

    pub(super) const PTHREAD_CANCEL_DISABLE: c_int = 0;

    pub(super) unsafe fn pthread_setcancelstate(_: c_int, _: *mut c_int) -> c_int {
        0
    }

    pub(super) fn has_room() -> bool {
        true
    }
}
