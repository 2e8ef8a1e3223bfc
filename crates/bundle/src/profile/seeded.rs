//! Draws that break ties: a function of slide, tile and check alone, so that a slide judged again is judged the same.

/// A seed for one draw.
#[derive(Clone, Copy, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The seed of a slide (or of a calibration): the first eight bytes of a digest, or any number.
    pub fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    /// The draw of a part: a tile's column, its row, the number of a check.
    #[must_use]
    pub fn of(self, part: u64) -> Draw {
        // SplitMix64's finaliser (Steele, Lea, Flood 2014).
        let mut z = self.0.wrapping_add(part.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Draw(z ^ (z >> 31))
    }

    /// Uniform in 0..`n`; 0 for `n` = 0.
    pub fn below(self, n: u64) -> u64 {
        ((u128::from(self.of(0).0) * u128::from(n)) >> 64) as u64
    }
}
