//! Memory that is used soon, called into the cache while something else is done.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Bytes that come at a time.
const LINE: usize = 64;

/// Calls bytes into the cache; on processors other than x86-64 it leaves that to them.
pub fn call(bytes: &[u8]) {
    for line in bytes.chunks(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: it reads nothing, every x86-64 has it, and the line is in a slice.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}
