//! A packed linear layer.

use std::ops::Range;

use coverslip_bundle::fold::Linear;
use coverslip_bundle::tensors::f32_to_f16;
use coverslip_bundle::{BundleError, BundleErrorKind};

use crate::aligned::Aligned;
use crate::kernels::{Columns, Right};
use crate::panels::{LINE, Layout, Panels, Word, padded};

/// A linear layer, in floats or in int8.
pub(crate) struct Layer {
    pub(crate) panels: Panels,
    /// In whole lines; empty if the layer has none.
    bias: Aligned<f32>,
    /// Of int8, in whole lines: a column's step, and the sum of its int8s. Empty: the layer is in floats.
    sizes: Aligned<f32>,
    sums: Aligned<i32>,
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
    /// Packs a layer for kernels of `layout`: its values in a word say in what.
    pub(crate) fn pack(layout: Layout, layer: &Linear) -> Result<Self, BundleError> {
        Self::part(layout, layer, 0..layer.outputs)
    }

    /// Packs some of a layer's outputs.
    pub(crate) fn part(layout: Layout, layer: &Linear, outputs: Range<usize>) -> Result<Self, BundleError> {
        let bias = match &layer.bias {
            Some(bias) => rows(&bias[outputs.clone()], outputs.len(), padded(outputs.len()))?,
            None => Aligned::zeroed(0)?,
        };
        let matrix = Matrix { values: &layer.weight, rows: layer.inputs, width: layer.outputs };
        Ok(Self { bias, ..Self::of(layout, matrix, outputs)? })
    }

    /// Packs the rows of a layer that read `inputs`, without its bias.
    pub(crate) fn rows(layout: Layout, layer: &Linear, inputs: Range<usize>) -> Result<Self, BundleError> {
        let values = &layer.weight[inputs.start * layer.outputs..inputs.end * layer.outputs];
        let matrix = Matrix { values, rows: inputs.len(), width: layer.outputs };
        Self::of(layout, matrix, 0..layer.outputs)
    }

    fn of(layout: Layout, matrix: Matrix<'_>, columns: Range<usize>) -> Result<Self, BundleError> {
        if layout.values() == 4 {
            return Self::quantised(layout, matrix, columns);
        }
        // Float16 ends where no other type does.
        let beyond = |value: &&f32| value.is_finite() && f32_to_f16(**value) & 0x7fff == 0x7c00;
        if layout.word == Word::Float16
            && let Some(value) = matrix.values.iter().find(beyond)
        {
            let what =
                format!("a weight of {value} is beyond float16, which ends at 65504: set cpu_precision to FLOAT32");
            return Err(BundleError::new(BundleErrorKind::NotFinite, what));
        }
        let panels = Panels::pack_part(layout, matrix.values, matrix.rows, matrix.width, columns)?;
        Ok(Self { panels, bias: Aligned::zeroed(0)?, sizes: Aligned::zeroed(0)?, sums: Aligned::zeroed(0)? })
    }

    /// Each column in steps of its largest value / 127.
    fn quantised(layout: Layout, matrix: Matrix<'_>, columns: Range<usize>) -> Result<Self, BundleError> {
        let count = padded(columns.len());
        let (mut sizes, mut sums) = (Aligned::<f32>::zeroed(count)?, Aligned::<i32>::zeroed(count)?);
        let row = |row: usize| &matrix.values[row * matrix.width..][..matrix.width][columns.clone()];
        for index in 0..matrix.rows {
            sizes.iter_mut().zip(row(index)).for_each(|(size, value)| *size = size.max(value.abs() / 127.0));
        }
        let factors: Vec<f32> =
            sizes.iter().map(|size| if *size >= f32::MIN_POSITIVE { 1.0 / size } else { 0.0 }).collect();
        let mut panels = Panels::zeroed(layout, matrix.rows, columns.len())?;
        for index in 0..panels.count() {
            let (first, lines) = panels.span(index);
            let (first, width) = (first * LINE, lines * LINE);
            let panel = panels.panel_mut(index);
            for place in 0..matrix.rows {
                let words = &mut panel[place / 4 * width..][..width];
                let values = row(place).get(first..).unwrap_or_default().iter();
                for (column, (word, value)) in (first..).zip(words.iter_mut().zip(values)) {
                    let step = (value * factors[column]).round_ties_even().clamp(-127.0, 127.0) as i8;
                    *word |= u32::from(step.cast_unsigned()) << (place % 4 * 8);
                    sums[column] += i32::from(step);
                }
            }
        }
        Ok(Self { panels, bias: Aligned::zeroed(0)?, sizes, sums })
    }

    /// Whether it reads u8.
    pub(crate) fn is_int8(&self) -> bool {
        !self.sizes.is_empty()
    }

    /// The layer as a right-hand side, before a product with the weights `next`.
    pub(crate) fn before<'a>(&'a self, next: impl Into<Option<&'a Panels>>) -> Right<'a> {
        let columns = Columns { sizes: &self.sizes, sums: &self.sums };
        Right { panels: &self.panels, columns, bias: &self.bias, next: next.into() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.panels.bytes() + self.bias.bytes() + self.sizes.bytes() + self.sums.bytes()
    }
}

/// Values `[rows, width]`.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    width: usize,
}
