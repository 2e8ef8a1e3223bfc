//! The MLP: x + fc2(GELU(fc1 x)), or with a gate x + fc2(SiLU(g)·v), a part of the hidden layer at a time.

use coverslip_bundle::BundleError;

use crate::aligned::Aligned;
use crate::kernels::{Out, Right, To};
use crate::panels::{Panels, Rows};
use crate::weights::{Block, HIDDEN, HiddenPart, Model};

/// The buffers of the MLP.
pub(crate) struct Mlp {
    /// `[tokens, HIDDEN]`; empty without a gate.
    gate: Aligned<f32>,
    /// An operand `[tokens, HIDDEN]`.
    hidden: Aligned<u32>,
}

impl Mlp {
    pub(crate) fn new(model: &Model) -> Result<Self, BundleError> {
        let (shape, layout) = (&model.shape, model.kernels.layout());
        let gate = if shape.gated { shape.tokens * HIDDEN } else { 0 };
        Ok(Self { gate: Aligned::zeroed(gate)?, hidden: Aligned::zeroed(shape.tokens * layout.words(HIDDEN))? })
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
        let kernels = &model.kernels;
        let stride = kernels.layout().words(HIDDEN);
        let mut bias = &block.fc2_bias[..];
        for (index, part) in block.hidden.iter().enumerate() {
            let words = &mut self.hidden[..];
            let to = match &part.gate {
                Some(gate) => {
                    let out = Out { to: To::Values(&mut self.gate), stride: HIDDEN };
                    kernels.product(normed, gate.before(&part.fc1.panels), out);
                    To::Gated { gate: &self.gate, gate_stride: HIDDEN, words }
                }
                None => To::Gelu(words),
            };
            kernels.product(normed, part.fc1.before(&part.fc2), Out { to, stride });
            let hidden = Rows { words: &self.hidden, stride, count: normed.count };
            let next = block.hidden.get(index + 1).map(HiddenPart::first).or(next);
            let right = Right { panels: &part.fc2, bias, next };
            kernels.product(hidden, right, Out { to: To::Sum(tokens), stride: model.shape.row });
            bias = &[];
        }
    }
}
