//! Memory that is reserved ahead: what a slide needs is taken when it begins, or the slide is refused.

use crate::error::{Result, error};

/// A vector with room for `count`, or OUT_OF_MEMORY.
pub(crate) fn reserve<T>(count: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(count).map_err(|_| {
        error!(
            OUT_OF_MEMORY,
            "no memory for {} bytes: lower max_tiles, the spread or the number of slides",
            count.saturating_mul(size_of::<T>())
        )
    })?;
    Ok(vector)
}

/// A vector of `count` copies, or OUT_OF_MEMORY.
pub(crate) fn filled<T: Clone>(count: usize, value: T) -> Result<Vec<T>> {
    let mut vector = reserve(count)?;
    vector.resize(count, value);
    Ok(vector)
}
