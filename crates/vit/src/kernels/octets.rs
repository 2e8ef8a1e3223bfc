//! The kernels of int8 that are not products: rows to octets, and integer sums to values.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::{Columns, vector::Integers};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::panels::LINE;
use crate::panels::Scale;

/// A row's least and largest value, and 0, lie between 0 and 255. A value that is no number makes the scale none, and
/// with it every product of the row.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(super) fn quantise<V: Integers>(v: V, row: &[f32], words: &mut [u32]) -> Scale {
    let lines = row.as_chunks::<LINE>().0;
    let zero = v.splat(0.0);
    let (mut least, mut most, mut none) = (zero, zero, zero);
    for line in lines {
        let x = v.load(line);
        (least, most) = (v.min(least, x), v.max(most, x));
        none = v.fma(x, zero, none);
    }
    let (scale, factor) = scale(-v.largest(v.sub(zero, least)), v.largest(most), v.total(none));
    let (factor, shift, top) = (v.splat(factor), v.splat(scale.zero as f32), v.splat(255.0));
    for (line, words) in lines.iter().zip(words.as_chunks_mut::<{ LINE / 4 }>().0) {
        let x = v.add(v.round(v.mul(v.load(line), factor)), shift);
        v.octets(v.min(top, v.max(zero, x)), words);
    }
    Scale { zero: scale.zero - V::SHIFT, ..scale }
}

/// The scale of a row between `least` ≤ 0 and `most` ≥ 0, and what its values are multiplied by. `none` is NaN where a
/// value is no number, else 0.
#[inline(always)]
pub(super) fn scale(least: f32, most: f32, none: f32) -> (Scale, f32) {
    let size = (most - least) / 255.0 + none;
    // Also false where it is NaN.
    if size >= f32::MIN_POSITIVE {
        let factor = 1.0 / size;
        return (Scale { size, zero: (-least * factor).round_ties_even() as i32 }, factor);
    }
    (Scale { size: if size.is_nan() { size } else { 0.0 }, zero: 0 }, 0.0)
}

/// (sum − zero·columns)·size·sizes, in this order, so that every family rounds alike.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(super) fn values<V: Integers, const N: usize>(
    v: V,
    sums: &mut [[[f32; LINE]; N]],
    rows: &[Scale],
    columns: Columns<'_>,
) {
    let (sizes, shifts) = (columns.sizes.as_chunks::<LINE>().0, columns.sums.as_chunks::<LINE>().0);
    for (sums, row) in sums.iter_mut().zip(rows) {
        let size = v.splat(row.size);
        for ((sums, sizes), shifts) in sums.iter_mut().zip(sizes).zip(shifts) {
            let value = v.mul(v.mul(v.corrected(sums, row.zero, shifts), size), v.load(sizes));
            v.store(value, sums);
        }
    }
}
