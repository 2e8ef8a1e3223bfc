//! A tile's way through the model.

use std::sync::Arc;

use coverslip_bundle::BundleError;
use coverslip_bundle::fold::Norm;

use crate::aligned::Aligned;
use crate::attention::Attention;
use crate::maxima::Maxima;
use crate::mlp::Mlp;
use crate::panels::{Rows, Scale};
use crate::patches::Patches;
use crate::pool::Pool;
use crate::sae::Coding;
use crate::top::Feature;
use crate::weights::Model;

/// Runs one tile at a time. It holds every buffer of a run.
pub struct Lane {
    model: Arc<Model>,
    patches: Patches,
    /// The residual stream `[tokens, row]`.
    tokens: Aligned<f32>,
    normed: Normed,
    attention: Attention,
    mlp: Mlp,
    pool: Pool,
    embeddings: Aligned<f32>,
    coding: Coding,
    /// What the norms put out, of a lane that calibrates.
    maxima: Option<Maxima>,
}

/// What the model says of a tile.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    /// The taps' embeddings, one after the other.
    pub embeddings: &'a [f32],
    /// The reported features, the largest value first; those of value 0 are not active.
    pub features: &'a [Feature],
    /// Active features in all.
    pub active_count: u32,
    /// ‖x−x̂‖² over the bundle's mean ‖x−x̄‖²; 0 without an SAE.
    pub reconstruction_error: f32,
}

impl Lane {
    /// Makes the buffers for one thread.
    ///
    /// # Errors
    /// `OutOfMemory` when memory is short.
    pub fn new(model: &Arc<Model>) -> Result<Lane, BundleError> {
        let shape = &model.shape;
        Ok(Lane {
            patches: Patches::new(model)?,
            tokens: Aligned::zeroed(shape.tokens * shape.row)?,
            normed: Normed::new(model)?,
            attention: Attention::new(model)?,
            mlp: Mlp::new(model)?,
            pool: Pool::new(model)?,
            embeddings: Aligned::zeroed(model.taps.last().map_or(0, |tap| tap.place.end))?,
            coding: Coding::new(&model.sae)?,
            maxima: None,
            model: model.clone(),
        })
    }

    /// The same for a lane that notes what the norms put out.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn calibrating(model: &Arc<Model>) -> Result<Lane, BundleError> {
        let maxima = Maxima::none(model.blocks.len(), model.shape.width);
        Ok(Lane { maxima: Some(maxima), ..Lane::new(model)? })
    }

    /// Bytes of the buffers.
    pub fn bytes(&self) -> usize {
        let stages = self.patches.bytes() + self.attention.bytes() + self.mlp.bytes() + self.pool.bytes();
        stages + self.tokens.bytes() + self.normed.bytes() + self.embeddings.bytes() + self.coding.bytes()
    }

    /// What the norms put out in all runs so far; `None` if the lane does not calibrate.
    pub fn maxima(&self) -> Option<&Maxima> {
        self.maxima.as_ref()
    }

    /// Runs the model on `tile`, `[side, side, 3]` bytes in the order R, G, B. Allocates nothing.
    pub fn run(&mut self, tile: &[u8]) -> Outputs<'_> {
        let model = &*self.model;
        self.patches.embed(model, tile, &mut self.tokens);
        for (index, block) in model.blocks.iter().enumerate() {
            let asking = if block.class_only { 1 } else { model.shape.tokens };
            let mut seen = self.maxima.as_mut().map(|maxima| (maxima, index, 0));
            let int8 = block.queries.is_int8();
            let normed = self.normed.of(model, (&block.norm1, int8), &self.tokens, model.shape.tokens, &mut seen);
            self.attention.add(model, block, normed, asking, &mut self.tokens);
            let mut seen = self.maxima.as_mut().map(|maxima| (maxima, index, 1));
            let int8 = block.has_int8_fc1();
            let normed = self.normed.of(model, (&block.norm2, int8), &self.tokens, asking, &mut seen);
            let next = model.blocks.get(index + 1).map(|block| &block.queries.panels);
            self.mlp.add(model, block, next, normed, &mut self.tokens);
            for tap in model.taps.iter().filter(|tap| tap.after_block == index) {
                self.pool.read(model, tap, &self.tokens, &mut self.embeddings[tap.place.clone()]);
            }
        }
        let read = model.taps.get(model.sae.tap).map_or(0..0, |tap| tap.place.clone());
        self.coding.run(&model.sae, &*model.exact, &self.embeddings[read]);
        Outputs {
            embeddings: &self.embeddings,
            features: &self.coding.features,
            active_count: self.coding.active_count,
            reconstruction_error: self.coding.reconstruction_error,
        }
    }
}

/// Normed tokens as an operand.
struct Normed {
    token: Aligned<f32>,
    words: Aligned<u32>,
    /// Of each token, where its words are u8.
    scales: Aligned<Scale>,
}

impl Normed {
    fn new(model: &Model) -> Result<Self, BundleError> {
        let (shape, layout) = (&model.shape, model.kernels.layout());
        Ok(Self {
            token: Aligned::zeroed(shape.row)?,
            words: Aligned::zeroed(shape.tokens * layout.words(shape.row))?,
            scales: Aligned::zeroed(shape.tokens)?,
        })
    }

    fn bytes(&self) -> usize {
        self.token.bytes() + self.words.bytes() + self.scales.bytes()
    }

    /// The first `count` of `tokens`, normed, for layers in floats or in int8. `seen`: what notes them, and where.
    fn of(
        &mut self,
        model: &Model,
        (norm, int8): (&Norm, bool),
        tokens: &[f32],
        count: usize,
        seen: &mut Option<(&mut Maxima, usize, usize)>,
    ) -> Rows<'_> {
        let row = self.token.len();
        let stride = model.kernels.layout().words(row);
        let rows = tokens.chunks_exact(row).zip(self.words.chunks_exact_mut(stride));
        for ((token, words), scale) in rows.zip(self.scales.iter_mut()).take(count) {
            model.kernels.normalize(token, norm, &mut self.token);
            if let Some((maxima, block, place)) = seen {
                maxima.see(*block, *place, &self.token);
            }
            match int8 {
                true => model.quantise((&self.token, row, row), (words, stride), std::slice::from_mut(scale)),
                false => model.kernels.narrow(&self.token, words),
            }
        }
        Rows { words: &self.words, stride, count, scales: if int8 { &self.scales } else { &[] } }
    }
}
