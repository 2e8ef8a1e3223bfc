//! A packed linear layer.

use std::ops::Range;

use coverslip_bundle::BundleError;
use coverslip_bundle::fold::Linear;

use crate::aligned::Aligned;
use crate::kernels::Right;
use crate::panels::{Layout, Panels, padded};

/// A linear layer.
pub(crate) struct Layer {
    pub(crate) panels: Panels,
    /// In whole lines; empty if the layer has none.
    pub(crate) bias: Aligned<f32>,
}

/// Rows of `width` values in rows of `row`, the rest of which is 0.
pub(crate) fn rows(values: &[f32], width: usize, row: usize) -> Result<Aligned<f32>, BundleError> {
    let mut all = Aligned::zeroed(values.len() / width * row)?;
    for (from, to) in values.chunks_exact(width).zip(all.chunks_exact_mut(row)) {
        to[..width].copy_from_slice(from);
    }
    Ok(all)
}

impl Layer {
    pub(crate) fn pack(layout: Layout, layer: &Linear) -> Result<Self, BundleError> {
        Self::part(layout, layer, 0..layer.outputs)
    }

    /// Packs some of a layer's outputs.
    pub(crate) fn part(layout: Layout, layer: &Linear, outputs: Range<usize>) -> Result<Self, BundleError> {
        let bias = match &layer.bias {
            Some(bias) => rows(&bias[outputs.clone()], outputs.len(), padded(outputs.len()))?,
            None => Aligned::zeroed(0)?,
        };
        let panels = Panels::pack_part(layout, &layer.weight, layer.inputs, layer.outputs, outputs)?;
        Ok(Self { panels, bias })
    }

    /// The layer as a right-hand side, before a product with the weights `next`.
    pub(crate) fn before<'a>(&'a self, next: &'a Panels) -> Right<'a> {
        Right { panels: &self.panels, bias: &self.bias, next: Some(next) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.panels.bytes() + self.bias.bytes()
    }
}
