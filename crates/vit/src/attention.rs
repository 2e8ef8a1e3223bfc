//! Attention: x + proj(softmax(q·kᵀ)·v), head by head, a few queries at a time so that their scores stay in the cache.

use coverslip_bundle::BundleError;

use crate::aligned::Aligned;
use crate::kernels::{Out, Right, To};
use crate::panels::{Panels, Rows, padded};
use crate::weights::{Block, Model};

/// Queries whose scores are held at once: whole tiles of every family.
const QUERIES: usize = 24;

/// The buffers of attention.
pub(crate) struct Attention {
    /// Operands `[tokens, heads · head]`.
    queries: Aligned<u32>,
    keys: Aligned<u32>,
    mixed: Aligned<u32>,
    /// `[tokens, heads · head]`
    values: Aligned<f32>,
    /// One head's keys and values as right-hand sides.
    head_keys: Panels,
    head_values: Panels,
    /// `[QUERIES, tokens in whole lines]`
    scores: Aligned<f32>,
    shares: Aligned<u32>,
}

impl Attention {
    pub(crate) fn new(model: &Model) -> Result<Self, BundleError> {
        let (shape, layout) = (&model.shape, model.kernels.layout());
        let operand = || Aligned::zeroed(shape.tokens * layout.words(shape.mixed()));
        let scores = QUERIES * padded(shape.tokens);
        Ok(Self {
            queries: operand()?,
            keys: operand()?,
            mixed: operand()?,
            values: Aligned::zeroed(shape.tokens * shape.mixed())?,
            head_keys: Panels::zeroed(layout, shape.head, shape.tokens)?,
            head_values: Panels::zeroed(layout, shape.tokens, shape.head)?,
            scores: Aligned::zeroed(scores)?,
            shares: Aligned::zeroed(layout.words(scores))?,
        })
    }

    /// Adds the block's attention over `normed` to the first `asking` of `tokens`.
    pub(crate) fn add(&mut self, model: &Model, block: &Block, normed: Rows<'_>, asking: usize, tokens: &mut [f32]) {
        let (shape, kernels) = (&model.shape, &model.kernels);
        let stride = kernels.layout().words(shape.mixed());
        let asked = Rows { count: asking, ..normed };
        let out = |to| Out { to, stride };
        let Block { queries, keys, values, proj, .. } = block;
        kernels.product(asked, queries.before(&keys.panels), out(To::Operand(&mut self.queries)));
        kernels.product(normed, keys.before(&values.panels), out(To::Operand(&mut self.keys)));
        let out = Out { to: To::Values(&mut self.values), stride: shape.mixed() };
        kernels.product(normed, values.before(&proj.panels), out);
        for head in 0..shape.heads {
            self.head(model, head, asking);
        }
        let mixed = Rows { words: &self.mixed, stride, count: asking };
        let out = Out { to: To::Sum(tokens), stride: shape.row };
        kernels.product(mixed, proj.before(block.first_of_mlp()), out);
    }

    /// One head: shares of the values, as an operand.
    fn head(&mut self, model: &Model, head: usize, asking: usize) {
        let (shape, kernels, layout) = (&model.shape, &model.kernels, model.kernels.layout());
        let (stride, first) = (layout.words(shape.mixed()), head * layout.words(shape.head));
        self.head_keys.transpose(Rows { words: &self.keys[first..], stride, count: shape.tokens });
        kernels.stack(&self.values[head * shape.head..], shape.mixed(), shape.tokens, &mut self.head_values);
        let (row, row_words) = (padded(shape.tokens), layout.words(padded(shape.tokens)));
        for query in (0..asking).step_by(QUERIES) {
            let (count, place) = ((asking - query).min(QUERIES), query * stride + first);
            let queries = Rows { words: &self.queries[place..], stride, count };
            let out = Out { to: To::Values(&mut self.scores), stride: row };
            kernels.product(queries, cached(&self.head_keys), out);
            let rows = self.scores.chunks_exact_mut(row).zip(self.shares.chunks_exact_mut(row_words));
            for (scores, shares) in rows.take(count) {
                kernels.softmax(scores, shape.tokens);
                kernels.narrow(scores, shares);
            }
            let shares = Rows { words: &self.shares, stride: row_words, count };
            let to = To::Operand(&mut self.mixed[place..]);
            kernels.product(shares, cached(&self.head_values), Out { to, stride });
        }
    }
}

/// A right-hand side that is in the cache.
fn cached(panels: &Panels) -> Right<'_> {
    Right { panels, bias: &[], next: None }
}
