//! Power spectra of rows. Two real rows are one complex row.

use coverslip_numerics::Fourier;

use coverslip_base::error::{Result, error};
use coverslip_base::memory::grow;

/// Transforms of one length; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Spectrum {
    fourier: Fourier,
    line: Vec<[f32; 2]>,
}

impl Spectrum {
    /// The power spectra |X(k)|², k = 0..=n/2, of two real rows that are padded with zeros to n, a power of two of at
    /// least 2 and at least the length of either.
    pub(crate) fn powers(&mut self, a: &[f32], b: &[f32], n: usize, out: [&mut Vec<f32>; 2]) {
        self.prepare(n);
        for i in 0..n {
            self.line[i] = [a.get(i).copied().unwrap_or(0.0), b.get(i).copied().unwrap_or(0.0)];
        }
        self.fourier.transform(&mut self.line);
        let [of_a, of_b] = out;
        of_a.clear();
        of_b.clear();
        for k in 0..=n / 2 {
            // The even part of the transform belongs to a, the odd one to b.
            let ([x, y], [u, v]) = (self.line[k], self.line[(n - k) % n]);
            let half = |re: f32, im: f32| 0.25 * (re * re + im * im);
            of_a.push(half(x + u, y - v));
            of_b.push(half(x - u, y + v));
        }
    }

    /// Room for spectra of `n` frequencies.
    pub(super) fn fit(&mut self, n: usize) -> Result<()> {
        self.fourier.reserve(n).map_err(|_| error!(OUT_OF_MEMORY, "no memory for a transform of {n} values"))?;
        grow(&mut self.line, n)
    }

    fn prepare(&mut self, n: usize) {
        self.fourier.fit(n);
        self.line.resize(n, [0.0; 2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the sum that defines it, in f64.
    #[test]
    fn powers_are_those_of_the_definition() {
        let mut spectrum = Spectrum::default();
        for (n, length) in [(2, 2), (8, 5), (64, 64), (256, 224), (16, 16)] {
            let row = |m: usize| (0..length).map(|i| ((i * m + i * i / 3) % 17) as f32 / 5.0 - 1.0).collect::<Vec<_>>();
            let (a, b) = (row(7), row(11));
            let (mut pa, mut pb) = (Vec::new(), Vec::new());
            spectrum.powers(&a, &b, n, [&mut pa, &mut pb]);
            for (row, powers) in [(&a, &pa), (&b, &pb)] {
                assert_eq!(powers.len(), n / 2 + 1);
                for (k, &power) in powers.iter().enumerate() {
                    let (mut re, mut im) = (0.0f64, 0.0f64);
                    for (i, &x) in row.iter().enumerate() {
                        let angle = -2.0 * std::f64::consts::PI * (k * i) as f64 / n as f64;
                        re += f64::from(x) * angle.cos();
                        im += f64::from(x) * angle.sin();
                    }
                    let want = re * re + im * im;
                    // f32 over at most 256 terms of up to 2.4.
                    assert!((f64::from(power) - want).abs() < 1e-3 * (1.0 + want), "{n} {k}: {power} {want}");
                }
            }
        }
    }
}
