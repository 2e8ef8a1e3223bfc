//! Memory that begins at a cache line, so that no vector is loaded from two.

use std::ops::{Deref, DerefMut};

use coverslip_bundle::{BundleError, BundleErrorKind};

/// Bytes of a cache line, and of the widest vector.
const CACHE_LINE: usize = 64;

/// Values of a fixed number, zero at first.
#[derive(Clone, Debug)]
pub(crate) struct Aligned<T> {
    stored: Vec<T>,
    start: usize,
    count: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// `count` zeros, or an error where there is no memory for them.
    pub(crate) fn zeroed(count: usize) -> Result<Self, BundleError> {
        let mut stored: Vec<T> = Vec::new();
        let room = count + CACHE_LINE / size_of::<T>();
        if stored.try_reserve_exact(room).is_err() {
            let bytes = room * size_of::<T>();
            let what = format!("no memory for {bytes} bytes of the CPU engine: close other programs");
            return Err(BundleError::new(BundleErrorKind::OutOfMemory, what));
        }
        stored.resize(room, T::default());
        let start = stored.as_ptr().align_offset(CACHE_LINE).min(room - count);
        Ok(Self { stored, start, count })
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.stored.len() * size_of::<T>()
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.stored[self.start..self.start + self.count]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.stored[self.start..self.start + self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_begins_at_a_cache_line_and_too_much_is_an_error() {
        for count in [1, 16, 17, 1000] {
            let values = Aligned::<f32>::zeroed(count).unwrap();
            assert_eq!((values.len(), values.as_ptr() as usize % CACHE_LINE), (count, 0));
            assert!(values.iter().all(|value| *value == 0.0));
        }
        let error = Aligned::<f32>::zeroed(usize::MAX / 8).unwrap_err();
        assert_eq!(error.kind(), BundleErrorKind::OutOfMemory);
    }
}
