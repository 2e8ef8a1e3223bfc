//! The matrix product: a tile of rows × lines is summed in registers along the whole depth, then written.
//!
//! A panel of `b` is taken over all rows before the next, so that it is read from memory once and then stays in the
//! cache. Meanwhile the next one is called into the cache, a share with every tile: a model's weights are larger than
//! any cache, and the first tile of a panel would wait for them.

use super::math::{gelu, silu};
use super::vector::{Multiply, Product, Vector};
use super::{Columns, Make, Out, Right, To};
use crate::panels::{LINE, Rows};

/// Tiles have at most `R` rows and `L` lines: what fits the registers. `multiply` says how operands are multiplied,
/// `family` how operands are written.
#[inline(always)]
pub(super) fn product<M: Multiply, P: Product<Vector = M::Vector>, const R: usize, const L: usize>(
    (multiply, family): (M, P),
    a: Rows<'_>,
    b: Right<'_>,
    mut out: Out<'_>,
) {
    let Right { panels, columns, bias, next } = b;
    debug_assert!(panels.layout().values == M::VALUES && panels.layout().lines == L);
    for index in 0..panels.count() {
        let (first, lines) = panels.span(index);
        let bias = bias.get(first * LINE..).unwrap_or_default();
        let ahead: &[[u32; LINE]] = match next {
            _ if index + 1 < panels.count() && next.is_some() => panels.panel(index + 1),
            Some(next) => next.panel(0),
            None => &[],
        };
        let columns = columns.from(first * LINE);
        let panel = Panel { words: panels.panel(index), first, columns, bias, ahead };
        match lines {
            3 if L >= 3 => rows::<M, P, R, 3>((multiply, family), a, panel, &mut out),
            2 if L >= 2 => rows::<M, P, R, 2>((multiply, family), a, panel, &mut out),
            _ => rows::<M, P, R, 1>((multiply, family), a, panel, &mut out),
        }
    }
}

#[derive(Clone, Copy)]
struct Panel<'a> {
    words: &'a [[u32; LINE]],
    /// Its first line of columns, and what columns and the bias have from there on.
    first: usize,
    columns: Columns<'a>,
    bias: &'a [f32],
    /// What is needed after it.
    ahead: &'a [[u32; LINE]],
}

/// All rows over one panel of `N` lines.
#[inline(always)]
fn rows<M: Multiply, P: Product<Vector = M::Vector>, const R: usize, const N: usize>(
    (multiply, family): (M, P),
    a: Rows<'_>,
    panel: Panel<'_>,
    out: &mut Out<'_>,
) {
    let steps = panel.words.as_chunks::<N>().0;
    let share = panel.ahead.len().div_ceil(a.count.div_ceil(R).max(1)).max(1);
    let mut ahead = panel.ahead.chunks(share);
    let mut sums = [[[0.0; LINE]; N]; R];
    for first in (0..a.count).step_by(R) {
        let ahead = ahead.next().unwrap_or_default();
        let count = (a.count - first).min(R);
        // One row alone, as that of the class token, is a third of the work of a whole tile.
        if count == 1 {
            tile::<M, 1, N>(multiply, a, first, (steps, ahead), &mut sums);
        } else {
            tile::<M, R, N>(multiply, a, first, (steps, ahead), &mut sums);
        }
        multiply.values(&mut sums[..count], a.scales.get(first..).unwrap_or_default(), panel.columns);
        finish(family, &sums[..count], panel.bias, first, panel.first, out);
    }
}

/// Sums a tile, and calls `ahead` into the cache, a line every few steps: called all at once it takes every place that a
/// load may wait in, and the tile's own loads wait (measured in float32: 115 GMAC/s for 130). Rows beyond the last are the
/// last again: they cost nothing and are not written.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Loops over constants: unrolled, they keep the tile in registers.
fn tile<M: Multiply, const R: usize, const N: usize>(
    multiply: M,
    a: Rows<'_>,
    first: usize,
    (steps, ahead): (&[[[u32; LINE]; N]], &[[u32; LINE]]),
    to: &mut [[[f32; LINE]; N]],
) {
    let v = multiply.vector();
    let mut rows: [&[u32]; R] = [&[]; R];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &a.row((first + i).min(a.count - 1))[..steps.len()];
    }
    let mut sums = [[v.splat(0.0); N]; R];
    let (at_once, ahead) = ahead.split_at(ahead.len().saturating_sub(steps.len()));
    for line in at_once {
        v.prefetch(line);
    }
    // Lines per step, and lines so far, in 1/2³².
    let pace = ((ahead.len() as u64) << 32).checked_div(steps.len() as u64).unwrap_or(0);
    let mut passed = 0_u64;
    for k in 0..steps.len() {
        if let Some(line) = ahead.get((passed >> 32) as usize) {
            v.prefetch(line);
        }
        passed += pace;
        let mut b = [v.splat(0.0); N];
        for j in 0..N {
            b[j] = v.load_words(&steps[k][j]);
        }
        for i in 0..R {
            let a = v.splat(f32::from_bits(rows[i][k]));
            for j in 0..N {
                sums[i][j] = multiply.multiply(a, b[j], sums[i][j]);
            }
        }
    }
    for i in 0..R {
        for j in 0..N {
            v.store(sums[i][j], &mut to[i][j]);
        }
    }
}

/// Adds the bias and writes a tile's rows as `out` says; `line` is the tile's first.
#[inline(always)]
fn finish<P: Product, const N: usize>(
    family: P,
    sums: &[[[f32; LINE]; N]],
    bias: &[f32],
    first: usize,
    line: usize,
    out: &mut Out<'_>,
) {
    let v = family.vector();
    let zeros = [[0.0; LINE]; N];
    let bias = bias.as_chunks::<LINE>().0.first_chunk::<N>().unwrap_or(&zeros);
    let (narrow, stride) = (LINE / P::VALUES, out.stride);
    for (i, row) in sums.iter().enumerate() {
        let row_number = first + i;
        for (j, (sum, bias)) in row.iter().zip(bias).enumerate() {
            let p = v.add(v.load(sum), v.load(bias));
            let (value_at, word_at) =
                (row_number * stride + (line + j) * LINE, row_number * stride + (line + j) * narrow);
            let p = match out.make {
                Make::Product => p,
                Make::Gelu => gelu(v, p),
                Make::Gated { gate, gate_stride } => {
                    let gate = &gate[row_number * gate_stride..].as_chunks::<LINE>().0[line + j];
                    v.mul(silu(v, v.load(gate)), p)
                }
            };
            match &mut out.to {
                To::Values(values) => v.store(p, line_of(values, value_at)),
                To::Sum(values) => {
                    let to = line_of(values, value_at);
                    let sum = v.add(v.load(to), p);
                    v.store(sum, to);
                }
                To::Operand(words) => family.narrow(p, &mut words[word_at..word_at + narrow]),
            }
        }
    }
}

#[inline(always)]
fn line_of(values: &mut [f32], at: usize) -> &mut [f32; LINE] {
    &mut values[at..].as_chunks_mut::<LINE>().0[0]
}
