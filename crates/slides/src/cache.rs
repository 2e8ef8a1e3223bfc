//! A cache of decoded chunks, which bounds a slide's memory. The least recently used chunk goes first.

use std::collections::HashMap;
use std::sync::Arc;

/// Decoded chunks by index: at most `capacity` bytes, but always the latest chunk.
pub(super) struct ChunkCache<T> {
    chunks: HashMap<u32, (Arc<T>, u64)>,
    bytes: usize,
    capacity: usize,
    clock: u64,
    size: fn(&T) -> usize,
}

impl<T> ChunkCache<T> {
    /// `size` is that of a chunk, bytes.
    pub(super) fn new(capacity: usize, size: fn(&T) -> usize) -> ChunkCache<T> {
        ChunkCache { chunks: HashMap::new(), bytes: 0, capacity, clock: 0, size }
    }

    pub(super) fn get(&mut self, index: u32) -> Option<Arc<T>> {
        self.clock += 1;
        let (chunk, used) = self.chunks.get_mut(&index)?;
        *used = self.clock;
        Some(chunk.clone())
    }

    /// Gives up chunks until one of so many bytes fits in, before it is decoded: two that are each larger than the capacity
    /// are never there together.
    pub(super) fn make_room(&mut self, bytes: usize) {
        while self.bytes.saturating_add(bytes) > self.capacity && self.drop_oldest() {}
    }

    pub(super) fn insert(&mut self, index: u32, chunk: Arc<T>) {
        self.clock += 1;
        self.bytes += (self.size)(&chunk);
        if let Some((old, _)) = self.chunks.insert(index, (chunk, self.clock)) {
            self.bytes -= (self.size)(&old);
        }
        while self.bytes > self.capacity && self.chunks.len() > 1 && self.drop_oldest() {}
    }

    /// False: there is none.
    fn drop_oldest(&mut self) -> bool {
        // Searching at most a few thousand chunks costs far less than decoding one.
        let oldest = self.chunks.iter().min_by_key(|(_, (_, used))| *used).map(|(&index, _)| index);
        let Some((old, _)) = oldest.and_then(|index| self.chunks.remove(&index)) else { return false };
        self.bytes -= (self.size)(&old);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_the_bound_holds() {
        let mut cache = ChunkCache::new(100, Vec::len);
        for index in 0..10 {
            cache.insert(index, Arc::new(vec![index as u8; 40]));
            assert!(cache.bytes <= 100);
            cache.get(0);
        }
        assert!(cache.get(0).is_some(), "used all the time");
        assert!(cache.get(9).is_some(), "the latest");
        assert!(cache.get(5).is_none());
        cache.insert(11, Arc::new(vec![0; 500]));
        assert!(cache.get(11).is_some(), "one chunk larger than the bound still works");
        cache.make_room(500);
        assert!((cache.bytes, cache.get(11).is_none()) == (0, true), "it goes before the next such one is decoded");
        (0..2).for_each(|index| cache.insert(index, Arc::new(vec![0; 40])));
        cache.make_room(20);
        assert_eq!(cache.bytes, 80, "what fits in costs nothing");
    }
}
