//! The arithmetic of a forward, once per family of processors.
//!
//! [`plain`] and [`plain_int8`] say in simple loops what each kernel computes and are the oracle of all. The others are
//! one generic text in `product`, `rows`, `octets` and `math`, over the vectors that `avx2`, `avx512` and `neon` offer.

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
#[allow(unsafe_code)]
pub(crate) mod avx512_fp16;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) mod avx512_vnni;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) mod avx_vnni;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod entries;
pub(crate) mod float16;
mod math;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
pub(crate) mod neon;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
pub(crate) mod neon_dot;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
pub(crate) mod neon_fp16;
mod octets;
pub(crate) mod plain;
pub(crate) mod plain_int8;
mod product;
mod rows;
#[cfg(test)]
mod tests;
mod vector;

use coverslip_bundle::fold::Norm;

use crate::panels::{Layout, Panels, Rows, Scale};

/// What a forward is made of. Rows of float32 have whole lines; what is beyond their width is 0 and stays so.
pub(crate) trait Kernels: Send + Sync {
    fn layout(&self) -> Layout;

    /// p = a·b + bias for every row of `a`, and what `out` makes of p.
    fn product(&self, a: Rows<'_>, b: Right<'_>, out: Out<'_>);

    /// A row as words of an operand.
    fn narrow(&self, row: &[f32], words: &mut [u32]);

    /// LayerNorm of a row; its width is that of the norm.
    fn normalize(&self, row: &[f32], norm: &Norm, to: &mut [f32]);

    /// Softmax over the first `count` of every row of `scores`, as words of an operand; what is beyond becomes 0. The
    /// scores are used up.
    fn softmax(&self, scores: &mut [f32], stride: usize, count: usize, shares: &mut [u32]);

    /// Packs `rows` as columns: row r becomes column r. A line's columns beyond them become 0.
    fn transpose(&self, rows: Rows<'_>, to: &mut Panels);

    /// Packs `count` rows of `values`, of the panels' width, as a right-hand side whose sum runs over the rows.
    fn stack(&self, values: &[f32], stride: usize, count: usize, to: &mut Panels);

    /// sum += row·factor.
    fn accumulate(&self, sum: &mut [f32], row: &[f32], factor: f32);
}

/// Products of int8. Integer sums are exact: every family gives the same bits.
pub(crate) trait Int8Kernels: Send + Sync {
    /// That of the weights.
    fn layout(&self) -> Layout;

    /// A row as words of four octets.
    fn quantise(&self, row: &[f32], words: &mut [u32]) -> Scale;

    /// As [`Kernels::product`], of quantised rows and weights; operands that it writes are the float family's.
    fn product(&self, a: Rows<'_>, b: Right<'_>, out: Out<'_>);
}

/// What a column's int8s stand for, in whole lines; empty where the weights are floats.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Columns<'a> {
    /// Of one step of the weight.
    pub(crate) sizes: &'a [f32],
    /// The sums of the int8s, which a row's zero multiplies.
    pub(crate) sums: &'a [i32],
}

impl<'a> Columns<'a> {
    fn from(self, first: usize) -> Columns<'a> {
        let (sizes, sums) = (self.sizes.get(first..), self.sums.get(first..));
        Columns { sizes: sizes.unwrap_or_default(), sums: sums.unwrap_or_default() }
    }
}

/// The right-hand side of a product.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) panels: &'a Panels,
    pub(crate) columns: Columns<'a>,
    /// In whole lines; empty: 0.
    pub(crate) bias: &'a [f32],
    /// The weights of the product after this one, which are called from memory while this one is computed.
    pub(crate) next: Option<&'a Panels>,
}

/// What a product becomes, and where it goes.
pub(crate) struct Out<'a> {
    pub(crate) make: Make<'a>,
    pub(crate) to: To<'a>,
    /// Values or words from one row to the next.
    pub(crate) stride: usize,
}

impl<'a> Out<'a> {
    /// The products as they are.
    pub(crate) fn to(to: To<'a>, stride: usize) -> Out<'a> {
        Out { make: Make::Product, to, stride }
    }
}

/// What becomes of the products p.
#[derive(Clone, Copy)]
pub(crate) enum Make<'a> {
    /// p.
    Product,
    /// GELU(p).
    Gelu,
    /// SiLU(gate)·p; the gate has rows of float32, of its own stride.
    Gated { gate: &'a [f32], gate_stride: usize },
}

/// Where values go.
pub(crate) enum To<'a> {
    /// In place of what was there.
    Values(&'a mut [f32]),
    /// Added to what was there.
    Sum(&'a mut [f32]),
    /// As words of an operand.
    Operand(&'a mut [u32]),
}
