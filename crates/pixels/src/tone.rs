//! The tone of a slide: from levels of any depth to 8-bit channels, by what the host states and nothing that a frame
//! contains.
//!
//! v = clip((level - black) / (white - black)), times the white balance, then the matrix, clipped; then the curve. Every
//! level's channel is tabled when the slide begins. With a matrix a pixel's channels depend on each other: then v is
//! tabled, and the curve is looked up for each pixel.

use std::collections::TryReserveError;

use crate::avx2;
use crate::memory::room;
use crate::mosaic::Colours;

/// What a host states. Its ranges have been checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToneSpec {
    pub black: f64,
    /// 0: the format's highest level.
    pub white: f64,
    /// 0: 1.
    pub gamma: f64,
    /// In place of the gamma; empty: none.
    pub table: Vec<u8>,
    /// All 0: 1.
    pub balance: [f64; 3],
    /// Row by row; all 0: the identity.
    pub matrix: [f64; 9],
}

impl ToneSpec {
    fn balance(&self) -> [f64; 3] {
        if self.balance == [0.0; 3] { [1.0; 3] } else { self.balance }
    }

    /// The matrix, where it does anything.
    fn matrix(&self) -> Option<[f64; 9]> {
        let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        (self.matrix != [0.0; 9] && self.matrix != identity).then_some(self.matrix)
    }

    /// The channel of v.
    fn curve(&self, v: f64) -> u8 {
        if !self.table.is_empty() {
            return self.table[(v * (self.table.len() - 1) as f64).round() as usize];
        }
        let shaped = if self.gamma == 0.0 || self.gamma == 1.0 { v } else { raised(v, 1.0 / self.gamma) };
        rounded(255.0 * shaped)
    }
}

/// `f64::round` of 0 to 255, which is a call where the processor's instructions for it are not to be assumed, and a tone
/// asks for it 87,000 times.
fn rounded(channel: f64) -> u8 {
    let whole = channel as u8;
    whole + u8::from(channel - f64::from(whole) >= 0.5)
}

/// A power that is computed only where it is asked for: inlined, it would be computed for every level and then thrown away.
#[inline(never)]
fn raised(v: f64, power: f64) -> f64 {
    v.powf(power)
}

/// Bits of a sample that formats have.
const DEPTHS: [u32; 5] = [8, 10, 12, 14, 16];
/// Entries of [`Curve::base`].
const STEPS: usize = 4096;

/// A channel of v that is computed pixel by pixel: exact to the rounding of v.
struct Curve {
    /// By v · (STEPS - 1), rounded down: the channel there.
    base: Vec<u8>,
    /// The least v that has a channel of at least so much; only where the curve never falls.
    least: Vec<f32>,
    /// The host's table, looked up directly.
    table: Vec<u8>,
}

impl Curve {
    fn new(spec: &ToneSpec) -> Result<Curve, TryReserveError> {
        let mut curve = Curve { base: room(STEPS)?, least: room(256)?, table: room(spec.table.len())? };
        curve.table.extend_from_slice(&spec.table);
        if spec.table.is_empty() {
            let gamma = if spec.gamma == 0.0 { 1.0 } else { spec.gamma };
            curve.base.extend((0..STEPS).map(|step| spec.curve(step as f64 / (STEPS - 1) as f64)));
            curve.least.extend((0..256).map(|c| ((f64::from(c) - 0.5).max(0.0) / 255.0).powf(gamma) as f32));
        }
        Ok(curve)
    }

    fn at(&self, v: f32) -> u8 {
        let v = v.clamp(0.0, 1.0);
        if !self.table.is_empty() {
            return self.table[(v * (self.table.len() - 1) as f32).round() as usize];
        }
        let mut channel = self.base[(v * (STEPS - 1) as f32) as usize];
        while channel < 255 && v >= self.least[usize::from(channel) + 1] {
            channel += 1;
        }
        channel
    }
}

/// What levels of one depth become.
struct Depth {
    /// Red, green, blue and grey of each level; without a matrix.
    channels: Vec<[u8; 4]>,
    /// The v of each level, balanced; empty without a matrix.
    values: Vec<[f32; 3]>,
    /// Levels are the channels.
    plain: bool,
}

