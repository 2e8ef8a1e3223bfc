//! Memory that is exactly as long as a host says. The address sanitizer sees every access beyond it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// A block for a struct or a buffer.
pub(super) struct Memory {
    place: *mut u8,
    layout: Layout,
}

impl Memory {
    /// `size` bytes of zeros; at least one, because nothing can have no memory.
    pub(super) fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size.max(1), 16).expect("a small size");
        // SAFETY: the layout's size is not 0.
        let place = unsafe { alloc_zeroed(layout) };
        if place.is_null() {
            handle_alloc_error(layout);
        }
        Self { place, layout }
    }

    /// The first `size` bytes of `value`, and zeros behind it.
    pub(super) fn of<T: Copy>(value: &T, size: u32) -> Self {
        let memory = Self::new(size as usize);
        // SAFETY: both are at least as long as the copied bytes.
        unsafe { memory.place.copy_from((&raw const *value).cast(), size_of::<T>().min(size as usize)) };
        memory
    }

    pub(super) fn pointer<T>(&self) -> *mut T {
        self.place.cast()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes were allocated, as zeros, and live as long as this.
        unsafe { std::slice::from_raw_parts(self.place, self.layout.size()) }
    }

    /// Writes a byte, if there is one at `at`.
    pub(super) fn set(&self, at: usize, byte: u8) {
        if at < self.layout.size() {
            // SAFETY: it is inside the block.
            unsafe { self.place.add(at).write(byte) };
        }
    }

    /// The value of which the block is the beginning; what is missing is as in `rest`.
    pub(super) fn read<T: Copy>(&self, mut rest: T) -> T {
        let bytes = size_of::<T>().min(self.layout.size());
        // SAFETY: both are at least as long as the copied bytes, which were a T's or zeros before the call.
        unsafe { (&raw mut rest).cast::<u8>().copy_from(self.place, bytes) };
        rest
    }

    /// `count` values from the start.
    pub(super) fn values<T: Copy>(&self, count: usize) -> Vec<T> {
        assert!(count * size_of::<T>() <= self.layout.size(), "a count beyond the buffer");
        // SAFETY: they are inside the block, which is aligned for every type of the contract.
        (0..count).map(|at| unsafe { self.pointer::<T>().add(at).read() }).collect()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.place, self.layout) };
    }
}
