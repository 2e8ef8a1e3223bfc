//! The state of every tile of a slide: one entry per tile, and one more per pass in which it was refused.
//!
//! All memory is reserved at the beginning. A tile that has departed stays in the ledger, so that late pixels are
//! recognised and no tile ends twice.

use std::collections::HashMap;

use super::grid::Place;
use super::slot::Hole;
use coverslip_base::error::{Result, error};
use coverslip_base::memory::reserve;

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
    index: HashMap<(i32, i32), u32>,
    entries: Vec<Entry>,
    max_tiles: usize,
    max_entries: usize,
    swept: usize,
}

impl Ledger {
    pub(crate) fn new(max_tiles: usize) -> Result<Ledger> {
        // Room for refusals in passes that a later one supersedes; see `refuse`.
        let max_entries = max_tiles + max_tiles / 4 + 64;
        let mut index = HashMap::new();
        index
            .try_reserve(max_tiles)
            .map_err(|_| error!(OUT_OF_MEMORY, "no memory for a ledger of {max_tiles} tiles: lower max_tiles"))?;
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
