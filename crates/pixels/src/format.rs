//! Pixel formats by the codes of the Pixel Format Naming Convention (PFNC 2.4, EMVA), as in `coverslip.h`.

/// What the samples of a pixel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// One level: grey, or one channel.
    Mono,
    /// One level under a colour filter.
    Bayer(Phase),
    Rgb,
    Bgr,
    /// The fourth sample is alpha.
    Rgba,
    Bgra,
    /// Red, green and blue in a plane each.
    Planar,
}

/// The colours of a mosaic's first two pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    GreenRed,
    RedGreen,
    GreenBlue,
    BlueGreen,
}

impl Phase {
    /// The colours (0 to 2: red, green, blue) of the upper and then the lower two pixels of every cell.
    pub(crate) fn colours(self) -> [usize; 4] {
        match self {
            Phase::GreenRed => [1, 0, 2, 1],
            Phase::RedGreen => [0, 1, 1, 2],
            Phase::GreenBlue => [1, 2, 0, 1],
            Phase::BlueGreen => [2, 1, 1, 0],
        }
    }
}

/// How samples lie in a row. Every row begins at a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A byte each.
    Bytes,
    /// A little-endian word of 16 bits each, the value in its low bits.
    Words,
    /// PFNC's `p`: from the least significant bit on, without gaps.
    Dense,
    /// GigE Vision's `Packed`: two in three bytes, the high 8 bits in the outer bytes, the low bits in the middle one.
    Gige,
}

/// A pixel format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFormat {
    pub samples: Samples,
    pub packing: Packing,
    /// Bits of a sample.
    pub bits: u32,
}

use Packing::{Bytes, Dense, Gige, Words};
use Phase::{BlueGreen, GreenBlue, GreenRed, RedGreen};
use Samples::{Bayer, Bgr, Bgra, Mono, Planar, Rgb, Rgba};

/// Every format that is taken, with its name in PFNC.
const FORMATS: [(u32, &str, Samples, Packing, u32); 59] = [
    (0x0218_0014, "RGB8", Rgb, Bytes, 8),
    (0x0218_0015, "BGR8", Bgr, Bytes, 8),
    (0x0220_0016, "RGBa8", Rgba, Bytes, 8),
    (0x0220_0017, "BGRa8", Bgra, Bytes, 8),
    (0x0108_0001, "Mono8", Mono, Bytes, 8),
    (0x0110_0003, "Mono10", Mono, Words, 10),
    (0x0110_0005, "Mono12", Mono, Words, 12),
    (0x0110_0025, "Mono14", Mono, Words, 14),
    (0x0110_0007, "Mono16", Mono, Words, 16),
    (0x010A_0046, "Mono10p", Mono, Dense, 10),
    (0x010C_0047, "Mono12p", Mono, Dense, 12),
    (0x010E_0104, "Mono14p", Mono, Dense, 14),
    (0x010C_0004, "Mono10Packed", Mono, Gige, 10),
    (0x010C_0006, "Mono12Packed", Mono, Gige, 12),
    (0x0108_0008, "BayerGR8", Bayer(GreenRed), Bytes, 8),
    (0x0108_0009, "BayerRG8", Bayer(RedGreen), Bytes, 8),
    (0x0108_000A, "BayerGB8", Bayer(GreenBlue), Bytes, 8),
    (0x0108_000B, "BayerBG8", Bayer(BlueGreen), Bytes, 8),
    (0x0110_000C, "BayerGR10", Bayer(GreenRed), Words, 10),
    (0x0110_000D, "BayerRG10", Bayer(RedGreen), Words, 10),
    (0x0110_000E, "BayerGB10", Bayer(GreenBlue), Words, 10),
    (0x0110_000F, "BayerBG10", Bayer(BlueGreen), Words, 10),
    (0x0110_0010, "BayerGR12", Bayer(GreenRed), Words, 12),
    (0x0110_0011, "BayerRG12", Bayer(RedGreen), Words, 12),
    (0x0110_0012, "BayerGB12", Bayer(GreenBlue), Words, 12),
    (0x0110_0013, "BayerBG12", Bayer(BlueGreen), Words, 12),
    (0x0110_002E, "BayerGR16", Bayer(GreenRed), Words, 16),
    (0x0110_002F, "BayerRG16", Bayer(RedGreen), Words, 16),
    (0x0110_0030, "BayerGB16", Bayer(GreenBlue), Words, 16),
    (0x0110_0031, "BayerBG16", Bayer(BlueGreen), Words, 16),
    (0x010A_0052, "BayerBG10p", Bayer(BlueGreen), Dense, 10),
    (0x010A_0054, "BayerGB10p", Bayer(GreenBlue), Dense, 10),
    (0x010A_0056, "BayerGR10p", Bayer(GreenRed), Dense, 10),
    (0x010A_0058, "BayerRG10p", Bayer(RedGreen), Dense, 10),
    (0x010C_0053, "BayerBG12p", Bayer(BlueGreen), Dense, 12),
    (0x010C_0055, "BayerGB12p", Bayer(GreenBlue), Dense, 12),
    (0x010C_0057, "BayerGR12p", Bayer(GreenRed), Dense, 12),
    (0x010C_0059, "BayerRG12p", Bayer(RedGreen), Dense, 12),
    (0x010C_0026, "BayerGR10Packed", Bayer(GreenRed), Gige, 10),
    (0x010C_0027, "BayerRG10Packed", Bayer(RedGreen), Gige, 10),
    (0x010C_0028, "BayerGB10Packed", Bayer(GreenBlue), Gige, 10),
    (0x010C_0029, "BayerBG10Packed", Bayer(BlueGreen), Gige, 10),
    (0x010C_002A, "BayerGR12Packed", Bayer(GreenRed), Gige, 12),
    (0x010C_002B, "BayerRG12Packed", Bayer(RedGreen), Gige, 12),
    (0x010C_002C, "BayerGB12Packed", Bayer(GreenBlue), Gige, 12),
    (0x010C_002D, "BayerBG12Packed", Bayer(BlueGreen), Gige, 12),
    (0x0230_0018, "RGB10", Rgb, Words, 10),
    (0x0230_0019, "BGR10", Bgr, Words, 10),
    (0x0230_001A, "RGB12", Rgb, Words, 12),
    (0x0230_001B, "BGR12", Bgr, Words, 12),
    (0x0230_0033, "RGB16", Rgb, Words, 16),
    (0x0230_004B, "BGR16", Bgr, Words, 16),
    (0x0240_0064, "RGBa16", Rgba, Words, 16),
    (0x0240_0051, "BGRa16", Bgra, Words, 16),
    (0x021E_005C, "RGB10p", Rgb, Dense, 10),
    (0x021E_0048, "BGR10p", Bgr, Dense, 10),
    (0x0224_005D, "RGB12p", Rgb, Dense, 12),
    (0x0224_0049, "BGR12p", Bgr, Dense, 12),
    (0x0218_0021, "RGB8_Planar", Planar, Bytes, 8),
];

