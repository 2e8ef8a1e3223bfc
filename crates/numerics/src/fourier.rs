//! The radix-2 Fourier transform, in place and in f32.

use std::collections::TryReserveError;
use std::f64::consts::TAU;

/// A transform of one length, a power of two of at least 2, with its factors.
#[derive(Clone, Debug, Default)]
pub struct Fourier {
    /// e^(−2πik/n), k < n/2.
    factors: Vec<[f32; 2]>,
}

impl Fourier {
    /// Replaces `line`, real and imaginary parts, by its transform X(k) = Σ x(j) e^(−2πijk/n). [`Fourier::fit`] must
    /// have set its length.
    pub fn transform(&self, line: &mut [[f32; 2]]) {
        let n = line.len();
        debug_assert!(n.is_power_of_two() && self.factors.len() == n / 2, "fitted to another length");
        for i in 0..n {
            let j = i.reverse_bits() >> (usize::BITS - n.trailing_zeros());
            if i < j {
                line.swap(i, j);
            }
        }
        let mut size = 2;
        while size <= n {
            let stride = n / size;
            for block in line.chunks_exact_mut(size) {
                let (low, high) = block.split_at_mut(size / 2);
                for (k, (l, h)) in low.iter_mut().zip(high).enumerate() {
                    let [c, s] = self.factors[k * stride];
                    let turned = [h[0] * c - h[1] * s, h[0] * s + h[1] * c];
                    *h = [l[0] - turned[0], l[1] - turned[1]];
                    *l = [l[0] + turned[0], l[1] + turned[1]];
                }
            }
            size *= 2;
        }
    }

    /// Room for the length `n`, so that [`Fourier::fit`] allocates nothing.
    pub fn reserve(&mut self, n: usize) -> Result<(), TryReserveError> {
        self.factors.try_reserve_exact((n / 2).saturating_sub(self.factors.len()))
    }

    /// Sets the length to `n`, a power of two of at least 2.
    pub fn fit(&mut self, n: usize) {
        if self.factors.len() != n / 2 {
            let angle = |k: usize| -TAU * k as f64 / n as f64;
            self.factors.clear();
            self.factors.extend((0..n / 2).map(|k| [angle(k).cos() as f32, angle(k).sin() as f32]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are the defining sum in f64.
    #[test]
    fn the_transform_equals_its_definition() {
        let mut fourier = Fourier::default();
        for n in [2, 8, 256, 16] {
            let value = |i: usize, m: usize| ((i * m + i * i / 3) % 17) as f32 / 5.0 - 1.0;
            let line: Vec<[f32; 2]> = (0..n).map(|i| [value(i, 7), value(i, 11)]).collect();
            let mut found = line.clone();
            fourier.fit(n);
            fourier.transform(&mut found);
            for (k, found) in found.iter().enumerate() {
                let mut want = [0.0f64; 2];
                for (j, x) in line.iter().enumerate() {
                    let (s, c) = (-TAU * (j * k) as f64 / n as f64).sin_cos();
                    want[0] += f64::from(x[0]) * c - f64::from(x[1]) * s;
                    want[1] += f64::from(x[0]) * s + f64::from(x[1]) * c;
                }
                // The tolerance is for f32 sums of at most 256 terms of up to 2.4.
                for (found, want) in found.iter().zip(want) {
                    assert!((f64::from(*found) - want).abs() < 2e-4 * (1.0 + want.abs()), "{n} {k}: {found} {want}");
                }
            }
        }
    }
}
