//! The order in which rows are trained on, for data larger than memory: blocks of neighbouring rows in random order, a few
//! at a time in memory, the rows of these in random order. A pure function of seed and epoch, so that a run can go on anywhere.

use std::ops::Range;

use coverslip_numerics::mix;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

/// Which rows are trained on, and in which order.
#[derive(Clone, Debug)]
pub struct Order {
    keep: Vec<bool>,
    block: usize,
    together: usize,
    seed: u64,
    kept: usize,
}

/// What is in memory at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The blocks to read, one behind the other.
    pub blocks: Vec<Range<usize>>,
    /// The order of the rows: places in what was read.
    pub places: Vec<u32>,
}

impl Order {
    /// Rows that `keep` marks, read in blocks of `block` rows of which `together` are in memory at a time.
    ///
    /// # Panics
    /// When `block` or `together` is 0.
    pub fn new(keep: Vec<bool>, block: usize, together: usize, seed: u64) -> Self {
        assert!(block > 0 && together > 0, "blocks have rows, and one at least is in memory");
        let kept = keep.iter().filter(|keep| **keep).count();
        Self { keep, block, together, seed, kept }
    }

    /// Rows of an epoch.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// How many times memory is filled in an epoch.
    pub fn fills(&self) -> usize {
        self.keep.len().div_ceil(self.block).div_ceil(self.together)
    }

    /// What is in memory the `fill`th time in `epoch`.
    pub fn fill(&self, epoch: u64, fill: usize) -> Rows {
        let mut blocks: Vec<usize> = (0..self.keep.len().div_ceil(self.block)).collect();
        let mut random = Pcg64Mcg::seed_from_u64(mixed(self.seed, epoch, u64::MAX));
        blocks.shuffle(&mut random);
        let blocks: Vec<Range<usize>> = blocks
            .chunks(self.together)
            .nth(fill)
            .unwrap_or_default()
            .iter()
            .map(|block| block * self.block..((block + 1) * self.block).min(self.keep.len()))
            .collect();
        let rows = blocks.iter().flat_map(Clone::clone).enumerate();
        let mut places: Vec<u32> = rows.filter(|(_, row)| self.keep[*row]).map(|(place, _)| place as u32).collect();
        places.shuffle(&mut Pcg64Mcg::seed_from_u64(mixed(self.seed, epoch, fill as u64)));
        Rows { blocks, places }
    }
}

/// One number of three, by SplitMix64's finisher.
fn mixed(seed: u64, epoch: u64, fill: u64) -> u64 {
    [epoch, fill].into_iter().fold(seed, |state, value| mix(state ^ value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_every_kept_row_once() {
        let keep: Vec<bool> = (0..1003).map(|row| row % 5 != 0).collect();
        let order = Order::new(keep.clone(), 10, 7, 3);
        assert_eq!(order.kept(), 802);
        let mut orders = Vec::new();
        for epoch in 0..2 {
            let mut seen = Vec::new();
            for fill in 0..order.fills() {
                let rows = order.fill(epoch, fill);
                assert!(rows.blocks.len() <= 7);
                let read: Vec<usize> = rows.blocks.iter().flat_map(Clone::clone).collect();
                seen.extend(rows.places.iter().map(|place| read[*place as usize]));
            }
            orders.push(seen.clone());
            seen.sort_unstable();
            let expected: Vec<usize> = (0..1003).filter(|row| keep[*row]).collect();
            assert_eq!(seen, expected);
        }
        assert_ne!(orders[0], orders[1]);
        assert_eq!(order.fill(1, 2), order.fill(1, 2));
        assert_ne!(order.fill(0, 0), Order::new(keep, 10, 7, 4).fill(0, 0));
    }
}