impl PixelFormat {
    /// The format of a code; None: a format that is not taken.
    pub fn from_pfnc(code: u32) -> Option<PixelFormat> {
        // The commonest first. Some sixty comparisons are nothing beside a frame.
        let (_, _, samples, packing, bits) = FORMATS.into_iter().find(|format| format.0 == code)?;
        Some(PixelFormat { samples, packing, bits })
    }

    /// Every format: its code, its name, itself.
    pub fn all() -> impl Iterator<Item = (u32, &'static str, PixelFormat)> {
        let format = |(code, name, samples, packing, bits)| (code, name, PixelFormat { samples, packing, bits });
        FORMATS.into_iter().map(format)
    }

    /// Memory planes of a frame.
    pub fn planes(self) -> u32 {
        if self.samples == Planar { 3 } else { 1 }
    }

    /// Samples of a pixel in one plane.
    pub fn samples_per_pixel(self) -> usize {
        match self.samples {
            Mono | Bayer(_) | Planar => 1,
            Rgb | Bgr => 3,
            Rgba | Bgra => 4,
        }
    }

    /// Bytes of a row of one plane.
    pub fn row_bytes(self, pixels: u64) -> u64 {
        let samples = pixels * self.samples_per_pixel() as u64;
        match self.packing {
            Bytes => samples,
            Words => 2 * samples,
            Dense => (samples * u64::from(self.bits)).div_ceil(8),
            // A last sample without a partner takes two of the three bytes.
            Gige => samples / 2 * 3 + samples % 2 * 2,
        }
    }

    /// The highest level that a sample of this format can have.
    pub fn highest(self) -> u16 {
        u16::MAX >> (16 - self.bits)
    }

    pub fn is_mosaic(self) -> bool {
        matches!(self.samples, Bayer(_))
    }

    /// The fourth of a pixel's samples is alpha.
    pub fn has_alpha(self) -> bool {
        matches!(self.samples, Rgba | Bgra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PFNC puts the bits that a pixel takes into bits 16 to 23 of its code, and 1 for one sample or 2 for more above.
    #[test]
    fn codes_state_what_the_formats_take() {
        for (code, name, format) in PixelFormat::all() {
            let planes = u64::from(format.planes());
            assert_eq!(u64::from(code >> 16 & 0xff) * 40, 8 * planes * format.row_bytes(40), "{name}");
            assert_eq!(code >> 24 == 1, matches!(format.samples, Mono | Bayer(_)), "{name}");
            assert_eq!(PixelFormat::from_pfnc(code), Some(format), "{name} has a code of its own");
            assert!(name.contains(&format.bits.to_string()));
        }
        for code in [0, 0x0110_0001, 0x0108_0002, 0x0230_0022, u32::MAX] {
            assert_eq!(PixelFormat::from_pfnc(code), None);
        }
    }

    #[test]
    fn rows_that_end_within_a_byte_take_it_whole() {
        let bytes = |code| PixelFormat::from_pfnc(code).unwrap().row_bytes(5);
        // Five pixels of Mono10p, Mono12p, Mono14p, Mono12Packed and RGB10p.
        assert_eq!([0x010A_0046, 0x010C_0047, 0x010E_0104, 0x010C_0006, 0x021E_005C].map(bytes), [7, 8, 9, 8, 19]);
    }
}
