//! Attention: x + proj(softmax(q·kᵀ)·v), head by head, a few queries at a time so that their scores stay in the cache.

use coverslip_bundle::BundleError;

use crate::aligned::Aligned;
use crate::kernels::{Columns, Out, Right, To};
use crate::panels::{Panels, Rows, Scale, padded};
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
    /// What is mixed before it is quantised, and its scales; empty if every projection is in floats.
    blend: Aligned<f32>,
    scales: Aligned<Scale>,
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
        let quantised = if model.blocks.iter().any(|block| block.proj.is_int8()) { shape.tokens } else { 0 };
        Ok(Self {
            queries: operand()?,
            keys: operand()?,
            mixed: operand()?,
            values: Aligned::zeroed(shape.tokens * shape.mixed())?,
            blend: Aligned::zeroed(quantised * shape.mixed())?,
            scales: Aligned::zeroed(quantised)?,
            head_keys: Panels::zeroed(layout, shape.head, shape.tokens)?,
            head_values: Panels::zeroed(layout, shape.tokens, shape.head)?,
            scores: Aligned::zeroed(scores)?,
            shares: Aligned::zeroed(layout.words(scores))?,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        let operands = self.queries.bytes() + self.keys.bytes() + self.mixed.bytes() + self.shares.bytes();
        let values = self.values.bytes() + self.blend.bytes() + self.scales.bytes() + self.scores.bytes();
        operands + values + self.head_keys.bytes() + self.head_values.bytes()
    }

    /// Adds the block's attention over `normed` to the first `asking` of `tokens`.
    pub(crate) fn add(&mut self, model: &Model, block: &Block, normed: Rows<'_>, asking: usize, tokens: &mut [f32]) {
        let shape = &model.shape;
        let stride = model.kernels.layout().words(shape.mixed());
        let asked = Rows { count: asking, ..normed };
        let Block { queries, keys, values, proj, .. } = block;
        model.product(asked, queries.before(&keys.panels), Out::to(To::Operand(&mut self.queries), stride));
        model.product(normed, keys.before(&values.panels), Out::to(To::Operand(&mut self.keys), stride));
        let to = To::Values(&mut self.values);
        model.product(normed, values.before(&proj.panels), Out::to(to, shape.mixed()));
        for head in 0..shape.heads {
            self.head(model, head, asking, proj.is_int8());
        }
        if proj.is_int8() {
            let (width, scales) = (shape.mixed(), &mut self.scales[..asking]);
            model.quantise((&self.blend, width, width), (&mut self.mixed, stride), scales);
        }
        let scales = if proj.is_int8() { &self.scales[..] } else { &[] };
        let mixed = Rows { words: &self.mixed, stride, count: asking, scales };
        model.product(mixed, proj.before(block.first_of_mlp()), Out::to(To::Sum(tokens), shape.row));
    }

    /// One head: shares of the values, as an operand, or as values that are then quantised.
    fn head(&mut self, model: &Model, head: usize, asking: usize, as_values: bool) {
        let (shape, kernels, layout) = (&model.shape, &model.kernels, model.kernels.layout());
        let (stride, first) = (layout.words(shape.mixed()), head * layout.words(shape.head));
        let keys = Rows { words: &self.keys[first..], stride, count: shape.tokens, scales: &[] };
        kernels.transpose(keys, &mut self.head_keys);
        kernels.stack(&self.values[head * shape.head..], shape.mixed(), shape.tokens, &mut self.head_values);
        let (row, row_words) = (padded(shape.tokens), layout.words(padded(shape.tokens)));
        for query in (0..asking).step_by(QUERIES) {
            let (count, place) = ((asking - query).min(QUERIES), query * stride + first);
            let queries = Rows { words: &self.queries[place..], stride, count, scales: &[] };
            let out = Out::to(To::Values(&mut self.scores), row);
            kernels.product(queries, cached(&self.head_keys), out);
            kernels.softmax(&mut self.scores[..count * row], row, shape.tokens, &mut self.shares);
            let shares = Rows { words: &self.shares, stride: row_words, count, scales: &[] };
            let (to, stride) = match as_values {
                true => (To::Values(&mut self.blend[query * shape.mixed() + head * shape.head..]), shape.mixed()),
                false => (To::Operand(&mut self.mixed[place..]), stride),
            };
            kernels.product(shares, cached(&self.head_values), Out::to(to, stride));
        }
    }
}

/// A right-hand side that is in the cache.
fn cached(panels: &Panels) -> Right<'_> {
    Right { panels, columns: Columns::default(), bias: &[], next: None }
}
