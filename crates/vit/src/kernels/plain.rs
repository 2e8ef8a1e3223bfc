//! Every kernel in simple loops and float64, on the operands of the family that it stands in for.

use coverslip_bundle::fold::Norm;

use super::{Kernels, Make, Out, Right, To};
use crate::panels::{LINE, Layout, Panels, Rows, Word};

/// The plain kernels for operands of one layout.
pub(crate) struct Plain(pub(crate) Layout);

impl Plain {
    pub(crate) const FLOAT32: Plain = Plain(Layout { word: Word::Float32, lines: 1 });

    fn put(&self, words: &mut [u32], column: usize, value: f64) {
        let word = &mut words[column / self.0.values()];
        let mut values = self.0.unword(*word);
        values[column % self.0.values()] = value as f32;
        *word = self.0.word(values);
    }

    /// Writes p of a row and column as `out` says.
    pub(super) fn write(&self, out: &mut Out<'_>, (row, column): (usize, usize), p: f64) {
        let value = match out.make {
            Make::Product => p,
            Make::Gelu => gelu(p),
            Make::Gated { gate, gate_stride } => {
                let gate = f64::from(gate[row * gate_stride + column]);
                gate / (1.0 + (-gate).exp()) * p
            }
        };
        match &mut out.to {
            To::Values(values) => values[row * out.stride + column] = value as f32,
            To::Sum(values) => values[row * out.stride + column] += value as f32,
            To::Operand(words) => self.put(&mut words[row * out.stride..], column, value),
        }
    }
}

impl Kernels for Plain {
    fn layout(&self) -> Layout {
        self.0
    }

    fn product(&self, a: Rows<'_>, b: Right<'_>, mut out: Out<'_>) {
        let Right { panels: b, bias, .. } = b;
        for row in 0..a.count {
            let words = &a.row(row)[..b.depth()];
            for panel in 0..b.count() {
                let (first, lines) = b.span(panel);
                for column in first * LINE..(first + lines) * LINE {
                    let (line, lane) = (column / LINE - first, column % LINE);
                    let steps = words.iter().zip(b.panel(panel).chunks_exact(lines));
                    let terms = steps.map(|(word, step)| dot(self.0, *word, step[line][lane]));
                    let p = terms.sum::<f64>() + bias.get(column).map_or(0.0, |bias| f64::from(*bias));
                    self.write(&mut out, (row, column), p);
                }
            }
        }
    }

    fn narrow(&self, row: &[f32], words: &mut [u32]) {
        for (values, word) in row.chunks(self.0.values()).zip(words) {
            *word = self.0.word([values[0], values.get(1).copied().unwrap_or(0.0)]);
        }
    }

    fn normalize(&self, row: &[f32], norm: &Norm, to: &mut [f32]) {
        let width = norm.weight.len();
        let values = || row[..width].iter().map(|value| f64::from(*value));
        let mean = values().sum::<f64>() / width as f64;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / width as f64;
        let factor = 1.0 / (variance + norm.eps).sqrt();
        for (i, value) in values().enumerate() {
            to[i] = ((value - mean) * factor * f64::from(norm.weight[i]) + f64::from(norm.bias[i])) as f32;
        }
        to[width..].fill(0.0);
    }

    fn softmax(&self, scores: &mut [f32], stride: usize, count: usize, shares: &mut [u32]) {
        let rows = scores.chunks_exact(stride).zip(shares.chunks_exact_mut(self.0.words(stride)));
        for (row, words) in rows {
            let row = row[..count].iter().map(|score| f64::from(*score));
            let largest = row.clone().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.clone().map(|score| (score - largest).exp()).sum();
            words.fill(0);
            for (column, score) in row.enumerate() {
                self.put(words, column, (score - largest).exp() / sum);
            }
        }
    }

    fn transpose(&self, rows: Rows<'_>, to: &mut Panels) {
        to.transpose(rows);
    }

    fn stack(&self, values: &[f32], stride: usize, count: usize, to: &mut Panels) {
        let depth = to.depth();
        let at = |row: usize, column: usize| if row < count { values[row * stride + column] } else { 0.0 };
        for index in 0..to.count() {
            let (first, lines) = to.span(index);
            let panel = to.panel_mut(index);
            for step in 0..depth {
                for column in 0..lines * LINE {
                    let (row, from) = (step * self.0.values(), first * LINE + column);
                    panel[step * lines * LINE + column] = self.0.word([at(row, from), at(row + 1, from)]);
                }
            }
        }
    }

    fn accumulate(&self, sum: &mut [f32], row: &[f32], factor: f32) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum = value.mul_add(factor, *sum));
    }
}

/// The products of two words, added.
fn dot(layout: Layout, a: u32, b: u32) -> f64 {
    let (a, b) = (layout.unword(a), layout.unword(b));
    f64::from(a[0]) * f64::from(b[0]) + f64::from(a[1]) * f64::from(b[1])
}

/// x·Φ(x), exact.
pub(super) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// 2/√π·e^(−x²)·Σ 2ⁿ·x²ⁿ⁺¹/(1·3·…·(2n+1)): all terms have one sign, so none cancels another.
fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() >= 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::erf;

    #[test]
    fn erf_is_that_of_the_tables() {
        // Abramowitz and Stegun, table 7.1.
        let known = [(0.0, 0.0), (0.1, 0.112_462_916_0), (0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9)];
        for (x, expected) in known.into_iter().chain([(2.0, 0.995_322_265_0), (7.0, 1.0)]) {
            assert!((erf(x) - expected).abs() < 1e-10, "{x}: {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert!(erf(f64::NAN).is_nan());
    }
}
