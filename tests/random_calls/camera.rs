//! What a slide's camera delivers, so that most frames of a slide fit each other, and what its slide says of them.

use coverslip_pixels::format::{PixelFormat, Samples};
use coverslip_plugin_abi::*;

use super::dice::Dice;
use super::tally::TRAITS;

/// The bytes that frames are filled with.
pub(crate) const FILLS: [u8; 4] = [0, 40, 170, 243];

const LEVELS: u64 = 1;
const DEEP: u64 = 1 << 1;
const GAMMA: u64 = 1 << 2;
const TABLE: u64 = 1 << 3;
const BALANCE: u64 = 1 << 4;
const MATRIX: u64 = 1 << 5;
const WHITE: u64 = 1 << 6;
const VALUE: u64 = 1 << 7;
const ALPHA: u64 = 1 << 8;
const STAIN: u64 = 1 << 9;
const PROFILE: u64 = 1 << 10;

/// What the frames of a slide carry.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Content {
    Color,
    Grey,
    Channels,
}

/// One number, which threads share: the traits in its low bits, then the content, then which mosaic its strips have.
#[derive(Clone, Copy, Default)]
pub(crate) struct Camera(pub(crate) u64);

impl Camera {
    pub(crate) fn draw(dice: &mut Dice) -> Camera {
        let content = dice.pick(&[0, 0, 1, 2]);
        // Half of the slides are as in version 1.0.
        let mut traits = if dice.once_in(2) { dice.bits() & (PROFILE - 1) } else { 0 };
        if traits & LEVELS != 0 {
            traits &= !DEEP;
        }
        // A slide may have one of the two alone.
        if traits & GAMMA != 0 && !dice.odd(4) {
            traits &= !TABLE;
        }
        if content == 2 && !dice.odd(4) {
            traits &= !MATRIX;
        }
        Camera(traits | content << 16 | dice.roll(1 << 16) << 24)
    }

    pub(crate) fn with_profile(self, known: bool) -> Camera {
        Camera(self.0 | if known { PROFILE } else { 0 })
    }

    pub(crate) fn without_traits(self) -> Camera {
        Camera(self.0 & !(PROFILE - 1))
    }

    /// The bits of [`TRAITS`].
    pub(crate) fn traits(self) -> u64 {
        self.0 & ((1 << TRAITS.len()) - 1)
    }

    pub(crate) fn content(self) -> Content {
        [Content::Color, Content::Grey, Content::Channels][(self.0 >> 16 & 3) as usize]
    }

    /// A format of this content that the slide's tone takes.
    pub(crate) fn format(self, content: Content, dice: &mut Dice) -> (u32, PixelFormat) {
        let fits = |(code, _, format): (u32, &str, PixelFormat)| {
            let mono = format.samples == Samples::Mono;
            (mono == (content != Content::Color) && format.bits >= self.least_bits()).then_some((code, format))
        };
        let all: Vec<_> = PixelFormat::all().filter_map(fits).collect();
        dice.pick(&all)
    }

    /// The format of the slide's strips.
    pub(crate) fn mosaic(self) -> (u32, PixelFormat) {
        let fits = |(.., format): &(u32, &str, PixelFormat)| format.is_mosaic() && format.bits >= self.least_bits();
        let all: Vec<_> = PixelFormat::all().filter(fits).collect();
        let (code, _, format) = all[(self.0 >> 24) as usize % all.len()];
        (code, format)
    }

    fn least_bits(self) -> u32 {
        if self.0 & DEEP != 0 { 12 } else { 8 }
    }

    /// The size of the tone's table; 0: none.
    pub(crate) fn table(self, dice: &mut Dice) -> usize {
        if self.0 & TABLE == 0 { 0 } else { dice.pick(&[2, 256, 4096, 65_536]) }
    }

    /// States the traits, but for the table, whose memory is the caller's.
    pub(crate) fn state(self, desc: &mut SlideDesc, dice: &mut Dice) {
        let has = |bit: u64| self.0 & bit != 0;
        if has(LEVELS | DEEP) {
            let (black, white) = if has(DEEP) { (200.0, 3600.0) } else { (10.0, 240.0) };
            (desc.tone_black, desc.tone_white) = (dice.real(24, black), dice.real(24, white));
        }
        if has(GAMMA) {
            desc.tone_gamma = dice.real(24, 1.8);
        }
        if has(BALANCE) {
            desc.white_balance = [1.4, 1.0, 1.2].map(|factor| dice.real(40, factor));
        }
        if has(MATRIX) {
            desc.color_matrix = [1.3, -0.2, -0.1, -0.1, 1.2, -0.1, 0.0, -0.2, 1.2].map(|value| dice.real(99, value));
        }
        if has(WHITE) {
            desc.white_reference = [240.0, 238.0, 236.0].map(|level| dice.real(40, level));
        }
        if has(VALUE) {
            desc.flags |= SLIDE_NOT_SCANNED_VALUE;
            desc.not_scanned = [u32::from(dice.pick(&FILLS)); 3];
        }
        if has(ALPHA) {
            desc.flags |= SLIDE_ALPHA_IS_VALIDITY;
        }
        if has(STAIN) {
            desc.stain = 1 + dice.roll(3) as i32;
        }
        // What no host should say.
        desc.stain = dice.number(40, desc.stain as u64) as i32;
        desc.flags = dice.number(40, desc.flags.into()) as u32;
        desc.not_scanned[1] = dice.number(40, desc.not_scanned[1].into()) as u32;
        desc.reserved = dice.number(60, 0) as u32;
    }
}
