//! The kernels that work on rows: norms, softmax, conversions, sums.

use coverslip_bundle::fold::Norm;

use super::math::exp;
use super::vector::{Product, Vector};
use crate::panels::{LINE, Panels};

#[inline(always)]
pub(super) fn narrow<P: Product>(family: P, row: &[f32], words: &mut [u32]) {
    let v = family.vector();
    let lines = row.as_chunks::<LINE>().0;
    for (line, words) in lines.iter().zip(words.chunks_exact_mut(LINE / P::WORD.values())) {
        family.narrow(v.load(line), words);
    }
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

    let mut sum = last;
    for line in lines {
        sum = v.add(sum, v.load(line));
    }
    let mean = v.splat(v.total(sum) / width as f32);
    let off = v.first(v.sub(last, mean), rest.len(), zero);
    let mut squares = v.mul(off, off);
    for line in lines {
        let off = v.sub(v.load(line), mean);
        squares = v.fma(off, off, squares);
    }
    let variance = v.total(squares) / width as f32;
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
pub(super) fn softmax<P: Product>(family: P, row: &mut [f32], count: usize) {
    let v = family.vector();
    let (zero, none) = (v.splat(0.0), v.splat(f32::NEG_INFINITY));
    let lines = row.as_chunks_mut::<LINE>().0;
    let (all, beyond) = lines.split_at_mut(count.div_ceil(LINE));
    beyond.as_flattened_mut().fill(0.0);
    let Some((last, whole)) = all.split_last_mut() else { return };
    let rest = count - whole.len() * LINE;

    let mut most = v.first(v.load(last), rest, none);
    for line in whole.iter() {
        most = v.max(most, v.load(line));
    }
    let most = v.splat(v.largest(most));
    let tail = v.first(exp(v, v.sub(v.load(last), most)), rest, zero);
    let mut sum = tail;
    for line in whole.iter_mut() {
        let share = exp(v, v.sub(v.load(line), most));
        sum = v.add(sum, share);
        v.store(share, line);
    }
    let factor = v.splat(1.0 / v.total(sum));
    v.store(v.mul(tail, factor), last);
    for line in whole {
        let share = v.mul(v.load(line), factor);
        v.store(share, line);
    }
}

#[inline(always)]
pub(super) fn stack<P: Product>(family: P, values: &[f32], stride: usize, count: usize, to: &mut Panels) {
    let v = family.vector();
    for index in 0..to.count() {
        let (first, lines) = to.span(index);
        let panel = to.panel_mut(index).as_chunks_mut::<LINE>().0;
        for (step, words) in panel.chunks_exact_mut(lines).enumerate() {
            let row = step * P::WORD.values();
            if row >= count {
                words.as_flattened_mut().fill(0);
                continue;
            }
            let even = values[row * stride + first * LINE..].as_chunks::<LINE>().0;
            for (line, words) in words.iter_mut().enumerate() {
                let mut odd = v.splat(0.0);
                if P::WORD.values() > 1 && row + 1 < count {
                    odd = v.load(&values[(row + 1) * stride + first * LINE..].as_chunks::<LINE>().0[line]);
                }
                family.stack(v.load(&even[line]), odd, words);
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
