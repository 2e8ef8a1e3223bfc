//! `IHostMemory`: bytes that belong to the library, such as a plan.

use std::fmt;
use std::ops::Deref;

use super::abi::{Raw, behind_destructor, call};
use super::library::Library;
use super::object::Object;

/// Bytes of the library's. Nothing changes them, so they may be shared.
pub struct HostMemory {
    bytes: *const u8,
    size: usize,
    _object: Object,
}

// SAFETY: the bytes are written before the object is given away and never after.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// # Safety
    /// `raw` is nothing, or an `IHostMemory` of `library`'s that is ours.
    pub(super) unsafe fn adopt(raw: Raw, library: &'static Library) -> Option<Self> {
        // SAFETY: by the caller's promise. It belongs to nobody: builders and engines may end before it.
        let object = unsafe { Object::adopt(raw, library, Vec::new()) }?;
        let slots = &object.slots().host_memory;
        // SAFETY: `void* data()` and `size_t size()`.
        let (bytes, size) = unsafe {
            let data = call!(object.implementation(), behind_destructor(slots.data), () -> *const u8);
            (data, call!(object.implementation(), behind_destructor(slots.size), () -> usize))
        };
        Some(Self { bytes, size: if bytes.is_null() { 0 } else { size }, _object: object })
    }
}

impl Deref for HostMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.size == 0 {
            return &[];
        }
        // SAFETY: the library said so, and the object lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.bytes, self.size) }
    }
}

impl AsRef<[u8]> for HostMemory {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for HostMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostMemory({} bytes)", self.size)
    }
}
