//! Seeded numbers, the same on every machine: SplitMix64 (Steele, Lea and Flood, 2014).

/// 2⁶⁴ divided by the golden ratio: the step of the stream.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finisher of SplitMix64: 64 well-mixed bits of a state.
pub fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 64 random bits as a number in `[0, 1)`.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let bits = mix(self.0);
        self.0 = self.0.wrapping_add(STEP);
        bits
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        unit(self.bits())
    }
}

/// A draw that is a function of its parts alone (a slide, a tile's place, the number of a check), so that a slide judged
/// again is judged the same.
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
        Draw(mix(self.0.wrapping_add(part.wrapping_mul(STEP))))
    }

    /// Uniform in 0..`n`; 0 for `n` = 0.
    pub fn below(self, n: u64) -> u64 {
        ((u128::from(self.of(0).0) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(self) -> f64 {
        unit(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference implementation's first numbers for the seed 1234567 (Vigna's splitmix64.c).
    #[test]
    fn numbers_are_those_of_the_reference() {
        let mut stream = SplitMix64::new(1_234_567);
        let found = [(); 3].map(|()| stream.bits());
        assert_eq!(found, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_draw_is_a_function_of_its_parts() {
        let draw = |column: u64, row: u64| Draw::new(7).of(column).of(row).below(1000);
        assert_eq!(draw(3, 4), draw(3, 4));
        assert_ne!(draw(3, 4), draw(4, 3));
        assert_eq!(Draw::new(7).below(0), 0);
        assert!((0..100).all(|part| (0.0..1.0).contains(&Draw::new(part).unit())));
    }
}
