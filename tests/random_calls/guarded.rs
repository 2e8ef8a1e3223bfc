//! Memory that ends where a page begins which nobody may touch: a byte read or written behind it ends the process.

use std::ffi::c_char;
use std::ptr::null_mut;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

const PAGE: usize = 4096;

/// One piece of such memory. It stays mapped until the process ends: another thread that got the same addresses would
/// look to a sanitizer as if it shared them.
pub(crate) struct Guarded {
    start: *mut u8,
    room: usize,
}

impl Guarded {
    /// Room for `most` bytes.
    pub(crate) fn new(most: usize) -> Guarded {
        let room = most.next_multiple_of(PAGE);
        // SAFETY: a new mapping, of which nothing else knows.
        let start = unsafe {
            mmap_anonymous(null_mut(), room + PAGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
                .expect("pages of memory")
        };
        // SAFETY: the mapping's last page, which is used for nothing else.
        unsafe { mprotect(start.byte_add(room), PAGE, MprotectFlags::empty()).expect("a page to guard") };
        Guarded { start: start.cast(), room }
    }

    /// The last `size` bytes, rounded up so that they are aligned, filled with `fill`.
    pub(crate) fn last(&mut self, size: usize, fill: u8) -> *mut u8 {
        let aligned = size.next_multiple_of(8);
        assert!(aligned <= self.room, "{size} bytes do not fit");
        // SAFETY: inside the mapping, by the check.
        unsafe {
            let place = self.start.add(self.room - aligned);
            place.write_bytes(fill, aligned);
            place
        }
    }

    /// The first `size` bytes of a struct, followed by `rest` where it is shorter.
    pub(crate) fn put<T: Copy>(&mut self, value: &T, size: usize, rest: u8) -> *mut T {
        let place = self.last(size.max(8), rest);
        // SAFETY: both sides have as many bytes, and T is plain data.
        unsafe { place.copy_from_nonoverlapping((&raw const *value).cast(), size.min(size_of::<T>())) };
        place.cast()
    }

    /// The last `size` bytes, filled with `fill`. Not rounded up: pixels and text need no alignment.
    pub(crate) fn bytes(&mut self, size: usize, fill: u8) -> *mut u8 {
        assert!(size <= self.room, "{size} bytes do not fit");
        // SAFETY: inside the mapping, by the check.
        unsafe {
            let place = self.start.add(self.room - size);
            place.write_bytes(fill, size);
            place
        }
    }

    /// A text that ends with its NUL at the guarded page.
    pub(crate) fn text(&mut self, text: &[u8]) -> *const c_char {
        let place = self.bytes(text.len() + 1, 0);
        // SAFETY: one byte more than the text is there.
        unsafe { place.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
        place.cast()
    }
}
