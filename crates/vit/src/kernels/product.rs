//! The matrix product: a tile of rows × lines is summed in registers along the whole depth, or block by block of it where
//! the sums are narrow, then written.
//!
//! A panel of `b` is taken over all rows before the next, so that it is read from memory once and then stays in the
//! cache. Meanwhile the next one is called into the cache, a share with every tile: a model's weights are larger than
//! any cache, and the first tile of a panel would wait for them.

use super::math::{gelu, silu};
use super::vector::{Multiply, Product, Vector};
use super::{Columns, Make, Out, Right, To};
use crate::panels::{LINE, Layout, Rows};

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
    debug_assert!(panels.layout() == Layout { word: M::WORD, lines: L });
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
        // One row alone is that of the class token. A square number of patches leaves 5 of 8 rows: 14² + 1, 16² + 5.
        match count {
            1 => tile::<M, 1, N>(multiply, a, first, (steps, ahead), &mut sums),
            2..=5 if R > 5 => tile::<M, 5, N>(multiply, a, first, (steps, ahead), &mut sums),
            _ => tile::<M, R, N>(multiply, a, first, (steps, ahead), &mut sums),
        }
        multiply.values(&mut sums[..count], a.scales.get(first..).unwrap_or_default(), panel.columns);
        finish(family, &sums[..count], panel.bias, first, panel.first, out);
    }
}

/// Steps between two lines that are called into the cache.
const GROUP: usize = 4;

/// Sums a tile, and calls `ahead` into the cache, a line every few steps: called all at once it takes every place that a
/// load may wait in, and the tile's own loads wait (measured in float32: 115 GMAC/s for 130). Rows beyond the last are the
/// last again: they are not written.
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
    let groups = steps.len().div_ceil(GROUP);
    let (at_once, ahead) = ahead.split_at(ahead.len().saturating_sub(groups));
    for line in at_once {
        v.prefetch(line);
    }
    // Lines per group, and lines so far, in 1/2³².
    let pace = if ahead.is_empty() { 0 } else { ((ahead.len() as u64) << 32) / groups as u64 };
    let mut passed = 0_u64;
    // Blocks of one length but for the last. Where there is one block, the compiler sees it.
    let block = match M::BLOCK {
        Some(most) => steps.len().div_ceil(steps.len().div_ceil(most).max(1)),
        None => steps.len(),
    };
    let mut start = 0;
    loop {
        let end = if M::BLOCK.is_some() { (start + block).min(steps.len()) } else { steps.len() };
        let mut sums = [[v.splat(0.0); N]; R];
        for group in (start..end).step_by(GROUP) {
            if let Some(line) = ahead.get((passed >> 32) as usize) {
                v.prefetch(line);
            }
            passed += pace;
            for k in group..(group + GROUP).min(end) {
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
        }
        for i in 0..R {
            for j in 0..N {
                let sum = multiply.widen(sums[i][j]);
                let sum = if start == 0 { sum } else { v.add(v.load(&to[i][j]), sum) };
                v.store(sum, &mut to[i][j]);
            }
        }
        if M::BLOCK.is_none() || end == steps.len() {
            return;
        }
        start = end;
    }
}

/// Adds the bias and writes a tile's rows as `out` says; `line` is the tile's first. A row's lines go side by side, so that
/// one's GELU hides the other's latency. Only loops: a closure of `map` would be compiled without the family's instructions.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // As above.
fn finish<P: Product, const N: usize>(
    family: P,
    sums: &[[[f32; LINE]; N]],
    bias: &[f32],
    first: usize,
    line: usize,
    out: &mut Out<'_>,
) {
    let v = family.vector();
    let bias = bias.as_chunks::<LINE>().0.first_chunk::<N>().unwrap_or(&[[0.0; LINE]; N]);
    let narrow = LINE / P::WORD.values();
    for (row, sums) in (first..).zip(sums) {
        let mut p = [v.splat(0.0); N];
        for j in 0..N {
            p[j] = v.add(v.load(&sums[j]), v.load(&bias[j]));
        }
        match out.make {
            Make::Product => {}
            Make::Gelu => {
                for j in 0..N {
                    p[j] = gelu(v, p[j]);
                }
            }
            Make::Gated { gate, gate_stride } => {
                let gates = lines::<N>(&gate[row * gate_stride + line * LINE..]);
                for j in 0..N {
                    p[j] = v.mul(silu(v, v.load(&gates[j])), p[j]);
                }
            }
        }
        let at = row * out.stride;
        match &mut out.to {
            To::Values(values) => {
                let to = lines_mut::<N>(&mut values[at + line * LINE..]);
                for j in 0..N {
                    v.store(p[j], &mut to[j]);
                }
            }
            To::Sum(values) => {
                let to = lines_mut::<N>(&mut values[at + line * LINE..]);
                for j in 0..N {
                    let sum = v.add(v.load(&to[j]), p[j]);
                    v.store(sum, &mut to[j]);
                }
            }
            To::Operand(words) => {
                let to = &mut words[at + line * narrow..][..N * narrow];
                for j in 0..N {
                    family.narrow(p[j], &mut to[j * narrow..][..narrow]);
                }
            }
        }
    }
}

#[inline(always)]
fn lines<const N: usize>(values: &[f32]) -> &[[f32; LINE]] {
    &values.as_chunks().0[..N]
}

#[inline(always)]
fn lines_mut<const N: usize>(values: &mut [f32]) -> &mut [[f32; LINE]] {
    &mut values.as_chunks_mut().0[..N]
}