impl Depth {
    /// None: black and white do not lie within the levels of this depth.
    fn new(spec: &ToneSpec, bits: u32) -> Result<Option<Depth>, TryReserveError> {
        let highest = f64::from(u16::MAX >> (16 - bits));
        let white = if spec.white == 0.0 { highest } else { spec.white };
        if white > highest || spec.black >= white {
            return Ok(None);
        }
        let (count, balance) = (1usize << bits, spec.balance());
        let mut depth = Depth { channels: room(count)?, values: Vec::new(), plain: false };
        let clipped = |level: usize| ((level as f64 - spec.black) / (white - spec.black)).clamp(0.0, 1.0);
        for level in 0..count {
            let v = clipped(level);
            let grey = spec.curve(v);
            let of = |factor: f64| if factor == 1.0 { grey } else { spec.curve((v * factor).min(1.0)) };
            depth.channels.push([of(balance[0]), of(balance[1]), of(balance[2]), grey]);
        }
        if spec.matrix().is_some() {
            depth.values = room(count)?;
            depth.values.extend((0..count).map(|level| balance.map(|factor| (clipped(level) * factor) as f32)));
        }
        let levels = depth.channels.iter().enumerate();
        depth.plain = bits == 8
            && depth.values.is_empty()
            && levels.into_iter().all(|(level, channels)| *channels == [level as u8; 4]);
        Ok(Some(depth))
    }
}

/// The tone of one slide.
pub struct Tone {
    depths: [Option<Depth>; 5],
    matrix: Option<([f32; 9], Curve)>,
}

impl Tone {
    pub fn new(spec: &ToneSpec) -> Result<Tone, TryReserveError> {
        let mut depths = [const { None }; 5];
        for (depth, bits) in depths.iter_mut().zip(DEPTHS) {
            *depth = Depth::new(spec, bits)?;
        }
        let matrix = match spec.matrix() {
            Some(matrix) => Some((matrix.map(|value| value as f32), Curve::new(spec)?)),
            None => None,
        };
        Ok(Tone { depths, matrix })
    }

    /// Bytes that a tone takes.
    pub fn bytes(spec: &ToneSpec) -> u64 {
        let levels: u64 = DEPTHS.iter().map(|bits| 1 << bits).sum();
        let curve = STEPS as u64 + 256 * 4 + spec.table.len() as u64;
        4 * levels + if spec.matrix().is_some() { 12 * levels + curve } else { 0 }
    }

    /// Whether levels of this depth reach from black to white.
    pub fn takes(&self, bits: u32) -> bool {
        self.depth(bits).is_some()
    }

    /// A pixel's channels depend on each other.
    pub fn mixes(&self) -> bool {
        self.matrix.is_some()
    }

    fn depth(&self, bits: u32) -> Option<&Depth> {
        let at = DEPTHS.iter().position(|depth| *depth == bits)?;
        self.depths[at].as_ref()
    }

    /// Levels of this depth are the channels.
    pub(crate) fn is_plain(&self, bits: u32) -> bool {
        self.depth(bits).is_some_and(|depth| depth.plain)
    }

    /// One channel of each level: 0 to 2 red, green, blue, 3 grey.
    pub(crate) fn channel(&self, bits: u32, channel: usize, levels: &[u16], to: &mut [u8]) {
        let Some(depth) = self.depth(bits) else { return };
        for (out, &level) in to.iter_mut().zip(levels) {
            *out = depth.channels[usize::from(level)][channel];
        }
    }

    /// Grey as packed RGB.
    pub(crate) fn grey(&self, bits: u32, levels: &[u16], to: &mut [u8]) {
        let Some(depth) = self.depth(bits) else { return };
        for (out, &level) in to.chunks_exact_mut(3).zip(levels) {
            out.fill(depth.channels[usize::from(level)][3]);
        }
    }

    /// Packed RGB of even and odd columns in turn.
    pub(crate) fn pairs(&self, bits: u32, (even, odd): (&Colours, &Colours), to: &mut [u8]) {
        let count = to.len() / 6;
        let [er, eg, eb] = even.rows(count);
        let [or, og, ob] = odd.rows(count);
        match self.depth(bits) {
            Some(depth) if depth.plain => {
                let done = avx2::interleave([er, eg, eb, or, og, ob], to);
                for (at, pair) in to.chunks_exact_mut(6).enumerate().skip(done) {
                    let (first, second) = ([er[at], eg[at], eb[at]], [or[at], og[at], ob[at]]);
                    pair[..3].copy_from_slice(&first.map(|level| level as u8));
                    pair[3..].copy_from_slice(&second.map(|level| level as u8));
                }
            }
            Some(depth) if self.matrix.is_none() => {
                let table = &depth.channels[..];
                let channel = |level: u16, c: usize| table[usize::from(level)][c];
                for (at, pair) in to.chunks_exact_mut(6).enumerate() {
                    let first = [channel(er[at], 0), channel(eg[at], 1), channel(eb[at], 2)];
                    let second = [channel(or[at], 0), channel(og[at], 1), channel(ob[at], 2)];
                    pair[..3].copy_from_slice(&first);
                    pair[3..].copy_from_slice(&second);
                }
            }
            _ => {
                let levels = |at: usize| match at % 2 {
                    0 => [er[at / 2], eg[at / 2], eb[at / 2]],
                    _ => [or[at / 2], og[at / 2], ob[at / 2]],
                };
                self.colours(bits, levels, to);
            }
        }
    }

