//! Pixels to tokens.

use coverslip_bundle::BundleError;

use crate::aligned::Aligned;
use crate::kernels::{Out, To};
use crate::panels::{Rows, padded};
use crate::weights::Model;

/// A tile's patches as an operand.
pub(crate) struct Patches {
    /// One patch, in whole lines.
    pixels: Aligned<f32>,
    /// `[patches, words of a patch]`
    words: Aligned<u32>,
}

impl Patches {
    pub(crate) fn new(model: &Model) -> Result<Self, BundleError> {
        let shape = &model.shape;
        let pixels = padded(shape.pixels());
        let words = model.kernels.layout().words(pixels);
        Ok(Self { pixels: Aligned::zeroed(pixels)?, words: Aligned::zeroed((shape.tokens - shape.prefix) * words)? })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.pixels.bytes() + self.words.bytes()
    }

    /// Writes the tokens of `tile`, `[side, side, 3]`: the table, and to the patches their embedding. A patch's values
    /// are in (row, column, channel) order, that of the pixels.
    pub(crate) fn embed(&mut self, model: &Model, tile: &[u8], tokens: &mut [f32]) {
        let shape = &model.shape;
        let (across, line) = (shape.side / shape.patch, 3 * shape.patch);
        let stride = model.kernels.layout().words(self.pixels.len());
        for (patch, words) in self.words.chunks_exact_mut(stride).enumerate() {
            let (top, left) = (patch / across * shape.patch, patch % across * line);
            for (row, values) in self.pixels[..shape.pixels()].chunks_exact_mut(line).enumerate() {
                let from = &tile[(top + row) * 3 * shape.side + left..][..line];
                values.iter_mut().zip(from).for_each(|(value, pixel)| *value = f32::from(*pixel));
            }
            model.kernels.narrow(&self.pixels, words);
        }
        tokens.copy_from_slice(&model.table);
        let rows = Rows { words: &self.words, stride, count: shape.tokens - shape.prefix, scales: &[] };
        let to = To::Sum(&mut tokens[shape.prefix * shape.row..]);
        let next = model.blocks.first().map(|block| &block.queries.panels);
        let out = Out::to(to, shape.row);
        model.product(rows, model.patch_embedding.before(next), out);
    }
}
