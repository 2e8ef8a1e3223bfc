//! Whether kernels compute what the plain ones do, asked on the processor that is there before a family is chosen: some
//! families were written without a processor that has their instructions.
//!
//! A small product of whole numbers must be exact, since no family rounds there; one of fractions must be within what the
//! family's sums may be off by.

use coverslip_bundle::fold::Linear;

use crate::kernels::float16::{SUBNORMAL, error_of_a_block};
use crate::kernels::plain::Plain;
use crate::kernels::plain_int8::PlainInt8;
use crate::kernels::{Int8Kernels, Kernels, Out, Right, To};
use crate::layer::Layer;
use crate::panels::{LINE, Layout, Rows, Scale, Word};

/// Rows of the product: a whole tile of every family, and one more.
const ROWS: usize = 9;
/// More than a block of float16; no multiple of any family's steps but in whole lines.
const DEPTH: usize = 13 * LINE;
/// Panels of two widths.
const COLUMNS: usize = 5 * LINE;

/// What a family of floats computes otherwise than the plain kernels; `None`: nothing.
pub(crate) fn fault(kernels: &dyn Kernels) -> Option<String> {
    let layout = kernels.layout();
    let plain = Plain(layout);
    let (rows, weight) = operands(whole);
    let [expected, found] = [&plain, kernels].map(|kernels: &dyn Kernels| product(kernels, layout, &rows, &weight));
    let of_whole = difference(&expected?, &found?, std::iter::repeat(0.0));
    let (rows, weight) = operands(fraction);
    let [expected, found] = [&plain, kernels].map(|kernels: &dyn Kernels| product(kernels, layout, &rows, &weight));
    let sizes = product(&plain, layout, &sizes(&rows), &sizes(&weight))?;
    let bounds = sizes.iter().map(|size| error(layout.word, f64::from(*size)));
    of_whole.or(difference(&expected?, &found?, bounds))
}

/// The same of a family of int8 beside one of floats that has `floats`, to the bit.
pub(crate) fn int8_fault(kernels: &dyn Int8Kernels, floats: Layout) -> Option<String> {
    let plain = PlainInt8 { layout: kernels.layout(), floats: Plain(floats) };
    let (rows, weight) = operands(fraction);
    let [expected, found] = [&plain, kernels].map(|kernels: &dyn Int8Kernels| int8_product(kernels, &rows, &weight));
    difference(&expected?, &found?, std::iter::repeat(0.0))
}

/// Where two products are further apart than they may be.
fn difference(expected: &[f32], found: &[f32], bounds: impl Iterator<Item = f64>) -> Option<String> {
    let mut all = expected.iter().zip(found).zip(bounds);
    let off = all.find(|((expected, found), bound)| {
        let apart = (f64::from(**expected) - f64::from(**found)).abs();
        apart.is_nan() || apart > *bound
    });
    off.map(|((expected, found), _)| format!("a product of {ROWS} x {DEPTH} x {COLUMNS} has {found} for {expected}"))
}

/// What a sum of terms whose sizes add up to `size` may be off by.
fn error(word: Word, size: f64) -> f64 {
    let (depth, unit) = (DEPTH as f64, f64::from(f32::EPSILON));
    let of_blocks = if word == Word::Float16 { error_of_a_block() * size + SUBNORMAL * depth } else { 0.0 };
    of_blocks + depth * unit * size
}

/// Rows and a weight that are always the same.
fn operands(value: fn(usize) -> f32) -> (Vec<f32>, Vec<f32>) {
    let numbers = |seed: usize, count: usize| (0..count).map(|i| value(mixed(seed << 20 | i))).collect();
    (numbers(1, ROWS * DEPTH), numbers(2, DEPTH * COLUMNS))
}

/// The last steps of murmur3's hash.
fn mixed(number: usize) -> usize {
    let mut bits = (number as u32).wrapping_mul(0x9e37_79b1);
    bits = (bits ^ bits >> 16).wrapping_mul(0x85eb_ca6b);
    (bits ^ bits >> 13) as usize
}

/// A whole number from −3 to 3. Sums of all their products are exact in float16 within a block, and in float32.
fn whole(number: usize) -> f32 {
    (number % 7) as f32 - 3.0
}

/// A fraction from −1 to 1.
fn fraction(number: usize) -> f32 {
    (number % 8191) as f32 / 4095.0 - 1.0
}

fn sizes(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| value.abs()).collect()
}

/// `None` where memory is short: then nothing is said of the kernels.
fn product(kernels: &dyn Kernels, layout: Layout, rows: &[f32], weight: &[f32]) -> Option<Vec<f32>> {
    let stride = layout.words(DEPTH);
    let mut words = vec![0; ROWS * stride];
    for (row, words) in rows.chunks_exact(DEPTH).zip(words.chunks_exact_mut(stride)) {
        kernels.narrow(row, words);
    }
    let a = Rows { words: &words, stride, count: ROWS, scales: &[] };
    Some(values(&pack(layout, weight)?, |right, out| kernels.product(a, right, out)))
}

fn int8_product(kernels: &dyn Int8Kernels, rows: &[f32], weight: &[f32]) -> Option<Vec<f32>> {
    let stride = kernels.layout().words(DEPTH);
    let (mut words, mut scales) = (vec![0; ROWS * stride], vec![Scale::default(); ROWS]);
    let every = rows.chunks_exact(DEPTH).zip(words.chunks_exact_mut(stride));
    for ((row, words), scale) in every.zip(&mut scales) {
        *scale = kernels.quantise(row, words);
    }
    let a = Rows { words: &words, stride, count: ROWS, scales: &scales };
    Some(values(&pack(kernels.layout(), weight)?, |right, out| kernels.product(a, right, out)))
}

fn pack(layout: Layout, weight: &[f32]) -> Option<Layer> {
    let layer = Linear { inputs: DEPTH, outputs: COLUMNS, weight: weight.to_vec(), bias: None };
    Layer::pack(layout, &layer).ok()
}

fn values(layer: &Layer, run: impl FnOnce(Right<'_>, Out<'_>)) -> Vec<f32> {
    let mut values = vec![0.0; ROWS * COLUMNS];
    run(layer.before(None), Out::to(To::Values(&mut values), COLUMNS));
    values
}
