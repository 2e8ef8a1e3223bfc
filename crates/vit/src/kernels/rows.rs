//! The kernels that work on rows: norms, softmax, conversions, sums.

use coverslip_bundle::fold::Norm;

use super::math::exp_of_negative;
use super::vector::{Product, Vector};
use crate::panels::{LINE, Panels, Rows};

#[inline(always)]
pub(super) fn narrow<P: Product>(family: P, row: &[f32], words: &mut [u32]) {
    let v = family.vector();
    let lines = row.as_chunks::<LINE>().0;
    for (line, words) in lines.iter().zip(words.chunks_exact_mut(LINE / P::WORD.values())) {
        family.narrow(v.load(line), words);
    }
}

/// What is done side by side, so that one's latency hides in the others'.
const ABREAST: usize = 4;

#[inline(always)]
fn total<V: Vector>(v: V, [a, b, c, d]: [V::Line; ABREAST]) -> f32 {
    v.total(v.add(v.add(a, b), v.add(c, d)))
}

/// The row is centred before it is squared, so that a large mean costs no digits.
#[inline(always)]
pub(super) fn normalize<P: Product>(family: P, row: &[f32], norm: &Norm, to: &mut [f32]) {
    let v = family.vector();
    let (width, zero) = (norm.weight.len(), v.splat(0.0));
    let (lines, rest) = row[..width].as_chunks::<LINE>();
    let (to, tail) = to.split_at_mut(width - rest.len());
    let to = to.as_chunks_mut::<LINE>().0;
    let mut last = [0.0; LINE];
    last[..rest.len()].copy_from_slice(rest);
    let last = v.load(&last);

    // Sums side by side: one would wait for itself at every line.
    let (abreast, few) = lines.as_chunks::<ABREAST>();
    let mut sums = [zero; ABREAST];
    sums[0] = last;
    for lines in abreast {
        for j in 0..ABREAST {
            sums[j] = v.add(sums[j], v.load(&lines[j]));
        }
    }
    for line in few {
        sums[0] = v.add(sums[0], v.load(line));
    }
    let mean = v.splat(total(v, sums) / width as f32);
    let off = v.first(v.sub(last, mean), rest.len(), zero);
    let mut squares = [zero; ABREAST];
    squares[0] = v.mul(off, off);
    for lines in abreast {
        for j in 0..ABREAST {
            let off = v.sub(v.load(&lines[j]), mean);
            squares[j] = v.fma(off, off, squares[j]);
        }
    }
    for line in few {
        let off = v.sub(v.load(line), mean);
        squares[0] = v.fma(off, off, squares[0]);
    }
    let variance = total(v, squares) / width as f32;
    let factor = v.splat(1.0 / (variance + norm.eps as f32).sqrt());
    let (weights, last_weights) = norm.weight.as_chunks::<LINE>();
    let (biases, last_biases) = norm.bias.as_chunks::<LINE>();
    for (((line, to), weight), bias) in lines.iter().zip(to).zip(weights).zip(biases) {
        let normal = v.mul(v.sub(v.load(line), mean), factor);
        v.store(v.fma(normal, v.load(weight), v.load(bias)), to);
    }
    let mut normal = [0.0; LINE];
    v.store(v.mul(off, factor), &mut normal);
    tail.fill(0.0);
    for (i, (weight, bias)) in last_weights.iter().zip(last_biases).enumerate() {
        tail[i] = normal[i].mul_add(*weight, *bias);
    }
}

#[inline(always)]
pub(super) fn softmax<P: Product>(family: P, scores: &mut [f32], stride: usize, count: usize, shares: &mut [u32]) {
    let words = stride / P::WORD.values();
    let rows = scores.chunks_mut(ABREAST * stride).zip(shares.chunks_mut(ABREAST * words));
    for (scores, shares) in rows {
        shares_of(family, (scores, stride), count, (shares, words));
    }
}

