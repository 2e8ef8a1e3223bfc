//! Memory that is asked for before it is used.

use std::collections::TryReserveError;

/// A vector with room, or an error.
pub(crate) fn room<T>(count: usize) -> Result<Vec<T>, TryReserveError> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(count)?;
    Ok(vector)
}
