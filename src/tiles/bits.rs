//! A bit per pixel of a row of a tile, in words of 64.

use super::grid::TILE_PIXELS;

/// Words of a row of the widest tile.
const MOST_WORDS: usize = TILE_PIXELS.end().div_ceil(64) as usize;

/// Pixels of a row of a tile that a frame says were not captured.
pub(super) struct Unscanned {
    pub(super) count: u64,
    pub(super) words: [u64; MOST_WORDS],
}

impl Unscanned {
    /// By the flags of a part's columns, 1 for each such pixel. None: there is none.
    pub(super) fn of(flags: &[u8], bits: &Bits) -> Option<Unscanned> {
        if !flags.contains(&1) {
            return None;
        }
        let mut unscanned = Unscanned { count: 0, words: [0; MOST_WORDS] };
        for (at, _) in flags.iter().enumerate().filter(|(_, flag)| **flag != 0) {
            unscanned.words[(bits.from + at) / 64] |= 1 << ((bits.from + at) % 64);
            unscanned.count += 1;
        }
        Some(unscanned)
    }
}

/// The bits of a part's columns in a row of a mask: computed word by word, since an array of the widest tile's words for
/// each of the tiles side by side would take kilobytes of the host's stack.
pub(super) struct Bits {
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Bits {
    pub(super) fn are_clear(&self, mask: &[u64]) -> bool {
        self.words().all(|(at, bits)| mask[at] & bits == 0)
    }

    pub(super) fn set(&self, mask: &mut [u64]) {
        self.words().for_each(|(at, bits)| mask[at] |= bits);
    }

    /// The words that hold them, and their bits in each.
    fn words(&self) -> impl Iterator<Item = (usize, u64)> {
        let (from, to) = (self.from, self.to);
        (from / 64..to.div_ceil(64)).map(move |at| {
            let before = u64::MAX << from.saturating_sub(64 * at);
            let after = u64::MAX >> (64 * (at + 1)).saturating_sub(to);
            (at, before & after)
        })
    }
}

/// Calls `each` with every run of clear bits in `from..to`, and sets them.
pub(super) fn for_each_clear_run(words: &mut [u64], from: usize, to: usize, mut each: impl FnMut(usize, usize)) {
    let mut at = from;
    while at < to {
        let set = run_length(words, at, to, true);
        let start = at + set;
        let length = run_length(words, start, to, false);
        if length > 0 {
            set_bits(words, start, start + length);
            each(start, start + length);
        }
        at = start + length;
    }
}

/// How many bits from `at` on, before `end`, are all set (or all clear).
pub(super) fn run_length(words: &[u64], at: usize, end: usize, set: bool) -> usize {
    let mut length = 0;
    while at + length < end {
        let bit = (at + length) % 64;
        let word = words[(at + length) / 64];
        let differing = (if set { !word } else { word }) >> bit;
        let run = (differing.trailing_zeros() as usize).min(64 - bit);
        length += run;
        if run < 64 - bit {
            break;
        }
    }
    length.min(end.saturating_sub(at))
}

fn set_bits(words: &mut [u64], from: usize, to: usize) {
    let mut at = from;
    while at < to {
        let bit = at % 64;
        let count = (64 - bit).min(to - at);
        words[at / 64] |= (u64::MAX >> (64 - count)) << bit;
        at += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against one bool per bit, over all ranges of four words.
    #[test]
    fn bits_are_those_of_the_columns() {
        for from in 0..256 {
            for to in from + 1..=256 {
                let bits = Bits { from, to };
                let mut mask = [0u64; 4];
                assert!(bits.are_clear(&mask));
                bits.set(&mut mask);
                let set = |i: usize| mask[i / 64] >> (i % 64) & 1 == 1;
                assert!((0..256).all(|i| set(i) == (from..to).contains(&i)), "{from}..{to}");
                for one in [from, to - 1] {
                    let mut mask = [0u64; 4];
                    mask[one / 64] = 1 << (one % 64);
                    assert!(!bits.are_clear(&mask), "{one} of {from}..{to}");
                }
            }
        }
    }

    /// Against one bool per bit, over many random ranges.
    #[test]
    fn clear_runs_are_those_of_the_naive_mask() {
        let mut words = [0u64; 4];
        let mut naive = [false; 256];
        let mut state = 1u64;
        for _ in 0..500 {
            let mut random = |n: u64| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((state >> 33) % n) as usize
            };
            if random(20) == 0 {
                (words, naive) = ([0; 4], [false; 256]);
            }
            let from = random(256);
            let to = from + random(257 - from as u64);
            let mut new = Vec::new();
            for_each_clear_run(&mut words, from, to, |a, b| new.extend(a..b));
            let expected: Vec<usize> = (from..to).filter(|&i| !naive[i]).collect();
            assert_eq!(new, expected, "{from}..{to}");
            naive[from..to].fill(true);
        }
    }
}
