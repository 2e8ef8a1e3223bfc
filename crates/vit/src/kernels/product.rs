//! The matrix product: a tile of rows × lines is summed in registers along the whole depth, or block by block of it where
//! the sums are narrow, then written.
//!
//! A panel of `b` is taken over all rows before the next, so that it is read from memory once and then stays in the
//! cache. Meanwhile the next one is called into the cache, a share with every tile: a model's weights are larger than
//! any cache, and the first tile of a panel would wait for them. Where a tile goes is called as well, and the rows of the
//! tile after it: tokens, their norms and the hidden layer together are larger than the second-level cache.

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
    let mut sums = [[[0.0; LINE]; L]; R];
    let sums = sums.as_flattened_mut();
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
            3 if L >= 3 => rows::<M, P, R, 3>((multiply, family), a, panel, sums, &mut out),
            2 if L >= 2 => rows::<M, P, R, 2>((multiply, family), a, panel, sums, &mut out),
            _ => rows::<M, P, R, 1>((multiply, family), a, panel, sums, &mut out),
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

/// A tile's first row, and how many it writes.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    count: usize,
}

/// All rows over one panel of `N` lines. `sums`: where a tile's are held until they are written. Written out of the
/// registers they would save their way through memory, but then the compiler moves all of them in every step.
#[inline(always)]
fn rows<M: Multiply, P: Product<Vector = M::Vector>, const R: usize, const N: usize>(
    families: (M, P),
    a: Rows<'_>,
    panel: Panel<'_>,
    sums: &mut [[f32; LINE]],
    out: &mut Out<'_>,
) {
    let sums = sums.as_chunks_mut::<N>().0;
    let share = panel.ahead.len().div_ceil(a.count.div_ceil(R).max(1)).max(1);
    let mut ahead = panel.ahead.chunks(share);
    for first in (0..a.count).step_by(R) {
        let panel = Panel { ahead: ahead.next().unwrap_or_default(), ..panel };
        let span = Span { first, count: (a.count - first).min(R) };
        // One row alone is that of the class token. A square number of patches leaves 5 of 8 rows: 14² + 1, 16² + 5.
        match span.count {
            1 => tile::<M, P, 1, N>(families, a, span, panel, sums, out),
            2..=5 if R > 5 => tile::<M, P, 5, N>(families, a, span, panel, sums, out),
            _ => tile::<M, P, R, N>(families, a, span, panel, sums, out),
        }
    }
}

/// Sums a tile and writes it.
#[inline(always)]
fn tile<M: Multiply, P: Product<Vector = M::Vector>, const R: usize, const N: usize>(
    (multiply, family): (M, P),
    a: Rows<'_>,
    span: Span,
    panel: Panel<'_>,
    sums: &mut [[[f32; LINE]; N]],
    out: &mut Out<'_>,
) {
    sum::<M, P, R, N>((multiply, family), a, span, panel, sums, out);
    multiply.values(&mut sums[..span.count], a.scales.get(span.first..).unwrap_or_default(), panel.columns);
    finish(family, &sums[..span.count], panel.bias, span.first, panel.first, out);
}

/// Steps in a row between which nothing is called into the cache.
const GROUP: usize = 8;
/// Groups that pass after the last of a tile's places is called.
const LATE: usize = 4;

/// The sums of a tile, of which rows beyond the last are the last again. With every group of steps a line of `ahead` is called
/// into the cache: called all at once they take every place that a load may wait in, and the tile's own loads wait
/// (measured in float32: 115 GMAC/s for 130). With the last groups but a few a row's places are called: earlier, the
/// panel would push them out of the first-level cache again.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Loops over constants: unrolled, they keep the tile in registers.
fn sum<M: Multiply, P: Product<Vector = M::Vector>, const R: usize, const N: usize>(
    (multiply, family): (M, P),
    a: Rows<'_>,
    span: Span,
    panel: Panel<'_>,
    to: &mut [[[f32; LINE]; N]],
    out: &Out<'_>,
) {
    let v = multiply.vector();
    let steps = panel.words.as_chunks::<N>().0;
    let mut rows: [&[u32]; R] = [&[]; R];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &a.row((span.first + i).min(a.count - 1))[..steps.len()];
    }
    let groups = steps.len().div_ceil(GROUP);
    let (at_once, ahead) = panel.ahead.split_at(panel.ahead.len().saturating_sub(groups));
    for line in at_once {
        v.prefetch(line);
    }
    // The row whose places are called next, and the step from which on.
    let (mut row, mut due) = (0, groups.saturating_sub(R + LATE) * GROUP);
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
            if let Some(line) = ahead.get(group / GROUP) {
                v.prefetch(line);
            }
            if group >= due {
                call::<P, N>(family, span.first + row, panel.first, out);
                // The next tile's: two lines, by which the processor sees that it goes on.
                let next = a.row(if span.first + R + row < a.count { span.first + R + row } else { row });
                v.prefetch_near(&next[0]);
                v.prefetch_near(&next[LINE.min(steps.len() - 1)]);
                row += 1;
                due = if row < span.count { due + GROUP } else { usize::MAX };
            }
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

/// Calls the places that a row's `N` lines go to into the first-level cache.
#[inline(always)]
fn call<P: Product, const N: usize>(family: P, row: usize, line: usize, out: &Out<'_>) {
    let v = family.vector();
    let at = row * out.stride;
    match &out.to {
        To::Values(values) | To::Sum(values) => {
            for line in lines::<N>(&values[at + line * LINE..]) {
                v.prefetch_near(&line[0]);
            }
        }
        To::Operand(words) => {
            let narrow = LINE / P::WORD.values();
            for line in words[at + line * narrow..][..N * narrow].chunks(LINE) {
                v.prefetch_near(&line[0]);
            }
        }
    }
}

/// Adds the bias and writes rows as `out` says; `line` is the tile's first. A row's lines go side by side, so that one's
/// GELU hides the other's latency. Only loops: a closure of `map` would be compiled without the family's instructions.
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
        write(family, p, row, line, out);
    }
}

/// Writes a row's lines where they go.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // As above.
fn write<P: Product, const N: usize>(
    family: P,
    p: [<P::Vector as Vector>::Line; N],
    row: usize,
    line: usize,
    out: &mut Out<'_>,
) {
    let v = family.vector();
    let narrow = LINE / P::WORD.values();
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

#[inline(always)]
fn lines<const N: usize>(values: &[f32]) -> &[[f32; LINE]] {
    &values.as_chunks().0[..N]
}

#[inline(always)]
fn lines_mut<const N: usize>(values: &mut [f32]) -> &mut [[f32; LINE]] {
    &mut values.as_chunks_mut().0[..N]
}
