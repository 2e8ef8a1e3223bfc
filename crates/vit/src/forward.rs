//! A tile's way through the model.

use std::sync::Arc;

use coverslip_bundle::BundleError;
use coverslip_bundle::fold::Norm;

use crate::aligned::Aligned;
use crate::attention::Attention;
use crate::mlp::Mlp;
use crate::panels::Rows;
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
    /// `TooLarge` when memory is short.
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
            model: model.clone(),
        })
    }

    /// Runs the model on `tile`, `[side, side, 3]` bytes in the order R, G, B. Allocates nothing.
    pub fn run(&mut self, tile: &[u8]) -> Outputs<'_> {
        let model = &*self.model;
        self.patches.embed(model, tile, &mut self.tokens);
        for (index, block) in model.blocks.iter().enumerate() {
            let asking = if block.class_only { 1 } else { model.shape.tokens };
            let normed = self.normed.of(model, &block.norm1, &self.tokens, model.shape.tokens);
            self.attention.add(model, block, normed, asking, &mut self.tokens);
            let normed = self.normed.of(model, &block.norm2, &self.tokens, asking);
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
}

impl Normed {
    fn new(model: &Model) -> Result<Self, BundleError> {
        let (shape, layout) = (&model.shape, model.kernels.layout());
        Ok(Self { token: Aligned::zeroed(shape.row)?, words: Aligned::zeroed(shape.tokens * layout.words(shape.row))? })
    }

    /// The first `count` of `tokens`, normed.
    fn of(&mut self, model: &Model, norm: &Norm, tokens: &[f32], count: usize) -> Rows<'_> {
        let stride = model.kernels.layout().words(self.token.len());
        let rows = tokens.chunks_exact(self.token.len()).zip(self.words.chunks_exact_mut(stride));
        for (token, words) in rows.take(count) {
            model.kernels.normalize(token, norm, &mut self.token);
            model.kernels.narrow(&self.token, words);
        }
        Rows { words: &self.words, stride, count }
    }
}
