//! Which pixels of a frame were captured: by its mask, by its alpha, by the value that the slide gives to those that were
//! not.

use crate::format::Samples;
use crate::image::{Image, Plane};
use crate::unpack::unpack;

/// A frame's mask; 0: not captured.
#[derive(Clone, Copy, Debug, Default)]
pub enum Mask<'a> {
    #[default]
    None,
    /// A byte per pixel.
    Bytes(Plane<'a>),
    /// A bit per pixel, the first in the least significant bit.
    Bits(Plane<'a>),
}

/// How a frame says which of its pixels were captured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validity<'a> {
    pub mask: Mask<'a>,
    /// Pixels with alpha 0 were not.
    pub alpha: bool,
    /// Pixels of exactly these levels were not: red, green, blue; of one level: the first that is meant.
    pub value: Option<[u32; 3]>,
}

impl Validity<'_> {
    /// Every pixel of a frame with such samples was captured.
    pub fn is_whole(&self, samples: Samples) -> bool {
        let alpha = self.alpha && matches!(samples, Samples::Rgba | Samples::Bgra);
        matches!(self.mask, Mask::None) && !alpha && self.value.is_none()
    }

    /// 1 for each pixel of row `y` from `x` on that was not captured, 0 for the others. `levels` is scratch for the
    /// samples.
    pub(crate) fn missing(&self, image: &Image<'_>, y: usize, x: usize, levels: &mut [u16], to: &mut [u8]) {
        match &self.mask {
            Mask::None => to.fill(0),
            Mask::Bytes(plane) => {
                let row = &plane.row(y)[x..x + to.len()];
                to.iter_mut().zip(row).for_each(|(out, &byte)| *out = u8::from(byte == 0));
            }
            Mask::Bits(plane) => {
                let row = plane.row(y);
                let bits = (x..x + to.len()).map(|x| row[x / 8] >> (x % 8) & 1);
                to.iter_mut().zip(bits).for_each(|(out, bit)| *out = bit ^ 1);
            }
        }
        if self.alpha && image.format.has_alpha() {
            let samples = read(image, 0, y, x, to.len(), levels);
            to.iter_mut().zip(samples.chunks_exact(4)).for_each(|(out, pixel)| *out |= u8::from(pixel[3] == 0));
        }
        if let Some(value) = self.value {
            self.by_value(value, image, y, x, levels, to);
        }
    }

    fn by_value(&self, value: [u32; 3], image: &Image<'_>, y: usize, x: usize, levels: &mut [u16], to: &mut [u8]) {
        let [r, g, b] = value;
        let mark = |out: &mut u8, found: bool| *out |= u8::from(found);
        match image.format.samples {
            Samples::Mono => {
                let samples = read(image, 0, y, x, to.len(), levels);
                to.iter_mut().zip(samples).for_each(|(out, &level)| mark(out, u32::from(level) == r));
            }
            Samples::Rgb | Samples::Bgr | Samples::Rgba | Samples::Bgra => {
                let width = image.format.samples_per_pixel();
                let reversed = matches!(image.format.samples, Samples::Bgr | Samples::Bgra);
                let wanted = if reversed { [b, g, r] } else { [r, g, b] };
                let samples = read(image, 0, y, x, to.len(), levels);
                for (out, pixel) in to.iter_mut().zip(samples.chunks_exact(width)) {
                    mark(out, (0..3).all(|c| u32::from(pixel[c]) == wanted[c]));
                }
            }
            Samples::Planar => {
                let rows = image.planes.map(|plane| plane.row(y));
                for (at, out) in to.iter_mut().enumerate() {
                    mark(out, rows.map(|row| u32::from(row[x + at])) == value);
                }
            }
            Samples::Bayer(phase) => {
                // A mosaic's pixel is its cell of two by two.
                for (at, out) in to.iter_mut().enumerate() {
                    let column = (x + at) & !1;
                    let cell = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| {
                        let mut level = [0];
                        let row = image.planes[0].row((y & !1) + dy);
                        unpack(image.format.packing, image.format.bits, row, column + dx, &mut level);
                        u32::from(level[0])
                    });
                    let wanted = phase.colours().map(|colour| value[colour]);
                    mark(out, cell == wanted);
                }
            }
        }
    }
}

/// The samples of pixels of a row of a plane.
fn read<'l>(image: &Image<'_>, plane: usize, y: usize, x: usize, pixels: usize, to: &'l mut [u16]) -> &'l [u16] {
    let width = image.format.samples_per_pixel();
    let to = &mut to[..pixels * width];
    unpack(image.format.packing, image.format.bits, image.planes[plane].row(y), x * width, to);
    to
}
