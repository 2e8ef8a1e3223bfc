//! Decoded chunks, the least recently used forgotten first: what keeps a slide's memory bounded.

use std::collections::HashMap;
use std::sync::Arc;

/// Decoded chunks by their index, at most `capacity` bytes of them (and always the latest one).
pub(super) struct ChunkCache {
    chunks: HashMap<u32, (Arc<Vec<u8>>, u64)>,
    bytes: usize,
    capacity: usize,
    clock: u64,
}

impl ChunkCache {
    pub(super) fn new(capacity: usize) -> ChunkCache {
        ChunkCache { chunks: HashMap::new(), bytes: 0, capacity, clock: 0 }
    }

    pub(super) fn get(&mut self, index: u32) -> Option<Arc<Vec<u8>>> {
        self.clock += 1;
        let (chunk, used) = self.chunks.get_mut(&index)?;
        *used = self.clock;
        Some(chunk.clone())
    }

    pub(super) fn insert(&mut self, index: u32, chunk: Arc<Vec<u8>>) {
        self.clock += 1;
        self.bytes += chunk.len();
        if let Some((old, _)) = self.chunks.insert(index, (chunk, self.clock)) {
            self.bytes -= old.len();
        }
        // A search over at most a few thousand chunks costs far less than the decoding that brought us here.
        while self.bytes > self.capacity && self.chunks.len() > 1 {
            let Some(oldest) = self.chunks.iter().min_by_key(|(_, (_, used))| *used).map(|(&index, _)| index) else {
                return;
            };
            if let Some((old, _)) = self.chunks.remove(&oldest) {
                self.bytes -= old.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_the_bound_holds() {
        let mut cache = ChunkCache::new(100);
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
