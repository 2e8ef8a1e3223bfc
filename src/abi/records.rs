//! Arrays of records, whose size the host states: a host of another minor version may know shorter or longer ones.

use super::fields::{Record, expect_record_size};
use coverslip_base::error::{Result, error};

/// An array of the host's: records at the distance and in the size that the host knows.
pub(super) struct Records<T> {
    place: *mut T,
    distance: usize,
}

impl<T: Record> Records<T> {
    /// Checks an array of `capacity` records of `distance` bytes.
    pub(super) fn new(place: *mut T, distance: u32, capacity: u32, name: &str) -> Result<Records<T>> {
        expect_record_size::<T>(distance as usize, name)?;
        if capacity > 0 && (place.is_null() || !place.is_aligned()) {
            return Err(error!(INVALID_ARGUMENT, "expected {capacity} {name}s, found a NULL or unaligned pointer"));
        }
        Ok(Records { place, distance: distance as usize })
    }

    /// # Safety
    /// `index` is below the capacity that the host stated, and the host's array is as long as that.
    pub(super) unsafe fn write(&self, index: usize, record: T) {
        let known = self.distance.min(size_of::<T>());
        // SAFETY: the caller's promise: `distance` bytes are the record's, and `known` is at most that and at most T's
        // size. T is plain data, of which the first fields are a record of an older host.
        unsafe {
            let place = self.place.byte_add(index * self.distance).cast::<u8>();
            std::ptr::copy_nonoverlapping((&raw const record).cast::<u8>(), place, known);
        }
    }
}
