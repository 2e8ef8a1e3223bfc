//! Tokens to the vector of a tap.

use coverslip_bundle::fold::Norm;
use coverslip_bundle::{BundleError, Pooling};

use crate::aligned::Aligned;
use crate::weights::{Model, Tap};

/// The buffers of pooling: a token, and the sum of some.
pub(crate) struct Pool {
    token: Aligned<f32>,
    sum: Aligned<f32>,
}

impl Pool {
    pub(crate) fn new(model: &Model) -> Result<Self, BundleError> {
        Ok(Self { token: Aligned::zeroed(model.shape.row)?, sum: Aligned::zeroed(model.shape.row)? })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.token.bytes() + self.sum.bytes()
    }

    /// Writes the vector of `tap` over `tokens`.
    pub(crate) fn read(&mut self, model: &Model, tap: &Tap, tokens: &[f32], to: &mut [f32]) {
        let norm = model.final_norm.as_ref().filter(|_| tap.final_norm);
        let width = model.shape.width;
        match tap.pooling {
            Pooling::ClassToken => self.class(model, norm, tokens, to),
            Pooling::MeanPatchTokens => self.mean(model, norm, tokens, to),
            Pooling::ClassAndMean => {
                self.class(model, norm, tokens, &mut to[..width]);
                self.mean(model, norm, tokens, &mut to[width..]);
            }
            Pooling::PatchTokens => {
                let patches = tokens.chunks_exact(model.shape.row).skip(model.shape.prefix);
                for (token, to) in patches.zip(to.chunks_exact_mut(width)) {
                    to.copy_from_slice(&self.normed(model, norm, token)[..width]);
                }
            }
            // Only a tap of an ONNX graph has it.
            Pooling::None => to.fill(0.0),
        }
    }

    fn class(&mut self, model: &Model, norm: Option<&Norm>, tokens: &[f32], to: &mut [f32]) {
        let token = self.normed(model, norm, &tokens[..model.shape.row]);
        to.copy_from_slice(&token[..to.len()]);
    }

    fn mean(&mut self, model: &Model, norm: Option<&Norm>, tokens: &[f32], to: &mut [f32]) {
        let shape = &model.shape;
        self.sum.fill(0.0);
        let patches = tokens.chunks_exact(shape.row).skip(shape.prefix);
        let factor = 1.0 / (shape.tokens - shape.prefix) as f32;
        for token in patches {
            let token = match norm {
                Some(norm) => {
                    model.kernels.normalize(token, norm, &mut self.token);
                    &self.token[..]
                }
                None => token,
            };
            model.kernels.accumulate(&mut self.sum, token, 1.0);
        }
        to.iter_mut().zip(&self.sum[..]).for_each(|(mean, sum)| *mean = sum * factor);
    }

    fn normed<'a>(&'a mut self, model: &Model, norm: Option<&Norm>, token: &'a [f32]) -> &'a [f32] {
        match norm {
            Some(norm) => {
                model.kernels.normalize(token, norm, &mut self.token);
                &self.token
            }
            None => token,
        }
    }
}
