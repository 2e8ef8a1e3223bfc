//! Memory that is asked for before it is used: what a slide needs is taken when it begins, or the slide is refused, and a
//! tile that finds no memory fails. Nothing here ends the process.

use std::ops::{Deref, DerefMut};

use coverslip_numerics::there_is;

use crate::error::{Result, error};
use crate::fault;
use crate::sync::Arc;

fn refusal(bytes: usize) -> crate::error::Error {
    error!(OUT_OF_MEMORY, "no memory for {bytes} bytes: lower max_tiles, the spread or the number of slides")
}

/// What another crate was refused, as OUT_OF_MEMORY.
pub fn refused(_: std::collections::TryReserveError) -> crate::error::Error {
    error!(OUT_OF_MEMORY, "no memory for developing frames: announce smaller frames, or close other slides")
}

/// A vector with room for `count`, or OUT_OF_MEMORY.
pub fn reserve<T>(count: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    grow(&mut vector, count)?;
    Ok(vector)
}

/// Room in a vector for `count` in all, or OUT_OF_MEMORY.
pub fn grow<T>(vector: &mut Vec<T>, count: usize) -> Result<()> {
    let more = count.saturating_sub(vector.len());
    vector.try_reserve_exact(more).map_err(|_| refusal(count.saturating_mul(size_of::<T>())))
}

/// A vector of `count` copies, or OUT_OF_MEMORY.
pub fn filled<T: Clone>(count: usize, value: T) -> Result<Vec<T>> {
    let mut vector = reserve(count)?;
    vector.resize(count, value);
    Ok(vector)
}

/// A value in memory of its own: a `Box` that can be refused.
pub struct Boxed<T>(Box<[T; 1]>);

impl<T> Boxed<T> {
    /// A box, or OUT_OF_MEMORY.
    pub fn new(value: T) -> Result<Boxed<T>> {
        let mut one = reserve(1)?;
        one.push(value);
        // A vector without spare room becomes a box where it is.
        one.try_into().map(Boxed).map_err(|_| refusal(size_of::<T>()))
    }
}

impl<T> Deref for Boxed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0[0]
    }
}

impl<T> DerefMut for Boxed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0[0]
    }
}

/// Runs what allocates and cannot be refused: a library, which ends the process where there is no memory. It runs only if
/// `bytes`, the most that it takes, can be had now. They are given back just before, and between the two another thread
/// of the process can take them. A C library hands a small piece to the thread that gave it back; a large one is
/// anybody's.
pub fn with_room<R>(what: &str, bytes: usize, run: impl FnOnce() -> R) -> Result<R> {
    expect_room(what, bytes)?;
    let _foreign = fault::Foreign::enter();
    Ok(run())
}

/// OUT_OF_MEMORY unless `bytes` can be had now.
pub fn expect_room(what: &str, bytes: usize) -> Result<()> {
    if there_is(bytes as u64) {
        return Ok(());
    }
    Err(error!(
        OUT_OF_MEMORY,
        "no memory for {what}, which takes {bytes} bytes: raise the limit of this process's memory, or lower \
         max_threads, the number of slides or what else it holds"
    ))
}

/// A shared value, or OUT_OF_MEMORY.
pub fn shared<T>(value: T) -> Result<Arc<T>> {
    // The two counts of an Arc, at its alignment.
    let counts = (2 * size_of::<usize>()).next_multiple_of(align_of::<T>());
    with_room("a shared value", size_of::<T>() + counts, || Arc::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_refused() {
        let is_refused = |e: crate::error::Error| e.code == coverslip_plugin_abi::OUT_OF_MEMORY;
        assert!(reserve::<u64>(usize::MAX / 8).is_err_and(is_refused));
        assert!(with_room("everything", isize::MAX as usize, || ()).is_err_and(is_refused));
        let mut some = vec![1, 2, 3];
        assert!(grow(&mut some, usize::MAX).is_err_and(is_refused));
        grow(&mut some, 10).unwrap();
        assert!(some.capacity() >= 10 && some == [1, 2, 3]);
    }

    #[test]
    fn a_boxed_value_stays_where_it_is_when_it_moves() {
        let mut one = Boxed::new([7u8; 300]).unwrap();
        let place = &raw const *one;
        one[5] = 8;
        let moved = one;
        assert_eq!((&raw const *moved, moved[5]), (place, 8));
        assert_eq!(*shared(5).unwrap(), 5);
    }
}
