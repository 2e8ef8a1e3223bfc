//! Repeatable choices: mostly what a host means, now and then what none should ask for.

use coverslip_plugin_abi::AbiStruct;

pub(crate) struct Dice {
    state: u64,
    /// Nothing odd until the next [`Dice::turn`].
    calm: bool,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        // An xorshift of 0 stays 0, and of neighbours it stays alike for some steps.
        let mut dice = Dice { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, calm: true };
        for _ in 0..16 {
            dice.bits();
        }
        dice
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        (self.bits() >> 16) % sides
    }

    /// True once in `sides` times.
    pub(crate) fn once_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }

    /// Another call: one in three may be odd.
    pub(crate) fn turn(&mut self) {
        self.calm = !self.once_in(3);
    }

    /// True once in `sides` times, where the call may be odd.
    pub(crate) fn odd(&mut self, sides: u64) -> bool {
        let odd = self.once_in(sides);
        odd && !self.calm
    }

    /// `usual`, or once in `rare` times a number from the edges.
    pub(crate) fn number(&mut self, rare: u64, usual: u64) -> u64 {
        if !self.odd(rare) {
            return usual;
        }
        let bit = self.roll(64);
        let any = self.bits();
        self.pick(&[0, 1, u64::MAX, i64::MAX as u64, i64::MIN as u64, u64::from(u32::MAX), 1 << bit, any])
    }

    /// The same for a real number.
    pub(crate) fn real(&mut self, rare: u64, usual: f64) -> f64 {
        if !self.odd(rare) {
            return usual;
        }
        let scaled = usual * (0.1 + self.roll(100) as f64 / 10.0);
        self.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -usual, 0.0, f64::MAX, f64::MIN_POSITIVE, scaled])
    }

    /// What a host states as the size of a struct, most often the true one.
    pub(crate) fn size_of<T: AbiStruct>(&mut self, rare: u64) -> usize {
        let full = size_of::<T>();
        if !self.odd(rare) {
            return full;
        }
        match self.roll(4) {
            0 => self.roll(9) as usize,
            1 => self.roll(full as u64) as usize,
            2 => full / 8 * 8 - 8 * self.roll(full as u64 / 8) as usize,
            _ => full + 8 * (1 + self.roll(8) as usize),
        }
    }
}