/// Softmax of a few rows, step by step of all of them.
#[inline(always)]
fn shares_of<P: Product>(
    family: P,
    (scores, stride): (&mut [f32], usize),
    count: usize,
    (shares, words): (&mut [u32], usize),
) {
    let v = family.vector();
    let zero = v.splat(0.0);
    let whole = count / LINE;
    let rest = count - whole * LINE;
    let mut most = [zero; ABREAST];
    for (row, most) in scores.chunks_exact(stride).zip(&mut most) {
        let lines = row.as_chunks::<LINE>().0;
        let mut largest = v.splat(f32::NEG_INFINITY);
        if rest > 0 {
            largest = v.first(v.load(&lines[whole]), rest, largest);
        }
        for line in &lines[..whole] {
            largest = v.max(largest, v.load(line));
        }
        *most = v.splat(v.largest(largest));
    }
    let mut sums = [zero; ABREAST];
    for ((row, most), sum) in scores.chunks_exact_mut(stride).zip(most).zip(&mut sums) {
        let lines = row.as_chunks_mut::<LINE>().0;
        for line in &mut lines[..whole] {
            let share = exp_of_negative(v, v.sub(v.load(line), most));
            *sum = v.add(*sum, share);
            v.store(share, line);
        }
        if rest > 0 {
            let share = v.first(exp_of_negative(v, v.sub(v.load(&lines[whole]), most)), rest, zero);
            *sum = v.add(*sum, share);
            v.store(share, &mut lines[whole]);
        }
    }
    let narrow = LINE / P::WORD.values();
    let rows = scores.chunks_exact(stride).zip(shares.chunks_exact_mut(words));
    for ((row, words), sum) in rows.zip(sums) {
        let factor = v.splat(1.0 / v.total(sum));
        let (words, beyond) = words.split_at_mut(count.div_ceil(LINE) * narrow);
        for (line, words) in row.as_chunks::<LINE>().0.iter().zip(words.chunks_exact_mut(narrow)) {
            family.narrow(v.mul(v.load(line), factor), words);
        }
        beyond.fill(0);
    }
}

/// Rows ahead that are called into the cache: they stand far from one another.
const AHEAD: usize = 16;

#[inline(always)]
pub(super) fn stack<P: Product>(family: P, values: &[f32], stride: usize, count: usize, to: &mut Panels) {
    let v = family.vector();
    for index in 0..to.count() {
        let (first, lines) = to.span(index);
        let panel = to.panel_mut(index).as_chunks_mut::<LINE>().0;
        let row = |row: usize| &values[row * stride + first * LINE..].as_chunks::<LINE>().0[..lines];
        for (step, words) in panel.chunks_exact_mut(lines).enumerate() {
            let even = step * P::WORD.values();
            if even >= count {
                words.as_flattened_mut().fill(0);
                continue;
            }
            if even + AHEAD + 1 < count {
                for line in row(even + AHEAD) {
                    v.prefetch_near(&line[0]);
                }
            }
            for (line, words) in words.iter_mut().enumerate() {
                let mut odd = v.splat(0.0);
                if P::WORD.values() > 1 && even + 1 < count {
                    odd = v.load(&row(even + 1)[line]);
                }
                family.stack(v.load(&row(even)[line]), odd, words);
            }
        }
    }
}

/// Square by square of 16 × 16 words.
#[inline(always)]
pub(super) fn transpose<V: Vector>(v: V, rows: Rows<'_>, to: &mut Panels) {
    let depth = to.depth();
    for index in 0..to.count() {
        let (first, lines) = to.span(index);
        let panel = to.panel_mut(index).as_chunks_mut::<LINE>().0;
        for line in 0..lines {
            let column = (first + line) * LINE;
            let columns = rows.count.saturating_sub(column).min(LINE);
            for step in (0..depth).step_by(LINE) {
                for row in column + AHEAD..(column + AHEAD + LINE).min(rows.count) {
                    v.prefetch_near(&rows.row(row)[step]);
                }
                let mut square = [v.splat(0.0); LINE];
                for (i, square) in square.iter_mut().enumerate().take(columns) {
                    let words = &rows.row(column + i)[step..depth];
                    *square = match words.first_chunk() {
                        Some(words) => v.load_words(words),
                        None => {
                            let mut some = [0; LINE];
                            some[..words.len()].copy_from_slice(words);
                            v.load_words(&some)
                        }
                    };
                }
                v.transpose(&mut square);
                for (step, square) in (step..depth).zip(square) {
                    v.store_words(square, &mut panel[step * lines + line]);
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn accumulate<P: Product>(family: P, sum: &mut [f32], row: &[f32], factor: f32) {
    let v = family.vector();
    let factor = v.splat(factor);
    let sums = sum.as_chunks_mut::<LINE>().0;
    for (sum, line) in sums.iter_mut().zip(row.as_chunks::<LINE>().0) {
        v.store(v.fma(v.load(line), factor, v.load(sum)), sum);
    }
}
