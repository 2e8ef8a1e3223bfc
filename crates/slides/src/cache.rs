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

    pub(super) fn insert(&mut self, index: u32, chunk: Arc<T>) {
        self.clock += 1;
        self.bytes += (self.size)(&chunk);
        if let Some((old, _)) = self.chunks.insert(index, (chunk, self.clock)) {
            self.bytes -= (self.size)(&old);
        }
        // Searching at most a few thousand chunks costs far less than decoding one.
        while self.bytes > self.capacity && self.chunks.len() > 1 {
            let Some(oldest) = self.chunks.iter().min_by_key(|(_, (_, used))| *used).map(|(&index, _)| index) else {
                return;
            };
            if let Some((old, _)) = self.chunks.remove(&oldest) {
                self.bytes -= (self.size)(&old);
            }
        }
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
    }
}
