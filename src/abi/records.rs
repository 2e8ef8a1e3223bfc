//! Arrays of records, whose size the host states: a host of a newer minor version may know longer ones.

use crate::error::{Result, error};

/// An array of the host's: records of this library's kind at the distance and in the size that the host knows.
pub(super) struct Records<T> {
    place: *mut T,
    distance: usize,
}

impl<T: Copy> Records<T> {
    /// Checks an array of `capacity` records of `distance` bytes.
    pub(super) fn new(place: *mut T, distance: u32, capacity: u32, name: &str) -> Result<Records<T>> {
        let (size, align) = (size_of::<T>(), align_of::<T>());
        if (distance as usize) < size || !(distance as usize).is_multiple_of(align) {
            return Err(error!(
                INVALID_STRUCT,
                "expected record_size of at least {size} bytes and a multiple of {align} ({name}), found {distance}"
            ));
        }
        if capacity > 0 && (place.is_null() || !place.is_aligned()) {
            return Err(error!(INVALID_ARGUMENT, "expected {capacity} {name}s, found a NULL or unaligned pointer"));
        }
        Ok(Records { place, distance: distance as usize })
    }

    /// # Safety
    /// `index` is below the capacity that the host stated, and the host's array is as long as that.
    pub(super) unsafe fn write(&self, index: usize, record: T) {
        // SAFETY: the caller's promise; `new` has checked distance and alignment.
        unsafe { self.place.byte_add(index * self.distance).write(record) };
    }
}
