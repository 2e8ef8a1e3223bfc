//! The state of every tile of a slide: one entry per tile, and one more per pass in which it was refused.
//!
//! All memory is reserved at the beginning. The index, which tiles enter at places all over it, is touched then too, so that
//! they cost `submit` no page faults; entries follow each other, and take one for some 170 tiles. A tile that has
//! departed stays in the ledger, so that late pixels are recognised and no tile ends twice.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::grid::Place;
use super::slot::Hole;
use coverslip_base::error::{Result, error};
use coverslip_base::memory::reserve;

/// Where a tile's entry is among the entries.
type Index = HashMap<(i32, i32), u32, BuildHasherDefault<Neighbours>>;

/// Where a tile is, as the assembler knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In the slot of this number, waiting for pixels.
    Partial(u32),
    /// It has departed; its result comes or has come.
    Gone,
    /// A frame with pixels for it was refused, and none came.
    Refused(Hole),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) state: State,
}

/// The tiles of one slide.
pub(crate) struct Ledger {
    index: Index,
    entries: Vec<Entry>,
    max_tiles: usize,
    max_entries: usize,
    swept: usize,
}

impl Ledger {
    pub(crate) fn new(max_tiles: usize) -> Result<Ledger> {
        // Room for refusals in passes that a later one supersedes; see `refuse`.
        let max_entries = max_tiles + max_tiles / 4 + 64;
        let mut index = Index::default();
        index
            .try_reserve(max_tiles)
            .map_err(|_| error!(OUT_OF_MEMORY, "no memory for a ledger of {max_tiles} tiles: lower max_tiles"))?;
        // Touches every page that is written later. One key of eight, spread by the hash, is at least eighteen in a page
        // on average; a map that is cleared keeps its memory.
        index.extend((0..=max_tiles as i32 / 8).map(|at| ((8 * at, 0), 0)));
        index.clear();
        Ok(Ledger { index, entries: reserve(max_entries)?, max_tiles, max_entries, swept: 0 })
    }

    /// Bytes that a ledger takes, at most.
    pub(crate) fn bytes(max_tiles: u64) -> u64 {
        let entries = (max_tiles + max_tiles / 4 + 64) * size_of::<Entry>() as u64;
        // hashbrown keeps at least 1/8 free and rounds up to a power of two; one control byte per bucket.
        let buckets = (max_tiles * 8 / 7 + 1).next_power_of_two();
        entries + buckets * (size_of::<((i32, i32), u32)>() as u64 + 1)
    }

    pub(crate) fn get(&self, column: i32, row: i32) -> Option<Entry> {
        self.index.get(&(column, row)).map(|&at| self.entries[at as usize])
    }

    /// Whether `tiles` more tiles and `passes` more passes of known ones fit.
    pub(crate) fn has_room(&self, tiles: usize, passes: usize) -> bool {
        self.index.len() + tiles <= self.max_tiles && self.entries.len() + tiles + passes <= self.max_entries
    }

    /// Sets the state of a tile in a pass. The caller has asked for room. A refusal in an earlier pass keeps its entry,
    /// because it still owes a result.
    pub(crate) fn set(&mut self, place: Place, state: State) {
        let key = (place.column, place.row);
        if let Some(&at) = self.index.get(&key) {
            let entry = &mut self.entries[at as usize];
            if entry.place.pass == place.pass || !matches!(entry.state, State::Refused(_)) {
                *entry = Entry { place, state };
                return;
            }
        }
        self.index.insert(key, self.entries.len() as u32);
        self.entries.push(Entry { place, state });
    }

    /// The next refused tile that still owes its result. Called when no more frames come.
    pub(crate) fn sweep(&mut self) -> Option<Place> {
        while let Some(entry) = self.entries.get(self.swept) {
            if matches!(entry.state, State::Refused(_)) {
                return Some(entry.place);
            }
            self.swept += 1;
        }
        None
    }

    /// The tile that [`Ledger::sweep`] gave has its result.
    pub(crate) fn swept(&mut self) {
        self.swept += 1;
    }
}

/// Hashes a tile's column and row so that eight tiles side by side lie side by side: a frame's tiles are found in a few
/// lines of memory, which no cache has while the engine runs.
#[derive(Default)]
struct Neighbours(u64);

impl Hasher for Neighbours {
    fn write_i32(&mut self, side: i32) {
        self.0 = self.0 << 32 | u64::from(side as u32);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn finish(&self) -> u64 {
        const SIDE_BY_SIDE: u64 = 7;
        // Of (column, row) the column is in the upper half.
        let place = self.0 >> 32 & SIDE_BY_SIDE;
        // MurmurHash3's finaliser.
        let mut mixed = self.0 & !(SIDE_BY_SIDE << 32);
        mixed = (mixed ^ mixed >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^= mixed >> 33;
        // The map takes a key's place from the low bits and a tag from the high ones; neighbours differ in both.
        (mixed & !SIDE_BY_SIDE | place) ^ place << 61
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    /// In a map of so many places, over scattered and dense regions: how many keys begin where.
    #[test]
    fn hashes_of_neighbours_lie_side_by_side_and_those_of_blocks_apart() {
        let hash = |column: i32, row: i32| BuildHasherDefault::<Neighbours>::default().hash_one((column, row));
        for (column, row) in [(0, 0), (8, 3), (-8, -1), (1 << 20, -(1 << 20))] {
            let first = hash(column, row);
            assert!((0..8).all(|at| hash(column + at, row) & 0xffff == (first & 0xffff) + at as u64));
        }
        for (step_x, step_y) in [(8, 1), (64, 1), (8, 1024), (1 << 16, 1 << 12)] {
            let mut begin = [0u32; 4096];
            let mut tags = [0u32; 128];
            for block in 0..4096 {
                let hash = hash((block % 64 - 32) * step_x, (block / 64 - 32) * step_y);
                begin[hash as usize / 8 % 4096] += 1;
                tags[(hash >> 57) as usize] += 1;
            }
            // As many as random draws would: one in each on average, 1/e of the places empty.
            let empty = begin.iter().filter(|&&count| count == 0).count();
            assert!((1300..1720).contains(&empty), "{empty} of 4096 empty with steps of {step_x} and {step_y}");
            assert!(begin.iter().all(|&count| count < 12) && tags.iter().all(|&count| count < 80));
        }
    }

    #[test]
    fn a_full_ledger_finds_every_tile() {
        let tiles: Vec<Place> =
            (0..3000).map(|at| Place { column: at % 60 - 30, row: at / 60 - 25, pass: 0 }).collect();
        let mut ledger = Ledger::new(tiles.len()).unwrap();
        for (at, &place) in tiles.iter().enumerate() {
            assert!(ledger.get(place.column, place.row).is_none() && ledger.has_room(1, 0));
            ledger.set(place, State::Partial(at as u32));
        }
        assert!(!ledger.has_room(1, 0));
        for (at, place) in tiles.iter().enumerate() {
            let found = ledger.get(place.column, place.row).map(|entry| (entry.place, entry.state));
            assert_eq!(found, Some((*place, State::Partial(at as u32))));
        }
        assert_eq!(ledger.sweep(), None);
    }
}
