//! The arithmetic of a forward, once per family of processors.
//!
//! [`plain`] says in simple loops what each kernel computes and is the oracle of all. The others are one generic text in
//! `product`, `rows` and `math`, over the vectors that `avx2` and `avx512` offer.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) mod avx512_bf16;
#[cfg(target_arch = "x86_64")]
mod entries;
mod math;
pub(crate) mod plain;
mod product;
mod rows;
#[cfg(test)]
mod tests;
mod vector;

use coverslip_bundle::fold::Norm;

use crate::panels::{Layout, Panels, Rows};

/// What a forward is made of. Rows of float32 have whole lines; what is beyond their width is 0 and stays so.
pub(crate) trait Kernels: Send + Sync {
    fn layout(&self) -> Layout;

    /// p = a·b + bias for every row of `a`, and what `out` makes of p.
    fn product(&self, a: Rows<'_>, b: Right<'_>, out: Out<'_>);

    /// A row as words of an operand.
    fn narrow(&self, row: &[f32], words: &mut [u32]);

    /// LayerNorm of a row; its width is that of the norm.
    fn normalize(&self, row: &[f32], norm: &Norm, to: &mut [f32]);

    /// Softmax over the first `count` of a row, in place; what is beyond becomes 0.
    fn softmax(&self, row: &mut [f32], count: usize);

    /// Packs `count` rows of `values`, of the panels' width, as a right-hand side whose sum runs over the rows.
    fn stack(&self, values: &[f32], stride: usize, count: usize, to: &mut Panels);

    /// sum += row·factor.
    fn accumulate(&self, sum: &mut [f32], row: &[f32], factor: f32);
}

/// The right-hand side of a product.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) panels: &'a Panels,
    /// In whole lines; empty: 0.
    pub(crate) bias: &'a [f32],
    /// The weights of the product after this one, which are called from memory while this one is computed.
    pub(crate) next: Option<&'a Panels>,
}

/// Where a product goes.
pub(crate) struct Out<'a> {
    pub(crate) to: To<'a>,
    /// Values or words from one row to the next.
    pub(crate) stride: usize,
}

/// What becomes of the products p.
pub(crate) enum To<'a> {
    /// p.
    Values(&'a mut [f32]),
    /// The former values + p.
    Sum(&'a mut [f32]),
    /// p as words of an operand.
    Operand(&'a mut [u32]),
    /// GELU(p) as words of an operand.
    Gelu(&'a mut [u32]),
    /// SiLU(gate)·p as words of an operand; the gate has rows of float32, of its own stride.
    Gated { gate: &'a [f32], gate_stride: usize, words: &'a mut [u32] },
}
