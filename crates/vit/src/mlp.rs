//! The MLP: x + fc2(GELU(fc1 x)), or with a gate x + fc2(SiLU(g)·v), a part of the hidden layer at a time.

use coverslip_bundle::BundleError;

use crate::aligned::Aligned;
use crate::kernels::{Make, Out, Right, To};
use crate::panels::{Panels, Rows, Scale, padded};
use crate::weights::{Block, HIDDEN, HiddenPart, Model};

/// The buffers of the MLP.
pub(crate) struct Mlp {
    /// `[tokens, HIDDEN]`; empty without a gate.
    gate: Aligned<f32>,
    /// An operand `[tokens, HIDDEN]`.
    hidden: Aligned<u32>,
    /// The same before it is quantised, and its scales; empty if every fc2 is in floats.
    values: Aligned<f32>,
    scales: Aligned<Scale>,
}

impl Mlp {
    pub(crate) fn new(model: &Model) -> Result<Self, BundleError> {
        let (shape, layout) = (&model.shape, model.kernels.layout());
        let gate = if shape.gated { shape.tokens * HIDDEN } else { 0 };
        let quantised = if model.blocks.iter().any(Block::has_int8_fc2) { shape.tokens } else { 0 };
        Ok(Self {
            gate: Aligned::zeroed(gate)?,
            hidden: Aligned::zeroed(shape.tokens * layout.words(HIDDEN))?,
            values: Aligned::zeroed(quantised * HIDDEN)?,
            scales: Aligned::zeroed(quantised)?,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.gate.bytes() + self.hidden.bytes() + self.values.bytes() + self.scales.bytes()
    }

    /// Adds the block's MLP over `normed` to `tokens`. `next`: the weights after it.
    pub(crate) fn add(
        &mut self,
        model: &Model,
        block: &Block,
        next: Option<&Panels>,
        normed: Rows<'_>,
        tokens: &mut [f32],
    ) {
        let words = model.kernels.layout().words(HIDDEN);
        let mut bias = &block.fc2_bias[..];
        for (index, part) in block.hidden.iter().enumerate() {
            let make = match &part.gate {
                Some(gate) => {
                    let out = Out::to(To::Values(&mut self.gate), HIDDEN);
                    model.product(normed, gate.before(&part.fc1.panels), out);
                    Make::Gated { gate: &self.gate, gate_stride: HIDDEN }
                }
                None => Make::Gelu,
            };
            let int8 = part.fc2.is_int8();
            let (to, stride) = match int8 {
                true => (To::Values(&mut self.values), HIDDEN),
                false => (To::Operand(&mut self.hidden), words),
            };
            model.product(normed, part.fc1.before(&part.fc2.panels), Out { make, to, stride });
            let hidden = if int8 {
                let scales = &mut self.scales[..normed.count];
                let width = padded(4 * part.fc2.panels.depth());
                model.quantise((&self.values, HIDDEN, width), (&mut self.hidden, words), scales);
                Rows { words: &self.hidden, stride: words, count: normed.count, scales: &self.scales }
            } else {
                Rows { words: &self.hidden, stride: words, count: normed.count, scales: &[] }
            };
            let next = block.hidden.get(index + 1).map(HiddenPart::first).or(next);
            let right = Right { bias, ..part.fc2.before(next) };
            let out = Out::to(To::Sum(tokens), model.shape.row);
            model.product(hidden, right, out);
            bias = &[];
        }
    }
}