    /// Packed RGB of pixels: a function of the pixel's index gives its three levels.
    pub(crate) fn colours(&self, bits: u32, levels: impl Fn(usize) -> [u16; 3], to: &mut [u8]) {
        let Some(depth) = self.depth(bits) else { return };
        let pixels = to.chunks_exact_mut(3).enumerate();
        if depth.plain {
            pixels.for_each(|(at, pixel)| pixel.copy_from_slice(&levels(at).map(|level| level as u8)));
            return;
        }
        let Some((m, curve)) = &self.matrix else {
            let table = &depth.channels[..];
            for (at, pixel) in pixels {
                let [r, g, b] = levels(at).map(usize::from);
                pixel.copy_from_slice(&[table[r][0], table[g][1], table[b][2]]);
            }
            return;
        };
        for (at, pixel) in pixels {
            let [r, g, b] = levels(at).map(usize::from);
            let (r, g, b) = (depth.values[r][0], depth.values[g][1], depth.values[b][2]);
            for (out, row) in pixel.iter_mut().zip(m.chunks_exact(3)) {
                *out = curve.at(row[0] * r + row[1] * g + row[2] * b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bits_without_a_tone_are_what_they_are() {
        let tone = Tone::new(&ToneSpec::default()).unwrap();
        assert!(tone.is_plain(8) && !tone.is_plain(10) && DEPTHS.iter().all(|bits| tone.takes(*bits)));
        let spec = ToneSpec { balance: [1.0, 1.0, 1.5], ..ToneSpec::default() };
        assert!(!Tone::new(&spec).unwrap().is_plain(8));
    }

    #[test]
    fn black_and_white_lie_within_the_levels() {
        let spec = ToneSpec { black: 64.0, white: 4000.0, ..ToneSpec::default() };
        let tone = Tone::new(&spec).unwrap();
        assert_eq!([8, 10, 12, 16].map(|bits| tone.takes(bits)), [false, false, true, true]);
        let mut grey = [9; 4];
        tone.channel(12, 3, &[0, 64, 2032, 4095], &mut grey);
        assert_eq!(grey, [0, 0, 128, 255]);
    }

    #[test]
    fn a_channel_is_rounded_as_round_does() {
        let halves =
            (0..255).map(|whole| f64::from(whole) + 0.5).flat_map(|half| [half.next_down(), half, half.next_up()]);
        let levels = DEPTHS.into_iter().flat_map(|bits| {
            let highest = f64::from(u16::MAX >> (16 - bits));
            (0..1 << bits).map(move |level| 255.0 * (f64::from(level) / highest))
        });
        for channel in halves.chain(levels).chain([0.0, 255.0]) {
            assert_eq!(rounded(channel), channel.round() as u8, "{channel:?}");
        }
    }

    /// Every curve is the formula in float64, to a level where v lies on the edge between two.
    #[test]
    fn a_matrix_gives_what_the_formula_gives() {
        for (gamma, table) in [(0.0, vec![]), (2.2, vec![]), (0.45, vec![]), (0.0, (0..=255).rev().collect())] {
            let spec = ToneSpec {
                black: 100.0,
                white: 3900.0,
                gamma,
                table,
                balance: [1.7, 1.0, 1.3],
                matrix: [1.6, -0.4, -0.2, -0.3, 1.5, -0.2, 0.1, -0.6, 1.5],
            };
            let tone = Tone::new(&spec).unwrap();
            let level = |at: usize, c: usize| ((at * 2_654_435_761 + c * 97_531) >> 7) as u16 & 4095;
            let mut rgb = vec![0; 3 * 5000];
            tone.colours(12, |at| [level(at, 0), level(at, 1), level(at, 2)], &mut rgb);
            for (at, pixel) in rgb.chunks_exact(3).enumerate() {
                let v: [f64; 3] = std::array::from_fn(|c| {
                    ((f64::from(level(at, c)) - 100.0) / 3800.0).clamp(0.0, 1.0) * spec.balance[c]
                });
                for (c, found) in pixel.iter().enumerate() {
                    let mixed: f64 = (0..3).map(|k| spec.matrix[3 * c + k] * v[k]).sum();
                    let near = [-1e-6, 1e-6].map(|e| spec.curve((mixed + e).clamp(0.0, 1.0)));
                    assert!(near.contains(found), "{mixed} with gamma {gamma}: {found} of {near:?}");
                }
            }
        }
    }
}
